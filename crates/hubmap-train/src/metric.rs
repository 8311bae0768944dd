//! Validation Dice.

use burn::tensor::Tensor;
use hubmap_data::DiceSums;
use ndarray::ArrayRef4;
use serde::{Deserialize, Serialize};

/// Hard Dice at probability 0.5, per batch, averaged with the batches' sizes as weights (spec section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiceMeter {
    weighted: f64,
    n_samples: usize,
}

impl DiceMeter {
    /// Adds a batch by its logits and its targets, both `[n, 1, h, w]`; returns the batch's Dice.
    pub fn add(&mut self, logits: Tensor<4>, target: &ArrayRef4<f32>) -> f64 {
        let n = logits.dims()[0];
        let mut sums = DiceSums::default();
        let logits = logits.into_data();
        for (logit, &target) in logits.iter::<f32>().zip(target) {
            // A probability above one half is a logit above zero.
            sums.add(f64::from(logit), f64::from(target), 0.0);
        }
        self.add_batch(sums.dice(), n);
        sums.dice()
    }

    /// Adds a batch of `n` samples by its Dice.
    pub fn add_batch(&mut self, dice: f64, n: usize) {
        self.weighted += dice * n as f64;
        self.n_samples += n;
    }

    /// The mean so far; 0 before the first batch.
    pub fn mean(&self) -> f64 {
        if self.n_samples == 0 { 0.0 } else { self.weighted / self.n_samples as f64 }
    }
}
