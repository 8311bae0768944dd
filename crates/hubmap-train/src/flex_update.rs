//! Updates of parameters in place, on Burn's CPU backend.
#![expect(clippy::result_large_err, reason = "tensors that are elsewhere are given back")]

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::optim::{AdamWState, AdaptiveMomentumState};
use burn::tensor::{DType, Tensor};
use hubmap_kernels::parameter_update::{AmsgradStep, Moments, move_average};

/// The tensor's numbers, if it is on the CPU backend, without gradients, and holds `f32`.
///
/// They change in place where nothing else holds the tensor, so let go of it before.
fn numbers<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    tensor.clone().try_into_primitive::<Flex>().ok().map(|t| t.to_contiguous())
}

fn tensor<const D: usize>(numbers: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(numbers)
}

/// One step of AdamW with amsgrad in one pass; gives everything back where the tensors are elsewhere, and before
/// the first step has made the moments.
pub(crate) fn amsgrad<const D: usize>(
    step: AmsgradStep,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
) -> Result<(Tensor<D>, AdamWState<D>), (Tensor<D>, Tensor<D>, AdamWState<D>)> {
    let moments = &state.momentum;
    let (Some(mut new), Some(slope), Some(mut first), Some(mut second), Some(mut largest)) = (
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
    AmsgradStep { time: i32::try_from(time).unwrap_or(i32::MAX), ..step }.apply(
        new.storage_mut(),
        slope.storage(),
        &mut Moments {
            first: first.storage_mut(),
            second: second.storage_mut(),
            largest_second: largest.storage_mut(),
        },
    );
    let momentum = AdaptiveMomentumState {
        time,
        moment_1: tensor(first),
        moment_2: tensor(second),
        max_moment_2: Some(tensor(largest)),
    };
    Ok((tensor(new), AdamWState { momentum }))
}

/// `decay · average + (1 - decay) · values` in one pass; gives the average back where the tensors are elsewhere.
pub(crate) fn average<const D: usize>(
    average: Tensor<D>,
    values: &Tensor<D>,
    decay: f64,
) -> Result<Tensor<D>, Tensor<D>> {
    let (Some(mut moved), Some(values)) = (numbers(&average), numbers(values)) else { return Err(average) };
    drop(average);
    move_average(moved.storage_mut(), values.storage(), decay);
    Ok(tensor(moved))
}
