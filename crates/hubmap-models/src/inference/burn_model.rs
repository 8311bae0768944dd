//! A Burn network with its normalisations folded in.

use burn::tensor::{Device, Tensor, TensorData};

use super::fold::fold_in_place;
use super::network::{ForwardError, check_images};
use crate::decoder::{Decoder, UnetDecoderBlock};
use crate::encoder::{Bottleneck, RegNetStage};
use crate::seg_model::SegModel;

/// The inference form of a [`SegModel`] for devices other than flex.
#[derive(Debug)]
pub struct BurnModel {
    model: SegModel,
    device: Device,
}

impl BurnModel {
    /// Folds the normalisations of `model`, which must be on a device without autodiff (`model.valid()`).
    pub fn new(mut model: SegModel) -> Self {
        let device = model.device();
        model.encoder.stem = fold_in_place(model.encoder.stem);
        model.encoder.s1 = fold_stage(model.encoder.s1);
        model.encoder.s2 = fold_stage(model.encoder.s2);
        model.encoder.s3 = fold_stage(model.encoder.s3);
        model.encoder.s4 = fold_stage(model.encoder.s4);
        match &mut model.decoder {
            Decoder::Unet(unet) => fold_blocks(&mut unet.blocks),
            Decoder::UnetPlusPlus(unet) => fold_blocks(&mut unet.blocks),
        }
        Self { model, device }
    }

    /// As [`super::InferenceModel::forward`].
    pub fn forward(
        &self,
        images: &[f32],
        count: usize,
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>, ForwardError> {
        Self::download(self.logits(self.upload(images, count, height, width)?))
    }

    /// Normalised images, `[n, 3, h, w]` in C order, on the model's device.
    ///
    /// # Errors
    ///
    /// As [`super::InferenceModel::forward`].
    pub fn upload(
        &self,
        images: &[f32],
        count: usize,
        height: usize,
        width: usize,
    ) -> Result<Tensor<4>, ForwardError> {
        check_images(images, count, height, width)?;
        let dims = [count, 3, height, width];
        #[cfg(feature = "tch")]
        if let Some(tensor) = crate::channels_last::libtorch::upload(images, dims, &self.device) {
            return Ok(tensor);
        }
        Ok(Tensor::from_data(TensorData::new(images.to_vec(), dims), &self.device))
    }

    /// Logits `[n, 1, h, w]` of [uploaded](Self::upload) images, which stay on the device.
    pub fn logits(&self, images: Tensor<4>) -> Tensor<4> {
        self.model.forward(images)
    }

    /// The numbers of a tensor in C order.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn download(tensor: Tensor<4>) -> Result<Vec<f32>, ForwardError> {
        tensor.try_into_vec_as::<f32>().map_err(|error| ForwardError::Device { problem: error.to_string() })
    }
}

fn fold_stage(stage: RegNetStage) -> RegNetStage {
    let blocks = stage
        .blocks
        .into_iter()
        .map(|block| Bottleneck {
            conv1: fold_in_place(block.conv1),
            conv2: fold_in_place(block.conv2),
            conv3: fold_in_place(block.conv3),
            downsample: block.downsample.map(fold_in_place),
            se: block.se,
        })
        .collect();
    RegNetStage { blocks }
}

fn fold_blocks(blocks: &mut Vec<UnetDecoderBlock>) {
    for block in std::mem::take(blocks) {
        blocks.push(UnetDecoderBlock {
            conv1: fold_in_place(block.conv1),
            conv2: fold_in_place(block.conv2),
            attention1: block.attention1,
            attention2: block.attention2,
        });
    }
}
