//! Means over the pixels of every channel, and factors per channel: what squeeze-and-excitation consists of.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::rows::{block_len, for_block, per_channel, task_len};

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
