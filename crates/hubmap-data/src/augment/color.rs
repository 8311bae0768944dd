//! Changes of levels and colours that leave every pixel where it is.

use ndarray::{Array2, Array3};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::clahe;
use crate::seed::StreamRng;

/// A uniform draw from `-limit` to `limit`.
fn within(limit: f64, rng: &mut StreamRng) -> f64 {
    limit * (2.0 * rng.random::<f64>() - 1.0)
}

/// Calls `change` on every pixel.
fn for_each_pixel(image: &mut Array3<u8>, mut change: impl FnMut(&mut [u8; 3])) {
    // Samples are in standard layout, so there always is a slice.
    let pixels = image.as_slice_mut().unwrap_or_default().as_chunks_mut::<3>().0;
    for pixel in pixels {
        change(pixel);
    }
}

/// A level for each level.
fn table(level: impl Fn(f64) -> f64) -> [u8; 256] {
    // Clipped, then cut to whole levels, as albumentations does.
    std::array::from_fn(|from| level(from as f64).clamp(0.0, 255.0) as u8)
}

/// Raises levels to one power where the image is dark and to another elsewhere.
///
/// A pixel is dark if the mean of its channels is below mean − `dark_below_std` × standard deviation of the
/// means of all pixels; levels are scaled to 0..=1 for the power.
pub fn gamma_pair(image: &mut Array3<u8>, dark_gamma: f64, other_gamma: f64, dark_below_std: f64) {
    let power = |gamma: f64| table(|level| 255.0 * (level / 255.0).powf(gamma));
    let (dark_table, other_table) = (power(dark_gamma), power(other_gamma));
    let mean_level = |pixel: [u8; 3]| pixel.iter().map(|&v| f64::from(v)).sum::<f64>() / 3.0;
    let (mut sum, mut sum_of_squares, mut n) = (0.0, 0.0, 0.0);
    for_each_pixel(image, |pixel| {
        let level = mean_level(*pixel);
        sum += level;
        sum_of_squares += level * level;
        n += 1.0;
    });
    let mean = sum / n;
    let std = (sum_of_squares / n - mean * mean).max(0.0).sqrt();
    let threshold = mean - dark_below_std * std;
    for_each_pixel(image, |pixel| {
        let table = if mean_level(*pixel) < threshold { &dark_table } else { &other_table };
        *pixel = pixel.map(|level| table[usize::from(level)]);
    });
}

/// Contrast by a factor around black and brightness by an offset, both drawn.
pub(super) fn brightness_contrast(
    image: &mut Array3<u8>,
    brightness: f64,
    contrast: f64,
    rng: &mut StreamRng,
) {
    let (factor, offset) = (1.0 + within(contrast, rng), 255.0 * within(brightness, rng));
    let table = table(|level| level * factor + offset);
    for_each_pixel(image, |pixel| *pixel = pixel.map(|level| table[usize::from(level)]));
}

/// The channels in a drawn order, the same for all pixels.
pub(super) fn channel_shuffle(image: &mut Array3<u8>, rng: &mut StreamRng) {
    let mut order = [0, 1, 2];
    order.shuffle(rng);
    for_each_pixel(image, |pixel| *pixel = order.map(|channel| pixel[channel]));
}

/// Drawn shifts of [`shift_hsv`].
pub(super) fn hue_saturation_value(image: &mut Array3<u8>, limits: [f64; 3], rng: &mut StreamRng) {
    let shifts = limits.map(|limit| within(limit, rng));
    shift_hsv(image, shifts);
}

/// Shifts hue (0 to 180, around the circle), saturation and value (0 to 255, clipped).
pub fn shift_hsv(image: &mut Array3<u8>, [hue, saturation, value]: [f64; 3]) {
    let hues = table(|level| (level + hue).rem_euclid(180.0));
    let (saturations, values) = (table(|level| level + saturation), table(|level| level + value));
    for_each_pixel(image, |pixel| {
        let [h, s, v] = rgb_to_hsv(*pixel).map(usize::from);
        *pixel = hsv_to_rgb([hues[h], saturations[s], values[v]]);
    });
}

/// Hue in half degrees, saturation and value, in 8 bits as in OpenCV.
fn rgb_to_hsv(pixel: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = pixel.map(f32::from);
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let range = max - min;
    if range <= 0.0 {
        return [0, 0, max as u8];
    }
    let sixth = if max <= r {
        (g - b) / range
    } else if max <= g {
        2.0 + (b - r) / range
    } else {
        4.0 + (r - g) / range
    };
    [(30.0 * sixth).rem_euclid(180.0).round() as u8 % 180, (255.0 * range / max).round() as u8, max as u8]
}

