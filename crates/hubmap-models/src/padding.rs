//! Images of any size through networks that want multiples of 32.

use burn::tensor::ops::PadMode;
use burn::tensor::{Tensor, s};

use crate::seg_model::{SIZE_MULTIPLE, SegModel};

/// Zeros to the right of and below an image `[n, c, h, w]`, up to the next multiples of 32 px.
///
/// Zero is the mean colour of a normalised image. The image that already fits comes back as it is, an empty one
/// with 32 px.
pub fn pad_to_multiple(image: Tensor<4>) -> Tensor<4> {
    let [_, _, h, w] = image.dims();
    let missing = |px: usize| px.next_multiple_of(SIZE_MULTIPLE).max(SIZE_MULTIPLE) - px;
    match (missing(h), missing(w)) {
        (0, 0) => image,
        (below, right) => image.pad([(0, below), (0, right)], PadMode::Constant(0.0)),
    }
}

/// The top left `height` × `width` px of `[n, c, h, w]`, which is at least that large: undoes [`pad_to_multiple`].
pub fn crop_to(logits: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    logits.slice(s![.., .., 0..height, 0..width])
}

impl SegModel {
    /// Like [`SegModel::forward`], for an image of any size: it is padded with zeros, and the logits are cropped back.
    ///
    /// Near the right and the lower edge the network sees the padding, as it sees zeros beyond the other edges.
    pub fn forward_padded(&self, image: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = image.dims();
        crop_to(self.forward(pad_to_multiple(image)), h, w)
    }
}
