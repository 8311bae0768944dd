//! The inference form of a model: batch normalisation folded into the convolutions, weights laid out once.
//!
//! On the CPU backend the network runs through [`hubmap_kernels`], channels last, without materialising
//! upsampled or concatenated feature maps; on other devices it stays a Burn network.

mod buffers;
mod burn_model;
mod decoder;
mod encoder;
mod fold;
mod network;

pub use burn_model::BurnModel;
pub use network::{CpuModel, ForwardError};

use burn::backend::DispatchDevice;

use crate::seg_model::SegModel;

/// A model in its inference form, on the device that it was on.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has a handful of models")]
pub enum InferenceModel {
    /// On Burn's flex device.
    Cpu(CpuModel),
    /// On any other device.
    Burn(BurnModel),
}

impl InferenceModel {
    /// The inference form of `model`, which must be on a device without autodiff (`model.valid()`): only then
    /// are its running statistics up to date.
    pub fn new(model: SegModel) -> Result<Self, ForwardError> {
        let is_flex = matches!(model.device().as_dispatch(), DispatchDevice::Flex(_));
        Ok(if is_flex { Self::Cpu(CpuModel::new(&model)?) } else { Self::Burn(BurnModel::new(model)) })
    }

    /// Logits, `[n, 1, h, w]`, of normalised images, `[n, 3, h, w]`, both in C order.
    ///
    /// # Errors
    ///
    /// Height and width must be multiples of 32, and there must be as many numbers as they say.
    pub fn forward(
        &self,
        images: &[f32],
        count: usize,
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>, ForwardError> {
        match self {
            Self::Cpu(model) => model.forward(images, count, height, width),
            Self::Burn(model) => model.forward(images, count, height, width),
        }
    }
}
