//! From weights as frameworks store them to the order in which the inner loop reads them.

use aligned_vec::AVec;
use rayon::prelude::*;

use super::{Conv, ConvShape, Panel, Pass, Source, Step};
use crate::KernelError;

/// Numbers in the longest run of channels.
pub(super) const MAX_RUN: usize = 1024;
/// Numbers of weights that should stay in the second-level cache beside the inputs.
const BLOCK_NUMBERS: usize = 40 * 1024;
/// Output channels of the widest panel.
const MAX_PANEL_WIDTH: usize = 24;

/// A step and the weights that belong to it: those of the window at these rows and columns, added up.
struct WeightedStep {
    step: Step,
    /// For every pixel of the run, the window positions `(row, column)` whose weights are added.
    positions: Vec<Vec<(usize, usize)>>,
    /// First input channel in the weights' second axis.
    first_channel: usize,
}

impl Conv {
    /// Lays out `weights`, `[out_channels, group_in_channels, kernel_px, kernel_px]`, and `bias`,
    /// `[out_channels]`.
    pub fn new(shape: ConvShape, weights: &[f32], bias: &[f32]) -> Result<Self, KernelError> {
        shape.check()?;
        if weights.len() != shape.n_weights() || bias.len() != shape.out_channels {
            return Err(KernelError::Weights {
                n_weights: weights.len(),
                n_bias: bias.len(),
                expected_weights: shape.n_weights(),
                expected_bias: shape.out_channels,
            });
        }
        let taps = Taps::new(&shape, weights);
        Ok(Self::lay_out(shape, &taps, bias))
    }

    /// Lays out weights for a shape that has been checked.
    pub(super) fn lay_out(shape: ConvShape, taps: &Taps, bias: &[f32]) -> Self {
        let (steps_of_passes, depth) = plan(&shape);
        let panels = panels(&shape, depth);
        let mut packed = AVec::new(0);
        packed.resize(panels.iter().map(|p| p.width() * depth).sum(), 0.0);
        let mut packed_bias = AVec::new(0);
        packed_bias.resize(panels.iter().map(Panel::width).sum(), 0.0);
        for panel in &panels {
            packed_bias[panel.bias_start..][..panel.n_channels]
                .copy_from_slice(&bias[panel.channel..][..panel.n_channels]);
        }
        let mut rest = packed.as_mut_slice();
        let mut parts = Vec::with_capacity(panels.len());
        for panel in &panels {
            let (part, others) = std::mem::take(&mut rest).split_at_mut(panel.width() * depth);
            parts.push((panel, part));
            rest = others;
        }
        parts.into_par_iter().for_each(|(panel, part)| {
            for step in steps_of_passes.iter().flat_map(|(_, steps)| steps) {
                fill(shape.kernel_px, taps, panel, step, part);
            }
        });
        let passes = steps_of_passes
            .into_iter()
            .map(|((first_row, first_column), steps)| Pass {
                first_row,
                first_column,
                blocks: blocks(steps.into_iter().map(|s| s.step)),
            })
            .collect();
        Self { shape, weights: packed, bias: packed_bias, panels, passes }
    }
}

/// Channels of both kinds that are transposed at a time: the first-level cache holds them.
const BLOCK: usize = 16;

/// Weights with the output channels side by side, as panels take them.
pub(super) struct Taps {
    /// `[tap, input channel of a group, output channel]`.
    pub(super) values: Vec<f32>,
    /// Input channels of a group.
    pub(super) n_in: usize,
    pub(super) n_out: usize,
    /// For every position of the window, row by row, the taps whose sum stands there.
    pub(super) of_positions: Vec<Vec<usize>>,
}

