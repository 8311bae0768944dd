//! Gaussian blur.

use ndarray::{Array3, ArrayRef3};

use super::border::reflect;

/// Blurs an image `[height, width, 3]` by a Gaussian kernel of `kernel_px` (odd), borders mirrored.
///
/// The deviation follows from the kernel as in OpenCV, small kernels being its binomial ones.
pub fn gaussian_blur(image: &ArrayRef3<u8>, kernel_px: u32) -> Array3<u8> {
    let weights = kernel(kernel_px);
    let radius = i64::from(kernel_px / 2);
    let (height, width, _) = image.dim();
    // Position of each tap, for every position on a line.
    let taps = |length: usize| {
        (0..length as i64)
            .map(|at| (at - radius..=at + radius).map(|p| reflect(p, length)).zip(weights.clone()).collect())
            .collect::<Vec<Vec<_>>>()
    };
    let (columns, rows) = (taps(width), taps(height));
    let along_rows = Array3::from_shape_fn(image.dim(), |(y, x, c)| {
        columns[x].iter().map(|&(from, weight)| weight * f32::from(image[[y, from, c]])).sum::<f32>()
    });
    Array3::from_shape_fn(image.dim(), |(y, x, c)| {
        let value: f32 = rows[y].iter().map(|&(from, weight)| weight * along_rows[[from, x, c]]).sum();
        value.round() as u8
    })
}

fn kernel(kernel_px: u32) -> Vec<f32> {
    match kernel_px {
        1 => vec![1.0],
        3 => vec![0.25, 0.5, 0.25],
        5 => vec![0.0625, 0.25, 0.375, 0.25, 0.0625],
        7 => vec![0.031_25, 0.109_375, 0.218_75, 0.281_25, 0.218_75, 0.109_375, 0.031_25],
        _ => {
            let radius = (kernel_px as f32 - 1.0) / 2.0;
            let deviation = 0.3 * (radius - 1.0) + 0.8;
            let bell = |i: u32| (-(i as f32 - radius).powi(2) / (2.0 * deviation * deviation)).exp();
            let sum: f32 = (0..kernel_px).map(bell).sum();
            (0..kernel_px).map(|i| bell(i) / sum).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_sum_to_one_and_flat_images_stay() {
        for kernel_px in [3, 5, 7, 9] {
            assert!((kernel(kernel_px).iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let flat = Array3::from_elem((4, 6, 3), 77);
            assert_eq!(gaussian_blur(&flat, kernel_px), flat);
        }
    }
}
