//! Encoders: an image in, features at strides 1, 2, 4, 8, 16 and 32 out.

mod regnet;
mod regnet_table;

pub use regnet::{Bottleneck, RegNet, RegNetStage, SqueezeExcite};
pub use regnet_table::{EncoderKind, RegNetSpec, regnet_spec};
