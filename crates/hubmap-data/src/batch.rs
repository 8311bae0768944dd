//! What the loader hands to the training loop.

use ndarray::Array4;

/// Normalised samples of one step, in host memory.
///
/// Kept free of any tensor library: the training crate uploads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Images `[n, 3, height, width]`, normalised.
    pub images: Array4<f32>,
    /// Masks `[n, 1, height, width]`, 0 to 1 with grey edges.
    pub masks: Array4<f32>,
    /// Names of the samples, `n` of them.
    pub names: Vec<String>,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no samples, and so no size: only in the last batch of an epoch, if its samples are fewer than the
    /// [shards](crate::Loader) that share them.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
