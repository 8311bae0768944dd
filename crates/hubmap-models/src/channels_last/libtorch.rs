//! Networks on LibTorch: computed, and differentiated where gradients are wanted, by LibTorch from the first operation to the
//! last.
//!
//! Maps [enter](Traced::enter) LibTorch's graph from Burn's and [leave](Traced::leave) it again; everything between them is
//! one operation to Burn. Composed of Burn's operations, a grouped convolution would take a convolution for every
//! group backward, a normalisation ten passes over a map, and each of a thousand operations its bookkeeping (ADR 13).
#![expect(deprecated, reason = "Burn's only fast grouped convolutions on GPUs, ADR 2")]

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::LibTorch;
use burn::backend::autodiff::NodeId;
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, DispatchDevice, autodiff::checkpoint::strategy::NoCheckpointing,
};
use burn::module::{Param, RunningState};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor as BurnTensor};
use tch::Tensor;

use super::record::{Step, record_all};
use super::{Ending, Gate, Input, Maps};

type Tracked = Autodiff<LibTorch, NoCheckpointing>;

/// Maps `[n, c, h, w]` in LibTorch's graph.
#[derive(Debug)]
pub(crate) struct Traced {
    maps: Tensor,
    /// Where the graph that they are in begins: one tape, or several that an operation has brought together.
    tapes: Vec<Arc<Tape>>,
}

/// Where LibTorch's graph begins.
#[derive(Debug)]
struct Tape {
    /// Whether Burn asks for gradients at all; if not, only the maps that came in are leaves.
    is_autodiff: bool,
    leaves: Mutex<Vec<Leaf>>,
    /// Other tensors that both sides know: running statistics.
    shared: Mutex<Vec<TchTensor>>,
    /// Shared with every way out of the graph.
    in_use: Arc<()>,
}

/// A tensor of Burn's that LibTorch's graph begins at.
#[derive(Debug)]
struct Leaf {
    /// Its node in Burn's graph, if gradients are wanted of it.
    node: Option<FloatTensor<Tracked>>,
    /// What Burn knows it as.
    memory: TchTensor,
    /// What LibTorch knows it as: the same memory.
    tensor: Tensor,
    is_weight: bool,
}

impl Clone for Traced {
    fn clone(&self) -> Self {
        self.with(self.maps.shallow_clone())
    }
}

impl Tape {
    fn new(is_autodiff: bool) -> Self {
        Self { is_autodiff, leaves: Mutex::default(), shared: Mutex::default(), in_use: Arc::default() }
    }

    /// Begins at a tensor, unless it is not on LibTorch, or with gradients where this has none, or the other way round.
    fn begin_at<const D: usize>(&self, tensor: &BurnTensor<D>, is_weight: bool) -> Option<Tensor> {
        let (node, memory) = if self.is_autodiff {
            let source = tensor.clone().try_into_primitive::<Tracked>().ok()?;
            let memory = source.primitive().clone();
            (source.is_tracked().then_some(source), memory)
        } else {
            (None, tensor.clone().try_into_primitive::<LibTorch>().ok()?)
        };
        let tensor = memory.tensor.detach().set_requires_grad(node.is_some());
        if self.is_autodiff || !is_weight {
            let leaf = Leaf { node, memory, tensor: tensor.shallow_clone(), is_weight };
            self.leaves.lock().unwrap_or_else(PoisonError::into_inner).push(leaf);
        }
        Some(tensor)
    }
}

impl Traced {
    /// Maps `[n, c, h, w]` of Burn's, unless they are not on LibTorch.
    pub(super) fn enter(maps: &BurnTensor<4>) -> Option<Self> {
        [true, false].into_iter().find_map(|is_autodiff| {
            let tape = Tape::new(is_autodiff);
            let maps = tape.begin_at(maps, false)?;
            Some(Self { maps, tapes: vec![Arc::new(tape)] })
        })
    }

    /// Whether Burn may want to go back over what is done to them.
    pub(super) fn is_autodiff(&self) -> bool {
        self.tapes.iter().any(|tape| tape.is_autodiff)
    }

