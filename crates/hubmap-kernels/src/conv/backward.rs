//! The convolution that takes gradients of outputs back to a source.

use rayon::prelude::*;

use super::{ConvShape, Source};

impl ConvShape {
    /// The convolution from the output's gradient to the gradient of source `index`.
    ///
    /// Where this convolution has a stride, it reads the gradient with zeros between its pixels
    /// ([`spread2`](crate::upsampling::spread2)). Of an upsampled source, its stride of 2 leads to the source's own
    /// resolution with 16 products per pixel instead of 36.
    pub fn backward(&self, index: usize) -> Self {
        let upsampled = self.sources[index].upsampled;
        Self {
            sources: vec![Source::plain(self.out_channels)],
            out_channels: self.sources[index].channels,
            kernel_px: if upsampled { 4 } else { self.kernel_px },
            stride: if upsampled { 2 } else { 1 },
            groups: self.groups,
        }
    }

    /// The weights of [`ConvShape::backward`] from this convolution's: turned by half a turn, with the two axes
    /// of channels exchanged.
    ///
    /// # Panics
    /// If there are not as many weights as this shape has.
    pub fn backward_weights(&self, index: usize, weights: &[f32]) -> Vec<f32> {
        assert_eq!(weights.len(), self.n_weights());
        let (kernel, n_in) = (self.kernel_px, self.group_in_channels());
        let back = self.backward(index).kernel_px;
        let (n_taps, n_back) = (kernel * kernel, back * back);
        let out_group = self.out_channels / self.groups;
        let in_group = self.sources[index].channels / self.groups;
        let first: usize = self.sources[..index].iter().map(|s| s.channels / self.groups).sum();
        // For every position of the window backward, the positions of this one that lead there.
        let axis: Vec<Vec<usize>> = (0..back)
            .map(|at| if self.sources[index].upsampled { upsampled_taps(kernel, at) } else { vec![kernel - 1 - at] })
            .collect();
        let taps: Vec<Vec<usize>> = (0..n_back)
            .map(|at| {
                let (rows, columns) = (&axis[at / back], &axis[at % back]);
                rows.iter().flat_map(|y| columns.iter().map(move |x| y * kernel + x)).collect()
            })
            .collect();
        let mut turned = vec![0.0; self.sources[index].channels * out_group * n_back];
        turned.par_chunks_mut(out_group * n_back).enumerate().for_each(|(channel, turned)| {
            let (group, channel) = (channel / in_group, channel % in_group);
            for (out, turned) in turned.chunks_exact_mut(n_back).enumerate() {
                let start = ((group * out_group + out) * n_in + first + channel) * n_taps;
                let window = &weights[start..start + n_taps];
                for (to, taps) in turned.iter_mut().zip(&taps) {
                    *to = taps.iter().map(|&tap| window[tap]).sum();
                }
            }
        });
        turned
    }
}

/// Rows of the kernel that lead from output row `2 · y + at - 1` to row `y` of an upsampled source.
fn upsampled_taps(kernel: usize, at: usize) -> Vec<usize> {
    // The output row sees rows `2 · y + at - 1 + tap - kernel / 2` of the upsampled source, which halve to `y`.
    (0..kernel).filter(|tap| (2..4).contains(&(at + 1 + tap - kernel / 2))).collect()
}
