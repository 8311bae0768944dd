//! The grid of blocks that a slide is cut into for inference (spec section 6).

use hubmap_io::{Size, Window};

/// One block: what is read for it, and where its result goes; both in full-resolution pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The block with its context on every side; may leave the slide.
    pub read: Window,
    /// The part of the slide that the block is responsible for; never leaves the slide.
    pub paste: Window,
}

/// The blocks of one slide, each read with context around it.
///
/// The original's do not overlap, and it runs them column by column ([`BlockGrid::column_major`]).
/// The predictor runs them row by row ([`BlockGrid::row_major`]): the map is the same, and it grows in whole rows from
/// the top, which is what files want.
/// [Overlapping](BlockGrid::with_overlap) blocks cover the same slide in shorter steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGrid {
    size: Size,
    block_px: u32,
    context_px: u32,
    overlap_px: u32,
}

impl BlockGrid {
    /// The grid of `block_px` squares from the top-left corner of a slide of `size`.
    ///
    /// # Panics
    /// If `block_px` is 0; [`PredictConfig::validate`](crate::PredictConfig::validate) refuses that.
    pub fn new(size: Size, block_px: u32, context_px: u32) -> Self {
        assert!(block_px > 0, "blocks have at least one pixel");
        Self { size, block_px, context_px, overlap_px: 0 }
    }

    /// The same blocks in steps that are shorter by `overlap_px`: that is how much of a block lies in the next one, too.
    ///
    /// # Panics
    /// If steps would have no length; [`PredictConfig::validate`](crate::PredictConfig::validate) refuses that.
    #[must_use]
    pub fn with_overlap(self, overlap_px: u32) -> Self {
        assert!(overlap_px < self.block_px, "blocks that overlap still advance");
        Self { overlap_px, ..self }
    }

    /// Size of the slide.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Context around each block in full-resolution pixels: where the paste window starts within the read one.
    pub const fn context_px(&self) -> u32 {
        self.context_px
    }

    /// From the start of one block to that of the next.
    pub const fn step_px(&self) -> u32 {
        self.block_px - self.overlap_px
    }

    /// Number of columns of blocks.
    pub const fn n_columns(&self) -> u32 {
        self.n_steps(self.size.width)
    }

    /// Number of rows of blocks.
    pub const fn n_rows(&self) -> u32 {
        self.n_steps(self.size.height)
    }

    /// Blocks along a side: no further than the first that reaches its end.
    const fn n_steps(&self, side: u32) -> u32 {
        match side {
            0 => 0,
            side => 1 + side.saturating_sub(self.block_px).div_ceil(self.step_px()),
        }
    }

    /// Number of blocks.
    pub const fn len(&self) -> usize {
        self.n_columns() as usize * self.n_rows() as usize
    }

    /// Whether the slide has no pixels.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The block in a column and row of the grid, both from 0 and within the grid.
    pub fn block(&self, column: u32, row: u32) -> Block {
        let (x, y) = (column * self.step_px(), row * self.step_px());
        let full = Window::new(i64::from(x), i64::from(y), self.block_px, self.block_px);
        let paste = Window {
            width: self.block_px.min(self.size.width.saturating_sub(x)),
            height: self.block_px.min(self.size.height.saturating_sub(y)),
            ..full
        };
        Block { read: full.grow(self.context_px), paste }
    }

    /// All blocks in the original's order: down the first column, then the next.
    pub fn column_major(self) -> impl Iterator<Item = Block> {
        (0..self.n_columns())
            .flat_map(move |column| (0..self.n_rows()).map(move |row| self.block(column, row)))
    }

    /// All blocks along the first row, then the next.
    pub fn row_major(self) -> impl Iterator<Item = Block> {
        (0..self.n_rows())
            .flat_map(move |row| (0..self.n_columns()).map(move |column| self.block(column, row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every pixel lies in a block, no block is empty, and none could be left out at the end.
        #[test]
        fn blocks_cover_the_slide(
            width in 1_u32..200, height in 1_u32..200, block in 1_u32..60, overlap in 0_u32..60,
        ) {
            prop_assume!(overlap < block);
            let grid = BlockGrid::new(Size::new(width, height), block, 7).with_overlap(overlap);
            let blocks: Vec<_> = grid.row_major().collect();
            prop_assert_eq!(blocks.len(), grid.len());
            prop_assert!(blocks.iter().all(|b| b.paste.width > 0 && b.paste.height > 0));
            prop_assert!(blocks.iter().all(|b| (b.read.x, b.read.y) == (b.paste.x - 7, b.paste.y - 7)));
            for (n, side) in [(grid.n_columns(), width), (grid.n_rows(), height)] {
                let end_of = |idx: u32| idx * (block - overlap) + block;
                prop_assert!(end_of(n - 1) >= side);
                prop_assert!(n == 1 || end_of(n - 2) < side);
            }
        }
    }
}
