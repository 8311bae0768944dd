//! The operations on LibTorch with gradients, which LibTorch's own autograd finds.
//!
//! Composed of Burn's operations they would take a convolution for every group of a grouped convolution backward, and
//! ten passes over a map for a normalisation.
#![expect(deprecated, reason = "Burn's only fast grouped convolutions on GPUs, ADR 2")]

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, autodiff::checkpoint::strategy::NoCheckpointing};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor as BurnTensor;
use tch::Tensor;

use super::record::{Step, record_all};
use super::{BatchMoments, Ending, Gate, Input, Maps};

type Tracked = Autodiff<LibTorch, NoCheckpointing>;

/// LibTorch's graph of one operation.
#[derive(Debug, Clone)]
struct Graph {
    tensors: Arc<Mutex<GraphTensors>>,
    /// Hold the memory of inputs and output, which Burn would otherwise change in place.
    _held: Vec<TchTensor>,
}

#[derive(Debug)]
struct GraphTensors {
    leaves: Vec<Tensor>,
    output: Tensor,
}

impl Step<LibTorch> for Graph {
    fn gradients(self, gradient: TchTensor, wanted: &[bool]) -> Vec<Option<TchTensor>> {
        let graph = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves: Vec<&Tensor> =
            graph.leaves.iter().zip(wanted).filter_map(|(leaf, wanted)| wanted.then_some(leaf)).collect();
        // A number whose gradient by the output is the given one: the binding takes no gradients to start from.
        let product = graph.output.reshape([-1]).dot(&gradient.tensor.reshape([-1]));
        let mut found = Tensor::run_backward(&[product], &leaves, false, false).into_iter();
        wanted.iter().map(|wanted| wanted.then(|| found.next().map(TchTensor::new)).flatten()).collect()
    }
}

/// Enters what `compute` makes of tensors into Burn's graph.
fn differentiate(
    inputs: Vec<FloatTensor<Tracked>>,
    compute: impl FnOnce(&[Tensor]) -> Tensor,
) -> FloatTensor<Tracked> {
    record_all(inputs, |values| {
        let leaves: Vec<Tensor> =
            values.iter().map(|value| value.tensor.detach().set_requires_grad(true)).collect();
        let output = tch::with_grad(|| compute(&leaves));
        let result = TchTensor::new(output.detach());
        let mut held: Vec<TchTensor> = values;
        held.push(result.clone());
        (result, Graph { tensors: Arc::new(Mutex::new(GraphTensors { leaves, output })), _held: held })
    })
}

/// The tensors behind LibTorch with gradients, if they are there.
fn tracked<'a, const D: usize>(
    tensors: impl IntoIterator<Item = &'a BurnTensor<D>>,
) -> Option<Vec<FloatTensor<Tracked>>> {
    tensors.into_iter().map(|tensor| tensor.clone().try_into_primitive::<Tracked>().ok()).collect()
}

fn maps(tensor: FloatTensor<Tracked>) -> Maps {
    Maps(BurnTensor::from_primitive::<Tracked>(tensor))
}

/// `[n, h, w, c]` as `[n, c, h, w]`.
fn channels_first(maps: &Tensor) -> Tensor {
    maps.permute([0, 3, 1, 2])
}

fn channels_last(maps: &Tensor) -> Tensor {
    maps.permute([0, 2, 3, 1])
}

fn doubled(maps: &Tensor) -> Tensor {
    let size = maps.size();
    maps.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None)
}

/// As [`Maps::upsample2`].
pub(super) fn upsample2(input: &Maps) -> Option<Maps> {
    Some(maps(differentiate(tracked([&input.0])?, |t| channels_last(&doubled(&channels_first(&t[0]))))))
}

