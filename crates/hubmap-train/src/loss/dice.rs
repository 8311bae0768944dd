//! Dice loss.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

/// Keeps the Dice quotient defined (spec section 5).
const DICE_FLOOR: f64 = 1e-7;

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
