//! The forward pass as the pipeline sees it: arrays in, logits out.

use anyhow::Result;
use ndarray::Array4;

use crate::tta::Dihedral;

/// A network that segments a batch of normalised tiles.
///
/// Implemented by `Network` (feature `networks`), and by any closure of the same signature.
/// It is called from a thread of the predictor's, one call at a time for each replica.
pub trait SegmentTiles: Send + Sync {
    /// Logits `[n, 1, h, w]` of tiles `[n, 3, h, w]`.
    fn logits(&self, tiles: &Array4<f32>) -> Result<Array4<f32>>;

    /// The sum over some views of tiles `[n, 3, h, w]` of their logits, turned back: `[n, 1, h, w]`.
    ///
    /// For networks on devices that a tile should travel to once, rather than once for each view. `None`, as here, leaves
    /// the views to the caller.
    fn summed_over_views(&self, _tiles: &Array4<f32>, _views: &[Dihedral]) -> Result<Option<Array4<f32>>> {
        Ok(None)
    }
}

impl<F: Fn(&Array4<f32>) -> Result<Array4<f32>> + Send + Sync> SegmentTiles for F {
    fn logits(&self, tiles: &Array4<f32>) -> Result<Array4<f32>> {
        self(tiles)
    }
}
