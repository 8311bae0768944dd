//! Which part of each block goes through the networks.

use hubmap_io::Window;
use ndarray::{Array2, s};

use crate::blocks::Block;
use crate::config::{PredictConfig, TILE_MULTIPLE};
use crate::merge::Merger;

/// Where a block's probabilities come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Networks(Tile),
    Journal,
    /// They are 0.
    NoTissue,
}

/// The tile that is predicted for a block: all of it with its context, or what it has of tissue with as much context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    /// What is read for it, in slide pixels.
    pub(crate) read: Window,
    /// The part of its probabilities that is merged, in tile pixels.
    pub(crate) kept: Window,
    /// The same part within what is merged of the whole block.
    place: Window,
    /// Rows and columns that are merged of the whole block.
    shape: (usize, usize),
}

impl Tile {
    /// All of a block.
    pub(crate) fn whole(config: &PredictConfig, block: Block) -> Self {
        let kept = Merger::kept(config, block);
        Self { read: block.read, kept, place: kept.size().window(), shape: shape(kept) }
    }

    /// The part of a block around its tissue, which is a window of the block's paste window, in slide pixels.
    ///
    /// Its sides are such as networks take, and it never leaves the tile of the whole block.
    pub(crate) fn trimmed(config: &PredictConfig, block: Block, tissue: Window) -> Self {
        let whole = Self::whole(config, block);
        let (scale, side) = (i64::from(config.scale), i64::from(config.tile_side()));
        let context = i64::from(config.context);
        let along = |read: i64, tissue: i64, tissue_end: i64| {
            let first = (tissue - read).div_euclid(scale) - context;
            let end = -(read - tissue_end).div_euclid(scale) + context;
            let length = ((end - first) as u32).next_multiple_of(TILE_MULTIPLE).min(config.tile_side());
            (first.min(side - i64::from(length)), length)
        };
        let (x, width) = along(block.read.x, tissue.x, tissue.right());
        let (y, height) = along(block.read.y, tissue.y, tissue.bottom());
        // The rest has less context than the settings ask for, but for the neighbour that enlarging looks at.
        let border = config.context.saturating_sub(1);
        let inner = Window {
            x: x + i64::from(border),
            y: y + i64::from(border),
            width: width - 2 * border,
            height: height - 2 * border,
        };
        let Some(part) = inner.intersect(&whole.kept) else { return whole };
        Self {
            read: Window {
                x: block.read.x + x * scale,
                y: block.read.y + y * scale,
                width: width * config.scale,
                height: height * config.scale,
            },
            kept: Window { x: part.x - x, y: part.y - y, ..part },
            place: Window { x: part.x - whole.kept.x, y: part.y - whole.kept.y, ..part },
            shape: whole.shape,
        }
    }

    /// The probabilities of what is merged of the block, from those that were kept of the tile: 0 around them.
    pub(crate) fn placed(&self, kept: Array2<f32>) -> Array2<f32> {
        if kept.dim() == self.shape {
            return kept;
        }
        let (x, y) = (self.place.x as usize, self.place.y as usize);
        let (rows, columns) = kept.dim();
        let mut whole = Array2::zeros(self.shape);
        whole.slice_mut(s![y..y + rows, x..x + columns]).assign(&kept);
        whole
    }
}

/// Rows and columns of a window.
pub(crate) const fn shape(window: Window) -> (usize, usize) {
    (window.height as usize, window.width as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Blend;
    use hubmap_io::Size;
    use proptest::prelude::*;

    proptest! {
        /// Tissue keeps its context, the tile is one that networks take, and what is kept of it is that of the block.
        #[test]
        fn a_trimmed_tile_has_the_tissue_with_its_context(
            scale in 1_u32..4, context in 0_u32..40, blocks in 1_u32..4, is_blended in any::<bool>(),
            width in 1_u32..700, height in 1_u32..700,
            corner in (0.0..1.0_f64, 0.0..1.0_f64), extent in (0.0..1.0_f64, 0.0..1.0_f64), which in 0.0..1.0_f64,
        ) {
            let block = (blocks * 32 + 2 * context).next_multiple_of(32) - 2 * context;
            let blend = if is_blended { Blend::Mean } else { Blend::Crop };
            let config = PredictConfig { scale, block, context, blend, ..PredictConfig::original() };
            let grid = config.grid(Size::new(width, height));
            let all: Vec<_> = grid.row_major().collect();
            let block = all[(which * all.len() as f64) as usize];
            let span = |start: i64, length: u32, corner: f64, extent: f64| {
                let first = (corner * f64::from(length)) as u32;
                let n = 1 + (extent * f64::from(length - first - 1)) as u32;
                (start + i64::from(first), n)
            };
            let (x, width) = span(block.paste.x, block.paste.width, corner.0, extent.0);
            let (y, height) = span(block.paste.y, block.paste.height, corner.1, extent.1);
            let tissue = Window { x, y, width, height };
            let (tile, whole) = (Tile::trimmed(&config, block, tissue), Tile::whole(&config, block));

            let needed = tissue.grow(config.context_px());
            prop_assert_eq!(needed.intersect(&tile.read), Some(needed));
            prop_assert_eq!(tile.read.intersect(&block.read), Some(tile.read));
            for (tile, of_tissue, of_block) in [
                (tile.read.width, tissue.width, whole.read.width),
                (tile.read.height, tissue.height, whole.read.height),
            ] {
                prop_assert_eq!(tile % (TILE_MULTIPLE * scale), 0);
                let enough = (of_tissue.div_ceil(scale) + 1 + 2 * context).next_multiple_of(TILE_MULTIPLE) * scale;
                prop_assert!(tile <= enough.min(of_block));
            }
            // Pixels are told by their place on the slide.
            let place = |tile: &Tile, row: i64, column: i64| {
                let at = |start: i64, along: i64| (start / i64::from(scale) + along) as f32;
                1.0 + at(tile.read.y - block.read.y, row) * 1024.0 + at(tile.read.x - block.read.x, column)
            };
            let values = |tile: &Tile| Array2::from_shape_fn(shape(tile.kept), |(row, column)| {
                place(tile, tile.kept.y + row as i64, tile.kept.x + column as i64)
            });
            let ours = tile.placed(values(&tile));
            let theirs = whole.placed(values(&whole));
            prop_assert_eq!(ours.dim(), theirs.dim());
            for ((row, column), &value) in ours.indexed_iter() {
                let pixel = |along: i64, kept: i64, read: i64| read + (kept + along) * i64::from(scale);
                let (y, x) = (
                    pixel(row as i64, whole.kept.y, block.read.y), pixel(column as i64, whole.kept.x, block.read.x),
                );
                let is_tissue = Window::new(x, y, scale, scale).intersect(&tissue).is_some();
                let is_same = value.to_bits() == theirs[(row, column)].to_bits();
                prop_assert!(is_same || (value.to_bits() == 0 && !is_tissue));
            }
        }
    }
}
