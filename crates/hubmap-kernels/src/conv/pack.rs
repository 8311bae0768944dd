//! From weights as frameworks store them to the order in which the inner loop reads them.

use aligned_vec::AVec;
use rayon::prelude::*;

use super::{Conv, ConvShape, Panel, Pass, Step};
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
                fill(&shape, weights, panel, step, part);
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
        Ok(Self { shape, weights: packed, bias: packed_bias, panels, passes })
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
    let axis = if source.upsampled { upsampled_axis } else { plain_axis };
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
        if shape.groups == 1 && columns.len() * n_channels <= MAX_RUN {
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
fn fill(shape: &ConvShape, weights: &[f32], panel: &Panel, step: &WeightedStep, into: &mut [f32]) {
    let (kernel, n_in) = (shape.kernel_px, shape.group_in_channels());
    let width = panel.width();
    let into = &mut into[step.step.depth * width..][..step.step.len() * width];
    // Channel by channel, because the positions of one channel are neighbours in `weights`.
    for (index, channel) in (step.first_channel..).take(step.step.n_channels).enumerate() {
        for (column, out) in (panel.channel..).take(panel.n_channels).enumerate() {
            let window = &weights[(out * n_in + channel) * kernel * kernel..][..kernel * kernel];
            let rows = into[index * width..].chunks_mut(step.step.n_channels * width);
            for (row, positions) in rows.zip(&step.positions) {
                row[column] = positions.iter().map(|&(r, c)| window[r * kernel + c]).sum();
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
    blocks
}
