//! Binary cross-entropy and Dice loss.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};

use crate::config::LossConfig;

/// Keeps the Dice quotient defined (spec section 5).
const DICE_FLOOR: f64 = 1e-7;

/// The terms of the loss and their weighted sum, each of shape `[1]`.
#[derive(Debug, Clone)]
pub struct LossTerms {
    /// Mean binary cross-entropy.
    pub bce: Tensor<1>,
    /// Dice loss.
    pub dice: Tensor<1>,
    /// What is minimised.
    pub total: Tensor<1>,
}

impl LossTerms {
    /// The loss of logits `[n, 1, h, w]` against targets of the same shape in `[0, 1]`.
    pub fn new(logits: &Tensor<4>, target: &Tensor<4>, weights: LossConfig) -> Self {
        let bce = bce_with_logits(logits.clone(), target.clone());
        let dice = dice_loss(logits.clone(), target.clone());
        let total = bce.clone().mul_scalar(weights.bce).add(dice.clone().mul_scalar(weights.dice));
        Self { bce, dice, total }
    }
}

/// Mean binary cross-entropy of logits: `(1 - y)·x - ln σ(x)`, stable for any logit.
pub fn bce_with_logits(logits: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    let negative = target.neg().add_scalar(1.0);
    negative.mul(logits.clone()).sub(log_sigmoid(logits)).mean()
}

/// Dice loss over the whole batch: `1 - 2·Σpy / max(Σ(p + y), 1e-7)`, 0 for a batch without positives.
///
/// The product form of segmentation_models.pytorch 0.2; since 0.4 it has another form that differs for soft
/// targets, and ours are soft (spec section 5).
pub fn dice_loss(logits: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    let probability = sigmoid(logits);
    let has_positive = target.clone().sum().greater_scalar(0.0).float();
    let both = probability.clone().mul(target.clone()).sum().mul_scalar(2.0);
    let either = probability.add(target).sum().clamp_min(DICE_FLOOR);
    both.div(either).neg().add_scalar(1.0).mul(has_positive)
}
