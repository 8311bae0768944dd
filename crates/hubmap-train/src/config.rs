//! The `[train]` table.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// How a network is trained (spec section 5). Every value is written in `configs/base.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Of fresh weights, sample order and augmentation.
    pub seed: u64,
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// Samples per validation batch; Dice is taken per batch, so it shows in the score.
    pub valid_batch_size: usize,
    /// Epochs between validations; the last epoch is always validated.
    pub valid_every: usize,
    /// Batches made ahead of the step under way.
    pub prefetch: usize,
    /// A file with weights of the whole network to start from; empty for fresh weights.
    pub start_weights: String,
    /// A file with weights of the encoder to start from, of timm or of a whole network; empty for fresh weights.
    pub start_encoder: String,
    /// A checkpoint is written only for a validation Dice above this.
    pub min_dice: f64,
    /// Weights of the loss terms.
    pub loss: LossConfig,
    /// AdamW.
    pub optimizer: OptimizerConfig,
    /// Learning rate by epoch.
    pub schedule: Schedule,
    /// Moving average of the weights.
    pub ema: EmaConfig,
}

/// Weights of the loss terms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// Mean binary cross-entropy.
    pub bce: f64,
    /// Dice loss.
    pub dice: f64,
}

/// AdamW with amsgrad (Loshchilov and Hutter, 2019; Reddi et al., 2018).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Decoupled weight decay of parameters with two or more dimensions.
    pub weight_decay: f32,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the denominator.
    pub epsilon: f32,
}

/// Exponential moving average of parameters and BatchNorm state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the old average that each step keeps.
    pub decay: f64,
}

impl TrainConfig {
    /// Whether the weights are validated after epoch `epoch`.
    pub const fn validates_after(&self, epoch: usize) -> bool {
        (epoch + 1).is_multiple_of(self.valid_every) || epoch + 1 == self.epochs
    }

    /// How many of the epochs are validated.
    pub fn n_validations(&self) -> usize {
        (0..self.epochs).filter(|&epoch| self.validates_after(epoch)).count()
    }

    /// Refuses values that cannot work; the message names the key.
    pub fn validate(&self) -> Result<()> {
        ensure!(self.epochs > 0, "train.epochs is 0: there would be nothing to train");
        ensure!(self.batch_size > 0, "train.batch_size is 0: a step needs at least one sample");
        ensure!(self.valid_batch_size > 0, "train.valid_batch_size is 0: it needs at least one sample");
        ensure!(self.valid_every > 0, "train.valid_every is 0: 1 validates after every epoch");
        ensure!(
            self.min_dice < 1.0,
            "train.min_dice is {}: no checkpoint would ever be written; it must be below 1",
            self.min_dice
        );
        ensure!(
            self.start_weights.is_empty() || self.start_encoder.is_empty(),
            "train.start_weights and train.start_encoder are both given: the first has an encoder too"
        );
        let LossConfig { bce, dice } = self.loss;
        ensure!(bce >= 0.0 && dice >= 0.0 && bce + dice > 0.0, "train.loss has no positive weight");
        let optimizer = &self.optimizer;
        ensure!(optimizer.weight_decay >= 0.0, "train.optimizer.weight_decay is negative");
        ensure!(optimizer.epsilon > 0.0, "train.optimizer.epsilon must be positive");
        for (name, beta) in [("beta_1", optimizer.beta_1), ("beta_2", optimizer.beta_2)] {
            ensure!((0.0..1.0).contains(&beta), "train.optimizer.{name} is {beta}: it must be in [0, 1)");
        }
        ensure!(
            (0.0..1.0).contains(&self.ema.decay),
            "train.ema.decay is {}: it must be in [0, 1)",
            self.ema.decay
        );
        self.schedule.validate()
    }
}
