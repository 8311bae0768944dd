//! Encoders: an image in, features at strides 1, 2, 4, 8, 16 and 32 out.

mod regnet;

pub use regnet::{Bottleneck, RegNet, RegNetSpec, RegNetStage, SqueezeExcite, regnet_spec};
