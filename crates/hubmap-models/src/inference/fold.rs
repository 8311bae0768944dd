//! From Burn layers to laid-out convolutions.

use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, TensorData};
use hubmap_kernels::gates::linear;
use hubmap_kernels::{Conv, ConvShape, KernelError, Source, ThinConv};

use crate::layers::{ConvNorm, EPSILON};

/// The numbers of a parameter, C order.
pub(super) fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    numbers(param.val())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter::<f32>().collect()
}

/// Weights and bias of one convolution that does what a convolution and the normalisation after it do.
fn folded(layer: &ConvNorm) -> (Vec<f32>, Vec<f32>) {
    let [out_channels, group_in, kernel_px, _] = layer.conv.weight.dims();
    let mut weights = values(&layer.conv.weight);
    let (scale, shift) = (values(&layer.bn.weight), values(&layer.bn.bias));
    let (mean, variance) = (numbers(layer.bn.running_mean.value()), numbers(layer.bn.running_var.value()));
    let mut bias = Vec::with_capacity(out_channels);
    for (channel, weights) in weights.chunks_exact_mut(group_in * kernel_px * kernel_px).enumerate() {
        let factor = f64::from(scale[channel]) / (f64::from(variance[channel]) + EPSILON).sqrt();
        for weight in weights {
            *weight = (f64::from(*weight) * factor) as f32;
        }
        bias.push((f64::from(shift[channel]) - f64::from(mean[channel]) * factor) as f32);
    }
    (weights, bias)
}

/// Folds the normalisation into the convolution of a Burn layer.
pub(super) fn fold_in_place(mut layer: ConvNorm) -> ConvNorm {
    let (weights, bias) = folded(&layer);
    let (shape, device) = (layer.conv.weight.dims(), layer.conv.weight.device());
    layer.conv.weight =
        layer.conv.weight.map(|_| Tensor::from_data(TensorData::new(weights, shape), &device));
    layer.conv.bias = Some(Param::from_data(TensorData::new(bias, [shape[0]]), &device));
    layer
}

/// A convolution and the normalisation after it as one laid-out convolution.
///
/// `sources` are the inputs side by side; their channels add up to the layer's.
pub(super) fn fold(layer: &ConvNorm, sources: Vec<Source>) -> Result<Conv, KernelError> {
    let [out_channels, _, kernel_px, _] = layer.conv.weight.dims();
    let (weights, bias) = folded(layer);
    let shape = ConvShape {
        sources,
        out_channels,
        kernel_px,
        stride: layer.conv.stride[0],
        groups: layer.conv.groups,
    };
    Conv::new(shape, &weights, &bias)
}

/// A convolution with bias to a single channel.
pub(super) fn thin(layer: &Conv2d) -> Result<ThinConv, KernelError> {
    let [_, channels, kernel_px, _] = layer.weight.dims();
    let bias = layer.bias.as_ref().map_or(0.0, |bias| values(bias)[0]);
    ThinConv::new(channels, kernel_px, &values(&layer.weight), bias)
}

/// A 1×1 convolution over one pixel: a product of a matrix and a vector.
#[derive(Debug)]
pub(super) struct Dense {
    /// `[out, in]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    pub(super) fn new(layer: &Conv2d) -> Self {
        let weights = values(&layer.weight);
        let bias = match &layer.bias {
            Some(bias) => values(bias),
            None => vec![0.0; layer.weight.dims()[0]],
        };
        Self { weights, bias }
    }

    pub(super) fn apply(&self, input: &[f32], activation: impl Fn(f32) -> f32) -> Vec<f32> {
        linear(input, &self.weights, &self.bias).into_iter().map(activation).collect()
    }
}

pub(super) fn relu(x: f32) -> f32 {
    // Not `f32::max`, which would turn a NaN into 0.
    if x < 0.0 { 0.0 } else { x }
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
