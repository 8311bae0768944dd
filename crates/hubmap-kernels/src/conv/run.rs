//! Running a laid-out convolution over feature maps.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::pack::MAX_RUN;
use super::{Conv, ConvShape, Finish, Panel, Pass, Step};
use crate::microkernel::{Sums, load, multiply_add, store};
use crate::{Extent, Images, KernelError};

/// Inputs beyond the border.
static ZEROS: [f32; MAX_RUN] = [0.0; MAX_RUN];
/// Numbers of input that a task should read, so that they stay in the second-level cache.
const TASK_NUMBERS: usize = 64 * 1024;
/// Pixels of a task are a multiple of this, of every number of pixels that the inner loop takes.
const TASK_MULTIPLE: usize = 24;

impl ConvShape {
    /// Extent of the output for these inputs.
    pub fn output_extent(&self, sources: &[Images<'_>]) -> Result<Extent, KernelError> {
        let wanted = &self.sources;
        if sources.len() != wanted.len() {
            return Err(KernelError::Sources { found: sources.len(), expected: wanted.len() });
        }
        let mut output: Option<Extent> = None;
        for (images, source) in sources.iter().zip(wanted) {
            let extent = images.extent();
            let (scale, stride) = (if source.upsampled { 2 } else { 1 }, self.stride);
            let here = Extent {
                count: extent.count,
                height: (extent.height * scale).div_ceil(stride),
                width: (extent.width * scale).div_ceil(stride),
                channels: self.out_channels,
            };
            if extent.channels != source.channels || output.is_some_and(|other| other != here) {
                return Err(KernelError::Source { extent, channels: source.channels });
            }
            output = Some(here);
        }
        output.ok_or(KernelError::Sources { found: 0, expected: wanted.len() })
    }
}

impl Conv {
    /// Extent of the output for these inputs.
    pub fn output_extent(&self, sources: &[Images<'_>]) -> Result<Extent, KernelError> {
        self.shape.output_extent(sources)
    }

    /// Convolves the sources into `output`, `[n, h, w, out_channels]`, on the threads of the current pool.
    pub fn run(&self, sources: &[Images<'_>], output: &mut [f32], finish: Finish) -> Result<(), KernelError> {
        self.run_with(&self.weights, sources, output, finish)
    }

    /// [`Conv::run`] with other weights in this convolution's layout.
    pub(super) fn run_with(
        &self,
        weights: &[f32],
        sources: &[Images<'_>],
        output: &mut [f32],
        finish: Finish,
    ) -> Result<(), KernelError> {
        let extent = self.shape.output_extent(sources)?;
        if output.len() != extent.len() {
            return Err(KernelError::Length { found: output.len(), extent });
        }
        if output.is_empty() {
            return Ok(());
        }
        let step = if self.passes.len() > 1 { 2 } else { 1 };
        let grid = Grid {
            height: extent.height / step,
            width: extent.width / step,
            step,
            n_pixels: extent.pixels() / (step * step),
        };
        let pixels = self.task_pixels(&grid);
        let arch = Arch::new();
        output.par_chunks_mut(pixels * step * step * self.shape.out_channels).enumerate().for_each(
            |(index, output)| {
                let first = index * pixels;
                arch.dispatch(Task {
                    conv: self,
                    weights,
                    sources,
                    grid: &grid,
                    first,
                    n_pixels: pixels.min(grid.n_pixels - first),
                    output,
                    finish,
                });
            },
        );
        Ok(())
    }

    /// Pixels of the grid that one task computes.
    fn task_pixels(&self, grid: &Grid) -> usize {
        let channels: usize = self.shape.sources.iter().map(|s| s.channels).sum();
        let cached = TASK_NUMBERS / (channels * self.shape.stride * self.shape.stride);
        let shared = grid.n_pixels.div_ceil(4 * rayon::current_num_threads());
        let pixels = cached.min(shared).max(2 * TASK_MULTIPLE).next_multiple_of(TASK_MULTIPLE);
        // Output pixels of several passes interleave by rows.
        if grid.step == 1 { pixels } else { pixels.next_multiple_of(grid.width) }
    }
}

/// Pixels of one pass: all output pixels, or every second in both directions.
struct Grid {
    height: usize,
    width: usize,
    /// Output pixels from one to the next.
    step: usize,
    /// In all images.
    n_pixels: usize,
}

/// Consecutive pixels of the grid, all channels.
struct Task<'a> {
    conv: &'a Conv,
    weights: &'a [f32],
    sources: &'a [Images<'a>],
    grid: &'a Grid,
    first: usize,
    n_pixels: usize,
    output: &'a mut [f32],
    finish: Finish,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let conv = self.conv;
        for pass in &conv.passes {
            for (index, steps) in pass.blocks.iter().enumerate() {
                let block =
                    Block { pass, steps, is_first: index == 0, is_last: index + 1 == pass.blocks.len() };
                for panel in &conv.panels {
                    // Sums that fit the registers: 16 of eight numbers, 32 of four.
                    match (panel.n_eights, S::F32_LANES) {
                        (3, 8) => self.panel::<S, 3, 3>(simd, &block, panel),
                        (2, 8) => self.panel::<S, 6, 2>(simd, &block, panel),
                        (_, 8) => self.panel::<S, 8, 1>(simd, &block, panel),
                        (3, 4) => self.panel::<S, 4, 6>(simd, &block, panel),
                        (2, 4) => self.panel::<S, 6, 4>(simd, &block, panel),
                        (_, 4) => self.panel::<S, 8, 2>(simd, &block, panel),
                        (3, _) => self.panel::<S, 1, 24>(simd, &block, panel),
                        (2, _) => self.panel::<S, 1, 16>(simd, &block, panel),
                        (_, _) => self.panel::<S, 1, 8>(simd, &block, panel),
                    }
                }
            }
        }
    }
}

/// Steps of a pass that are added up before the sums go back to memory.
struct Block<'a> {
    pass: &'a Pass,
    steps: &'a [Step],
    is_first: bool,
    is_last: bool,
}