    /// The maps `[n, c, h, w]` as one operation of Burn's graph.
    pub(super) fn leave(self) -> BurnTensor<4> {
        let is_autodiff = self.is_autodiff();
        let Self { maps, tapes } = self;
        let (mut held, mut leaves) = (Vec::new(), Vec::new());
        let mut output = TchTensor::new(maps.detach());
        for tape in &tapes {
            held.extend(tape.shared.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
            for leaf in tape.leaves.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                if leaf.tensor.data_ptr() == maps.data_ptr() {
                    // The maps that came in go out again: Burn has to know that they share memory.
                    output = TchTensor::from_existing(maps.detach(), leaf.memory.storage.clone());
                }
                if let Some(node) = &leaf.node {
                    leaves.push((node.clone(), leaf.tensor.shallow_clone(), leaf.is_weight));
                    held.push(leaf.memory.clone());
                }
            }
        }
        if !is_autodiff {
            return BurnTensor::from_primitive::<LibTorch>(output);
        }
        // Burn has to walk on from the maps that came in. Nothing is behind a weight: one of them is enough for Burn to
        // come here at all, and the others are told their gradients past its graph.
        leaves.sort_by_key(|&(_, _, is_weight)| is_weight);
        let n_entered = leaves.iter().filter(|&&(_, _, is_weight)| !is_weight).count();
        let n_parents = leaves.len().min(n_entered + 1);
        if n_parents == 0 {
            return BurnTensor::from_primitive::<Tracked>(Tracked::from_inner(output));
        }
        let parents: Vec<_> = leaves[..n_parents].iter().map(|(node, ..)| node.clone()).collect();
        held.push(output.clone());
        let graph = Graph {
            _held: held,
            in_use: tapes.iter().map(|tape| Arc::clone(&tape.in_use)).collect(),
            others: leaves[n_parents..].iter().map(|(node, ..)| node.id()).collect(),
            tensors: Arc::new(Mutex::new(GraphTensors {
                leaves: leaves.into_iter().map(|(_, tensor, _)| tensor).collect(),
                output: maps,
            })),
        };
        drop(tapes);
        BurnTensor::from_primitive::<Tracked>(record_all(parents, |_| (output, graph)))
    }

    /// Other maps of the same graph.
    fn with(&self, maps: Tensor) -> Self {
        Self { maps, tapes: self.tapes.clone() }
    }

    /// What an operation makes of these maps.
    fn map(&self, compute: impl FnOnce(&Tensor) -> Tensor) -> Self {
        self.with(tch::with_grad(|| compute(&self.maps)))
    }

    /// What an operation makes of several.
    fn join<'a>(all: impl IntoIterator<Item = &'a Self>, compute: impl FnOnce(&[&Tensor]) -> Tensor) -> Self {
        let (mut maps, mut tapes): (Vec<&Tensor>, Vec<Arc<Tape>>) = Default::default();
        for traced in all {
            maps.push(&traced.maps);
            for tape in &traced.tapes {
                if !tapes.iter().any(|known| Arc::ptr_eq(known, tape)) {
                    tapes.push(Arc::clone(tape));
                }
            }
        }
        Self { maps: tch::with_grad(|| compute(&maps)), tapes }
    }

    /// A weight of an operation on these maps; `None` if it is elsewhere.
    fn weight<const D: usize>(&self, weight: &BurnTensor<D>) -> Option<Tensor> {
        self.tapes.first()?.begin_at(weight, true)
    }

    /// Keeps Burn from changing a tensor in place that LibTorch's graph has saved.
    fn share(&self, tensor: TchTensor) {
        if let Some(tape) = self.tapes.first() {
            tape.shared.lock().unwrap_or_else(PoisonError::into_inner).push(tensor);
        }
    }

    /// As [`Maps::upsample2`].
    pub(super) fn upsample2(&self) -> Self {
        self.map(doubled)
    }

    /// As [`Maps::gate_pixels`].
    pub(super) fn gate_pixels(&self, logits: &Self) -> Self {
        Self::join([self, logits], |maps| maps[0] * maps[1].sigmoid())
    }

    /// As [`Maps::add`].
    pub(super) fn add(&self, other: &Self) -> Self {
        Self::join([self, other], |maps| maps[0] + maps[1])
    }
}

