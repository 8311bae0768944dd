//! CPU kernels of convolutional networks over `f32` arrays in NHWC order.

pub mod channel_gate;
pub mod normalization;
pub mod parameter_update;
mod rows;
pub mod upsampling;
pub mod weight_gradient;
