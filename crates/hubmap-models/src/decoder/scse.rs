//! Concurrent spatial and channel squeeze-and-excitation.

use burn::module::Module;
use burn::nn::conv::Conv2d;

use crate::channels_last::{Gate, Input, Maps, convolve};
use crate::fresh::FreshWeights;
use crate::layers::pointwise;

/// Channels are squeezed by this factor.
const REDUCTION: usize = 16;

/// scSE attention (Roy et al., MICCAI 2018): `x * channel gate + x * pixel gate`.
#[derive(Module, Debug)]
pub struct ScSe {
    /// Channel gate, squeeze.
    pub channel_squeeze: Conv2d,
    /// Channel gate, excite.
    pub channel_excite: Conv2d,
    /// Pixel gate.
    pub spatial: Conv2d,
}

impl ScSe {
    /// Attention over `channels` channels.
    pub fn new(channels: usize, weights: &mut FreshWeights) -> Self {
        let squeezed = channels / REDUCTION;
        Self {
            channel_squeeze: pointwise(channels, squeezed, weights),
            channel_excite: pointwise(squeezed, channels, weights),
            spatial: pointwise(channels, 1, weights),
        }
    }

    /// Maps to maps of the same size.
    pub(crate) fn apply(&self, x: Maps) -> Maps {
        let spatial = convolve(&[Input::plain(x.clone())], &self.spatial);
        let gate = Gate { squeeze: &self.channel_squeeze, excite: &self.channel_excite };
        x.clone().squeeze_and_excite(&gate).add(x.gate_pixels(spatial))
    }
}
