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

/// The vector instructions that the kernels run with on this machine: `AVX-512`, `AVX2 and FMA`, `NEON` or `scalar`.
pub fn instruction_set() -> &'static str {
    // The variants of a type of another crate depend on target and features; their names do not.
    let name = format!("{:?}", pulp::Arch::new());
    let known = [("V4", "AVX-512"), ("V3", "AVX2 and FMA"), ("Neon", "NEON")];
    known.iter().find(|(variant, _)| name.starts_with(variant)).map_or("scalar", |(_, words)| words)
}
