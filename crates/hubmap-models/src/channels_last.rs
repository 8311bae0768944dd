//! Operations on feature maps whose channels lie side by side, with their gradients.
//!
//! On Burn's CPU backend, Flex, each operation is one pass of [`hubmap_kernels`] forward and a handwritten step
//! backward (ADR 10). On LibTorch with gradients, each is LibTorch's, differentiated by LibTorch. On every other backend,
//! and for numbers other than `f32` on Flex, it is composed of Burn's own operations, which differentiate themselves.

mod composed;
mod flex;
mod gradients;
#[cfg(feature = "tch")]
mod libtorch;
mod record;
#[cfg(test)]
mod tests;

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex};
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor};
use hubmap_kernels::Source;

use flex::ConvCall;

/// The CPU backend with gradients.
type Tracked = Autodiff<Flex, NoCheckpointing>;

/// Feature maps `[n, h, w, c]`.
#[derive(Debug, Clone)]
pub(crate) struct Maps(Tensor<4>);

/// Feature maps that a convolution reads.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    maps: Maps,
    /// Whether every pixel stands for 2×2 pixels.
    upsampled: bool,
}

/// Per-channel results of a normalisation by the batch: they carry no gradient.
pub(crate) struct BatchMoments {
    /// Means, `[c]`.
    pub(crate) mean: Tensor<1>,
    /// Biased variances, `[c]`.
    pub(crate) variance: Tensor<1>,
}

/// Scale and shift of a normalisation, both `[c]`.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) scale: Tensor<1>,
    pub(crate) shift: Tensor<1>,
}

/// What follows a normalisation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Added.
    pub(crate) residual: Option<Maps>,
    /// Clamped at zero.
    pub(crate) relu: bool,
}

impl Ending {
    /// A ReLU.
    pub(crate) const fn relu() -> Self {
        Self { residual: None, relu: true }
    }

    /// Nothing.
    pub(crate) const fn none() -> Self {
        Self { residual: None, relu: false }
    }
}

/// Weights of squeeze-and-excitation: two convolutions of 1×1 with bias.
pub(crate) struct Gate<'a> {
    pub(crate) squeeze: &'a Conv2d,
    pub(crate) excite: &'a Conv2d,
}

impl Maps {
    /// From `[n, c, h, w]`.
    pub(crate) fn from_channels_first(tensor: Tensor<4>) -> Self {
        Self(tensor.permute([0, 2, 3, 1]))
    }

    /// To `[n, c, h, w]`.
    pub(crate) fn into_channels_first(self) -> Tensor<4> {
        self.0.permute([0, 3, 1, 2])
    }

    /// Pixels in all images.
    pub(crate) fn n_pixels(&self) -> usize {
        let [n, h, w, _] = self.0.dims();
        n * h * w
    }

    /// Whether they are on a device that records gradients.
    pub(crate) fn is_autodiff(&self) -> bool {
        self.0.device().is_autodiff()
    }

    /// Every pixel becomes 2×2 pixels.
    pub(crate) fn upsample2(self) -> Self {
        if let Some([maps]) = tracked([&self.0]) {
            return Self(from_tracked(gradients::upsample2(maps)));
        }
        if let Some([maps]) = plain([&self.0]) {
            return Self(from_plain(flex::upsample2(&maps)));
        }
        #[cfg(feature = "tch")]
        if let Some(maps) = libtorch::upsample2(&self) {
            return maps;
        }
        composed::upsample2(self)
    }

    /// Side by side along the channels.
    pub(crate) fn concatenate(parts: Vec<Self>) -> Self {
        Self(Tensor::cat(parts.into_iter().map(|m| m.0).collect(), 3))
    }

    /// Multiplies every channel by `σ(excite(relu(squeeze(mean over the pixels))))`.
    pub(crate) fn squeeze_and_excite(self, gate: &Gate<'_>) -> Self {
        let weights = [gate.squeeze, gate.excite].map(|conv| (conv.weight.val(), conv.bias.as_ref()));
        if let [(squeeze, Some(squeeze_bias)), (excite, Some(excite_bias))] = &weights {
            let biases = [squeeze_bias.val(), excite_bias.val()];
            let fours = [&self.0, squeeze, excite];
            if let (Some(fours), Some(biases)) = (tracked(fours), tracked([&biases[0], &biases[1]])) {
                return Self(from_tracked(gradients::squeeze_and_excite(fours, biases)));
            }
            if let (Some([maps, w1, w2]), Some([b1, b2])) = (plain(fours), plain([&biases[0], &biases[1]])) {
                return Self(from_plain(flex::Gated::new(&maps, &w1, &b1, &w2, &b2).output));
            }
        }
        #[cfg(feature = "tch")]
        if let Some(maps) = libtorch::squeeze_and_excite(&self, gate) {
            return maps;
        }
        composed::squeeze_and_excite(self, gate)
    }

    /// Multiplies every pixel by `σ` of a map with one channel.
    pub(crate) fn gate_pixels(self, logits: Self) -> Self {
        Self(self.0.mul(burn::tensor::activation::sigmoid(logits.0)))
    }

