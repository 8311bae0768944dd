//! The convolution that takes gradients of outputs back to a source.

use rayon::prelude::*;

use super::{ConvShape, Source};

impl ConvShape {
    /// The convolution of stride 1 from the output's gradient, with zeros between its pixels where this one has
    /// a stride, to the gradient of source `index` at the output's resolution.
    pub fn backward(&self, index: usize) -> Self {
        Self {
            sources: vec![Source::plain(self.out_channels)],
            out_channels: self.sources[index].channels,
            kernel_px: self.kernel_px,
            stride: 1,
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
        let (n_taps, n_in) = (self.kernel_px * self.kernel_px, self.group_in_channels());
        let out_group = self.out_channels / self.groups;
        let in_group = self.sources[index].channels / self.groups;
        let first: usize = self.sources[..index].iter().map(|s| s.channels / self.groups).sum();
        let mut turned = vec![0.0; self.sources[index].channels * out_group * n_taps];
        turned.par_chunks_mut(out_group * n_taps).enumerate().for_each(|(channel, turned)| {
            let (group, channel) = (channel / in_group, channel % in_group);
            for (out, turned) in turned.chunks_exact_mut(n_taps).enumerate() {
                let start = ((group * out_group + out) * n_in + first + channel) * n_taps;
                for (to, from) in turned.iter_mut().zip(weights[start..start + n_taps].iter().rev()) {
                    *to = *from;
                }
            }
        });
        turned
    }
}
