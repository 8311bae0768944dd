//! The `[train]` table.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::loss::LossTerm;
use crate::precision::Precision;
use crate::schedule::Schedule;

/// How a network is trained (spec section 5). Every value is written in `configs/base.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Of fresh weights, sample order and augmentation.
    pub seed: u64,
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step, over all devices.
    pub batch_size: usize,
    /// Most samples that a device takes in one pass, 0 for all that it gets; several passes make one step.
    pub micro_batch_size: usize,
    /// What activations are made of.
    pub precision: Precision,
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
    /// Share of the epochs, from the first, in which the encoder stays as it is.
    pub freeze_encoder: f64,
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

/// Weights of the loss terms, 0 for those that are left out, and their settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// Mean binary cross-entropy.
    pub bce: f64,
    /// Dice loss.
    pub dice: f64,
    /// Cross-entropy against softened targets.
    pub soft_bce: f64,
    /// Focal loss.
    pub focal: f64,
    /// Symmetric Lovász hinge.
    pub lovasz: f64,
    /// Cross-entropy with heavier outlines.
    pub edge_bce: f64,
    /// How far soft targets are from 0 and 1.
    pub smoothing: f64,
    /// Exponent of the focal loss.
    pub focal_gamma: f64,
    /// How far from the outline a pixel still counts as edge.
    pub edge_px: usize,
    /// How often an edge pixel counts.
    pub edge_weight: f64,
    /// Share of a batch's samples, the hardest by cross-entropy, from which the loss is taken.
    pub hardest: f64,
}

impl LossConfig {
    /// The sum of cross-entropy and Dice loss that the winning solution trains with.
    pub const BCE_DICE: Self = Self {
        bce: 1.0,
        dice: 1.0,
        soft_bce: 0.0,
        focal: 0.0,
        lovasz: 0.0,
        edge_bce: 0.0,
        smoothing: 0.1,
        focal_gamma: 2.0,
        edge_px: 3,
        edge_weight: 5.0,
        hardest: 1.0,
    };

    /// The weight of a term.
    pub const fn weight(&self, term: LossTerm) -> f64 {
        match term {
            LossTerm::Bce => self.bce,
            LossTerm::Dice => self.dice,
            LossTerm::SoftBce => self.soft_bce,
            LossTerm::Focal => self.focal,
            LossTerm::Lovasz => self.lovasz,
            LossTerm::EdgeBce => self.edge_bce,
        }
    }

    /// Refuses values that cannot work; the message names the key.
    pub fn validate(&self) -> Result<()> {
        for term in LossTerm::ALL {
            let (name, weight) = (term.name(), self.weight(term));
            ensure!(
                weight.is_finite() && weight >= 0.0,
                "train.loss.{name} is {weight}: a weight is 0 or more"
            );
        }
        ensure!(
            LossTerm::ALL.iter().any(|&term| self.weight(term) > 0.0),
            "train.loss has no positive weight"
        );
        ensure!(
            (0.0..0.5).contains(&self.smoothing),
            "train.loss.smoothing is {}: it must be from 0 to below 0.5",
            self.smoothing
        );
        ensure!(
            self.focal_gamma.is_finite() && self.focal_gamma >= 1.0,
            "train.loss.focal_gamma is {}: it must be 1 or more",
            self.focal_gamma
        );
        ensure!(self.edge_px > 0, "train.loss.edge_px is 0: no pixel would be an edge");
        ensure!(
            self.edge_weight.is_finite() && self.edge_weight > 0.0,
            "train.loss.edge_weight is {}: it must be positive",
            self.edge_weight
        );
        ensure!(
            self.hardest > 0.0 && self.hardest <= 1.0,
            "train.loss.hardest is {}: it must be above 0, and 1 takes every sample",
            self.hardest
        );
        Ok(())
    }
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

    /// Whether the encoder stays as it is in epoch `epoch`.
    pub fn freezes(&self, epoch: usize) -> bool {
        (epoch as f64) < self.freeze_encoder * self.epochs as f64
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
        ensure!(
            (0.0..=1.0).contains(&self.freeze_encoder),
            "train.freeze_encoder is {}: it must be from 0 to 1",
            self.freeze_encoder
        );
        self.loss.validate()?;
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