/// Where a pixel of the grid is.
#[derive(Clone, Copy)]
struct Place {
    /// Row, counted through all images.
    row: usize,
    /// Row in its image.
    y: usize,
    x: usize,
}

/// The centre of a window in a source.
#[derive(Clone, Copy)]
struct Centre {
    /// Pixel, counted through all images.
    pixel: isize,
    y: isize,
    x: isize,
}

impl Task<'_> {
    #[inline(always)]
    fn panel<S: Simd, const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        block: &Block<'_>,
        panel: &Panel,
    ) {
        let weights = self.weights;
        let weights = &weights[panel.weights_start..];
        let bias = load::<S, VECTORS>(simd, &self.conv.bias[panel.bias_start..][..panel.width()]);
        let zero = simd.splat_f32s(0.0);
        let mut next = self.place(self.first);
        for tile in (0..self.n_pixels).step_by(PIXELS) {
            let n_pixels = PIXELS.min(self.n_pixels - tile);
            // The last tile repeats its last pixel.
            let mut places = [next; PIXELS];
            for (index, place) in places.iter_mut().enumerate() {
                *place = next;
                if index + 1 < n_pixels {
                    next = self.after(next);
                }
            }
            next = self.after(next);

            let outputs = places.map(|place| self.output_start(block.pass, place) + panel.channel);
            let mut sums: Sums<S, PIXELS, VECTORS> = [bias; PIXELS];
            if !block.is_first || self.finish.accumulate {
                for pixel in 0..PIXELS {
                    let held = load::<S, VECTORS>(simd, &self.output[outputs[pixel]..][..panel.n_channels]);
                    for vector in 0..VECTORS {
                        sums[pixel][vector] = if block.is_first {
                            simd.add_f32s(held[vector], bias[vector])
                        } else {
                            held[vector]
                        };
                    }
                }
            }
            self.add_steps(simd, &mut sums, block.steps, panel, &places, weights);
            if block.is_last && self.finish.relu {
                for sums in &mut sums {
                    for sum in sums {
                        // In this order a NaN stays one.
                        *sum = simd.max_f32s(zero, *sum);
                    }
                }
            }
            for pixel in 0..PIXELS {
                store(simd, sums[pixel], &mut self.output[outputs[pixel]..][..panel.n_channels]);
            }
        }
    }

    /// Adds the products of all steps for one tile.
    #[inline(always)]
    fn add_steps<S: Simd, const PIXELS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        sums: &mut Sums<S, PIXELS, VECTORS>,
        steps: &[Step],
        panel: &Panel,
        places: &[Place; PIXELS],
        weights: &[f32],
    ) {
        let width = panel.width();
        let mut current = usize::MAX;
        let mut centres = [Centre { pixel: 0, y: 0, x: 0 }; PIXELS];
        let mut interior = false;
        let (mut data, mut extent): (&[f32], _) = (&[], self.sources[0].extent());
        for step in steps {
            if step.source != current {
                current = step.source;
                data = self.sources[current].data();
                extent = self.sources[current].extent();
                centres = places.map(|place| self.centre(place, current, extent));
                // No window reaches further than one pixel beyond the output pixels of the grid's step, but that of
                // 4x4, which reaches two.
                let reach = (self.conv.shape.kernel_px / 2).max(self.grid.step) as isize;
                interior = centres.iter().all(|c| {
                    c.y >= 1
                        && c.y + reach < extent.height as isize
                        && c.x >= 1
                        && c.x + reach < extent.width as isize
                });
            }
            let channels = extent.channels;
            let first_channel = panel.group * (channels / self.conv.shape.groups) + step.channel;
            let offset = (step.rows * extent.width as isize + step.columns) * channels as isize;
            let weights = &weights[step.depth * width..][..step.len() * width];
            if interior || step.is_centre() {
                let inputs = centres.map(|c| {
                    let start = (c.pixel * channels as isize + offset) as usize + first_channel;
                    &data[start..start + step.len()]
                });
                multiply_add(simd, sums, &inputs, weights);
                continue;
            }
            for (index, weights) in weights.chunks_exact(step.n_channels * width).enumerate() {
                let columns = step.columns + index as isize;
                let inputs = centres.map(|c| {
                    let inside = (0..extent.height as isize).contains(&(c.y + step.rows))
                        && (0..extent.width as isize).contains(&(c.x + columns));
                    if inside {
                        let pixel = c.pixel + step.rows * extent.width as isize + columns;
                        &data[pixel as usize * channels + first_channel..][..step.n_channels]
                    } else {
                        &ZEROS[..step.n_channels]
                    }
                });
                multiply_add(simd, sums, &inputs, weights);
            }
        }
    }

    fn place(&self, pixel: usize) -> Place {
        let row = pixel / self.grid.width;
        Place { row, y: row % self.grid.height, x: pixel % self.grid.width }
    }

    #[inline(always)]
    fn after(&self, mut place: Place) -> Place {
        place.x += 1;
        if place.x == self.grid.width {
            place = Place { row: place.row + 1, y: place.y + 1, x: 0 };
            if place.y == self.grid.height {
                place.y = 0;
            }
        }
        place
    }

    /// Where the window of a pixel is centred in a source.
    #[inline(always)]
    fn centre(&self, place: Place, source: usize, extent: Extent) -> Centre {
        let shape = &self.conv.shape;
        let stride = if shape.sources[source].upsampled { 1 } else { shape.stride * self.grid.step };
        let (y, x) = (place.y * stride, place.x * stride);
        // The grid may be a rounded-up half of the source, so rows are counted image by image.
        let first_row =
            if place.row == place.y { 0 } else { (place.row - place.y) / self.grid.height * extent.height };
        Centre { pixel: ((first_row + y) * extent.width + x) as isize, y: y as isize, x: x as isize }
    }

    /// Start of a pixel's channels in this task's output.
    #[inline(always)]
    fn output_start(&self, pass: &Pass, place: Place) -> usize {
        let (width, step) = (self.grid.width, self.grid.step);
        let pixel = if step == 1 {
            place.row * width + place.x - self.first
        } else {
            // Such a task starts at the start of a row.
            (place.row - self.first / width) * step * width * step
                + pass.first_row * width * step
                + place.x * step
                + pass.first_column
        };
        pixel * self.conv.shape.out_channels
    }
}
