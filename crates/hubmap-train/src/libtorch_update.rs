//! Updates of parameters in place, on LibTorch: Burn composes a step of twenty operations, each with new memory.
#![expect(clippy::result_large_err, reason = "tensors that are elsewhere are given back")]
#![expect(deprecated, reason = "the fast path on GPUs, ADR 2")]

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use burn::optim::{AdamWState, AdaptiveMomentumState};
use burn::tensor::{DType, Tensor};
use hubmap_kernels::parameter_update::AmsgradStep;

/// The tensor's numbers, if it is on LibTorch, without gradients, and holds `f32`.
fn numbers<const D: usize>(tensor: &Tensor<D>) -> Option<TchTensor> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    tensor.clone().try_into_primitive::<LibTorch>().ok()
}

/// Numbers that may change in place: a copy if something else holds the tensor, so let go of it before.
fn own(numbers: TchTensor) -> tch::Tensor {
    if numbers.can_mut() { numbers.tensor } else { numbers.tensor.copy() }
}

fn tensor<const D: usize>(numbers: tch::Tensor) -> Tensor<D> {
    Tensor::from_primitive::<LibTorch>(TchTensor::new(numbers))
}

/// One step of AdamW with amsgrad; gives everything back where the tensors are elsewhere, and before the first step has
/// made the moments.
pub(crate) fn amsgrad<const D: usize>(
    step: AmsgradStep,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
) -> Result<(Tensor<D>, AdamWState<D>), (Tensor<D>, Tensor<D>, AdamWState<D>)> {
    let moments = &state.momentum;
    let (Some(new), Some(slope), Some(first), Some(second), Some(largest)) = (
        numbers(&values),
        numbers(&gradient),
        numbers(&moments.moment_1),
        numbers(&moments.moment_2),
        moments.max_moment_2.as_ref().and_then(numbers),
    ) else {
        return Err((values, gradient, state));
    };
    let time = moments.time + 1;
    drop((values, state));
    let [mut new, mut first, mut second, largest] = [new, first, second, largest].map(own);
    let slope = slope.tensor;
    let AmsgradStep { beta_1, beta_2, epsilon, rate, weight_decay, .. } = step;
    let [beta_1, beta_2] = [beta_1, beta_2].map(f64::from);
    let steps = i32::try_from(time).unwrap_or(i32::MAX);
    // Both corrections for the moments' start at zero, out of the operations on tensors.
    let root_correction = (1.0 - beta_2.powi(steps)).sqrt();
    let step = rate * root_correction / (1.0 - beta_1.powi(steps));
    tch::no_grad(|| {
        let _ = first.lerp_(&slope, 1.0 - beta_1);
        let _ = second.lerp_(&slope.square(), 1.0 - beta_2);
        let _ = largest.maximum_out(&largest, &second);
        let root = largest.sqrt().g_add_scalar_(f64::from(epsilon) * root_correction);
        if weight_decay > 0.0 {
            let _ = new.g_mul_scalar_(1.0 - rate * f64::from(weight_decay));
        }
        let _ = new.addcdiv_(&(&first * -step), &root);
    });
    let momentum = AdaptiveMomentumState {
        time,
        moment_1: tensor(first),
        moment_2: tensor(second),
        max_moment_2: Some(tensor(largest)),
    };
    Ok((tensor(new), AdamWState { momentum }))
}

/// `decay · average + (1 - decay) · values` in one operation; gives the average back where the tensors are elsewhere.
pub(crate) fn average<const D: usize>(
    average: Tensor<D>,
    values: &Tensor<D>,
    decay: f64,
) -> Result<Tensor<D>, Tensor<D>> {
    let (Some(moved), Some(values)) = (numbers(&average), numbers(values)) else { return Err(average) };
    drop(average);
    let mut moved = own(moved);
    tch::no_grad(|| {
        let _ = moved.lerp_(&values.tensor, 1.0 - decay);
    });
    Ok(tensor(moved))
}
