//! Decoders: features in, one map of 16 channels at full resolution out.

mod scse;
mod unet;
mod unetplusplus;

pub use scse::ScSe;
pub use unet::{Unet, UnetDecoderBlock};
pub use unetplusplus::UnetPlusPlus;
pub(crate) use unetplusplus::{
    N_SKIPS, block_name as unetplusplus_block_name, position as unetplusplus_position,
};

use burn::module::Module;
use burn::tensor::Tensor;

use crate::channels_last::Maps;
use crate::config::{Attention, DecoderKind};
use crate::fresh::FreshWeights;

/// Output channels of the decoder's five levels, deepest first.
pub const DECODER_CHANNELS: [usize; 5] = [256, 128, 64, 32, 16];

/// The decoders.
#[derive(Module, Debug)]
pub enum Decoder {
    /// U-Net.
    Unet(Unet),
    /// UNet++.
    UnetPlusPlus(UnetPlusPlus),
}

impl Decoder {
    /// Builds a decoder for features with `channels` at strides 1 to 32.
    pub fn new(
        kind: DecoderKind,
        channels: [usize; 6],
        attention: Attention,
        weights: &mut FreshWeights,
    ) -> Self {
        match kind {
            DecoderKind::Unet => Self::Unet(Unet::new(channels, attention, weights)),
            DecoderKind::UnetPlusPlus => Self::UnetPlusPlus(UnetPlusPlus::new(channels, attention, weights)),
        }
    }

    /// Features `[n, _, h, w]` at strides 1 to 32 to `[n, 16, h, w]`. The stride-1 feature, the image, is not used.
    pub fn forward(&self, features: [Tensor<4>; 6]) -> Tensor<4> {
        self.apply(features.map(Maps::from_channels_first)).into_channels_first()
    }

    /// [`Decoder::forward`] with channels last.
    pub(crate) fn apply(&self, features: [Maps; 6]) -> Maps {
        match self {
            Self::Unet(unet) => unet.apply(features),
            Self::UnetPlusPlus(unetplusplus) => unetplusplus.apply(features),
        }
    }
}
