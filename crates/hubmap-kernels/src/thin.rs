//! Convolution to a single output channel.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::{Extent, Images, KernelError};

/// A 1×1 or 3×3 convolution to one channel, such as a segmentation head or a spatial gate.
///
/// [`crate::Conv`] handles eight output channels at a time, which here would be seven in vain; this one takes
/// the dot product of whole rows of the window instead.
#[derive(Debug, Clone)]
pub struct ThinConv {
    channels: usize,
    kernel_px: usize,
    /// `[kernel_px, kernel_px, channels]`.
    weights: Vec<f32>,
    bias: f32,
}

/// Neighbouring pixels that share each reading of the weights.
const PIXELS: usize = 4;

impl ThinConv {
    /// Takes `weights`, `[1, channels, kernel_px, kernel_px]`.
    pub fn new(channels: usize, kernel_px: usize, weights: &[f32], bias: f32) -> Result<Self, KernelError> {
        if !matches!(kernel_px, 1 | 3) || channels == 0 {
            return Err(KernelError::Shape { problem: "kernels are 1x1 or 3x3 over at least one channel" });
        }
        let window = kernel_px * kernel_px;
        if weights.len() != channels * window {
            return Err(KernelError::Weights {
                n_weights: weights.len(),
                n_bias: 1,
                expected_weights: channels * window,
                expected_bias: 1,
            });
        }
        let weights =
            (0..window).flat_map(|position| weights.iter().skip(position).step_by(window).copied()).collect();
        Ok(Self { channels, kernel_px, weights, bias })
    }

    /// Convolves `[n, h, w, channels]` into `output`, `[n, h, w]`.
    pub fn run(&self, images: Images<'_>, output: &mut [f32]) -> Result<(), KernelError> {
        let extent = images.extent();
        if extent.channels != self.channels {
            return Err(KernelError::Source { extent, channels: self.channels });
        }
        if output.len() != extent.pixels() {
            let extent = Extent { channels: 1, ..extent };
            return Err(KernelError::Length { found: output.len(), extent });
        }
        if output.is_empty() {
            return Ok(());
        }
        let arch = Arch::new();
        output
            .par_chunks_mut(extent.width)
            .enumerate()
            .for_each(|(y, output)| arch.dispatch(OutputRow { conv: self, images, y, output }));
        Ok(())
    }
}

/// One row of output.
struct OutputRow<'a> {
    conv: &'a ThinConv,
    images: Images<'a>,
    /// Counted through all images.
    y: usize,
    output: &'a mut [f32],
}

impl WithSimd for OutputRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Extent { height, width, channels, .. } = self.images.extent();
        let half = self.conv.kernel_px / 2;
        let y = self.y % height;
        let kernel_rows: Vec<(&[f32], &[f32])> = (0..self.conv.kernel_px)
            .filter(|ky| (half..height + half).contains(&(y + ky)))
            .map(|ky| {
                let input =
                    &self.images.data()[(self.y + ky - half) * width * channels..][..width * channels];
                let len = self.conv.kernel_px * channels;
                (input, &self.conv.weights[ky * len..][..len])
            })
            .collect();
        let mut x = 0;
        while x < width {
            if x >= half && x + PIXELS + half <= width {
                let mut sums = [simd.splat_f32s(0.0); PIXELS];
                let mut rests = [self.conv.bias; PIXELS];
                for (input, weights) in &kernel_rows {
                    let inputs: [&[f32]; PIXELS] =
                        std::array::from_fn(|pixel| &input[(x + pixel - half) * channels..][..weights.len()]);
                    dot(simd, &mut sums, &mut rests, &inputs, weights);
                }
                for pixel in 0..PIXELS {
                    self.output[x + pixel] = rests[pixel] + simd.reduce_sum_f32s(sums[pixel]);
                }
                x += PIXELS;
            } else {
                // At the border the window is cut.
                let (first, end) = (x.saturating_sub(half), (x + half + 1).min(width));
                let cut = (first + half - x) * channels;
                let mut sums = [simd.splat_f32s(0.0)];
                let mut rests = [self.conv.bias];
                for (input, weights) in &kernel_rows {
                    let input = &input[first * channels..end * channels];
                    dot(simd, &mut sums, &mut rests, &[input], &weights[cut..][..input.len()]);
                }
                self.output[x] = rests[0] + simd.reduce_sum_f32s(sums[0]);
                x += 1;
            }
        }
    }
}

/// Adds the products of each input with the weights, whole vectors into `sums` and what is left into `rests`.
#[inline(always)]
fn dot<S: Simd, const N: usize>(
    simd: S,
    sums: &mut [S::f32s; N],
    rests: &mut [f32; N],
    inputs: &[&[f32]; N],
    weights: &[f32],
) {
    let (weights, weights_rest) = S::as_simd_f32s(weights);
    let mut wholes: [&[S::f32s]; N] = [&[]; N];
    for pixel in 0..N {
        let (whole, rest) = S::as_simd_f32s(inputs[pixel]);
        wholes[pixel] = &whole[..weights.len()];
        rests[pixel] += rest.iter().zip(weights_rest).map(|(a, b)| a * b).sum::<f32>();
    }
    for (k, &weight) in weights.iter().enumerate() {
        for pixel in 0..N {
            sums[pixel] = simd.mul_add_e_f32s(wholes[pixel][k], weight, sums[pixel]);
        }
    }
}
