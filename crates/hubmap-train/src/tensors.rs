//! From batches in host memory to tensors: the only place where training crosses over.

use burn::tensor::{Device, Tensor, TensorData};
use hubmap_data::Batch;
use ndarray::Array4;

/// The images of a batch, `[n, 3, h, w]`, on `device`.
pub fn images_tensor(batch: &Batch, device: &Device) -> Tensor<4> {
    upload(&batch.images, device)
}

/// The masks of a batch, `[n, 1, h, w]`, on `device`.
pub fn masks_tensor(batch: &Batch, device: &Device) -> Tensor<4> {
    upload(&batch.masks, device)
}

pub(crate) fn upload(array: &Array4<f32>, device: &Device) -> Tensor<4> {
    let (n, c, h, w) = array.dim();
    let values: Vec<f32> = match array.as_slice() {
        Some(values) => values.to_vec(),
        None => array.iter().copied().collect(),
    };
    Tensor::from_data(TensorData::new(values, [n, c, h, w]), device)
}
