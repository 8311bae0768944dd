//! The numbers that a network computes in while it trains.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// What activations and their gradients are made of. Weights, normalisations, loss, optimiser and average are `f32`
/// always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits: single precision throughout.
    F32,
    /// 16 bits with the range of `f32` and three digits.
    Bf16,
    /// 16 bits with four digits and little range: the loss is scaled so that small gradients are not lost.
    F16,
}

impl Precision {
    /// The type of activations.
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// The name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Whether a device computes in it.
    pub fn is_on(self, device: &Device) -> bool {
        device.supports_dtype(self.dtype())
    }
}

/// A factor on the loss under which no gradient vanishes in `f16`, found by trial (Micikevicius et al., *Mixed
/// Precision Training*, 2018).
///
/// A step whose gradients overflow is left out and halves the factor; many good ones in a row double it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScale {
    factor: f64,
    n_good: u32,
}

/// Good steps after which the factor doubles: that of PyTorch's `GradScaler`, as is the first factor.
const N_GOOD_STEPS: u32 = 2000;

impl Default for LossScale {
    /// None: a factor of 1.
    fn default() -> Self {
        Self { factor: 1.0, n_good: 0 }
    }
}

impl LossScale {
    /// The first factor for a precision.
    pub const fn of(precision: Precision) -> Self {
        let factor = if matches!(precision, Precision::F16) { 65_536.0 } else { 1.0 };
        Self { factor, n_good: 0 }
    }

    /// The factor of the next step.
    pub const fn factor(&self) -> f64 {
        self.factor
    }

    /// Takes note of a step; `false` if even the unscaled loss overflows.
    #[must_use]
    pub fn update(&mut self, is_finite: bool) -> bool {
        if !is_finite {
            self.factor /= 2.0;
            self.n_good = 0;
            return self.factor >= 1.0;
        }
        self.n_good += 1;
        if self.n_good == N_GOOD_STEPS {
            self.factor *= 2.0;
            self.n_good = 0;
        }
        true
    }
}

/// Whether every gradient is a number. One value comes back from the device, however many parameters there are.
pub(crate) fn are_finite<M: Module>(gradients: &GradientsParams, model: &M) -> bool {
    let mut zero = Zero { gradients, sum: None };
    model.visit(&mut zero);
    zero.sum.is_none_or(|sum| sum.into_scalar::<f32>().is_finite())
}

/// Adds up 0 times every gradient, which is not a number where one is infinite or not a number.
struct Zero<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Zero<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let zero = gradient.mul_scalar(0.0).sum();
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum.add(zero),
            None => zero,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "powers of 2 are exact")]
    fn the_scale_halves_at_once_and_doubles_slowly() {
        let mut scale = LossScale::of(Precision::F16);
        assert!(scale.update(false) && scale.factor() == 32_768.0);
        for _ in 1..N_GOOD_STEPS {
            assert!(scale.update(true) && scale.factor() == 32_768.0);
        }
        assert!(scale.update(true) && scale.factor() == 65_536.0);
        // An overflow in between starts the count anew.
        assert!(scale.update(true) && scale.update(false));
        for _ in 1..N_GOOD_STEPS {
            assert!(scale.update(true) && scale.factor() == 32_768.0);
        }
        for _ in 0..15 {
            assert!(scale.update(false));
        }
        assert!(scale.factor() == 1.0 && !scale.update(false));
    }
}