impl Taps {
    /// From `[out_channels, group_in_channels, kernel_px, kernel_px]`.
    fn new(shape: &ConvShape, weights: &[f32]) -> Self {
        let (n_taps, n_in, n_out) =
            (shape.kernel_px * shape.kernel_px, shape.group_in_channels(), shape.out_channels);
        let mut values = vec![0.0; weights.len()];
        let mut planes: Vec<_> =
            values.chunks_mut(n_in * n_out).map(|tap| tap.chunks_mut(BLOCK * n_out)).collect();
        let blocks: Vec<Vec<&mut [f32]>> = (0..n_in.div_ceil(BLOCK))
            .map(|_| planes.iter_mut().filter_map(Iterator::next).collect())
            .collect();
        blocks.into_par_iter().enumerate().for_each(|(block, mut planes)| {
            let first = block * BLOCK;
            let n = BLOCK.min(n_in - first);
            for (outs, windows) in weights.chunks(BLOCK * n_in * n_taps).enumerate() {
                let windows: Vec<&[f32]> =
                    windows.chunks_exact(n_in * n_taps).map(|w| &w[first * n_taps..][..n * n_taps]).collect();
                for (tap, plane) in planes.iter_mut().enumerate() {
                    for (channel, row) in plane.chunks_exact_mut(n_out).enumerate() {
                        for (value, windows) in row[outs * BLOCK..].iter_mut().zip(&windows) {
                            *value = windows[channel * n_taps + tap];
                        }
                    }
                }
            }
        });
        Self { values, n_in, n_out, of_positions: (0..n_taps).map(|tap| vec![tap]).collect() }
    }
}

/// Where a pass starts and what it reads.
type PlannedPass = ((usize, usize), Vec<WeightedStep>);

/// The passes, and the inputs of all their steps together.
fn plan(shape: &ConvShape) -> (Vec<PlannedPass>, usize) {
    let upsampled = shape.sources.iter().any(|s| s.upsampled);
    let starts: &[(usize, usize)] = if upsampled { &[(0, 0), (0, 1), (1, 0), (1, 1)] } else { &[(0, 0)] };
    let mut depth = 0;
    // Sources that are not upsampled have the same weights in every pass.
    let mut shared_depths = vec![None; shape.sources.len()];
    let passes = starts
        .iter()
        .map(|&start| {
            let mut steps = Vec::new();
            let mut first_channel = 0;
            for (index, source) in shape.sources.iter().enumerate() {
                let from = shared_depths[index].unwrap_or(depth);
                let mut own = source_steps(shape, index, start, first_channel, from);
                if shared_depths[index].is_none() {
                    if !source.upsampled {
                        shared_depths[index] = Some(depth);
                    }
                    depth += own.iter().map(|s| s.step.len()).sum::<usize>();
                }
                steps.append(&mut own);
                first_channel += source.channels;
            }
            (start, steps)
        })
        .collect();
    (passes, depth)
}

/// The steps over one source for the pass that starts at this output row and column.
fn source_steps(
    shape: &ConvShape,
    index: usize,
    (first_row, first_column): (usize, usize),
    first_channel: usize,
    mut depth: usize,
) -> Vec<WeightedStep> {
    let source = shape.sources[index];
    let n_channels = source.channels / shape.groups;
    let axis = match source {
        Source { upsampled: false, .. } => plain_axis,
        Source { zeros_between: false, .. } => upsampled_axis,
        Source { zeros_between: true, .. } => spread_axis,
    };
    let (rows, columns) = (axis(shape.kernel_px, first_row), axis(shape.kernel_px, first_column));
    let mut steps = Vec::new();
    let mut push = |rows_at, columns_at, channel, n_channels, positions: Vec<Vec<(usize, usize)>>| {
        let step = Step {
            source: index,
            rows: rows_at,
            columns: columns_at,
            n_pixels: positions.len(),
            channel,
            n_channels,
            depth,
        };
        depth += step.len();
        steps.push(WeightedStep { step, positions, first_channel: first_channel + channel });
    };
    for (row, kernel_rows) in &rows {
        let positions = |kernel_columns: &[usize]| {
            kernel_rows.iter().flat_map(|&r| kernel_columns.iter().map(move |&c| (r, c))).collect::<Vec<_>>()
        };
        if shape.groups == 1 && !columns.is_empty() && columns.len() * n_channels <= MAX_RUN {
            // All channels of neighbouring pixels lie side by side: one run.
            let all = columns.iter().map(|(_, kernel_columns)| positions(kernel_columns)).collect();
            push(*row, columns[0].0, 0, n_channels, all);
            continue;
        }
        for (column, kernel_columns) in &columns {
            for channel in (0..n_channels).step_by(MAX_RUN) {
                let run = MAX_RUN.min(n_channels - channel);
                push(*row, *column, channel, run, vec![positions(kernel_columns)]);
            }
        }
    }
    steps
}

