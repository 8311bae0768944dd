#![doc = include_str!("../README.md")]

mod conv;
mod error;
mod gate;
mod images;
mod microkernel;
mod thin;

pub use conv::{Conv, ConvShape, Finish, GatedConv, Source};
pub use error::KernelError;
pub use gate::{apply_gates, channel_means, concatenate};
pub use images::{Extent, Images};
pub use thin::ThinConv;
