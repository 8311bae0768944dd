//! Blocks side by side, each enlarged with its own context (spec section 6).

use hubmap_io::Window;
use ndarray::{Array2, s};

use super::{Emit, strips};
use crate::blocks::{Block, BlockGrid};
use crate::config::PredictConfig;
use crate::upsample::{Positions, Source, enlarge_f16, source_window};

/// The blocks of one row until it is complete.
#[derive(Debug)]
pub(crate) struct Cropped {
    scale: u32,
    context_px: u32,
    tile_side: usize,
    n_columns: usize,
    width: u32,
    row: Vec<(Block, Option<Array2<f32>>)>,
}

/// The enlarged pixels of a tile that are pasted, within the enlarged tile.
fn pasted(context_px: u32, block: Block) -> Window {
    Window { x: context_px.into(), y: context_px.into(), ..block.paste }
}

/// The pixels of the tile that they come from.
pub(super) fn kept(config: &PredictConfig, block: Block) -> Window {
    let side = config.tile_side() as usize;
    source_window((side, side), config.scale, pasted(config.context_px(), block))
}

impl Cropped {
    pub(super) fn new(config: &PredictConfig, grid: BlockGrid) -> Self {
        Self {
            scale: config.scale,
            context_px: config.context_px(),
            tile_side: config.tile_side() as usize,
            n_columns: grid.n_columns() as usize,
            width: grid.size().width,
            row: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, block: Block, kept: Option<Array2<f32>>, emit: &mut Emit<'_>) -> bool {
        self.row.push((block, kept));
        if self.row.len() < self.n_columns {
            return true;
        }
        let row = std::mem::take(&mut self.row);
        let top = block.paste.y as u32;
        let whole = (self.tile_side, self.tile_side);
        strips((top, top + block.paste.height), self.width, emit, |y, rows| {
            for (block, kept) in &row {
                let Some(pixels) = kept else { continue };
                let all = pasted(self.context_px, *block);
                let from = source_window(whole, self.scale, all);
                let source = Source {
                    pixels,
                    corner: (from.y as usize, from.x as usize),
                    whole,
                    positions: Positions::Single,
                };
                let crop = Window { y: all.y + i64::from(y - top), height: rows.nrows() as u32, ..all };
                let x = block.paste.x as usize;
                let target = rows.slice_mut(s![.., x..x + block.paste.width as usize]);
                enlarge_f16(source, self.scale, crop, target);
            }
        })
    }
}
