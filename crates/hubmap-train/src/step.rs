//! One training step.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;

use crate::config::LossConfig;
use crate::loss::{LossTerm, LossTerms};

/// What a step tells about itself, before the weights moved.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// Logits `[n, 1, h, w]`, without autodiff.
    pub logits: Tensor<4>,
    /// The terms of the loss, unweighted.
    pub terms: Vec<(LossTerm, f64)>,
    /// What was minimised.
    pub loss: f64,
}

/// Forward, backward and optimiser step.
///
/// `forward` maps the model and its input to logits; `images` and `masks` are on the model's autodiff device.
/// Call it from one thread for the whole training: Burn keys running statistics by thread.
pub fn train_step<M: Module>(
    model: M,
    optimizer: &mut ModuleOptimizer,
    rate: f64,
    forward: impl FnOnce(&M, Tensor<4>) -> Tensor<4>,
    images: Tensor<4>,
    masks: &Tensor<4>,
    config: &LossConfig,
) -> (M, StepOutput) {
    let logits = forward(&model, images);
    let loss = LossTerms::new(&logits, masks, config);
    let scalar = |t: &Tensor<1>| f64::from(t.clone().into_scalar::<f32>());
    let output = StepOutput {
        terms: loss.terms.iter().map(|(term, value)| (*term, scalar(value))).collect(),
        loss: scalar(&loss.total),
        logits: logits.inner(),
    };
    let grads = GradientsParams::from_grads(loss.total.backward(), &model);
    (optimizer.step(rate, model, grads), output)
}
