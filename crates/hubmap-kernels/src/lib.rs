#![doc = include_str!("../README.md")]

mod conv;
mod error;
mod images;
mod microkernel;

pub use conv::{Conv, ConvShape, Finish, Source};
pub use error::KernelError;
pub use images::{Extent, Images};
