//! Convolution with weights laid out for the inner loop.

mod backward;
mod pack;
mod run;

use aligned_vec::AVec;

use crate::{Images, KernelError};

/// One of the tensors that a convolution reads, side by side along the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Its channels.
    pub channels: usize,
    /// Whether every pixel stands for 2×2 pixels (nearest upsampling). Never materialised: a 3×3 window over
    /// such a source touches only 2×2 different pixels, so weights that meet the same pixel are added up
    /// beforehand and 4 products are left of 9.
    pub upsampled: bool,
    /// Whether in an upsampled source the pixel stands at the first of its 2×2 pixels only, and zeros at the
    /// others: what the gradient of a convolution of stride 2 reads.
    pub zeros_between: bool,
}

impl Source {
    /// A source at the convolution's own resolution.
    pub const fn plain(channels: usize) -> Self {
        Self { channels, upsampled: false, zeros_between: false }
    }

    /// A source at half the resolution.
    pub const fn upsampled(channels: usize) -> Self {
        Self { channels, upsampled: true, zeros_between: false }
    }

    /// A source at half the resolution with zeros between its pixels.
    pub const fn spread(channels: usize) -> Self {
        Self { channels, upsampled: true, zeros_between: true }
    }
}

/// The shape of a convolution with zero padding of half its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvShape {
    /// What it reads, in the order of the weights' input channels.
    pub sources: Vec<Source>,
    /// Channels that it writes.
    pub out_channels: usize,
    /// Height and width of the window: 1 or 3; 4, which starts one pixel before, with stride 2 of one plain source.
    pub kernel_px: usize,
    /// Step between windows: 1 or 2; 1 if a source is upsampled.
    pub stride: usize,
    /// Groups of channels; more than one only with one plain source.
    pub groups: usize,
}

impl ConvShape {
    /// Input channels of one group, the second axis of the weights.
    pub fn group_in_channels(&self) -> usize {
        self.sources.iter().map(|s| s.channels).sum::<usize>() / self.groups.max(1)
    }

    /// Numbers in the weights, `[out_channels, group_in_channels, kernel_px, kernel_px]`.
    pub fn n_weights(&self) -> usize {
        self.out_channels * self.group_in_channels() * self.kernel_px * self.kernel_px
    }

    /// Whether there are kernels for it.
    pub fn check(&self) -> Result<(), KernelError> {
        let upsampled = self.sources.iter().any(|s| s.upsampled);
        let problem = if self.sources.is_empty() || self.sources.iter().any(|s| s.channels == 0) {
            "every convolution reads at least one source of at least one channel"
        } else if self.out_channels == 0 || self.groups == 0 {
            "there must be output channels and groups"
        } else if !matches!((self.kernel_px, self.stride), (1 | 3, 1 | 2) | (4, 2)) {
            "kernels are 1x1 or 3x3 with stride 1 or 2, or 4x4 with stride 2"
        } else if upsampled && self.stride != 1 {
            "only a convolution of stride 1 reads an upsampled source"
        } else if self.groups > 1
            && (self.sources.len() > 1 || self.sources.iter().any(|s| s.upsampled && !s.zeros_between))
        {
            "a grouped convolution reads one source that is not upsampled by repetition"
        } else if !self.sources[0].channels.is_multiple_of(self.groups)
            || !self.out_channels.is_multiple_of(self.groups)
        {
            "channels must divide into the groups"
        } else {
            return Ok(());
        };
        Err(KernelError::Shape { problem })
    }
}

/// How a convolution ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Finish {
    /// Add to what the output holds (the residual) instead of overwriting it.
    pub accumulate: bool,
    /// Clamp at zero from below.
    pub relu: bool,
}

/// A convolution whose weights are laid out once, for any size of input.
#[derive(Debug, Clone)]
pub struct Conv {
    shape: ConvShape,
    /// Per panel, per position of the window, per input channel: the weights of the panel's output channels.
    weights: AVec<f32>,
    /// Padded to whole panels.
    bias: AVec<f32>,
    panels: Vec<Panel>,
    passes: Vec<Pass>,
}

