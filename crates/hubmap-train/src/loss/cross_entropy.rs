//! Binary cross-entropy and what is made of it.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

/// Cross-entropy of every pixel: `(1 - y)·x - ln σ(x)`, stable for any logit.
fn per_pixel(logits: Tensor<4>, target: Tensor<4>) -> Tensor<4> {
    let negative = target.neg().add_scalar(1.0);
    negative.mul(logits.clone()).sub(log_sigmoid(logits))
}

/// Mean binary cross-entropy of logits `[n, 1, h, w]`.
pub fn bce_with_logits(logits: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    per_pixel(logits, target).mean()
}

/// Mean cross-entropy of every sample, `[n]`.
pub(super) fn bce_per_sample(logits: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    let [n, channels, height, width] = logits.dims();
    per_pixel(logits, target).reshape([n, channels * height * width]).mean_dim(1).squeeze_dim(1)
}

/// [`bce_with_logits`] against `(1 - smoothing)·y + smoothing·(1 - y)`, so that no pixel is quite sure.
pub fn soft_bce_with_logits(logits: Tensor<4>, target: Tensor<4>, smoothing: f64) -> Tensor<1> {
    let softened = target.mul_scalar(1.0 - 2.0 * smoothing).add_scalar(smoothing);
    bce_with_logits(logits, softened)
}

/// Focal loss (Lin et al., 2017), without class weights: the mean of `(1 - e^-l)^gamma · l` over the pixels'
/// cross-entropies `l`.
pub fn focal_with_logits(logits: Tensor<4>, target: Tensor<4>, gamma: f64) -> Tensor<1> {
    let loss = per_pixel(logits, target);
    let doubt = loss.clone().neg().exp().neg().add_scalar(1.0);
    doubt.powf_scalar(gamma).mul(loss).mean()
}

/// Weighted mean of the pixels' cross-entropies: pixels within `edge_px` of the outline of `y > 1/2`, along rows,
/// columns or both, count `edge_weight` times.
pub fn edge_bce_with_logits(
    logits: Tensor<4>,
    target: Tensor<4>,
    edge_px: usize,
    edge_weight: f64,
) -> Tensor<1> {
    let object = target.clone().greater_scalar(0.5).float();
    let spread = |mask: Tensor<4>| {
        let mut options = MaxPoolOptions::new([2 * edge_px + 1; 2]);
        options.stride = [1; 2];
        options.padding = [(edge_px, edge_px); 2];
        max_pool2d(mask, options)
    };
    let outside = object.clone().neg().add_scalar(1.0);
    let edge = spread(object).mul(spread(outside));
    let weights = edge.mul_scalar(edge_weight - 1.0).add_scalar(1.0);
    per_pixel(logits, target).mul(weights.clone()).sum().div(weights.sum())
}
