//! Means over the pixels of every channel, products with a matrix, factors per channel and per pixel: what attention
//! blocks consist of.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::rows::{block_len, for_block, per_channel, task_len};
use crate::{Extent, Images, KernelError};

/// Mean of every channel over the pixels of each image: `[n, h, w, c]` to `[n, c]`.
pub fn channel_means(images: Images<'_>) -> Vec<f32> {
    let extent = images.extent();
    if extent.is_empty() {
        return vec![0.0; extent.count * extent.channels];
    }
    let mut means = pixel_sums(images.data(), extent.count, extent.channels);
    let per_pixel = 1.0 / (extent.height * extent.width) as f32;
    for mean in &mut means {
        *mean *= per_pixel;
    }
    means
}

/// Rows of `inputs` times the transpose of `weights`, plus bias: `[n, in]` and `[out, in]` to `[n, out]`, a 1×1
/// convolution over one pixel per image.
pub fn linear(inputs: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let n_in = (weights.len() / bias.len().max(1)).max(1);
    let rows = inputs.chunks_exact(n_in);
    rows.flat_map(|row| {
        weights.chunks_exact(n_in).zip(bias).map(move |(weights, bias)| dot(row, weights) + bias)
    })
    .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums of their own let the compiler use vectors.
    let mut sums = [0.0_f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Sums over the pixels of every image and channel: `[n, pixels, channels]` to `[n, channels]`.
pub fn pixel_sums(values: &[f32], n_images: usize, channels: usize) -> Vec<f32> {
    image_sums(values, None, n_images, channels)
}

/// Sums of the products of two arrays, as [`pixel_sums`].
///
/// # Panics
/// If the slices differ in length.
pub fn pixel_products(a: &[f32], b: &[f32], n_images: usize, channels: usize) -> Vec<f32> {
    assert_eq!(a.len(), b.len());
    image_sums(a, Some(b), n_images, channels)
}

fn image_sums(values: &[f32], factors: Option<&[f32]>, n_images: usize, channels: usize) -> Vec<f32> {
    let image = (values.len() / n_images.max(1)).max(1);
    let n = task_len(channels);
    let mut out = vec![0.0; n_images * channels];
    out.par_chunks_mut(channels).zip(values.par_chunks(image)).enumerate().for_each(|(at, (out, values))| {
        let parts: Vec<Vec<f32>> = values
            .par_chunks(n)
            .enumerate()
            .map(|(task, values)| {
                let start = at * image + task * n;
                let factors = factors.map(|f| &f[start..start + values.len()]);
                Arch::new().dispatch(Products { values, factors, channels })
            })
            .collect();
        let mut sums = vec![0.0_f64; channels];
        for part in &parts {
            for (sum, part) in sums.iter_mut().zip(per_channel(part, channels)) {
                *sum += part;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum as f32;
        }
    });
    out
}

struct Products<'a> {
    values: &'a [f32],
    factors: Option<&'a [f32]>,
    channels: usize,
}

impl WithSimd for Products<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let mut sums = vec![0.0; block_len(self.channels)];
        let block = sums.len();
        for (at, values) in self.values.chunks(block).enumerate() {
            let n = values.len();
            let (values, values_tail) = S::as_simd_f32s(values);
            let (sums, sums_tail) = S::as_mut_simd_f32s(&mut sums[..n]);
            if let Some(factors) = self.factors {
                let (factors, factors_tail) = S::as_simd_f32s(&factors[at * block..at * block + n]);
                for ((sum, &value), &factor) in sums.iter_mut().zip(values).zip(factors) {
                    *sum = simd.mul_add_e_f32s(value, factor, *sum);
                }
                for ((sum, &value), &factor) in sums_tail.iter_mut().zip(values_tail).zip(factors_tail) {
                    *sum += value * factor;
                }
            } else {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum = simd.add_f32s(*sum, value);
                }
                for (sum, &value) in sums_tail.iter_mut().zip(values_tail) {
                    *sum += value;
                }
            }
        }
        sums
    }
}

/// `values · factor + summand` with a factor and a summand per image and channel, both `[n, channels]`; in place.
///
/// # Panics
/// If factors and summands differ in length.
pub fn scale_channels(values: &mut [f32], factors: &[f32], summands: Option<&[f32]>, channels: usize) {
    let n_images = factors.len() / channels;
    let image = (values.len() / n_images.max(1)).max(1);
    let zeros = vec![0.0; factors.len()];
    let summands = summands.unwrap_or(&zeros);
    assert_eq!(factors.len(), summands.len());
    values.par_chunks_mut(image).enumerate().for_each(|(at, values)| {
        let factors = for_block(&factors[at * channels..(at + 1) * channels]);
        let summands = for_block(&summands[at * channels..(at + 1) * channels]);
        values.par_chunks_mut(task_len(channels)).for_each(|values| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for values in values.chunks_mut(block_len(channels)) {
                        for ((value, factor), summand) in values.iter_mut().zip(&factors).zip(&summands) {
                            *value = value.mul_add(*factor, *summand);
                        }
                    }
                },
            );
        });
    });
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
