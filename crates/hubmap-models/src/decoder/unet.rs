//! U-Net decoder in the form of segmentation_models.pytorch.

use burn::module::Module;

use super::{DECODER_CHANNELS, ScSe};
use crate::channels_last::{Ending, Input, Maps};
use crate::config::Attention;
use crate::fresh::{FreshWeights, Start};
use crate::layers::{ConvNorm, ConvNormSpec};

/// U-Net decoder: five blocks, each doubling the resolution and taking in one skip.
#[derive(Module, Debug)]
pub struct Unet {
    /// Deepest first.
    pub blocks: Vec<UnetDecoderBlock>,
}

impl Unet {
    /// A decoder for features with `channels` at strides 1 to 32.
    pub fn new(channels: [usize; 6], attention: Attention, weights: &mut FreshWeights) -> Self {
        let [_, c1, c2, c3, c4, c5] = channels;
        let skips = [c4, c3, c2, c1, 0];
        let mut in_channels = c5;
        let blocks = DECODER_CHANNELS
            .iter()
            .zip(skips)
            .map(|(&out, skip)| {
                let block = UnetDecoderBlock::new(in_channels, skip, out, attention, weights);
                in_channels = out;
                block
            })
            .collect();
        Self { blocks }
    }

    /// Features at strides 1 to 32 to 16 channels at full resolution.
    pub(crate) fn apply(&self, features: [Maps; 6]) -> Maps {
        let [_, f1, f2, f3, f4, f5] = features;
        let skips = [Some(f4), Some(f3), Some(f2), Some(f1), None];
        self.blocks.iter().zip(skips).fold(f5, |x, (block, skip)| block.apply(x, skip.into_iter().collect()))
    }
}

/// Upsample ×2 (nearest), concatenate the skips, then twice 3×3 convolution, normalisation and ReLU.
#[derive(Module, Debug)]
pub struct UnetDecoderBlock {
    /// First convolution.
    pub conv1: ConvNorm,
    /// Attention on the concatenated input.
    pub attention1: Option<ScSe>,
    /// Second convolution.
    pub conv2: ConvNorm,
    /// Attention on the output.
    pub attention2: Option<ScSe>,
}

impl UnetDecoderBlock {
    /// A block from `in_channels + skip_channels` to `out_channels` channels.
    pub fn new(
        in_channels: usize,
        skip_channels: usize,
        out_channels: usize,
        attention: Attention,
        weights: &mut FreshWeights,
    ) -> Self {
        let conv = |in_channels, weights: &mut FreshWeights| {
            ConvNormSpec { in_channels, out_channels, kernel_px: 3, stride: 1, groups: 1, bn_weight: 1.0 }
                .init(Start::KaimingUniform, weights)
        };
        let scse = |channels, weights: &mut FreshWeights| match attention {
            Attention::None => None,
            Attention::ScSe => Some(ScSe::new(channels, weights)),
        };
        Self {
            conv1: conv(in_channels + skip_channels, weights),
            attention1: scse(in_channels + skip_channels, weights),
            conv2: conv(out_channels, weights),
            attention2: scse(out_channels, weights),
        }
    }

    /// `x` has half the resolution of every skip and of the result.
    pub(crate) fn apply(&self, x: Maps, skips: Vec<Maps>) -> Maps {
        let inputs = match &self.attention1 {
            // SMP leaves the first attention out where there is no skip, though it has the weights.
            Some(attention) if !skips.is_empty() => {
                let parts = std::iter::once(x.upsample2()).chain(skips).collect();
                vec![Input::plain(attention.apply(Maps::concatenate(parts)))]
            }
            _ => std::iter::once(Input::upsampled(x)).chain(skips.into_iter().map(Input::plain)).collect(),
        };
        let x = self.conv1.apply(&inputs, Ending::relu());
        let x = self.conv2.apply(&[Input::plain(x)], Ending::relu());
        match &self.attention2 {
            Some(attention) => attention.apply(x),
            None => x,
        }
    }
}
