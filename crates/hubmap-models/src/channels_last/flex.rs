//! The operations on tensors of Burn's CPU backend.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Shape, TensorMetadata};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Bytes, DType};
use hubmap_kernels::gates::{channel_means, linear, pixel_products, pixel_sums, scale_channels};
use hubmap_kernels::{
    Conv, ConvShape, Extent, Finish, Images, KernelError, Source, normalization, upsampling, weight_gradient,
};

/// A new tensor with these numbers in the order of its axes.
pub(super) fn tensor(values: Vec<f32>, dims: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(dims.into())), DType::F32)
}

/// The tensor's numbers in the order of its axes, without a copy where they are so already.
pub(super) fn in_order(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The size of maps `[n, h, w, c]`.
pub(super) fn extent(maps: &FlexTensor) -> Extent {
    match maps.shape()[..] {
        [count, height, width, channels] => Extent { count, height, width, channels },
        _ => Extent { count: 0, height: 0, width: 0, channels: 0 },
    }
}

const fn dims(extent: Extent) -> [usize; 4] {
    [extent.count, extent.height, extent.width, extent.channels]
}

/// A convolution that the kernels have.
#[derive(Debug, Clone)]
pub(super) struct ConvCall {
    shape: ConvShape,
}

impl ConvCall {
    /// The call for a layer, if its kernel, stride, padding and dilation are among those that the kernels have.
    pub(super) fn new(conv: &Conv2d, sources: impl FnOnce() -> Vec<Source>) -> Option<Self> {
        let [kernel_px, width] = conv.kernel_size;
        let pad = kernel_px / 2;
        let padding = match conv.padding {
            PaddingConfig2d::Valid => [0; 4],
            PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
            PaddingConfig2d::Same => return None,
        };
        let [stride, other] = conv.stride;
        let known = kernel_px == width && stride == other && padding == [pad; 4] && conv.dilation == [1, 1];
        let [out_channels, _, _, _] = conv.weight.shape().dims();
        let shape = ConvShape { sources: sources(), out_channels, kernel_px, stride, groups: conv.groups };
        (known && shape.check().is_ok()).then_some(Self { shape })
    }

    /// Convolves the maps before the last tensor, which is the weights.
    pub(super) fn forward(&self, maps_and_weight: &[FlexTensor], bias: Option<&FlexTensor>) -> FlexTensor {
        let values: Vec<FlexTensor> = maps_and_weight.iter().map(in_order).collect();
        let zeros = vec![0.0; self.shape.out_channels];
        let bias = bias.map(in_order);
        let bias = bias.as_ref().map_or(zeros.as_slice(), |b| b.storage());
        fits(self.try_forward(&values, bias))
    }

    fn try_forward(&self, values: &[FlexTensor], bias: &[f32]) -> Result<FlexTensor, KernelError> {
        let [maps @ .., weight] = values else {
            return Err(KernelError::Sources { found: 0, expected: self.shape.sources.len() });
        };
        let sources = maps.iter().map(images).collect::<Result<Vec<_>, _>>()?;
        let conv = Conv::new(self.shape.clone(), weight.storage(), bias)?;
        let out = conv.output_extent(&sources)?;
        let mut output = vec![0.0; out.len()];
        conv.run(&sources, &mut output, Finish::default())?;
        Ok(tensor(output, dims(out)))
    }

    /// The gradient of the weights, from the maps and the output's gradient, all in order.
    pub(super) fn weight_gradient(&self, maps: &[FlexTensor], gradient: &FlexTensor) -> FlexTensor {
        let shape = &self.shape;
        let compute = || {
            let sources = maps.iter().map(images).collect::<Result<Vec<_>, _>>()?;
            weight_gradient(shape, &sources, images(gradient)?)
        };
        let k = shape.kernel_px;
        tensor(fits(compute()), [shape.out_channels, shape.group_in_channels(), k, k])
    }

    /// The gradient of source `index` with this size, from the weights and the output's gradient, all in order.
    pub(super) fn source_gradient(
        &self,
        index: usize,
        source: Extent,
        weight: &FlexTensor,
        gradient: &FlexTensor,
    ) -> FlexTensor {
        let compute = || {
            let conv = Conv::backward(&self.shape, index, weight.storage())?;
            let gradient = images(gradient)?;
            let out = conv.output_extent(&[gradient])?;
            let mut values = vec![0.0; out.len()];
            conv.run(&[gradient], &mut values, Finish::default())?;
            if out != source {
                values = upsampling::crop(Images::new(&values, out)?, source);
            }
            Ok(tensor(values, dims(source)))
        };
        fits(compute())
    }
}

fn images(maps: &FlexTensor) -> Result<Images<'_>, KernelError> {
    Images::new(maps.storage(), extent(maps))
}