/// LibTorch's graph from leaves to maps that have left it.
#[derive(Debug, Clone)]
struct Graph {
    tensors: Arc<Mutex<GraphTensors>>,
    /// Leaves that are no inputs to Burn's graph.
    others: Vec<NodeId>,
    in_use: Vec<Arc<()>>,
    /// Hold the memory of all that both sides know, which Burn would otherwise change in place.
    _held: Vec<TchTensor>,
}

#[derive(Debug)]
struct GraphTensors {
    /// Inputs to Burn's graph, then the others.
    leaves: Vec<Tensor>,
    output: Tensor,
}

impl Step<LibTorch> for Graph {
    fn others(&self) -> Vec<NodeId> {
        self.others.clone()
    }

    fn gradients(self, gradient: TchTensor, wanted: &[bool]) -> Vec<Option<TchTensor>> {
        let graph = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        // Every leaf wants its gradient: those that do not were left out.
        debug_assert!(wanted.iter().all(|&wanted| wanted));
        // A number whose gradient by the output is the given one: the binding takes no gradients to start from.
        let product = graph.output.reshape([-1]).dot(&gradient.tensor.reshape([-1]));
        // Whoever is last may free what the graph holds as it goes.
        let keep = self.in_use.iter().any(|in_use| Arc::strong_count(in_use) > 1);
        let found = Tensor::run_backward(&[product], &graph.leaves, keep, false);
        // A leaf of other maps than these has none.
        found.into_iter().map(|found| found.defined().then(|| TchTensor::new(found))).collect()
    }
}

/// A layer of batch normalisation with its running statistics.
pub(crate) struct RunningNorm<'a> {
    /// Scale, `[c]`.
    pub(crate) weight: &'a Param<BurnTensor<1>>,
    /// Shift, `[c]`.
    pub(crate) bias: &'a Param<BurnTensor<1>>,
    /// Running mean, `[c]`.
    pub(crate) mean: &'a RunningState<BurnTensor<1>>,
    /// Running unbiased variance, `[c]`.
    pub(crate) variance: &'a RunningState<BurnTensor<1>>,
    /// Weight of the newest batch in the running statistics; without it they are what is normalised by.
    pub(crate) momentum: Option<f64>,
    /// Added to the variance.
    pub(crate) epsilon: f64,
}

fn doubled(maps: &Tensor) -> Tensor {
    let size = maps.size();
    maps.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None)
}

/// All of them, if LibTorch has them all.
fn traced<'a>(maps: impl IntoIterator<Item = &'a Maps>) -> Option<Vec<&'a Traced>> {
    let traced = |maps: &'a Maps| match maps {
        Maps::LibTorch(traced) => Some(traced),
        Maps::Burn(_) => None,
    };
    maps.into_iter().map(traced).collect()
}

/// As [`Maps::concatenate`].
pub(super) fn concatenate(parts: &[Maps]) -> Option<Maps> {
    Some(Maps::LibTorch(Traced::join(traced(parts)?, |maps| Tensor::cat(maps, 1))))
}

/// As [`super::convolve`].
pub(super) fn convolve(inputs: &[Input], conv: &Conv2d) -> Option<Maps> {
    let maps = traced(inputs.iter().map(|input| &input.maps))?;
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [0; 4],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right].map(|n| n as i64),
        PaddingConfig2d::Same => return None,
    };
    let first = maps.first()?;
    let weight = first.weight(&conv.weight.val())?;
    let bias = match &conv.bias {
        Some(bias) => Some(first.weight(&bias.val())?),
        None => None,
    };
    Some(Maps::LibTorch(Traced::join(maps, |maps| {
        let parts = maps.iter().zip(inputs);
        let parts =
            parts.map(|(part, input)| if input.upsampled { doubled(part) } else { part.shallow_clone() });
        let mut parts: Vec<Tensor> = parts.collect();
        let maps = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 1) };
        let [top, left, bottom, right] = padding;
        let (maps, padding) = if (top, left) == (bottom, right) {
            (maps, [top, left])
        } else {
            (maps.constant_pad_nd([left, right, top, bottom]), [0, 0])
        };
        let [stride, dilation] = [conv.stride, conv.dilation].map(|pair| pair.map(|n| n as i64));
        layer(&maps, &weight, bias.as_ref(), stride, padding, dilation, conv.groups as i64)
    })))
}

