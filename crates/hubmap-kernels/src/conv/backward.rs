//! The convolution that takes gradients of outputs back to a source.

use rayon::prelude::*;

use super::pack::Taps;
use super::{Conv, ConvShape, Source};
use crate::KernelError;

impl ConvShape {
    /// The convolution from the output's gradient to the gradient of source `index`; of an odd size, a row or
    /// column too many comes out of a convolution of stride 2.
    ///
    /// Of an upsampled source, its stride of 2 leads to the source's own resolution with 16 products per pixel
    /// instead of 36.
    #[must_use]
    pub fn backward(&self, index: usize) -> Self {
        let upsampled = self.sources[index].upsampled;
        let source = if self.stride == 1 { Source::plain } else { Source::spread };
        Self {
            sources: vec![source(self.out_channels)],
            out_channels: self.sources[index].channels,
            kernel_px: if upsampled { 4 } else { self.kernel_px },
            stride: if upsampled { 2 } else { 1 },
            groups: self.groups,
        }
    }
}

impl Conv {
    /// The convolution [`ConvShape::backward`] of a convolution with these weights,
    /// `[out_channels, group_in_channels, kernel_px, kernel_px]`.
    pub fn backward(shape: &ConvShape, index: usize, weights: &[f32]) -> Result<Self, KernelError> {
        shape.check()?;
        if weights.len() != shape.n_weights() {
            let (expected_weights, expected_bias) = (shape.n_weights(), 0);
            let n_weights = weights.len();
            return Err(KernelError::Weights { n_weights, n_bias: 0, expected_weights, expected_bias });
        }
        let back = shape.backward(index);
        back.check()?;
        let taps = Taps::backward(shape, index, back.kernel_px, weights);
        let bias = vec![0.0; back.out_channels];
        Ok(Self::lay_out(back, &taps, &bias))
    }
}

impl Taps {
    /// The weights of source `index` with the two axes of channels exchanged.
    fn backward(shape: &ConvShape, index: usize, back_px: usize, weights: &[f32]) -> Self {
        let (kernel, n_all) = (shape.kernel_px, shape.group_in_channels());
        let n_taps = kernel * kernel;
        let n_in = shape.out_channels / shape.groups;
        let n_out = shape.sources[index].channels;
        let own = n_out / shape.groups;
        let first: usize = shape.sources[..index].iter().map(|s| s.channels / shape.groups).sum();
        let mut values = vec![0.0; n_taps * n_in * n_out];
        let mut planes: Vec<_> = values.chunks_mut(n_in * n_out).map(|tap| tap.chunks_mut(n_out)).collect();
        let rows: Vec<Vec<&mut [f32]>> =
            (0..n_in).map(|_| planes.iter_mut().filter_map(Iterator::next).collect()).collect();
        rows.into_par_iter().enumerate().for_each(|(out, mut planes)| {
            for group in 0..shape.groups {
                let windows = &weights[((group * n_in + out) * n_all + first) * n_taps..][..own * n_taps];
                for (channel, window) in windows.chunks_exact(n_taps).enumerate() {
                    for (plane, weight) in planes.iter_mut().zip(window) {
                        plane[group * own + channel] = *weight;
                    }
                }
            }
        });
        // For every position of the window backward, the positions of this one that lead there.
        let axis: Vec<Vec<usize>> = (0..back_px)
            .map(|at| {
                if shape.sources[index].upsampled {
                    upsampled_taps(kernel, at)
                } else {
                    vec![kernel - 1 - at]
                }
            })
            .collect();
        let of_positions = (0..back_px * back_px)
            .map(|at| {
                let (rows, columns) = (&axis[at / back_px], &axis[at % back_px]);
                rows.iter().flat_map(|y| columns.iter().map(move |x| y * kernel + x)).collect()
            })
            .collect();
        Self { values, n_in, n_out, of_positions }
    }
}

/// Rows of the kernel that lead from output row `2 · y + at - 1` to row `y` of an upsampled source.
fn upsampled_taps(kernel: usize, at: usize) -> Vec<usize> {
    // The output row sees rows `2 · y + at - 1 + tap - kernel / 2` of the upsampled source, which halve to `y`.
    (0..kernel).filter(|tap| (2..4).contains(&(at + 1 + tap - kernel / 2))).collect()
}