/// The result of a kernel.
///
/// Shapes that do not fit are a mistake in the network, which Burn's own operations answer with a panic, too.
fn fits<T>(result: Result<T, KernelError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// The sum over all pixels of every channel.
pub(super) fn channel_sums(maps: &FlexTensor) -> FlexTensor {
    let channels = extent(maps).channels;
    tensor(pixel_sums(maps.storage(), 1, channels), [channels])
}

pub(super) fn upsample2(maps: &FlexTensor) -> FlexTensor {
    let size = extent(maps);
    let values = upsampling::upsample2(in_order(maps).storage(), size.width, size.channels);
    tensor(values, dims(Extent { height: 2 * size.height, width: 2 * size.width, ..size }))
}

pub(super) fn upsample2_gradient(gradient: &FlexTensor) -> FlexTensor {
    let size = extent(gradient);
    let values = upsampling::sum2x2(in_order(gradient).storage(), size.width / 2, size.channels);
    tensor(values, dims(Extent { height: size.height / 2, width: size.width / 2, ..size }))
}

/// `maps[0] · scale + shift`, plus `maps[1]` if there is one.
pub(super) fn scale_and_shift(
    maps: &[FlexTensor],
    scale: &FlexTensor,
    shift: &FlexTensor,
    relu: bool,
) -> FlexTensor {
    let [scale, shift] = [scale, shift].map(in_order);
    let ordered: Vec<FlexTensor> = maps.iter().map(in_order).collect();
    let residual = ordered.get(1).map(FlexTensor::storage::<f32>);
    let values = normalization::scale_and_shift(
        ordered[0].storage(),
        scale.storage(),
        shift.storage(),
        residual,
        relu,
    );
    tensor(values, dims(extent(&ordered[0])))
}

/// Maps times their gates, and what the gradient needs of it.
#[derive(Debug, Clone)]
pub(super) struct Gated {
    pub(super) output: FlexTensor,
    pub(super) kept: GateValues,
}

/// Values of squeeze-and-excitation, image by image.
#[derive(Debug, Clone)]
pub(super) struct GateValues {
    /// `[n, c]`.
    mean: Vec<f32>,
    /// `[n, squeezed]`.
    squeezed: Vec<f32>,
    /// `[n, c]`.
    gates: Vec<f32>,
}

/// Gradients of squeeze-and-excitation.
pub(super) struct GateGradients {
    pub(super) maps: FlexTensor,
    pub(super) squeeze: FlexTensor,
    pub(super) squeeze_bias: FlexTensor,
    pub(super) excite: FlexTensor,
    pub(super) excite_bias: FlexTensor,
}

impl Gated {
    /// The weights are `[squeezed, c, 1, 1]` and `[c, squeezed, 1, 1]`.
    pub(super) fn new(
        maps: &FlexTensor,
        squeeze: &FlexTensor,
        squeeze_bias: &FlexTensor,
        excite: &FlexTensor,
        excite_bias: &FlexTensor,
    ) -> Self {
        let channels = extent(maps).channels;
        let mut maps = in_order(maps);
        let [w1, b1, w2, b2] = [squeeze, squeeze_bias, excite, excite_bias].map(in_order);
        let mean = channel_means(fits(images(&maps)));
        let mut squeezed = linear(&mean, w1.storage(), b1.storage());
        for value in &mut squeezed {
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
        let mut gates = linear(&squeezed, w2.storage(), b2.storage());
        for value in &mut gates {
            *value = 1.0 / (1.0 + (-*value).exp());
        }
        scale_channels(maps.storage_mut(), &gates, None, channels);
        Self { output: maps, kept: GateValues { mean, squeezed, gates } }
    }
}

impl GateValues {
    /// Gradients from the maps, the weights and the output's gradient, all in order.
    pub(super) fn gradients(
        &self,
        maps: &FlexTensor,
        squeeze: &FlexTensor,
        excite: &FlexTensor,
        mut gradient: FlexTensor,
    ) -> GateGradients {
        let size = extent(maps);
        let (n, channels, n_squeezed) = (size.count, size.channels, self.squeezed.len() / size.count.max(1));
        let mut excited = pixel_products(gradient.storage(), maps.storage(), n, channels);
        for (g, gate) in excited.iter_mut().zip(&self.gates) {
            *g *= gate * (1.0 - gate);
        }
        let mut squeezed = times(&excited, excite.storage(), n);
        for (g, value) in squeezed.iter_mut().zip(&self.squeezed) {
            if *value <= 0.0 {
                *g = 0.0;
            }
        }
        let mut mean = times(&squeezed, squeeze.storage(), n);
        let per_pixel = 1.0 / (size.height * size.width) as f32;
        for value in &mut mean {
            *value *= per_pixel;
        }
        scale_channels(gradient.storage_mut(), &self.gates, Some(&mean), channels);
        GateGradients {
            maps: gradient,
            squeeze: tensor(outer(&squeezed, &self.mean, n), [n_squeezed, channels, 1, 1]),
            squeeze_bias: tensor(column_sums(&squeezed, n_squeezed), [n_squeezed]),
            excite: tensor(outer(&excited, &self.squeezed, n), [channels, n_squeezed, 1, 1]),
            excite_bias: tensor(column_sums(&excited, channels), [channels]),
        }
    }
}

/// Rows of `gradient` times `weights`: `[n, out]` and `[out, in]` to `[n, in]`.
fn times(gradient: &[f32], weights: &[f32], n: usize) -> Vec<f32> {
    let n_out = gradient.len() / n.max(1);
    let n_in = weights.len() / n_out.max(1);
    let mut out = vec![0.0; n * n_in];
    for (out, row) in out.chunks_exact_mut(n_in.max(1)).zip(gradient.chunks_exact(n_out.max(1))) {
        for (factor, weights) in row.iter().zip(weights.chunks_exact(n_in.max(1))) {
            for (out, weight) in out.iter_mut().zip(weights) {
                *out += factor * weight;
            }
        }
    }
    out
}

/// The sum over rows of their outer products: `[n, out]` and `[n, in]` to `[out, in]`.
fn outer(gradient: &[f32], inputs: &[f32], n: usize) -> Vec<f32> {
    let (n_out, n_in) = (gradient.len() / n.max(1), inputs.len() / n.max(1));
    let mut out = vec![0.0; n_out * n_in];
    for (row, inputs) in gradient.chunks_exact(n_out.max(1)).zip(inputs.chunks_exact(n_in.max(1))) {
        for (out, factor) in out.chunks_exact_mut(n_in.max(1)).zip(row) {
            for (out, input) in out.iter_mut().zip(inputs) {
                *out += factor * input;
            }
        }
    }
    out
}

fn column_sums(rows: &[f32], n_columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; n_columns];
    for row in rows.chunks_exact(n_columns.max(1)) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sums
}
