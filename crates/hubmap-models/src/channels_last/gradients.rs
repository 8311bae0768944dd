//! The operations on the CPU backend with gradients: forward through [`flex`], backward by hand.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use hubmap_kernels::normalization::{InputGradient, Passed, gradient_sums, moments};

use super::Tracked;
use super::flex::{self, ConvCall, GateValues, Gated, extent, in_order, tensor};
use super::record::{Step, record, record_all};

type Tensor = FloatTensor<Tracked>;

/// A gradient in order, instead of the one given.
fn ordered(gradient: FlexTensor) -> FlexTensor {
    let ordered = in_order(&gradient);
    // Only now may what has no other owner change in place.
    drop(gradient);
    ordered
}

#[derive(Debug, Clone)]
struct Upsample2;

impl Step<Flex> for Upsample2 {
    fn gradients(self, gradient: FlexTensor, _wanted: &[bool]) -> Vec<Option<FlexTensor>> {
        vec![Some(flex::upsample2_gradient(&ordered(gradient)))]
    }
}

pub(super) fn upsample2(maps: Tensor) -> Tensor {
    record([maps], |values| (flex::upsample2(&values[0]), Upsample2))
}

#[derive(Debug, Clone)]
struct Convolve {
    call: ConvCall,
    /// What was read, and the weights last, all in order.
    values: Vec<FlexTensor>,
}

/// Convolves maps, of which the last tensor is the weights.
pub(super) fn convolve(maps_and_weight: Vec<Tensor>, bias: Vec<Tensor>, call: ConvCall) -> Tensor {
    let n_maps_and_weight = maps_and_weight.len();
    record_all(maps_and_weight.into_iter().chain(bias).collect(), |mut values| {
        let bias = values.split_off(n_maps_and_weight);
        let values: Vec<FlexTensor> = values.iter().map(in_order).collect();
        let output = call.forward(&values, bias.first());
        (output, Convolve { call, values })
    })
}

impl Step<Flex> for Convolve {
    fn gradients(mut self, gradient: FlexTensor, wanted: &[bool]) -> Vec<Option<FlexTensor>> {
        let gradient = ordered(gradient);
        let Some(weight) = self.values.pop() else { return Vec::new() };
        let wants = |at: usize| wanted.get(at).copied().unwrap_or(false);
        let maps = self.values;
        let of_maps = maps.iter().enumerate().map(|(at, source)| {
            wants(at).then(|| self.call.source_gradient(at, extent(source), &weight, &gradient))
        });
        let mut all: Vec<_> = of_maps.collect();
        all.push(wants(maps.len()).then(|| self.call.weight_gradient(&maps, &gradient)));
        all.push(wants(maps.len() + 1).then(|| flex::channel_sums(&gradient)));
        all
    }
}

/// A normalisation's output and the batch's mean and biased variance.
pub(super) struct Normalised {
    pub(super) output: Tensor,
    pub(super) moments: [FlexTensor; 2],
}

/// Normalises `maps[0]` by the batch and adds `maps[1]`, if there is one.
pub(super) fn batch_norm(
    maps: Vec<Tensor>,
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
    relu: bool,
) -> Normalised {
    let mut found = None;
    let output = record_all(maps.into_iter().chain([weight, bias]).collect(), |values| {
        let maps: Vec<FlexTensor> = values[..values.len() - 2].iter().map(in_order).collect();
        let [weight, bias] = [&values[values.len() - 2], &values[values.len() - 1]].map(in_order);
        let moments = moments(maps[0].storage(), extent(&maps[0]).channels);
        let inverse: Vec<f32> =
            moments.variance.iter().map(|&v| (1.0 / (f64::from(v) + epsilon).sqrt()) as f32).collect();
        let scale: Vec<f32> = inverse.iter().zip(weight.storage::<f32>()).map(|(i, w)| i * w).collect();
        let shift: Vec<f32> = moments
            .mean
            .iter()
            .zip(&scale)
            .zip(bias.storage::<f32>())
            .map(|((&mean, &scale), &bias)| scale.mul_add(-mean, bias))
            .collect();
        let n = [scale.len()];
        found = Some([tensor(moments.mean.clone(), n), tensor(moments.variance, n)]);
        let scale_tensor = tensor(scale.clone(), n);
        let output = flex::scale_and_shift(&maps, &scale_tensor, &tensor(shift.clone(), n), relu);
        let kept = Kept::new(&maps, &output, relu);
        (output, BatchNorm { kept, centre: moments.mean, inverse, scale, shift })
    });
    match found {
        Some(moments) => Normalised { output, moments },
        None => unreachable!("the operation has run"),
    }
}

/// `maps[0] · scale + shift`, plus `maps[1]` if there is one.
pub(super) fn scale_and_shift(maps: Vec<Tensor>, scale: Tensor, shift: Tensor, relu: bool) -> Tensor {
    record_all(maps.into_iter().chain([scale, shift]).collect(), |values| {
        let maps: Vec<FlexTensor> = values[..values.len() - 2].iter().map(in_order).collect();
        let [scale, shift] = [&values[values.len() - 2], &values[values.len() - 1]].map(in_order);
        let output = flex::scale_and_shift(&maps, &scale, &shift, relu);
        let kept = Kept::new(&maps, &output, relu);
        let [scale, shift] = [scale, shift].map(|t| t.storage::<f32>().to_vec());
        (output, ScaleAndShift { kept, scale, shift })
    })
}