/// As [`super::convolve`].
pub(super) fn convolve(inputs: &[Input], conv: &Conv2d) -> Option<Maps> {
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => [top, left],
        _ => return None,
    };
    let weight = conv.weight.val();
    let mut tensors = tracked(inputs.iter().map(|input| &input.maps.0).chain([&weight]))?;
    if let Some(bias) = &conv.bias {
        tensors.extend(tracked([&bias.val()])?);
    }
    let n_maps = inputs.len();
    let [stride, padding, dilation] =
        [conv.stride, padding, conv.dilation].map(|pair| pair.map(|n| n as i64));
    let upsampled: Vec<bool> = inputs.iter().map(|input| input.upsampled).collect();
    let output = differentiate(tensors, |t| {
        let mut parts: Vec<Tensor> = t[..n_maps]
            .iter()
            .zip(upsampled)
            .map(|(part, upsampled)| {
                let part = channels_first(part);
                if upsampled { doubled(&part) } else { part }
            })
            .collect();
        let input = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 1) };
        let kind = input.kind();
        let weight = t[n_maps].to_kind(kind);
        let bias = t.get(n_maps + 1).map(|bias| bias.to_kind(kind));
        channels_last(&input.conv2d(&weight, bias.as_ref(), stride, padding, dilation, conv.groups as i64))
    });
    Some(maps(output))
}

/// As [`Maps::batch_norm`].
pub(super) fn batch_norm(
    input: &Maps,
    weight: &BurnTensor<1>,
    bias: &BurnTensor<1>,
    epsilon: f64,
    ending: &Ending,
) -> Option<(Maps, BatchMoments)> {
    let all = std::iter::once(&input.0).chain(ending.residual.iter().map(|residual| &residual.0));
    let mut tensors = tracked(all)?;
    let n_maps = tensors.len();
    tensors.extend(tracked([weight, bias])?);
    let mut moments = None;
    let output = differentiate(tensors, |t| {
        let (weight, bias) = (&t[n_maps], &t[n_maps + 1]);
        // With a momentum of 1, the running statistics are those of the batch.
        let (mean, unbiased) = (weight.detach().zeros_like(), weight.detach().zeros_like());
        let maps = channels_first(&t[0]);
        let normalised =
            maps.batch_norm(Some(weight), Some(bias), Some(&mean), Some(&unbiased), true, 1.0, epsilon, true);
        let mut output = channels_last(&normalised);
        if n_maps > 1 {
            output = output + &t[1];
        }
        // The graph keeps its own, which Burn must not change in place.
        moments = Some([mean.copy(), unbiased.copy()]);
        if ending.relu { output.relu() } else { output }
    });
    let n_pixels = input.n_pixels() as f64;
    let [mean, unbiased] = moments?.map(|tensor| {
        let tensor = <Tracked as burn::backend::AutodiffBackend>::from_inner(TchTensor::new(tensor));
        BurnTensor::<1>::from_primitive::<Tracked>(tensor)
    });
    let variance = unbiased.mul_scalar((n_pixels - 1.0) / n_pixels);
    Some((maps(output), BatchMoments { mean, variance }))
}

/// As [`Maps::squeeze_and_excite`].
pub(super) fn squeeze_and_excite(input: &Maps, gate: &Gate<'_>) -> Option<Maps> {
    let layers = [gate.squeeze, gate.excite];
    let weights = layers.map(|conv| conv.weight.val());
    let mut tensors = tracked([&input.0, &weights[0], &weights[1]])?;
    for conv in layers {
        tensors.extend(tracked([&conv.bias.as_ref()?.val()])?);
    }
    let output = differentiate(tensors, |t| {
        let layer = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
            let (weight, bias) = (weight.to_kind(x.kind()), bias.to_kind(x.kind()));
            x.conv2d(&weight, Some(&bias), [1, 1], [0, 0], [1, 1], 1)
        };
        let mean = channels_first(&t[0].mean_dim([1, 2].as_slice(), true, None));
        let gates = layer(&layer(&mean, &t[1], &t[3]).relu(), &t[2], &t[4]).sigmoid();
        &t[0] * channels_last(&gates)
    });
    Some(maps(output))
}
