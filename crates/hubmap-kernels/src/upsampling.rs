//! Nearest upsampling by two, its gradient, and joining and cropping of maps.

use rayon::prelude::*;

use crate::{Extent, Images, KernelError};

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

/// The first rows and columns of maps: those of size `to`.
pub fn crop(from: Images<'_>, to: Extent) -> Vec<f32> {
    let extent = from.extent();
    let (long, short) = (extent.width * extent.channels, to.width * to.channels);
    let rows = from.data().chunks_exact(long * extent.height.max(1));
    rows.flat_map(|image| {
        image.chunks_exact(long).take(to.height).flat_map(|row| row[..short].iter().copied())
    })
    .collect()
}

/// Joins sources along their channels into `output`, `[n, h, w, sum of channels]`, repeating the pixels of
/// those that are `true` 2×2 times (nearest upsampling).
pub fn concatenate(sources: &[(Images<'_>, bool)], output: &mut [f32]) -> Result<Extent, KernelError> {
    let channels = sources.iter().map(|(images, _)| images.extent().channels).sum();
    let mut joined: Option<Extent> = None;
    for &(images, upsampled) in sources {
        let extent = images.extent();
        let scale = if upsampled { 2 } else { 1 };
        let here = Extent {
            count: extent.count,
            height: extent.height * scale,
            width: extent.width * scale,
            channels,
        };
        if joined.is_some_and(|other| other != here) {
            return Err(KernelError::Source { extent, channels: extent.channels });
        }
        joined = Some(here);
    }
    let extent = joined.ok_or(KernelError::Sources { found: 0, expected: 1 })?;
    if output.len() != extent.len() {
        return Err(KernelError::Length { found: output.len(), extent });
    }
    if extent.is_empty() {
        return Ok(extent);
    }
    output.par_chunks_mut(extent.width * channels).enumerate().for_each(|(row, output)| {
        let (image, y) = (row / extent.height, row % extent.height);
        let mut first = 0;
        for (images, upsampled) in sources {
            let own = images.extent();
            let scale = if *upsampled { 2 } else { 1 };
            let start = (image * own.height + y / scale) * own.width * own.channels;
            let row = &images.data()[start..][..own.width * own.channels];
            for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
                pixel[first..][..own.channels]
                    .copy_from_slice(&row[x / scale * own.channels..][..own.channels]);
            }
            first += own.channels;
        }
    });
    Ok(extent)
}