fn hsv_to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    let (sixth, saturation, value) = (f32::from(h) / 30.0, f32::from(s) / 255.0, f32::from(v));
    // The distance of a channel from its own hue, 0 at the hue and 1 from two sixths on.
    let channel = |offset: f32| {
        let k = (offset + sixth).rem_euclid(6.0);
        let fall = k.min(4.0 - k).clamp(0.0, 1.0);
        (value * (1.0 - saturation * fall)).round() as u8
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

/// Adaptive histogram equalisation of the lightness, with a drawn limit from 1 to `max_clip`.
pub(super) fn clahe(image: &mut Array3<u8>, max_clip: f64, n_tiles: usize, rng: &mut StreamRng) {
    let clip = 1.0 + (max_clip - 1.0) * rng.random::<f64>();
    equalize_lightness(image, clip, n_tiles);
}

/// Contrast-limited adaptive histogram equalisation of L in CIE L\*a\*b\*, over `n_tiles` × `n_tiles` tiles.
pub fn equalize_lightness(image: &mut Array3<u8>, clip_limit: f64, n_tiles: usize) {
    let linear: [f32; 256] = std::array::from_fn(|level| srgb_to_linear(level as f32 / 255.0));
    let (height, width, _) = image.dim();
    let mut colors = Vec::with_capacity(height * width);
    for_each_pixel(image, |pixel| colors.push(rgb_to_lab(pixel.map(|level| linear[usize::from(level)]))));
    let levels = colors.iter().map(|lab| lightness_level(lab[0])).collect();
    let Ok(levels) = Array2::from_shape_vec((height, width), levels) else { return };
    let equalized = clahe::equalize(&levels, clip_limit, n_tiles);
    let mut changed = colors.iter().zip(&equalized);
    for_each_pixel(image, |pixel| {
        if let Some((&[_, a, b], &level)) = changed.next() {
            *pixel = lab_to_rgb([f32::from(level) / 2.55, a, b]);
        }
    });
}

/// The 8-bit level of a lightness: 2.55 per unit, but with the slope of OpenCV, who rounds 116 × 2.55 to 296.
fn lightness_level(lightness: f32) -> u8 {
    ((lightness + 16.0) * (296.0 / 116.0) - 40.8).round() as u8
}

/// Reference white of CIE XYZ, D65.
const WHITE: [f32; 3] = [0.950_456, 1.0, 1.088_754];
/// Below this the cube root of CIE L\*a\*b\* becomes linear.
const LINEAR_BELOW: f32 = 0.008_856;

fn rgb_to_lab([r, g, b]: [f32; 3]) -> [f32; 3] {
    let xyz = [
        0.412_453 * r + 0.357_580 * g + 0.180_423 * b,
        0.212_671 * r + 0.715_160 * g + 0.072_169 * b,
        0.019_334 * r + 0.119_193 * g + 0.950_227 * b,
    ];
    let root = |t: f32| if t > LINEAR_BELOW { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
    let [x, y, z] = [0, 1, 2].map(|axis| root(xyz[axis] / WHITE[axis]));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

fn lab_to_rgb([lightness, a, b]: [f32; 3]) -> [u8; 3] {
    let y = (lightness + 16.0) / 116.0;
    let cube = |f: f32| if f > LINEAR_BELOW.cbrt() { f * f * f } else { (f - 16.0 / 116.0) / 7.787 };
    let [x, y, z] = [WHITE[0] * cube(y + a / 500.0), WHITE[1] * cube(y), WHITE[2] * cube(y - b / 200.0)];
    let rgb = [
        3.240_479 * x - 1.537_15 * y - 0.498_535 * z,
        -0.969_256 * x + 1.875_991 * y + 0.041_556 * z,
        0.055_648 * x - 0.204_043 * y + 1.057_311 * z,
    ];
    rgb.map(|value| (255.0 * linear_to_srgb(value.clamp(0.0, 1.0))).round() as u8)
}

fn srgb_to_linear(value: f32) -> f32 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn linear_to_srgb(value: f32) -> f32 {
    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_colors() -> Array3<u8> {
        Array3::from_shape_fn((64, 64, 3), |(y, x, c)| match c {
            0 => (x * 4) as u8,
            1 => (y * 4) as u8,
            _ => ((x / 8) * 32 + y / 8 * 4) as u8,
        })
    }

    #[test]
    fn color_spaces_return_to_where_they_began() {
        let linear = |level: u8| srgb_to_linear(f32::from(level) / 255.0);
        for pixel in all_colors().as_slice().unwrap().as_chunks::<3>().0 {
            assert_eq!(lab_to_rgb(rgb_to_lab(pixel.map(linear))), *pixel);
            // Hue in half degrees is coarse: saturated colours are off by a few levels, as in OpenCV.
            let back = hsv_to_rgb(rgb_to_hsv(*pixel));
            assert!(back.iter().zip(pixel).all(|(a, b)| a.abs_diff(*b) <= 5), "{pixel:?} {back:?}");
        }
    }

    #[test]
    fn known_hues() {
        for (rgb, hsv) in [
            ([255, 0, 0], [0, 255, 255]),
            ([0, 255, 0], [60, 255, 255]),
            ([0, 0, 128], [120, 255, 128]),
            ([255, 0, 1], [0, 255, 255]),
            ([100, 100, 100], [0, 0, 100]),
            ([0, 0, 0], [0, 0, 0]),
        ] {
            assert_eq!(rgb_to_hsv(rgb), hsv);
        }
        assert_eq!(hsv_to_rgb([30, 255, 200]), [200, 200, 0]);
        assert_eq!(hsv_to_rgb([150, 128, 200]), [200, 100, 200]);
    }

    #[test]
    fn gamma_depends_on_which_side_of_the_threshold_a_pixel_is() {
        let mut image = Array3::from_elem((10, 10, 3), 200);
        image.slice_mut(ndarray::s![0, .., ..]).fill(50);
        gamma_pair(&mut image, 2.5, 4.0, 0.8);
        assert_eq!(image[[0, 0, 0]], (255.0 * (50.0_f64 / 255.0).powf(2.5)) as u8);
        assert_eq!(image[[5, 5, 2]], (255.0 * (200.0_f64 / 255.0).powf(4.0)) as u8);
    }
}
