//! Concurrent spatial and channel squeeze-and-excitation.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};

use crate::layers::{global_mean, pointwise};

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
    pub fn new(channels: usize, device: &Device) -> Self {
        let squeezed = channels / REDUCTION;
        Self {
            channel_squeeze: pointwise(channels, squeezed, device),
            channel_excite: pointwise(squeezed, channels, device),
            spatial: pointwise(channels, 1, device),
        }
    }

    /// `[n, c, h, w]` to the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let squeezed = relu(self.channel_squeeze.forward(global_mean(x.clone())));
        let channel = sigmoid(self.channel_excite.forward(squeezed));
        let spatial = sigmoid(self.spatial.forward(x.clone()));
        x.clone().mul(channel).add(x.mul(spatial))
    }
}
