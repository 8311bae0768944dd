//! RegNetX and RegNetY with timm's layout and parameter names.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::RegNetSpec;
use crate::channels_last::{Ending, Gate, Input, Maps};
use crate::fresh::{FreshWeights, Start};
use crate::layers::{ConvNorm, ConvNormSpec, pointwise};

/// Channels of the stem, the same in every RegNet.
const STEM_CHANNELS: usize = 32;

impl RegNetSpec {
    /// Channels of the features at strides 1, 2, 4, 8, 16 and 32; the first is the image itself.
    pub const fn feature_channels(&self) -> [usize; 6] {
        let [a, b, c, d] = self.widths;
        [3, STEM_CHANNELS, a, b, c, d]
    }

    /// Builds the encoder with fresh weights: timm's start values.
    pub fn init(&self, weights: &mut FreshWeights) -> RegNet {
        let stem = conv(3, STEM_CHANNELS, 3, 2, 1, 1.0, weights);
        let mut in_channels = STEM_CHANNELS;
        let [s1, s2, s3, s4] = std::array::from_fn(|stage| {
            let blocks = (0..self.depths[stage])
                .map(|block| {
                    let stride = if block == 0 { 2 } else { 1 };
                    let out_channels = self.widths[stage];
                    let built = self.block(in_channels, out_channels, stride, weights);
                    in_channels = out_channels;
                    built
                })
                .collect();
            RegNetStage { blocks }
        });
        RegNet { stem, s1, s2, s3, s4 }
    }

    fn block(
        &self,
        in_channels: usize,
        out_channels: usize,
        stride: usize,
        weights: &mut FreshWeights,
    ) -> Bottleneck {
        let groups = out_channels / self.group_width.min(out_channels);
        Bottleneck {
            conv1: conv(in_channels, out_channels, 1, 1, 1, 1.0, weights),
            conv2: conv(out_channels, out_channels, 3, stride, groups, 1.0, weights),
            se: self.squeeze_excite.then(|| {
                // The squeeze is a quarter of the *block's* input, not of the tensor it is applied to.
                let squeezed = in_channels / 4;
                SqueezeExcite {
                    fc1: pointwise(out_channels, squeezed, weights),
                    fc2: pointwise(squeezed, out_channels, weights),
                }
            }),
            // Residual branches start silent (timm's `zero_init_last`).
            conv3: conv(out_channels, out_channels, 1, 1, 1, 0.0, weights),
            downsample: (stride != 1 || in_channels != out_channels)
                .then(|| conv(in_channels, out_channels, 1, stride, 1, 1.0, weights)),
        }
    }
}

/// Convolution and normalisation with timm's start values: N(0, 2 / `fan_out`).
fn conv(
    in_channels: usize,
    out_channels: usize,
    kernel_px: usize,
    stride: usize,
    groups: usize,
    bn_weight: f64,
    weights: &mut FreshWeights,
) -> ConvNorm {
    ConvNormSpec { in_channels, out_channels, kernel_px, stride, groups, bn_weight }
        .init(Start::HeNormal, weights)
}

/// A RegNet without its classifier. Field names are timm's.
#[derive(Module, Debug)]
pub struct RegNet {
    /// 3×3 convolution of stride 2.
    pub stem: ConvNorm,
    /// Stage at stride 4.
    pub s1: RegNetStage,
    /// Stage at stride 8.
    pub s2: RegNetStage,
    /// Stage at stride 16.
    pub s3: RegNetStage,
    /// Stage at stride 32.
    pub s4: RegNetStage,
}

impl RegNet {
    /// Channels of the features at strides 1, 2, 4, 8, 16 and 32.
    pub fn feature_channels(&self) -> [usize; 6] {
        let stage = |stage: &RegNetStage| stage.blocks.last().map_or(0, |b| b.conv3.conv.weight.dims()[0]);
        let stem = self.stem.conv.weight.dims();
        [stem[1], stem[0], stage(&self.s1), stage(&self.s2), stage(&self.s3), stage(&self.s4)]
    }

    /// `[n, 3, h, w]` to features at strides 1 (the input), 2, 4, 8, 16, 32.
    pub fn forward(&self, x: Tensor<4>) -> [Tensor<4>; 6] {
        self.features(Maps::from_channels_first(x)).map(Maps::into_channels_first)
    }

    /// [`RegNet::forward`] with channels last.
    pub(crate) fn features(&self, x: Maps) -> [Maps; 6] {
        let f1 = self.stem.apply(&[Input::plain(x.clone())], Ending::relu());
        let f2 = self.s1.apply(f1.clone());
        let f3 = self.s2.apply(f2.clone());
        let f4 = self.s3.apply(f3.clone());
        let f5 = self.s4.apply(f4.clone());
        [x, f1, f2, f3, f4, f5]
    }
}

/// Blocks at one stride.
#[derive(Module, Debug)]
pub struct RegNetStage {
    /// The first block halves height and width.
    pub blocks: Vec<Bottleneck>,
}

impl RegNetStage {
    fn apply(&self, x: Maps) -> Maps {
        self.blocks.iter().fold(x, |x, block| block.apply(x))
    }
}

/// 1×1, grouped 3×3, squeeze-and-excitation, 1×1, with a shortcut around them.
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// 1×1.
    pub conv1: ConvNorm,
    /// 3×3 in groups, carries the stride.
    pub conv2: ConvNorm,
    /// Only in RegNetY.
    pub se: Option<SqueezeExcite>,
    /// 1×1 without activation.
    pub conv3: ConvNorm,
    /// 1×1 on the shortcut where shape changes.
    pub downsample: Option<ConvNorm>,
}

impl Bottleneck {
    fn apply(&self, x: Maps) -> Maps {
        let x = Input::plain(x);
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.apply(std::slice::from_ref(&x), Ending::none()),
            None => x.maps().clone(),
        };
        let x = self.conv1.apply(&[x], Ending::relu());
        let x = self.conv2.apply(&[Input::plain(x)], Ending::relu());
        let x = match &self.se {
            Some(se) => se.apply(x),
            None => x,
        };
        self.conv3.apply(&[Input::plain(x)], Ending { residual: Some(shortcut), relu: true })
    }
}

/// Channel attention (Hu et al., 2018).
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    /// Squeeze.
    pub fc1: Conv2d,
    /// Excite.
    pub fc2: Conv2d,
}

impl SqueezeExcite {
    fn apply(&self, x: Maps) -> Maps {
        x.squeeze_and_excite(&Gate { squeeze: &self.fc1, excite: &self.fc2 })
    }
}