    /// Adds maps of the same size.
    pub(crate) fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0))
    }

    /// Normalises by mean and variance of this batch, which come back too.
    pub(crate) fn batch_norm(
        self,
        weight: Tensor<1>,
        bias: Tensor<1>,
        epsilon: f64,
        ending: Ending,
    ) -> (Self, BatchMoments) {
        let maps = maps_of(&self, &ending);
        if let (Some(maps), Some([weight, bias])) = (tracked_all(&maps), tracked([&weight, &bias])) {
            let normalised = gradients::batch_norm(maps, weight, bias, epsilon, ending.relu);
            let [mean, variance] = normalised.moments.map(|m| from_tracked(Tracked::from_inner(m)));
            return (Self(from_tracked(normalised.output)), BatchMoments { mean, variance });
        }
        #[cfg(feature = "tch")]
        if let Some(normalised) = libtorch::batch_norm(&self, &weight, &bias, epsilon, &ending) {
            return normalised;
        }
        composed::batch_norm(self, weight, bias, epsilon, ending)
    }

    /// `self · scale + shift`.
    pub(crate) fn scale_and_shift(self, affine: Affine, ending: Ending) -> Self {
        let maps = maps_of(&self, &ending);
        let ones = [&affine.scale, &affine.shift];
        if let (Some(maps), Some([scale, shift])) = (tracked_all(&maps), tracked(ones)) {
            return Self(from_tracked(gradients::scale_and_shift(maps, scale, shift, ending.relu)));
        }
        if let (Some(maps), Some([scale, shift])) = (plain_all(&maps), plain(ones)) {
            return Self(from_plain(flex::scale_and_shift(&maps, &scale, &shift, ending.relu)));
        }
        composed::scale_and_shift(self, affine, ending)
    }
}

impl Input {
    /// Maps as they are.
    pub(crate) const fn plain(maps: Maps) -> Self {
        Self { maps, upsampled: false }
    }

    /// The maps, at their own resolution.
    pub(crate) const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Maps of which every pixel stands for 2×2 pixels.
    pub(crate) const fn upsampled(maps: Maps) -> Self {
        Self { maps, upsampled: true }
    }
}

/// Convolves maps that lie side by side along the channels.
pub(crate) fn convolve(inputs: &[Input], conv: &Conv2d) -> Maps {
    let weight = conv.weight.val();
    let bias = conv.bias.as_ref().map(burn::module::Param::val);
    let sources = || {
        let sources = inputs.iter().map(|input| {
            let [_, _, _, channels] = input.maps.0.dims();
            if input.upsampled { Source::upsampled(channels) } else { Source::plain(channels) }
        });
        sources.collect()
    };
    if let Some(call) = ConvCall::new(conv, sources) {
        let maps: Vec<&Tensor<4>> = inputs.iter().map(|input| &input.maps.0).chain([&weight]).collect();
        let ones: Vec<&Tensor<1>> = bias.iter().collect();
        if let (Some(maps), Some(bias)) = (tracked_all(&maps), tracked_all(&ones)) {
            return Maps(from_tracked(gradients::convolve(maps, bias, call)));
        }
        if let (Some(maps), Some(bias)) = (plain_all(&maps), plain_all(&ones)) {
            return Maps(from_plain(call.forward(&maps, bias.first())));
        }
    }
    #[cfg(feature = "tch")]
    if let Some(maps) = libtorch::convolve(inputs, conv) {
        return maps;
    }
    composed::convolve(inputs, conv)
}

/// Maps and residual.
fn maps_of<'a>(maps: &'a Maps, ending: &'a Ending) -> Vec<&'a Tensor<4>> {
    std::iter::once(&maps.0).chain(ending.residual.iter().map(|r| &r.0)).collect()
}

/// The tensors behind the CPU backend with gradients, if all are there and hold `f32`.
fn tracked_all<const D: usize>(tensors: &[&Tensor<D>]) -> Option<Vec<FloatTensor<Tracked>>> {
    tensors
        .iter()
        .map(|t| {
            (t.dtype() == DType::F32).then(|| (*t).clone().try_into_primitive::<Tracked>().ok()).flatten()
        })
        .collect()
}

fn tracked<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> Option<[FloatTensor<Tracked>; N]> {
    tracked_all(&tensors)?.try_into().ok()
}

/// The tensors behind the CPU backend, if all are there and hold `f32`.
fn plain_all<const D: usize>(tensors: &[&Tensor<D>]) -> Option<Vec<FloatTensor<Flex>>> {
    tensors
        .iter()
        .map(|t| (t.dtype() == DType::F32).then(|| (*t).clone().try_into_primitive::<Flex>().ok()).flatten())
        .collect()
}

fn plain<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> Option<[FloatTensor<Flex>; N]> {
    plain_all(&tensors)?.try_into().ok()
}

fn from_tracked<const D: usize>(tensor: FloatTensor<Tracked>) -> Tensor<D> {
    Tensor::from_primitive::<Tracked>(tensor)
}

fn from_plain<const D: usize>(tensor: FloatTensor<Flex>) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(tensor)
}
