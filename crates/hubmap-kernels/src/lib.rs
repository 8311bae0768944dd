#![doc = include_str!("../README.md")]

pub mod channel_gate;
mod conv;
mod error;
mod images;
mod microkernel;
pub mod normalization;
pub mod parameter_update;
mod rows;
pub mod upsampling;
mod weight_gradient;

pub use conv::{Conv, ConvShape, Finish, Source};
pub use error::KernelError;
pub use images::{Extent, Images};
pub use weight_gradient::weight_gradient;
