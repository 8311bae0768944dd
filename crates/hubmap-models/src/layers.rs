//! Layers that encoder and decoder share.

use burn::module::{Flag, Module, Param, RunningState};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};

#[cfg(feature = "tch")]
use crate::channels_last::libtorch::RunningNorm;
use crate::channels_last::{Affine, BatchMoments, Ending, Input, Maps, convolve};
use crate::fresh::{FreshWeights, Start};

/// Weight of the newest batch in the running statistics (PyTorch's default).
const MOMENTUM: f64 = 0.1;
/// Added to the variance (PyTorch's default).
pub(crate) const EPSILON: f64 = 1e-5;

/// Batch normalisation over `[n, c, h, w]` that keeps its running variance as PyTorch does.
///
/// Burn's own layer stores the biased batch variance; PyTorch stores the unbiased one, which at stride
/// 32 of a small crop (18 pixels, say) is 6 % larger and shows in evaluation.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale, `[c]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[c]`.
    pub bias: Param<Tensor<1>>,
    /// Whether batch statistics are used on an autodiff device; off for a frozen encoder.
    pub training: Param<Flag>,
    /// Running mean, `[c]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running unbiased variance, `[c]`.
    pub running_var: RunningState<Tensor<1>>,
}

impl BatchNorm {
    /// A layer over `channels` channels, with scale `weight` (1 unless a residual branch starts at 0).
    pub fn new(channels: usize, weight: f64, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::full([channels], weight, device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            training: Param::from_bool(true),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
        }
    }

    /// Normalises `[n, c, h, w]`: by batch statistics on an autodiff device, else by the running ones.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let training = x.device().is_autodiff();
        self.normalise(Maps::from_channels_first(x), training, Ending::none()).into_channels_first()
    }

    /// [`BatchNorm::forward`] and what follows it; `training` is whether the device is an autodiff one.
    pub(crate) fn normalise(&self, x: Maps, training: bool, ending: Ending) -> Maps {
        let by_batch = training && self.training.is_enabled();
        #[cfg(feature = "tch")]
        if let Some(maps) = crate::channels_last::libtorch::norm(
            &x,
            &RunningNorm {
                weight: &self.weight,
                bias: &self.bias,
                mean: &self.running_mean,
                variance: &self.running_var,
                momentum: by_batch.then_some(MOMENTUM),
                epsilon: EPSILON,
            },
            &ending,
        ) {
            return maps;
        }
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if !by_batch {
            let scale = weight.div(self.running_var.value().add_scalar(EPSILON).sqrt());
            let shift = bias.sub(self.running_mean.value().mul(scale.clone()));
            return x.scale_and_shift(Affine { scale, shift }, ending);
        }
        let [n, h, w, _] = x.dims();
        let count = (n * h * w) as f64;
        let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
        let (output, BatchMoments { mean, variance }) = x.batch_norm(weight, bias, EPSILON, ending);
        let blend = |state: &RunningState<Tensor<1>>, batch: Tensor<1>, scale: f64| {
            let old = state.value_sync().mul_scalar(1.0 - MOMENTUM);
            state.update(old.add(batch.detach().mul_scalar(MOMENTUM * scale)).detach());
        };
        blend(&self.running_mean, mean, 1.0);
        blend(&self.running_var, variance, unbiased);
        output
    }
}

/// Convolution without bias, then batch normalisation.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// The normalisation after it.
    pub bn: BatchNorm,
}

/// What a [`ConvNorm`] is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvNormSpec {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel_px: usize,
    pub(crate) stride: usize,
    pub(crate) groups: usize,
    /// Start value of the normalisation's scale.
    pub(crate) bn_weight: f64,
}

impl ConvNormSpec {
    pub(crate) fn init(self, start: Start, weights: &mut FreshWeights) -> ConvNorm {
        let pad = self.kernel_px / 2;
        let config = Conv2dConfig::new([self.in_channels, self.out_channels], [self.kernel_px; 2])
            .with_stride([self.stride; 2])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_groups(self.groups)
            .with_bias(false);
        let conv = weights.conv(&config, start);
        ConvNorm { conv, bn: BatchNorm::new(self.out_channels, self.bn_weight, weights.device()) }
    }
}

impl ConvNorm {
    /// `[n, c_in, h, w]` to `[n, c_out, h / stride, w / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.apply(&[Input::plain(Maps::from_channels_first(x))], Ending::none()).into_channels_first()
    }

    /// Convolves maps side by side along the channels, normalises and ends.
    pub(crate) fn apply(&self, inputs: &[Input], ending: Ending) -> Maps {
        let maps = convolve(inputs, &self.conv);
        // Only the inference form has a bias: the normalisation folded in.
        if self.conv.bias.is_some() {
            return maps.end(ending);
        }
        let training = maps.is_autodiff();
        self.bn.normalise(maps, training, ending)
    }
}

/// A 1×1 convolution with bias and PyTorch's default start values, as attention blocks use it.
pub(crate) fn pointwise(in_channels: usize, out_channels: usize, weights: &mut FreshWeights) -> Conv2d {
    weights.conv(&Conv2dConfig::new([in_channels, out_channels], [1, 1]), Start::PyTorch)
}
