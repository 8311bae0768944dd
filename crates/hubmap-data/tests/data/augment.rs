use hubmap_data::Sample;
use hubmap_data::augment::{Similarity, equalize, equalize_lightness, gaussian_blur, shift_hsv, warp};
use hubmap_test_support::npy;
use ndarray::{Array, Array2, Array3, Axis, Dimension};

fn image(name: &str) -> Array3<u8> {
    npy(&format!("augment/{name}.npy"))
}

fn mask(name: &str) -> Array2<u8> {
    npy(&format!("augment/{name}.npy"))
}

/// Largest and mean difference.
fn difference<D: Dimension>(a: &Array<u8, D>, b: &Array<u8, D>) -> (u8, f64) {
    assert_eq!(a.shape(), b.shape());
    let differences = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect::<Vec<_>>();
    let mean = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
    (differences.into_iter().max().unwrap(), mean)
}

#[track_caller]
fn assert_close<D: Dimension>(actual: &Array<u8, D>, expected: &Array<u8, D>, max: u8, mean: f64) {
    let (actual_max, actual_mean) = difference(actual, expected);
    assert!(
        actual_max <= max && actual_mean <= mean,
        "differ by up to {actual_max}, {actual_mean:.4} on average"
    );
}

#[test]
fn histogram_equalisation_of_levels_is_that_of_opencv() {
    let levels = image("image").index_axis(Axis(2), 0).to_owned();
    for clip in [1.5, 4.0] {
        assert_close(&equalize(&levels, clip, 8), &mask(&format!("clahe_gray_{clip:.1}")), 0, 0.0);
    }
}

#[test]
fn equalised_colours_are_those_of_opencv_up_to_its_rounding_of_colours() {
    for clip in [1.5, 4.0] {
        let mut actual = image("image");
        equalize_lightness(&mut actual, clip, 2);
        assert_close(&actual, &image(&format!("clahe_rgb_{clip:.1}")), 5, 0.6);
    }
}

// OpenCV 5 cuts some channels to whole levels on the way back where it used to round them.
#[test]
fn shifted_hues_are_those_of_opencv() {
    for (name, shifts) in [("up", [9.3, 14.2, -8.1]), ("down", [-9.7, -11.5, 6.4])] {
        let mut actual = image("image");
        shift_hsv(&mut actual, shifts);
        assert_close(&actual, &image(&format!("hsv_{name}")), 4, 0.4);
    }
}

#[test]
fn warped_samples_are_those_of_opencv() {
    let sample = Sample::new("s", image("image"), mask("mask")).unwrap();
    let warped = warp(&sample, Similarity { shift_x: 0.07, shift_y: -0.05, scale: 0.9, angle_deg: 31.0 });
    assert_close(&warped.image, &image("warp_image"), 3, 0.4);
    let n_different = warped.mask.iter().zip(&mask("warp_mask")).filter(|(a, b)| a != b).count();
    assert!(n_different <= warped.mask.len() / 200, "{n_different} of {}", warped.mask.len());
}

#[test]
fn blurred_images_are_those_of_opencv() {
    for kernel_px in [3, 5, 7, 9] {
        let actual = gaussian_blur(&image("image"), kernel_px);
        assert_close(&actual, &image(&format!("blur_{kernel_px}")), 1, 0.05);
    }
}
