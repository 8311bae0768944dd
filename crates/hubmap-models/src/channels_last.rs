//! Operations on feature maps whose channels lie side by side, with their gradients.
//!
//! On Burn's CPU backend, Flex, each operation is one pass of [`hubmap_kernels`] forward and a handwritten step
//! backward (ADR 10). On LibTorch, LibTorch computes and differentiates a network as a whole (ADR 13). On every other
//! backend, and for numbers other than `f32` on Flex, each operation is composed of Burn's own, which differentiate
//! themselves.

mod composed;
mod flex;
mod gradients;
#[cfg(feature = "tch")]
pub(crate) mod libtorch;
mod record;
#[cfg(test)]
mod tests;

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex};
use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor};
use hubmap_kernels::Source;

use flex::ConvCall;

/// The CPU backend with gradients.
type Tracked = Autodiff<Flex, NoCheckpointing>;

/// Feature maps.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "tch", expect(clippy::large_enum_variant, reason = "a network has a handful at a time"))]
pub(crate) enum Maps {
    /// `[n, h, w, c]`.
    Burn(Tensor<4>),
    /// What LibTorch computes and may have to differentiate.
    #[cfg(feature = "tch")]
    LibTorch(libtorch::Traced),
}

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
        #[cfg(feature = "tch")]
        if let Some(maps) = libtorch::Traced::enter(&tensor) {
            return Self::LibTorch(maps);
        }
        Self::Burn(tensor.permute([0, 2, 3, 1]))
    }

    /// To `[n, c, h, w]`.
    pub(crate) fn into_channels_first(self) -> Tensor<4> {
        match self {
            Self::Burn(tensor) => tensor.permute([0, 3, 1, 2]),
            #[cfg(feature = "tch")]
            Self::LibTorch(maps) => maps.leave(),
        }
    }

    /// To `[n, h, w, c]`.
    fn into_tensor(self) -> Tensor<4> {
        match self {
            Self::Burn(tensor) => tensor,
            #[cfg(feature = "tch")]
            Self::LibTorch(maps) => maps.leave().permute([0, 2, 3, 1]),
        }
    }

    /// `[n, h, w, c]`, and the maps stay.
    fn tensor(&self) -> Tensor<4> {
        self.clone().into_tensor()
    }

    /// Images, rows, columns and channels.
    pub(crate) fn dims(&self) -> [usize; 4] {
        self.tensor().dims()
    }

    /// Whether they are on a device that records gradients.
    pub(crate) fn is_autodiff(&self) -> bool {
        match self {
            Self::Burn(tensor) => tensor.device().is_autodiff(),
            #[cfg(feature = "tch")]
            Self::LibTorch(maps) => maps.is_autodiff(),
        }
    }

    /// Every pixel becomes 2×2 pixels.
    pub(crate) fn upsample2(self) -> Self {
        #[cfg(feature = "tch")]
        if let Self::LibTorch(maps) = &self {
            return Self::LibTorch(maps.upsample2());
        }
        let maps = self.into_tensor();
        if let Some([maps]) = tracked([&maps]) {
            return Self::Burn(from_tracked(gradients::upsample2(maps)));
        }
        if let Some([maps]) = plain([&maps]) {
            return Self::Burn(from_plain(flex::upsample2(&maps)));
        }
        composed::upsample2(Self::Burn(maps))
    }

    /// Side by side along the channels.
    pub(crate) fn concatenate(parts: Vec<Self>) -> Self {
        #[cfg(feature = "tch")]
        if let Some(maps) = libtorch::concatenate(&parts) {
            return maps;
        }
        Self::Burn(Tensor::cat(parts.into_iter().map(Self::into_tensor).collect(), 3))
    }

    /// Multiplies every channel by `σ(excite(relu(squeeze(mean over the pixels))))`.
    pub(crate) fn squeeze_and_excite(self, gate: &Gate<'_>) -> Self {
        #[cfg(feature = "tch")]
        if let Some(maps) = libtorch::squeeze_and_excite(&self, gate) {
            return maps;
        }
        let maps = self.into_tensor();
        let weights = [gate.squeeze, gate.excite].map(|conv| (conv.weight.val(), conv.bias.as_ref()));
        if let [(squeeze, Some(squeeze_bias)), (excite, Some(excite_bias))] = &weights {
            let biases = [squeeze_bias.val(), excite_bias.val()];
            let fours = [&maps, squeeze, excite];
            if let (Some(fours), Some(biases)) = (tracked(fours), tracked([&biases[0], &biases[1]])) {
                return Self::Burn(from_tracked(gradients::squeeze_and_excite(fours, biases)));
            }
            if let (Some([maps, w1, w2]), Some([b1, b2])) = (plain(fours), plain([&biases[0], &biases[1]])) {
                return Self::Burn(from_plain(flex::Gated::new(&maps, &w1, &b1, &w2, &b2).output));
            }
        }
        composed::squeeze_and_excite(Self::Burn(maps), gate)
    }

    /// Multiplies every pixel by `σ` of a map with one channel.
    pub(crate) fn gate_pixels(self, logits: Self) -> Self {
        #[cfg(feature = "tch")]
        if let (Self::LibTorch(maps), Self::LibTorch(logits)) = (&self, &logits) {
            return Self::LibTorch(maps.gate_pixels(logits));
        }
        Self::Burn(self.into_tensor().mul(burn::tensor::activation::sigmoid(logits.into_tensor())))
    }

    /// Adds maps of the same size.
    pub(crate) fn add(self, other: Self) -> Self {
        #[cfg(feature = "tch")]
        if let (Self::LibTorch(maps), Self::LibTorch(other)) = (&self, &other) {
            return Self::LibTorch(maps.add(other));
        }
        Self::Burn(self.into_tensor().add(other.into_tensor()))
    }

    /// Adds the residual and clamps.
    pub(crate) fn end(self, ending: Ending) -> Self {
        #[cfg(feature = "tch")]
        if let Some(maps) = libtorch::end(&self, &ending) {
            return maps;
        }
        composed::end(self, ending)
    }

    /// Normalises by mean and variance of this batch, which come back too.
    pub(crate) fn batch_norm(
        self,
        weight: Tensor<1>,
        bias: Tensor<1>,
        epsilon: f64,
        ending: Ending,
    ) -> (Self, BatchMoments) {
        let (maps, residual) = (self.into_tensor(), ending.residual.as_ref().map(Self::tensor));
        let all: Vec<&Tensor<4>> = std::iter::once(&maps).chain(&residual).collect();
        if let (Some(maps), Some([weight, bias])) = (tracked_all(&all), tracked([&weight, &bias])) {
            let normalised = gradients::batch_norm(maps, weight, bias, epsilon, ending.relu);
            let [mean, variance] = normalised.moments.map(|m| from_tracked(Tracked::from_inner(m)));
            return (Self::Burn(from_tracked(normalised.output)), BatchMoments { mean, variance });
        }
        composed::batch_norm(Self::Burn(maps), weight, bias, epsilon, ending)
    }

    /// `self · scale + shift`.
    pub(crate) fn scale_and_shift(self, affine: Affine, ending: Ending) -> Self {
        let (maps, residual) = (self.into_tensor(), ending.residual.as_ref().map(Self::tensor));
        let all: Vec<&Tensor<4>> = std::iter::once(&maps).chain(&residual).collect();
        let ones = [&affine.scale, &affine.shift];
        if let (Some(maps), Some([scale, shift])) = (tracked_all(&all), tracked(ones)) {
            return Self::Burn(from_tracked(gradients::scale_and_shift(maps, scale, shift, ending.relu)));
        }
        if let (Some(maps), Some([scale, shift])) = (plain_all(&all), plain(ones)) {
            return Self::Burn(from_plain(flex::scale_and_shift(&maps, &scale, &shift, ending.relu)));
        }
        composed::scale_and_shift(Self::Burn(maps), affine, ending)
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
    #[cfg(feature = "tch")]
    if let Some(maps) = libtorch::convolve(inputs, conv) {
        return maps;
    }
    let tensors: Vec<Tensor<4>> = inputs.iter().map(|input| input.maps.tensor()).collect();
    let weight = conv.weight.val();
    let bias = conv.bias.as_ref().map(Param::val);
    let sources = || {
        let sources = inputs.iter().zip(&tensors).map(|(input, tensor)| {
            let [_, _, _, channels] = tensor.dims();
            if input.upsampled { Source::upsampled(channels) } else { Source::plain(channels) }
        });
        sources.collect()
    };
    if let Some(call) = ConvCall::new(conv, sources) {
        let maps: Vec<&Tensor<4>> = tensors.iter().chain([&weight]).collect();
        let ones: Vec<&Tensor<1>> = bias.iter().collect();
        if let (Some(maps), Some(bias)) = (tracked_all(&maps), tracked_all(&ones)) {
            return Maps::Burn(from_tracked(gradients::convolve(maps, bias, call)));
        }
        if let (Some(maps), Some(bias)) = (plain_all(&maps), plain_all(&ones)) {
            return Maps::Burn(from_plain(call.forward(&maps, bias.first())));
        }
    }
    composed::convolve(inputs, conv)
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
