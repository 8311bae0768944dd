//! A network with its weights behind [`SegmentTiles`].

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use hubmap_data::Fault;
use hubmap_models::{BurnModel, ForwardError, InferenceModel, SegModel, SegModelConfig, load_weights};
use ndarray::Array4;

use crate::segment::SegmentTiles;
use crate::tta::Dihedral;

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
        let values = self.model.forward(&in_order(tiles), n, h, w).map_err(blamed)?;
        Ok(Array4::from_shape_vec((n, 1, h, w), values)?)
    }

    fn summed_over_views(&self, tiles: &Array4<f32>, views: &[Dihedral]) -> Result<Option<Array4<f32>>> {
        let (InferenceModel::Burn(model), (n, _, h, w)) = (&self.model, tiles.dim()) else { return Ok(None) };
        let tiles = model.upload(&in_order(tiles), n, h, w).map_err(blamed)?;
        let logits = views.iter().map(|view| inverse(*view, model.logits(transform(*view, tiles.clone()))));
        let Some(sum) = logits.reduce(Tensor::add) else { return Ok(None) };
        Ok(Some(Array4::from_shape_vec((n, 1, h, w), BurnModel::download(sum).map_err(blamed)?)?))
    }
}

/// A device says only in words that its memory is full.
fn blamed(error: ForwardError) -> anyhow::Error {
    Fault::of_message(&error.to_string()).mark(error)
}

/// Numbers in C order.
fn in_order(tiles: &Array4<f32>) -> Cow<'_, [f32]> {
    match tiles.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(tiles.iter().copied().collect()),
    }
}

/// As [`Dihedral::transform`].
fn transform(view: Dihedral, tiles: Tensor<4>) -> Tensor<4> {
    turned(if view.flip { tiles.flip([3]) } else { tiles }, view.quarter_turns)
}

/// As [`Dihedral::inverse`].
fn inverse(view: Dihedral, tiles: Tensor<4>) -> Tensor<4> {
    let back = turned(tiles, (4 - view.quarter_turns) % 4);
    if view.flip { back.flip([3]) } else { back }
}

fn turned(tiles: Tensor<4>, quarter_turns: u8) -> Tensor<4> {
    match quarter_turns {
        1 => tiles.flip([3]).swap_dims(2, 3),
        2 => tiles.flip([2, 3]),
        3 => tiles.swap_dims(2, 3).flip([3]),
        _ => tiles,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn views_of_tensors_are_those_of_arrays() {
        let tiles =
            Array4::from_shape_fn((2, 3, 4, 6), |(n, c, y, x)| (n * 1000 + c * 100 + y * 10 + x) as f32);
        let data = TensorData::new(in_order(&tiles).into_owned(), [2, 3, 4, 6]);
        let tensor = Tensor::<4>::from_data(data, &Device::flex());
        for view in Dihedral::ALL {
            let found = transform(view, tensor.clone());
            let expected: Vec<f32> = tiles
                .outer_iter()
                .flat_map(|tile| view.transform(&tile).iter().copied().collect::<Vec<_>>())
                .collect();
            assert_eq!(found.clone().into_data().iter::<f32>().collect::<Vec<_>>(), expected, "{view:?}");
            assert_eq!(inverse(view, found).into_data(), tensor.to_data(), "{view:?}");
        }
        let turned = tiles.permuted_axes([0, 1, 3, 2]);
        assert_eq!(in_order(&turned)[..2], [0.0, 10.0]);
    }
}
