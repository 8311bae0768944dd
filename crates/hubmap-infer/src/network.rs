//! A network with its weights behind [`SegmentTiles`].

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use hubmap_data::Fault;
use hubmap_models::{ForwardError, InferenceModel, SegModel, SegModelConfig, load_weights};
use ndarray::Array4;

use crate::segment::SegmentTiles;

/// A segmentation network with its weights on a device, in the form for inference.
#[derive(Debug)]
pub struct Network {
    model: InferenceModel,
}

impl Network {
    /// A network around a model whose weights are on a device without autodiff.
    pub fn new(model: SegModel) -> Result<Self, ForwardError> {
        Ok(Self { model: InferenceModel::new(model)? })
    }

    /// The network of `config` with the weights of a file, safetensors or a PyTorch checkpoint.
    pub fn load(config: &SegModelConfig, weights: &Path, device: &Device) -> Result<Self> {
        Ok(Self::new(load_weights(config.init(device), config, weights)?)?)
    }
}

impl SegmentTiles for Network {
    fn logits(&self, tiles: &Array4<f32>) -> Result<Array4<f32>> {
        let (n, _, h, w) = tiles.dim();
        let tiles = tiles.as_standard_layout();
        let values = match tiles.as_slice() {
            Some(values) => self.model.forward(values, n, h, w),
            None => self.model.forward(&tiles.iter().copied().collect::<Vec<f32>>(), n, h, w),
        };
        let values = values.map_err(|error| Fault::of_message(&error.to_string()).mark(error))?;
        Ok(Array4::from_shape_vec((n, 1, h, w), values)?)
    }
}
