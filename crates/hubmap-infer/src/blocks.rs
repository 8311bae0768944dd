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

/// The non-overlapping blocks of one slide, each read with context around it.
///
/// The original runs them column by column ([`BlockGrid::column_major`]).
/// The predictor runs them row by row ([`BlockGrid::row_major`]): paste windows do not overlap, so the map is
/// the same, and it grows in whole rows from the top, which is what files want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGrid {
    size: Size,
    block_px: u32,
    context_px: u32,
}

impl BlockGrid {
    /// The grid of `block_px` squares from the top-left corner of a slide of `size`.
    ///
    /// # Panics
    /// If `block_px` is 0; [`PredictConfig::validate`](crate::PredictConfig::validate) refuses that.
    pub fn new(size: Size, block_px: u32, context_px: u32) -> Self {
        assert!(block_px > 0, "blocks have at least one pixel");
        Self { size, block_px, context_px }
    }

    /// Size of the slide.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Context around each block in full-resolution pixels: where the paste window starts within the read one.
    pub const fn context_px(&self) -> u32 {
        self.context_px
    }

    /// Number of columns of blocks.
    pub const fn n_columns(&self) -> u32 {
        self.size.width.div_ceil(self.block_px)
    }

    /// Number of rows of blocks.
    pub const fn n_rows(&self) -> u32 {
        self.size.height.div_ceil(self.block_px)
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
        let (x, y) = (column * self.block_px, row * self.block_px);
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