/// A convolution in the precision of the maps.
fn layer(
    maps: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: [i64; 2],
    padding: [i64; 2],
    dilation: [i64; 2],
    groups: i64,
) -> Tensor {
    let kind = maps.kind();
    let bias = bias.map(|bias| bias.to_kind(kind));
    maps.conv2d(&weight.to_kind(kind), bias.as_ref(), stride, padding, dilation, groups)
}

/// A layer of batch normalisation and what follows it; running statistics are brought up to date.
pub(crate) fn norm(maps: &Maps, norm: &RunningNorm<'_>, ending: &Ending) -> Option<Maps> {
    let maps = traced(std::iter::once(maps).chain(&ending.residual))?;
    let first = maps.first()?;
    let (weight, bias) = (first.weight(&norm.weight.val())?, first.weight(&norm.bias.val())?);
    let is_by_batch = norm.momentum.is_some();
    let [mean, variance] = [norm.mean, norm.variance].map(|state| {
        let state = if is_by_batch { state.value_sync() } else { state.value() };
        let state = if first.is_autodiff() {
            state.try_into_primitive::<Tracked>().ok()?.into_primitive()
        } else {
            state.try_into_primitive::<LibTorch>().ok()?
        };
        // They change in place, and others may hold them.
        Some(if is_by_batch { state.tensor.copy() } else { state.tensor })
    });
    let (mean, variance) = (mean?, variance?);
    let output = Traced::join(maps.iter().copied(), |maps| {
        let normalised = maps[0].batch_norm(
            Some(&weight),
            Some(&bias),
            Some(&mean),
            Some(&variance),
            is_by_batch,
            norm.momentum.unwrap_or_default(),
            norm.epsilon,
            true,
        );
        let mut output = match maps.get(1) {
            Some(residual) => normalised + *residual,
            None => normalised,
        };
        if ending.relu { output.relu_() } else { output }
    });
    if is_by_batch {
        for (state, value) in [(norm.mean, mean), (norm.variance, variance)] {
            let value = TchTensor::new(value);
            first.share(value.clone());
            state.update(BurnTensor::from_primitive::<Tracked>(Tracked::from_inner(value)));
        }
    }
    Some(Maps::LibTorch(output))
}

/// As [`Maps::end`].
pub(super) fn end(maps: &Maps, ending: &Ending) -> Option<Maps> {
    let maps = traced(std::iter::once(maps).chain(&ending.residual))?;
    Some(Maps::LibTorch(Traced::join(maps, |maps| match (maps.get(1), ending.relu) {
        (Some(residual), true) => (maps[0] + *residual).relu_(),
        (Some(residual), false) => maps[0] + *residual,
        (None, true) => maps[0].relu(),
        (None, false) => maps[0].shallow_clone(),
    })))
}

/// As [`Maps::squeeze_and_excite`].
pub(super) fn squeeze_and_excite(maps: &Maps, gate: &Gate<'_>) -> Option<Maps> {
    let maps = traced([maps])?.pop()?;
    let weights =
        |conv: &Conv2d| Some((maps.weight(&conv.weight.val())?, maps.weight(&conv.bias.as_ref()?.val())?));
    let (squeeze, excite) = (weights(gate.squeeze)?, weights(gate.excite)?);
    Some(Maps::LibTorch(maps.map(|maps| {
        let pointwise = |maps: &Tensor, (weight, bias): &(Tensor, Tensor)| {
            layer(maps, weight, Some(bias), [1, 1], [0, 0], [1, 1], 1)
        };
        let mean = maps.mean_dim([2, 3].as_slice(), true, None);
        maps * pointwise(&pointwise(&mean, &squeeze).relu(), &excite).sigmoid()
    })))
}

/// Numbers in C order on a device of LibTorch, with one copy less than through Burn; `None` for other devices.
pub(crate) fn upload(numbers: &[f32], dims: [usize; 4], device: &Device) -> Option<BurnTensor<4>> {
    let DispatchDevice::LibTorch(device) = device.as_dispatch() else { return None };
    let dims = dims.map(|n| n as i64);
    let tensor = Tensor::from_slice(numbers).view(dims).to_device((*device).into());
    Some(BurnTensor::from_primitive::<LibTorch>(TchTensor::new(tensor)))
}