/// What the gradient of a normalisation needs of its input and output.
#[derive(Debug, Clone)]
struct Kept {
    input: FlexTensor,
    /// Only with ReLU and residual: without one the mask follows from the input.
    output: Option<FlexTensor>,
    has_residual: bool,
    relu: bool,
}

impl Kept {
    fn new(maps: &[FlexTensor], output: &FlexTensor, relu: bool) -> Self {
        let has_residual = maps.len() > 1;
        Self {
            input: maps[0].clone(),
            output: (relu && has_residual).then(|| output.clone()),
            has_residual,
            relu,
        }
    }

    fn passed<'a>(&'a self, scale: &'a [f32], shift: &'a [f32]) -> Passed<'a> {
        match &self.output {
            _ if !self.relu => Passed::All,
            Some(output) => Passed::Output(output.storage()),
            None => Passed::Scaled { scale, shift },
        }
    }
}

#[derive(Debug, Clone)]
struct BatchNorm {
    kept: Kept,
    centre: Vec<f32>,
    inverse: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Step<Flex> for BatchNorm {
    fn gradients(self, gradient: FlexTensor, wanted: &[bool]) -> Vec<Option<FlexTensor>> {
        let mut gradient = ordered(gradient);
        let Self { kept, centre, inverse, scale, shift } = self;
        let passed = kept.passed(&scale, &shift);
        let input = kept.input.storage::<f32>();
        let sums = gradient_sums(gradient.storage_mut(), input, &centre, passed);
        let residual = kept.has_residual.then(|| gradient.clone());
        let per_pixel = 1.0 / (input.len() / centre.len().max(1)).max(1) as f64;
        let of_weight: Vec<f32> =
            sums.gradient_input.iter().zip(&inverse).map(|(s, &i)| (s * f64::from(i)) as f32).collect();
        let of_bias: Vec<f32> = sums.gradient.iter().map(|&s| s as f32).collect();
        let by_input: Vec<f32> = sums
            .gradient_input
            .iter()
            .zip(&inverse)
            .zip(&scale)
            .map(|((sum, &inverse), &scale)| {
                (-sum * per_pixel * f64::from(inverse).powi(2) * f64::from(scale)) as f32
            })
            .collect();
        let constant: Vec<f32> = sums
            .gradient
            .iter()
            .zip(&scale)
            .map(|(sum, &scale)| (-sum * per_pixel * f64::from(scale)) as f32)
            .collect();
        let back =
            InputGradient { by_gradient: &scale, by_input: &by_input, centre: &centre, constant: &constant };
        let n = [centre.len()];
        let mut all = Vec::new();
        if wanted.first() == Some(&true) {
            back.apply(gradient.storage_mut(), input);
            all.push(Some(gradient));
        } else {
            all.push(None);
        }
        if kept.has_residual {
            all.push(residual);
        }
        all.extend([Some(tensor(of_weight, n)), Some(tensor(of_bias, n))]);
        all
    }
}

#[derive(Debug, Clone)]
struct ScaleAndShift {
    kept: Kept,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Step<Flex> for ScaleAndShift {
    fn gradients(self, gradient: FlexTensor, _wanted: &[bool]) -> Vec<Option<FlexTensor>> {
        let mut gradient = ordered(gradient);
        let Self { kept, scale, shift } = self;
        let passed = kept.passed(&scale, &shift);
        let input = kept.input.storage::<f32>();
        let zeros = vec![0.0; scale.len()];
        let sums = gradient_sums(gradient.storage_mut(), input, &zeros, passed);
        let residual = kept.has_residual.then(|| gradient.clone());
        let back = InputGradient { by_gradient: &scale, by_input: &zeros, centre: &zeros, constant: &zeros };
        back.apply(gradient.storage_mut(), input);
        let per_channel = |sums: &[f64]| tensor(sums.iter().map(|&s| s as f32).collect(), [scale.len()]);
        let mut all = vec![Some(gradient)];
        if kept.has_residual {
            all.push(residual);
        }
        all.extend([Some(per_channel(&sums.gradient_input)), Some(per_channel(&sums.gradient))]);
        all
    }
}

#[derive(Debug, Clone)]
struct SqueezeAndExcite {
    /// Maps and the weights of both convolutions, in order.
    maps: FlexTensor,
    squeeze: FlexTensor,
    excite: FlexTensor,
    kept: GateValues,
}

/// Maps, the weights of squeeze and excite; the biases of both.
pub(super) fn squeeze_and_excite([maps, squeeze, excite]: [Tensor; 3], [b1, b2]: [Tensor; 2]) -> Tensor {
    record([maps, squeeze, b1, excite, b2], |values| {
        let [maps, squeeze, b1, excite, b2] = [0, 1, 2, 3, 4].map(|at| in_order(&values[at]));
        let Gated { output, kept } = Gated::new(&maps, &squeeze, &b1, &excite, &b2);
        (output, SqueezeAndExcite { maps, squeeze, excite, kept })
    })
}

impl Step<Flex> for SqueezeAndExcite {
    fn gradients(self, gradient: FlexTensor, _wanted: &[bool]) -> Vec<Option<FlexTensor>> {
        let all = self.kept.gradients(&self.maps, &self.squeeze, &self.excite, ordered(gradient));
        [all.maps, all.squeeze, all.squeeze_bias, all.excite, all.excite_bias].map(Some).into()
    }
}
