#![doc = include_str!("../README.md")]
#![expect(
    clippy::inline_always,
    reason = "code gets vector instructions by being inlined into pulp's dispatch"
)]

mod conv;
mod error;
pub mod gates;
mod images;
mod microkernel;
pub mod normalization;
pub mod parameter_update;
mod rows;
mod thin;
pub mod upsampling;
mod weight_gradient;

pub use conv::{Conv, ConvShape, Finish, GatedConv, Source};
pub use error::KernelError;
pub use images::{Extent, Images};
pub use thin::ThinConv;
pub use weight_gradient::weight_gradient;
