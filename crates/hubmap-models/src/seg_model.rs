//! A model is encoder, decoder and head, nothing else.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};

use crate::channels_last::{Input, Maps, convolve};
use crate::config::SegModelConfig;
use crate::decoder::{DECODER_CHANNELS, Decoder};
use crate::encoder::{RegNet, regnet_spec};
use crate::fresh::{FreshWeights, Start};

/// Input height and width must be multiples of this, the encoder's deepest stride.
pub const SIZE_MULTIPLE: usize = 32;

/// An input that the network cannot halve five times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "input of {height}x{width} px (height x width) does not fit: both must be positive multiples of 32; \
     the nearest larger size is {good_height}x{good_width}"
)]
pub struct InputSizeError {
    /// Given height in pixels.
    pub height: usize,
    /// Given width in pixels.
    pub width: usize,
    /// Next height that works.
    pub good_height: usize,
    /// Next width that works.
    pub good_width: usize,
}

/// Encoder, decoder and a 3×3 head to one logit per pixel.
#[derive(Module, Debug)]
pub struct SegModel {
    /// Feature extractor.
    pub encoder: RegNet,
    /// Back to full resolution.
    pub decoder: Decoder,
    /// 3×3 convolution from 16 channels to 1 logit.
    pub head: Conv2d,
}

impl SegModelConfig {
    /// Builds the network with fresh weights: those of seed 0.
    pub fn init(&self, device: &Device) -> SegModel {
        self.init_seeded(0, device)
    }

    /// Builds the network with the fresh weights that belong to `seed`, the same on every device: timm's start
    /// values in the encoder, segmentation_models.pytorch's in decoder and head.
    pub fn init_seeded(&self, seed: u64, device: &Device) -> SegModel {
        let weights = &mut FreshWeights::new(seed, device);
        let spec = regnet_spec(self.encoder);
        let head = Conv2dConfig::new([DECODER_CHANNELS[4], 1], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        SegModel {
            encoder: spec.init(weights),
            decoder: Decoder::new(self.decoder, spec.feature_channels(), self.attention, weights),
            head: weights.conv(&head, Start::XavierUniform),
        }
    }
}

impl SegModel {
    /// Image `[n, 3, h, w]`, normalised, to logits `[n, 1, h, w]`.
    ///
    /// Panics if `h` or `w` is not a multiple of 32: ask [`SegModel::check_input`] before.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let features = self.encoder.features(Maps::from_channels_first(image));
        convolve(&[Input::plain(self.decoder.apply(features))], &self.head).into_channels_first()
    }

    /// The device that the weights are on.
    pub fn device(&self) -> Device {
        self.head.weight.device()
    }

    /// Whether [`SegModel::forward`] takes an image of this height and width.
    pub fn check_input(height: usize, width: usize) -> Result<(), InputSizeError> {
        let good = |px: usize| px.next_multiple_of(SIZE_MULTIPLE).max(SIZE_MULTIPLE);
        let (good_height, good_width) = (good(height), good(width));
        if (good_height, good_width) == (height, width) {
            Ok(())
        } else {
            Err(InputSizeError { height, width, good_height, good_width })
        }
    }
}
