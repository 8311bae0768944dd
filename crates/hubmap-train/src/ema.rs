//! Exponential moving average of a model.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

use crate::flex_update;

/// A shadow of a model whose parameters and BatchNorm state follow the model's slowly (spec section 5).
///
/// Starts from `model.valid()`: that copy has buffers of its own, while a plain clone would share the running
/// statistics with the live model and overwrite them.
#[derive(Debug, Clone)]
pub struct Ema<M> {
    /// Always there, but for a moment in `update`.
    shadow: Option<M>,
    decay: f64,
}

impl<M: Module> Ema<M> {
    /// A shadow that starts equal to `model`.
    pub fn new(model: &M, decay: f64) -> Self {
        Self { shadow: Some(model.valid()), decay }
    }

    /// Continues with a shadow of an earlier process.
    pub(crate) const fn from_shadow(shadow: M, decay: f64) -> Self {
        Self { shadow: Some(shadow), decay }
    }

    /// Moves the shadow towards `model`: `shadow = decay · shadow + (1 - decay) · model`.
    pub fn update(&mut self, model: &M) {
        // Only `valid` sees the newest running statistics; a visit of the live model is one update behind.
        let mut live = Collect(TensorContainer::new());
        model.valid().visit(&mut live);
        let mut follow = Follow { live: live.0, decay: self.decay };
        // A clone would hold on to the tensors, and they could not change in place.
        self.shadow = self.shadow.take().map(|shadow| shadow.map(&mut follow));
    }

    /// The shadow, ready for evaluation.
    ///
    /// # Panics
    /// If an update has panicked.
    pub const fn model(&self) -> &M {
        match &self.shadow {
            Some(shadow) => shadow,
            None => panic!("an update of the average has failed"),
        }
    }
}

/// The average of a counter, as PyTorch's `copy_` of a float average into an integer buffer gives it:
/// single precision, truncated toward zero.
pub fn ema_of_count(average: i64, count: i64, decay: f64) -> i64 {
    (decay as f32 * average as f32 + (1.0 - decay) as f32 * count as f32) as i64
}

/// Every float tensor of a model by its id.
struct Collect(TensorContainer<ParamId>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}

/// Moves every float tensor towards the live one with its id.
struct Follow {
    live: TensorContainer<ParamId>,
    decay: f64,
}

impl ModuleMapper for Follow {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(live) = self.live.remove::<Tensor<D>>(&param.id) else { return param };
        let decay = self.decay;
        param.map(|average| {
            let moved = flex_update::average(average, &live, decay);
            #[cfg(feature = "tch")]
            let moved = match moved {
                Err(average) => crate::libtorch_update::average(average, &live, decay),
                moved => moved,
            };
            moved.unwrap_or_else(|average| average.mul_scalar(decay).add(live.mul_scalar(1.0 - decay)))
        })
    }
}
