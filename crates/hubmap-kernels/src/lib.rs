#![doc = include_str!("../README.md")]
#![expect(
    clippy::inline_always,
    reason = "code gets vector instructions by being inlined into pulp's dispatch"
)]

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
