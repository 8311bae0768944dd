//! One training step, and the passes that it consists of.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{DType, Tensor};

use crate::config::LossConfig;
use crate::loss::{LossTerm, LossTerms};
use crate::precision::Precision;

/// What a pass tells about itself, before the weights moved.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// Logits `[n, 1, h, w]`, without autodiff.
    pub logits: Tensor<4>,
    /// The terms of the loss, unweighted.
    pub terms: Vec<(LossTerm, f64)>,
    /// What was minimised.
    pub loss: f64,
}

/// How passes are made.
#[derive(Debug, Clone, Copy)]
pub struct PassSettings<'a> {
    /// What is minimised.
    pub loss: &'a LossConfig,
    /// What activations are made of.
    pub precision: Precision,
    /// Factor on the loss, and so on the gradients.
    pub loss_scale: f64,
}

/// Forward and backward: gradients of the scaled loss.
///
/// `forward` maps the model and its input to logits; `images` and `masks` are on the model's autodiff device.
/// Call it from one thread for the whole training: Burn keys running statistics by thread.
pub fn pass<M: Module>(
    model: &M,
    forward: impl FnOnce(&M, Tensor<4>) -> Tensor<4>,
    images: Tensor<4>,
    masks: &Tensor<4>,
    settings: PassSettings<'_>,
) -> (GradientsParams, StepOutput) {
    let logits = match settings.precision {
        Precision::F32 => forward(model, images),
        less => forward(model, images.cast(less.dtype())).cast(DType::F32),
    };
    let loss = LossTerms::new(&logits, masks, settings.loss);
    let scalar = |t: &Tensor<1>| f64::from(t.clone().into_scalar::<f32>());
    let output = StepOutput {
        terms: loss.terms.iter().map(|(term, value)| (*term, scalar(value))).collect(),
        loss: scalar(&loss.total),
        logits: logits.inner(),
    };
    let total = loss.total.mul_scalar(settings.loss_scale);
    (GradientsParams::from_grads(total.backward(), model), output)
}

/// A step of one pass in single precision: forward, backward and optimiser.
pub fn train_step<M: Module>(
    model: M,
    optimizer: &mut ModuleOptimizer,
    rate: f64,
    forward: impl FnOnce(&M, Tensor<4>) -> Tensor<4>,
    images: Tensor<4>,
    masks: &Tensor<4>,
    config: &LossConfig,
) -> (M, StepOutput) {
    let settings = PassSettings { loss: config, precision: Precision::F32, loss_scale: 1.0 };
    let (gradients, output) = pass(&model, forward, images, masks, settings);
    (optimizer.step(rate, model, gradients), output)
}
