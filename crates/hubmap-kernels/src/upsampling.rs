//! Upsampling by two: nearest, and with zeros between.

use rayon::prelude::*;

use crate::{Extent, Images};

/// Every pixel of `[rows, width, channels]` becomes 2×2 pixels: `[2 · rows, 2 · width, channels]`.
///
/// Rows of several images may follow each other.
pub fn upsample2(values: &[f32], width: usize, channels: usize) -> Vec<f32> {
    let row = width * channels;
    let mut out = vec![0.0; 4 * values.len()];
    out.par_chunks_mut(4 * row).zip(values.par_chunks(row)).for_each(|(out, values)| {
        let (upper, lower) = out.split_at_mut(2 * row);
        for (pair, pixel) in upper.chunks_exact_mut(2 * channels).zip(values.chunks_exact(channels)) {
            let (left, right) = pair.split_at_mut(channels);
            left.copy_from_slice(pixel);
            right.copy_from_slice(pixel);
        }
        lower.copy_from_slice(upper);
    });
    out
}

/// The sum of every 2×2 pixels, the gradient of [`upsample2`]: `[2 · rows, 2 · width, channels]` to
/// `[rows, width, channels]`.
pub fn sum2x2(values: &[f32], width: usize, channels: usize) -> Vec<f32> {
    let row = width * channels;
    let mut out = vec![0.0; values.len() / 4];
    out.par_chunks_mut(row).zip(values.par_chunks(4 * row)).for_each(|(out, values)| {
        let (upper, lower) = values.split_at(2 * row);
        let pairs = upper.chunks_exact(2 * channels).zip(lower.chunks_exact(2 * channels));
        for (out, (upper, lower)) in out.chunks_exact_mut(channels).zip(pairs) {
            let upper = upper[..channels].iter().zip(&upper[channels..]);
            let lower = lower[..channels].iter().zip(&lower[channels..]);
            for ((out, (a, b)), (c, d)) in out.iter_mut().zip(upper).zip(lower) {
                *out = (a + b) + (c + d);
            }
        }
    });
    out
}

/// Puts pixels at every second row and column of maps of size `to`, and zeros between: what the gradient of a
/// convolution of stride 2 looks like at the resolution of its input.
pub fn spread2(from: Images<'_>, to: Extent) -> Vec<f32> {
    let extent = from.extent();
    let mut out = vec![0.0; to.len()];
    let row = to.width * to.channels;
    out.par_chunks_mut(row).enumerate().for_each(|(at, out)| {
        let (image, y) = (at / to.height, at % to.height);
        if y % 2 == 0 && y / 2 < extent.height {
            let start = (image * extent.height + y / 2) * extent.width * extent.channels;
            let pixels = &from.data()[start..start + extent.width * extent.channels];
            for (out, pixel) in out.chunks_mut(2 * to.channels).zip(pixels.chunks_exact(extent.channels)) {
                out[..extent.channels].copy_from_slice(pixel);
            }
        }
    });
    out
}
