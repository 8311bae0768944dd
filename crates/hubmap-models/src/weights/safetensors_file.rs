//! Safetensors files as maps of f32 tensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::WeightsError;

/// A tensor's shape and values, C order.
pub(super) struct FileTensor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// All tensors whose name `wanted` accepts, as f32.
pub(super) fn read_safetensors(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, FileTensor>, WeightsError> {
    let bytes = fs::read(path).map_err(|source| WeightsError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    })?;
    let format = |problem: String| WeightsError::Format { path: path.to_owned(), problem };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| format(e.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if wanted(&name) {
            let values = to_f32(&view).ok_or_else(|| {
                format(format!("tensor {name} is {:?}; weights must be F32, F16 or BF16", view.dtype()))
            })?;
            tensors.insert(name, FileTensor { shape: view.shape().to_vec(), values });
        }
    }
    Ok(tensors)
}

fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    let halves = || data.as_chunks::<2>().0.iter();
    match view.dtype() {
        Dtype::F32 => Some(data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        Dtype::F16 => Some(halves().map(|&b| f16::from_le_bytes(b).to_f32()).collect()),
        Dtype::BF16 => Some(halves().map(|&b| bf16::from_le_bytes(b).to_f32()).collect()),
        _ => None,
    }
}

/// Writes tensors as f32, adding the zero `num_batches_tracked` that PyTorch's strict loading asks for
/// beside every running mean.
pub(super) fn write_safetensors(
    path: &Path,
    tensors: &BTreeMap<String, FileTensor>,
) -> Result<(), WeightsError> {
    let io = |action, source| WeightsError::Io { path: path.to_owned(), action, source };
    let format = |e: safetensors::SafeTensorError| WeightsError::Format {
        path: path.to_owned(),
        problem: e.to_string(),
    };
    let zero = 0i64.to_le_bytes();
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, t)| {
            (name.as_str(), t.shape.as_slice(), t.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let mut views: Vec<(String, TensorView<'_>)> = Vec::new();
    for (name, shape, data) in &bytes {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), data).map_err(format)?;
        views.push(((*name).to_owned(), view));
        if let Some(layer) = name.strip_suffix("running_mean") {
            let view = TensorView::new(Dtype::I64, Vec::new(), &zero).map_err(format)?;
            views.push((format!("{layer}num_batches_tracked"), view));
        }
    }
    let serialized = safetensors::serialize(views, None).map_err(format)?;
    hubmap_files::write_whole(path, &serialized).map_err(|e| io("write", e))?;
    Ok(())
}
