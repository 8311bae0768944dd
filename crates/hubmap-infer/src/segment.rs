//! The forward pass as the pipeline sees it: arrays in, logits out.

use anyhow::Result;
use ndarray::Array4;

/// A network that segments a batch of normalised tiles.
///
/// Implemented by [`Network`](crate::Network), and by any closure of the same signature.
/// It is used by one thread at a time, but not always the one that made it.
pub trait SegmentTiles: Send {
    /// Logits `[n, 1, h, w]` of tiles `[n, 3, h, w]`.
    fn logits(&self, tiles: &Array4<f32>) -> Result<Array4<f32>>;
}

impl<F: Fn(&Array4<f32>) -> Result<Array4<f32>> + Send> SegmentTiles for F {
    fn logits(&self, tiles: &Array4<f32>) -> Result<Array4<f32>> {
        self(tiles)
    }
}