/// Offsets along one axis and the kernel positions at each.
type Axis = Vec<(isize, Vec<usize>)>;

/// The axis over a source at the output's resolution.
fn plain_axis(kernel_px: usize, first: usize) -> Axis {
    let half = ((kernel_px - 1) / 2) as isize;
    (0..kernel_px).map(|k| (first as isize + k as isize - half, vec![k])).collect()
}

/// The axis over a source at half of it: positions that fall on one source pixel come together.
fn upsampled_axis(kernel_px: usize, first: usize) -> Axis {
    let mut axis = Axis::new();
    for (offset, position) in plain_axis(kernel_px, first) {
        let offset = offset.div_euclid(2);
        match axis.last_mut() {
            Some((last, positions)) if *last == offset => positions.extend(position),
            _ => axis.push((offset, position)),
        }
    }
    axis
}

/// The axis over a source at half of it with zeros between its pixels: positions that fall on zeros are left out.
fn spread_axis(kernel_px: usize, first: usize) -> Axis {
    let on_pixels = plain_axis(kernel_px, first).into_iter().filter(|(offset, _)| offset % 2 == 0);
    on_pixels.map(|(offset, position)| (offset / 2, position)).collect()
}

/// Cuts the output channels of each group into panels of 24, 16 and 8.
fn panels(shape: &ConvShape, depth: usize) -> Vec<Panel> {
    let group_channels = shape.out_channels / shape.groups;
    let mut panels = Vec::new();
    let (mut weights_start, mut bias_start) = (0, 0);
    for group in 0..shape.groups {
        let mut done = 0;
        while done < group_channels {
            let left = group_channels - done;
            // Narrow panels use the registers badly: 32 is 16 + 16 rather than 24 + 8.
            let width = if left == 32 { 16 } else { MAX_PANEL_WIDTH.min(left.next_multiple_of(8)) };
            panels.push(Panel {
                channel: group * group_channels + done,
                n_channels: width.min(left),
                n_eights: width / 8,
                group,
                weights_start,
                bias_start,
            });
            done += width;
            weights_start += width * depth;
            bias_start += width;
        }
    }
    panels
}

/// Writes one step's weights into a panel's, `[depth, width]`.
fn fill(kernel_px: usize, taps: &Taps, panel: &Panel, step: &WeightedStep, into: &mut [f32]) {
    let mut rows = into[step.step.depth * panel.width()..].chunks_exact_mut(panel.width());
    for positions in &step.positions {
        for (channel, row) in (step.first_channel..).zip(rows.by_ref().take(step.step.n_channels)) {
            let row = &mut row[..panel.n_channels];
            // Passes share the steps of sources that are not upsampled.
            row.fill(0.0);
            let of_position = |&(row, column): &(usize, usize)| &taps.of_positions[row * kernel_px + column];
            for &tap in positions.iter().flat_map(of_position) {
                let weights = &taps.values[(tap * taps.n_in + channel) * taps.n_out + panel.channel..];
                for (value, weight) in row.iter_mut().zip(weights) {
                    *value += weight;
                }
            }
        }
    }
}

/// Cuts steps into blocks of about [`BLOCK_NUMBERS`] weights of the widest panel.
fn blocks(steps: impl Iterator<Item = Step>) -> Vec<Vec<Step>> {
    let mut blocks: Vec<Vec<Step>> = Vec::new();
    let mut room = 0;
    for step in steps {
        let numbers = step.len() * MAX_PANEL_WIDTH;
        match blocks.last_mut() {
            Some(block) if numbers <= room => block.push(step),
            _ => {
                room = BLOCK_NUMBERS.max(numbers);
                blocks.push(vec![step]);
            }
        }
        room -= numbers;
    }
    // Without any input, the bias is still written.
    if blocks.is_empty() {
        blocks.push(Vec::new());
    }
    blocks
}
