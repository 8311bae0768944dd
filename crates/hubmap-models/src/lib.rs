#![doc = include_str!("../README.md")]

mod channels_last;
mod checkpoint_name;
mod config;
mod decoder;
mod encoder;
mod fresh;
mod inference;
mod layers;
mod padding;
mod seg_model;
mod weights;

pub use checkpoint_name::{CheckpointName, NotACheckpointName};
pub use config::{Attention, DecoderKind, EncoderKind, SegModelConfig, UnknownName};
pub use decoder::{DECODER_CHANNELS, Decoder, ScSe, Unet, UnetDecoderBlock, UnetPlusPlus};
pub use encoder::{Bottleneck, RegNet, RegNetSpec, RegNetStage, SqueezeExcite, regnet_spec};
pub use fresh::FreshWeights;
pub use inference::{BurnModel, CpuModel, ForwardError, InferenceModel};
pub use layers::{BatchNorm, ConvNorm};
pub use padding::{crop_to, pad_to_multiple};
pub use seg_model::{InputSizeError, SIZE_MULTIPLE, SegModel};
pub use weights::{
    ElementType, Misshapen, SavedAs, TensorInfo, WeightsError, WeightsFile, WeightsFormat, WeightsLayout,
    WeightsMismatch, WeightsNaming, guess_config, load_encoder_weights, load_weights, save_encoder_weights,
    save_weights, save_weights_as,
};
