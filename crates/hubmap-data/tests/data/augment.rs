use hubmap_data::Sample;
use hubmap_data::augment::{GammaPair, Hole, Operation, Similarity, perform};
use hubmap_test_support::npy;
use ndarray::{Array2, Array3, s};

fn image(name: &str) -> Array3<u8> {
    npy(&format!("augment/{name}.npy"))
}

fn mask(name: &str) -> Array2<u8> {
    npy(&format!("augment/{name}.npy"))
}

fn sample() -> Sample {
    Sample::new("s", image("image"), mask("mask")).unwrap()
}

/// Checks an operation on the image of the fixtures against the image of that name, and that the mask stays.
#[track_caller]
fn check(operation: &Operation, expected: &str, max_difference: u8) {
    let changed = perform(sample(), std::slice::from_ref(operation)).unwrap();
    assert_close(&changed.image, &image(expected), max_difference);
    assert_eq!(changed.mask, mask("mask"), "{operation:?}");
}

#[track_caller]
fn assert_close(actual: &Array3<u8>, expected: &Array3<u8>, max_difference: u8) {
    assert_eq!(actual.dim(), expected.dim());
    let differences = actual.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).collect::<Vec<_>>();
    let max = differences.iter().copied().max().unwrap();
    let n_different = differences.iter().filter(|&&difference| difference > 0).count();
    assert!(max <= max_difference, "levels differ by up to {max}, {n_different} of {}", differences.len());
}

#[test]
fn equalised_lightness_is_that_of_opencv() {
    for clip_limit in [1.5, 4.0] {
        let operation = Operation::EqualizeLightness { clip_limit, n_tiles: 8 };
        check(&operation, &format!("clahe_{clip_limit:.1}"), 1);
        // Tiles with more pixels than there are levels.
        let few = Operation::EqualizeLightness { clip_limit, n_tiles: 2 };
        check(&few, &format!("clahe_few_{clip_limit:.1}"), 1);
        // Sides that the tiles divide.
        let whole = Operation::Crop { x_px: 0, y_px: 0, width_px: 64, height_px: 48 };
        let changed = perform(sample(), &[whole, operation]).unwrap();
        assert_close(&changed.image, &image(&format!("clahe_whole_{clip_limit:.1}")), 1);
    }
}

#[test]
fn shifted_hues_are_those_of_albumentations() {
    for (name, [hue, saturation, value]) in
        [("up", [9.3, 14.2, -8.1]), ("down", [-9.7, -11.5, 6.4]), ("far", [-29.4, 38.8, 27.1])]
    {
        check(&Operation::ShiftHsv { hue, saturation, value }, &format!("hsv_{name}"), 1);
    }
}

#[test]
fn warped_samples_are_those_of_albumentations() {
    for (name, [angle_deg, scale, shift_x, shift_y]) in [
        ("small", [31.0, 0.9, 0.07, -0.05]),
        ("large", [-44.0, 1.2, -0.1, 0.1]),
        ("shift", [0.0, 1.0, 0.1, -0.03]),
    ] {
        let similarity = Similarity { shift_x, shift_y, scale, angle_deg };
        let warped = perform(sample(), &[Operation::Warp(similarity)]).unwrap();
        assert_close(&warped.image, &image(&format!("warp_{name}_image")), 1);
        assert_eq!(warped.mask, mask(&format!("warp_{name}_mask")), "{name}");
    }
}

#[test]
fn blurred_images_are_those_of_opencv() {
    for kernel_px in [3, 5, 7, 9, 11] {
        check(&Operation::Blur { kernel_px }, &format!("blur_{kernel_px}"), 0);
    }
    check(&Operation::Blur { kernel_px: 1 }, "image", 0);
}

#[test]
fn scaled_levels_are_those_of_albumentations() {
    check(&Operation::ScaleLevels { factor: 0.71, offset: 0.38 }, "brightness_up", 0);
    check(&Operation::ScaleLevels { factor: 1.37, offset: -0.29 }, "brightness_down", 0);
}

#[test]
fn the_gamma_pair_is_that_of_the_winning_solution() {
    let pair = GammaPair { dark_gamma: 2.5, other_gamma: 4.0, dark_below_std: 0.8 };
    check(&Operation::GammaPair(pair), "gamma_pair", 0);
}

#[test]
fn permuted_channels_are_those_of_albumentations() {
    check(&Operation::PermuteChannels([2, 0, 1]), "shuffle", 0);
}

#[test]
fn filled_holes_are_those_of_albumentations() {
    let hole = |[x_px, y_px, width_px, height_px]: [u32; 4]| Hole { x_px, y_px, width_px, height_px };
    let holes = [[0, 0, 8, 5], [30, 20, 16, 16], [40, 30, 4, 22], [60, 44, 16, 16]].map(hole).to_vec();
    check(&Operation::Fill { holes, level: 230 }, "holes", 0);
    let outside = [[70, 0, 5, 5], [0, 52, 5, 5], [u32::MAX, 3, u32::MAX, 1]].map(hole).to_vec();
    check(&Operation::Fill { holes: outside, level: 230 }, "image", 0);
}

#[test]
fn what_leaves_the_sample_is_an_error_that_names_it() {
    let refused = |operation| perform(sample(), &[operation]).unwrap_err().to_string();
    let crop = |x_px, width_px| Operation::Crop { x_px, y_px: 0, width_px, height_px: 2 };
    assert_eq!(refused(crop(67, 2)), "s: cannot crop 2x2 at (67, 0) from 68x52");
    assert!(refused(crop(u32::MAX, u32::MAX)).starts_with("s: cannot crop"));
    assert_eq!(refused(Operation::Reduce { factor: 3 }), "s: 68x52 cannot be reduced by 3");
    assert!(refused(Operation::Reduce { factor: 0 }).starts_with("s: "));
    assert_eq!(refused(Operation::Blur { kernel_px: 4 }), "s: a blur needs an odd kernel, not 4 px");
    let part = perform(sample(), &[crop(66, 2)]).unwrap();
    assert_eq!(part.image, sample().image.slice(s![..2, 66.., ..]));
}