/// Consecutive output channels of one group that the inner loop handles together.
#[derive(Debug, Clone, Copy)]
struct Panel {
    /// First output channel.
    channel: usize,
    /// Output channels, at most `8 * n_eights`.
    n_channels: usize,
    /// Width in units of eight numbers: 1, 2 or 3.
    n_eights: usize,
    group: usize,
    /// Start of its weights.
    weights_start: usize,
    /// Start of its bias.
    bias_start: usize,
}

impl Panel {
    const fn width(&self) -> usize {
        8 * self.n_eights
    }
}

/// Output pixels that see the same window: all of them, or with an upsampled source every second one
/// in both directions.
#[derive(Debug, Clone)]
struct Pass {
    /// Row of the first output pixel.
    first_row: usize,
    /// Column of the first output pixel.
    first_column: usize,
    /// Steps in blocks whose weights stay in the cache while all pixels go by.
    blocks: Vec<Vec<Step>>,
}

/// A run of inputs along the channels of one to three neighbouring pixels, and where its weights are.
#[derive(Debug, Clone, Copy)]
struct Step {
    source: usize,
    /// Offset of the first pixel from the centre of the window, in the source's pixels.
    rows: isize,
    /// Offset of the first pixel from the centre of the window, in the source's pixels.
    columns: isize,
    /// Neighbouring pixels in the run.
    n_pixels: usize,
    /// First channel within the group.
    channel: usize,
    /// Channels of each pixel.
    n_channels: usize,
    /// Inputs before this step, in the panel's weights.
    depth: usize,
}

impl Step {
    const fn len(&self) -> usize {
        self.n_pixels * self.n_channels
    }

    /// Whether it reads only the window's centre, which is never beyond the border.
    const fn is_centre(&self) -> bool {
        self.rows == 0 && self.columns == 0 && self.n_pixels == 1
    }
}

impl Conv {
    /// What it was made from.
    pub const fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// A copy whose inputs are multiplied by `gates`, one per input channel of all sources: the same as gating
    /// the feature maps, which are usually larger than the weights.
    ///
    /// The weights go into `buffer`, which can be used again.
    pub fn gated<'a>(
        &'a self,
        gates: &[f32],
        buffer: &'a mut Vec<f32>,
    ) -> Result<GatedConv<'a>, KernelError> {
        let expected = self.shape.sources.iter().map(|s| s.channels).sum();
        if gates.len() != expected {
            return Err(KernelError::Gates { found: gates.len(), expected });
        }
        buffer.clear();
        buffer.extend_from_slice(&self.weights);
        let starts: Vec<usize> = self
            .shape
            .sources
            .iter()
            .scan(0, |next, source| Some(std::mem::replace(next, *next + source.channels)))
            .collect();
        let mut scaled = vec![false; self.depth()];
        for step in self.passes.iter().flat_map(|pass| pass.blocks.iter().flatten()) {
            // Passes share the steps of sources that are not upsampled.
            if std::mem::replace(&mut scaled[step.depth], true) {
                continue;
            }
            for panel in &self.panels {
                let own = self.shape.sources[step.source].channels / self.shape.groups;
                let first = starts[step.source] + panel.group * own + step.channel;
                let start = panel.weights_start + step.depth * panel.width();
                let rows = buffer[start..][..step.len() * panel.width()].chunks_exact_mut(panel.width());
                for (row, gate) in rows.zip(gates[first..][..step.n_channels].iter().cycle()) {
                    for weight in row {
                        *weight *= gate;
                    }
                }
            }
        }
        Ok(GatedConv { conv: self, weights: buffer })
    }

    /// Inputs of one panel.
    fn depth(&self) -> usize {
        self.panels.first().map_or(0, |panel| {
            self.panels.get(1).map_or(self.weights.len(), |p| p.weights_start) / panel.width()
        })
    }

    /// Bytes of its weights.
    pub fn weight_bytes(&self) -> usize {
        size_of_val(self.weights.as_slice()) + size_of_val(self.bias.as_slice())
    }
}

/// A convolution whose input channels are multiplied by gates.
#[derive(Debug)]
pub struct GatedConv<'a> {
    conv: &'a Conv,
    weights: &'a [f32],
}

impl GatedConv<'_> {
    /// As [`Conv::run`].
    pub fn run(&self, sources: &[Images<'_>], output: &mut [f32], finish: Finish) -> Result<(), KernelError> {
        self.conv.run_with(self.weights, sources, output, finish)
    }
}
