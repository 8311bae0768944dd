//! RegNetX and RegNetY with timm's layout and parameter names.

use burn::module::Module;
use burn::nn::Initializer;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use crate::channels_last::{Ending, Gate, Input, Maps};
use crate::config::EncoderKind;
use crate::layers::{ConvNorm, ConvNormSpec, pointwise};

/// Channels of the stem, the same in every RegNet.
const STEM_CHANNELS: usize = 32;

/// The numbers that make one RegNet: a row of the table in [`regnet_spec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegNetSpec {
    /// Output channels of the four stages.
    pub widths: [usize; 4],
    /// Blocks in each stage.
    pub depths: [usize; 4],
    /// Channels per group of the 3×3 convolutions.
    pub group_width: usize,
    /// Whether blocks have squeeze-and-excitation with a quarter of the block's input channels (RegNetY).
    pub squeeze_excite: bool,
}

/// The network's numbers, from timm's `regnet.py` (widths after rounding to whole groups).
///
/// A further RegNet is one more row here and one more name in [`EncoderKind`].
pub const fn regnet_spec(kind: EncoderKind) -> RegNetSpec {
    const fn row(widths: [usize; 4], depths: [usize; 4], group_width: usize, se: bool) -> RegNetSpec {
        RegNetSpec { widths, depths, group_width, squeeze_excite: se }
    }
    match kind {
        EncoderKind::RegNetX002 => row([24, 56, 152, 368], [1, 1, 4, 7], 8, false),
        EncoderKind::RegNetX016 => row([72, 168, 408, 912], [2, 4, 10, 2], 24, false),
        EncoderKind::RegNetX032 => row([96, 192, 432, 1008], [2, 6, 15, 2], 48, false),
        EncoderKind::RegNetY002 => row([24, 56, 152, 368], [1, 1, 4, 7], 8, true),
        EncoderKind::RegNetY004 => row([48, 104, 208, 440], [1, 3, 6, 6], 8, true),
        EncoderKind::RegNetY008 => row([64, 128, 320, 768], [1, 3, 8, 2], 16, true),
        EncoderKind::RegNetY016 => row([48, 120, 336, 888], [2, 6, 17, 2], 24, true),
        EncoderKind::RegNetY032 => row([72, 216, 576, 1512], [2, 5, 13, 1], 24, true),
    }
}

impl RegNetSpec {
    /// Channels of the features at strides 1, 2, 4, 8, 16 and 32; the first is the image itself.
    pub const fn feature_channels(&self) -> [usize; 6] {
        let [a, b, c, d] = self.widths;
        [3, STEM_CHANNELS, a, b, c, d]
    }

    /// Builds the encoder with fresh weights.
    pub fn init(&self, device: &Device) -> RegNet {
        let stem = conv(3, STEM_CHANNELS, 3, 2, 1, 1.0, device);
        let mut in_channels = STEM_CHANNELS;
        let [s1, s2, s3, s4] = std::array::from_fn(|stage| {
            let blocks = (0..self.depths[stage])
                .map(|block| {
                    let stride = if block == 0 { 2 } else { 1 };
                    let out_channels = self.widths[stage];
                    let built = self.block(in_channels, out_channels, stride, device);
                    in_channels = out_channels;
                    built
                })
                .collect();
            RegNetStage { blocks }
        });
        RegNet { stem, s1, s2, s3, s4 }
    }

    fn block(&self, in_channels: usize, out_channels: usize, stride: usize, device: &Device) -> Bottleneck {
        let groups = out_channels / self.group_width;
        Bottleneck {
            conv1: conv(in_channels, out_channels, 1, 1, 1, 1.0, device),
            conv2: conv(out_channels, out_channels, 3, stride, groups, 1.0, device),
            se: self.squeeze_excite.then(|| {
                // The squeeze is a quarter of the *block's* input, not of the tensor it is applied to.
                let squeezed = in_channels / 4;
                SqueezeExcite {
                    fc1: pointwise(out_channels, squeezed, device),
                    fc2: pointwise(squeezed, out_channels, device),
                }
            }),
            // Residual branches start silent (timm's `zero_init_last`).
            conv3: conv(out_channels, out_channels, 1, 1, 1, 0.0, device),
            downsample: (stride != 1 || in_channels != out_channels)
                .then(|| conv(in_channels, out_channels, 1, stride, 1, 1.0, device)),
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
    device: &Device,
) -> ConvNorm {
    let fan_out = (kernel_px * kernel_px * out_channels / groups) as f64;
    let initializer = Initializer::Normal { mean: 0.0, std: (2.0 / fan_out).sqrt() };
    ConvNormSpec { in_channels, out_channels, kernel_px, stride, groups, bn_weight }.init(initializer, device)
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
