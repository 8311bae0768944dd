//! Means over all pixels and gates on channels and pixels, for attention blocks.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::{Extent, Images, KernelError};

/// Pixels that one task adds up; their sum in `f32` is still exact enough.
const TASK_PIXELS: usize = 512;

/// Mean of every channel over the pixels of each image: `[n, h, w, c]` to `[n, c]`.
pub fn channel_means(images: Images<'_>) -> Vec<f32> {
    let extent = images.extent();
    let pixels = extent.height * extent.width;
    if extent.is_empty() {
        return vec![0.0; extent.count * extent.channels];
    }
    let arch = Arch::new();
    images
        .data()
        .par_chunks(pixels * extent.channels)
        .flat_map_iter(|image| {
            let sums = image
                .par_chunks(TASK_PIXELS * extent.channels)
                .map(|data| {
                    let mut sums = vec![0.0; extent.channels];
                    arch.dispatch(AddPixels { data, sums: &mut sums });
                    sums
                })
                // In order, so that the result does not depend on the number of threads.
                .collect::<Vec<_>>();
            (0..extent.channels).map(move |c| {
                (sums.iter().map(|part| f64::from(part[c])).sum::<f64>() / pixels as f64) as f32
            })
        })
        .collect()
}

/// Adds up pixels, `[pixels, c]`, to `[c]`.
struct AddPixels<'a> {
    data: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for AddPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.sums.len();
        let (sums, sums_rest) = S::as_mut_simd_f32s(self.sums);
        for pixel in self.data.chunks_exact(channels) {
            let (pixel, rest) = S::as_simd_f32s(pixel);
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum = simd.add_f32s(*sum, value);
            }
            for (sum, value) in sums_rest.iter_mut().zip(rest) {
                *sum += value;
            }
        }
    }
}

/// Multiplies every number by the sum of its channel's gate, `[n, c]`, and its pixel's, `[n, h, w]`, in place:
/// the end of an scSE block, `x * channel + x * pixel`.
pub fn apply_gates(
    data: &mut [f32],
    extent: Extent,
    channel_gates: &[f32],
    pixel_gates: &[f32],
) -> Result<(), KernelError> {
    let lengths = [
        (data.len(), extent),
        (channel_gates.len(), Extent { height: 1, width: 1, ..extent }),
        (pixel_gates.len(), Extent { channels: 1, ..extent }),
    ];
    for (found, extent) in lengths {
        if found != extent.len() {
            return Err(KernelError::Length { found, extent });
        }
    }
    if extent.is_empty() {
        return Ok(());
    }
    let arch = Arch::new();
    data.par_chunks_mut(extent.width * extent.channels)
        .zip(pixel_gates.par_chunks(extent.width))
        .enumerate()
        .for_each(|(row, (data, pixel_gates))| {
            let image = row / extent.height;
            let channel_gates = &channel_gates[image * extent.channels..][..extent.channels];
            arch.dispatch(GatedRow { data, channel_gates, pixel_gates });
        });
    Ok(())
}

/// One row of [`apply_gates`].
struct GatedRow<'a> {
    data: &'a mut [f32],
    channel_gates: &'a [f32],
    pixel_gates: &'a [f32],
}

impl WithSimd for GatedRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (channel_gates, channel_rest) = S::as_simd_f32s(self.channel_gates);
        let pixels = self.data.chunks_exact_mut(self.channel_gates.len());
        for (pixel, &gate) in pixels.zip(self.pixel_gates) {
            let (pixel, rest) = S::as_mut_simd_f32s(pixel);
            let gates = simd.splat_f32s(gate);
            for (value, &channel) in pixel.iter_mut().zip(channel_gates) {
                *value = simd.mul_f32s(*value, simd.add_f32s(channel, gates));
            }
            for (value, channel) in rest.iter_mut().zip(channel_rest) {
                *value *= channel + gate;
            }
        }
    }
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
