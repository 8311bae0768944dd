//! Weighted means over blocks that overlap.
//!
//! Probabilities, after the mean over models and views, are added up with their weights on the reduced grid of the whole
//! slide, divided by the sum of the weights once no later block reaches a row, and only then enlarged.
//! Weights are products of one along x and one along y, and every block counts, so that their sum over blocks is the
//! product of two sums over columns and rows of blocks: it is known exactly beforehand, also at borders and for blocks
//! that are cut off there. (Dividing what was overwritten, or by the weights of some blocks only, is how others get seams.)

use hubmap_io::Window;
use ndarray::{Array2, ArrayRef2, s};

use super::{Emit, strips};
use crate::blocks::{Block, BlockGrid};
use crate::config::{Blend, PredictConfig};
use crate::upsample::{Positions, Source, enlarge_f16};

/// Standard deviation of the Gaussian in sides of a block.
const SIGMA: f64 = 1.0 / 8.0;

/// The sums of the rows that blocks still reach, and of the rows that enlarging still needs.
#[derive(Debug)]
pub(crate) struct Blended {
    scale: u32,
    grid: BlockGrid,
    /// Height and width of the reduced slide.
    reduced: (usize, usize),
    /// Weight of a block's pixels along either axis.
    weights: Vec<f32>,
    /// Sums of the weights that cover each reduced column, over columns of blocks; and rows.
    column_weights: Vec<f64>,
    row_weights: Vec<f64>,
    /// Weighted sums, and above `n_final` means, of the rows of the reduced slide from `first_row`.
    sums: Array2<f32>,
    first_row: usize,
    n_final: usize,
    /// The first row of the slide that is still to be enlarged.
    next_y: u32,
}

/// The block without its context, as far as it lies on the slide.
pub(super) fn kept(config: &PredictConfig, block: Block) -> Window {
    Window {
        x: config.context.into(),
        y: config.context.into(),
        width: block.paste.width.div_ceil(config.scale),
        height: block.paste.height.div_ceil(config.scale),
    }
}

/// Weights along a side of `n` pixels, positive.
fn weights(blend: Blend, n: u32) -> Vec<f32> {
    let gaussian = |i: u32| {
        let from_centre = (f64::from(i) + 0.5) / f64::from(n) - 0.5;
        (-0.5 * (from_centre / SIGMA).powi(2)).exp() as f32
    };
    match blend {
        Blend::Gaussian => (0..n).map(gaussian).collect(),
        Blend::Crop | Blend::Mean => vec![1.0; n as usize],
    }
}

/// Sums of `weights` over blocks that begin every `step` of `n` pixels.
fn sums_along(weights: &[f32], step: usize, n_blocks: u32, n: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n];
    for block in 0..n_blocks as usize {
        for (sum, &weight) in sums[block * step..].iter_mut().zip(weights) {
            *sum += f64::from(weight);
        }
    }
    sums
}

impl Blended {
    pub(super) fn new(config: &PredictConfig, grid: BlockGrid) -> Self {
        let reduced = |side: u32| side.div_ceil(config.scale) as usize;
        let (height, width) = (reduced(grid.size().height), reduced(grid.size().width));
        let weights = weights(config.blend, config.block);
        let step = (config.block - config.overlap) as usize;
        Self {
            scale: config.scale,
            grid,
            reduced: (height, width),
            column_weights: sums_along(&weights, step, grid.n_columns(), width),
            row_weights: sums_along(&weights, step, grid.n_rows(), height),
            weights,
            sums: Array2::zeros((0, width)),
            first_row: 0,
            n_final: 0,
            next_y: 0,
        }
    }

    pub(super) fn push(&mut self, block: Block, kept: Option<&ArrayRef2<f32>>, emit: &mut Emit<'_>) -> bool {
        let scale = i64::from(self.scale);
        let (x, y) = ((block.paste.x / scale) as usize, (block.paste.y / scale) as usize);
        let rows = block.paste.height.div_ceil(self.scale) as usize;
        self.make_room(y + rows);
        if let Some(kept) = kept {
            let top = y - self.first_row;
            let mut sums = self.sums.slice_mut(s![top..top + kept.nrows(), x..x + kept.ncols()]);
            for ((mut sums, kept), &along_y) in
                sums.outer_iter_mut().zip(kept.outer_iter()).zip(&self.weights)
            {
                for ((sum, &probability), &along_x) in sums.iter_mut().zip(&kept).zip(&self.weights) {
                    *sum += along_y * along_x * probability;
                }
            }
        }
        let is_last_of_row = block.paste.right() == i64::from(self.grid.size().width);
        if !is_last_of_row {
            return true;
        }
        // The next row of blocks begins a step further down.
        let next_top = y + ((self.grid.step_px() / self.scale) as usize);
        let is_last = block.paste.bottom() == i64::from(self.grid.size().height);
        self.finish_rows(if is_last { self.reduced.0 } else { next_top });
        // A row of the slide comes from two reduced ones.
        let y1 = if is_last { self.grid.size().height } else { (next_top as u32 - 1) * self.scale };
        self.enlarge(y1, emit)
    }

    /// Appends rows of zeros up to row `end` of the reduced slide.
    fn make_room(&mut self, end: usize) {
        let (height, width) = self.sums.dim();
        let missing = end.saturating_sub(self.first_row + height);
        if missing > 0 {
            let mut sums = Array2::zeros((height + missing, width));
            sums.slice_mut(s![..height, ..]).assign(&self.sums);
            self.sums = sums;
        }
    }

    /// Divides the rows up to row `end`, which no later block reaches.
    fn finish_rows(&mut self, end: usize) {
        let rows = self.n_final - self.first_row..end - self.first_row;
        let mut sums = self.sums.slice_mut(s![rows, ..]);
        for (mut row, &along_y) in sums.outer_iter_mut().zip(&self.row_weights[self.n_final..]) {
            for (sum, &along_x) in row.iter_mut().zip(&self.column_weights) {
                *sum = (f64::from(*sum) / (along_y * along_x)) as f32;
            }
        }
        self.n_final = end;
    }

    /// Enlarges the rows of the slide up to `y1`, and forgets what only they needed.
    fn enlarge(&mut self, y1: u32, emit: &mut Emit<'_>) -> bool {
        let source = Source {
            pixels: &self.sums,
            corner: (self.first_row, 0),
            whole: self.reduced,
            positions: Positions::Double,
        };
        let (scale, width) = (self.scale, self.grid.size().width);
        let go_on = strips((self.next_y, y1), width, emit, |y, rows| {
            let crop = Window::new(0, y.into(), width, rows.nrows() as u32);
            enlarge_f16(source, scale, crop, rows.view_mut());
        });
        self.next_y = self.next_y.max(y1);
        let first_needed = ((self.next_y / self.scale) as usize).saturating_sub(1);
        let forget = first_needed - self.first_row;
        self.sums = self.sums.slice(s![forget.min(self.sums.nrows()).., ..]).to_owned();
        self.first_row = first_needed;
        go_on
    }
}
