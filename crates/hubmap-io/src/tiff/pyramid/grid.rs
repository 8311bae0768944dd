//! Where tiles are: on which level, in which column and row.

use crate::{Size, Window};

/// One tile of a pyramid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// 0 is the full resolution.
    pub(super) level: usize,
    pub(super) row: u32,
    pub(super) column: u32,
}

impl Place {
    /// The tile of the next level that this one is a quarter of.
    pub(super) const fn parent(self) -> Self {
        Self { level: self.level + 1, row: self.row / 2, column: self.column / 2 }
    }

    /// Which quarter of its parent this tile is: `(right, below)`.
    pub(super) const fn quarter(self) -> (usize, usize) {
        ((self.column % 2) as usize, (self.row % 2) as usize)
    }
}

/// The tiles of one level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Size of the level in pixels.
    pub(super) size: Size,
    pub(super) tile: u32,
    /// Tiles per row.
    pub(super) across: u32,
    /// Rows of tiles.
    pub(super) down: u32,
}

impl Grid {
    pub(super) const fn new(size: Size, tile: u32) -> Self {
        Self { size, tile, across: size.width.div_ceil(tile), down: size.height.div_ceil(tile) }
    }

    pub(super) const fn n_tiles(&self) -> usize {
        self.across as usize * self.down as usize
    }

    /// Index of a tile in the tables of the file, or `None` if the level does not have it.
    pub(super) fn idx(&self, column: u32, row: u32) -> Option<usize> {
        let exists = column < self.across && row < self.down;
        exists.then(|| row as usize * self.across as usize + column as usize)
    }

    /// The pixels of a tile that lie inside the level.
    pub(super) fn inside(&self, column: u32, row: u32) -> Size {
        let rest = |side: u32, idx: u32| side.saturating_sub(idx.saturating_mul(self.tile)).min(self.tile);
        Size::new(rest(self.size.width, column), rest(self.size.height, row))
    }

    /// Where the pixels of a tile are on the level, or `None` if the level does not have it.
    pub(super) fn window(&self, column: u32, row: u32) -> Option<Window> {
        self.idx(column, row)?;
        let (x, y) = (i64::from(column) * i64::from(self.tile), i64::from(row) * i64::from(self.tile));
        let Size { width, height } = self.inside(column, row);
        Some(Window::new(x, y, width, height))
    }

    /// How many tiles of this level the tile `(column, row)` of the next one is made of.
    pub(super) fn n_children(&self, column: u32, row: u32) -> u32 {
        let n = |count: u32, idx: u32| count.saturating_sub(idx.saturating_mul(2)).min(2);
        n(self.across, column) * n(self.down, row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_at_the_edge_are_cropped_and_have_fewer_children() {
        let grid = Grid::new(Size::new(100, 33), 16);
        assert_eq!((grid.across, grid.down, grid.n_tiles()), (7, 3, 21));
        assert_eq!(grid.inside(0, 0), Size::new(16, 16));
        assert_eq!(grid.inside(6, 2), Size::new(4, 1));
        assert_eq!((grid.idx(6, 2), grid.idx(7, 0), grid.idx(0, 3)), (Some(20), None, None));
        assert_eq!((grid.window(6, 2), grid.window(7, 2)), (Some(Window::new(96, 32, 4, 1)), None));
        let children = [(0, 0), (3, 0), (0, 1), (3, 1)].map(|(column, row)| grid.n_children(column, row));
        assert_eq!(children, [4, 2, 2, 1]);
    }
}
