//! From the results of blocks to whole rows of the slide.

mod blended;
mod cropped;

use half::f16;
use hubmap_io::Window;
use ndarray::Array2;

use self::blended::Blended;
use self::cropped::Cropped;
use crate::blocks::{Block, BlockGrid};
use crate::config::{Blend, PredictConfig};

/// Pixels of a strip: enough for sinks to be efficient, few enough that several fit in memory at any width.
const STRIP_PX: u32 = if cfg!(test) { 1 << 12 } else { 8 << 20 };

/// Finished rows of a slide, on their way to the sink.
#[derive(Debug)]
pub(crate) struct Strip {
    /// The first row.
    pub(crate) y0: u32,
    /// `[n_rows, slide width]`.
    pub(crate) rows: Array2<f16>,
}

/// Takes strips from top to bottom; `false` if nobody wants any more.
pub(crate) type Emit<'a> = dyn FnMut(Strip) -> bool + 'a;

/// Joins the blocks of a slide, which come row by row.
///
/// It holds about one row of blocks at tile resolution in single precision, and the strip that it is making.
#[derive(Debug)]
pub(crate) enum Merger {
    Cropped(Cropped),
    Blended(Blended),
}

impl Merger {
    pub(crate) fn new(config: &PredictConfig, grid: BlockGrid) -> Self {
        match config.blend {
            Blend::Crop => Self::Cropped(Cropped::new(config, grid)),
            Blend::Mean | Blend::Gaussian => Self::Blended(Blended::new(config, grid)),
        }
    }

    /// The part of a block's `[h, w]` probabilities that [`Merger::push`] wants, in tile pixels.
    pub(crate) fn kept(config: &PredictConfig, block: Block) -> Window {
        match config.blend {
            Blend::Crop => cropped::kept(config, block),
            Blend::Mean | Blend::Gaussian => blended::kept(config, block),
        }
    }

    /// Takes the next block's [kept](Merger::kept) probabilities, or `None` where they are 0, and hands on the rows that
    /// are finished by it.
    ///
    /// `false` if nobody wants rows any more.
    pub(crate) fn push(&mut self, block: Block, kept: Option<Array2<f32>>, emit: &mut Emit<'_>) -> bool {
        match self {
            Self::Cropped(merger) => merger.push(block, kept, emit),
            Self::Blended(merger) => merger.push(block, kept.as_deref(), emit),
        }
    }
}

/// Makes the strips of rows `y0..y1` of a slide; `fill(y, rows)` writes those from `y`, which are 0 before.
fn strips(
    (y0, y1): (u32, u32),
    width: u32,
    emit: &mut Emit<'_>,
    mut fill: impl FnMut(u32, &mut Array2<f16>),
) -> bool {
    let n_rows = (STRIP_PX / width).max(1);
    let mut y = y0;
    while y < y1 {
        let height = n_rows.min(y1 - y);
        let mut rows = Array2::from_elem((height as usize, width as usize), f16::ZERO);
        fill(y, &mut rows);
        if !emit(Strip { y0: y, rows }) {
            return false;
        }
        y += height;
    }
    true
}

#[cfg(test)]
mod tests;
