//! A Burn network behind [`SegmentTiles`]: the only place where arrays become tensors.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use hubmap_models::{SegModel, SegModelConfig, load_weights};
use ndarray::Array4;

use crate::segment::SegmentTiles;

/// A segmentation network with its weights on a device.
#[derive(Debug)]
pub struct Network {
    model: SegModel,
    device: Device,
}

impl Network {
    /// A network around a model whose weights are on `device`, without autodiff.
    pub const fn new(model: SegModel, device: Device) -> Self {
        Self { model, device }
    }

    /// The network of `config` with the weights of a file, safetensors or a PyTorch checkpoint.
    pub fn load(config: &SegModelConfig, weights: &Path, device: &Device) -> Result<Self> {
        let model = load_weights(config.init(device), config, weights)?;
        Ok(Self::new(model, device.clone()))
    }
}

impl SegmentTiles for Network {
    fn logits(&self, tiles: &Array4<f32>) -> Result<Array4<f32>> {
        let (n, c, h, w) = tiles.dim();
        SegModel::check_input(h, w)?;
        let data = TensorData::new(tiles.iter().copied().collect::<Vec<f32>>(), [n, c, h, w]);
        let logits = self.model.forward(Tensor::<4>::from_data(data, &self.device));
        let shape = logits.dims();
        let values = logits.try_into_vec_as::<f32>().context("cannot read logits back from the device")?;
        Ok(Array4::from_shape_vec(shape, values)?)
    }
}
