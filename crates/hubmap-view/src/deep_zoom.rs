//! The geometry of Deep Zoom: levels that halve, and tiles that overlap.

use hubmap_io::{Size, Window};

/// Side of a tile without what it shares with its neighbours, in pixels of its level.
///
/// With the overlap, a tile inside a level is 512 px wide.
pub const TILE_PX: u32 = 510;

/// Pixels that a tile repeats of each neighbour, so that no seam shows where a viewer draws tiles at fractions of pixels.
pub const OVERLAP_PX: u32 = 1;

/// An image as a Deep Zoom pyramid, as Microsoft's format of 2008 defines it.
///
/// The last level is the image itself, every one before it is half as large in each direction, rounded up, and
/// level 0 is a single pixel. Tiles have [`TILE_PX`] and up to [`OVERLAP_PX`] of each neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeepZoom {
    size: Size,
}

impl DeepZoom {
    /// The pyramid of an image of at least one pixel.
    pub const fn new(size: Size) -> Self {
        Self { size }
    }

    /// Size of the image in pixels.
    pub const fn size(self) -> Size {
        self.size
    }

    /// Number of the level that is the image itself; there is one more level than this.
    pub fn max_level(self) -> u32 {
        let longest = self.size.width.max(self.size.height);
        u32::BITS - longest.saturating_sub(1).leading_zeros()
    }

    /// Image pixels per pixel of a level along each side, or `None` if there is no such level.
    pub fn factor(self, level: u32) -> Option<u32> {
        // Level 0 of an image of more than 2^31 px is out of reach of the type, and of use to nobody.
        1_u32.checked_shl(self.max_level().checked_sub(level)?)
    }

    /// Size of a level in its own pixels.
    pub fn level_size(self, level: u32) -> Option<Size> {
        let factor = self.factor(level)?;
        Some(Size::new(self.size.width.div_ceil(factor), self.size.height.div_ceil(factor)))
    }

    /// The pixels of a level that a tile shows, overlap included, or `None` if there is no such tile.
    pub fn tile(self, level: u32, column: u32, row: u32) -> Option<Window> {
        let size = self.level_size(level)?;
        let (x, width) = span(column, size.width)?;
        let (y, height) = span(row, size.height)?;
        Some(Window { x, y, width, height })
    }

    /// The `.dzi` file that viewers ask for first; `format` is the ending of the tiles.
    pub fn dzi(self, format: &str) -> String {
        let Size { width, height } = self.size;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" Format=\"{format}\" \
             Overlap=\"{OVERLAP_PX}\" TileSize=\"{TILE_PX}\">\
             <Size Width=\"{width}\" Height=\"{height}\"/></Image>\n"
        )
    }
}

/// First pixel and number of pixels of the tiles in a column or row of a level that is `len` px long.
fn span(index: u32, len: u32) -> Option<(i64, u32)> {
    let start = index.checked_mul(TILE_PX).filter(|&start| start < len)?;
    let first = start.saturating_sub(OVERLAP_PX);
    let end = start.saturating_add(TILE_PX + OVERLAP_PX).min(len);
    Some((i64::from(first), end - first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_halve_and_round_up() {
        let zoom = DeepZoom::new(Size::new(1000, 513));
        assert_eq!(zoom.max_level(), 10);
        assert_eq!(zoom.level_size(10), Some(Size::new(1000, 513)));
        assert_eq!(zoom.level_size(9), Some(Size::new(500, 257)));
        assert_eq!(zoom.level_size(1), Some(Size::new(2, 2)));
        assert_eq!(zoom.level_size(0), Some(Size::new(1, 1)));
        assert_eq!((zoom.level_size(11), zoom.factor(7)), (None, Some(8)));
    }

    #[test]
    fn the_number_of_levels_is_the_rounded_up_logarithm() {
        for (side, expected) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11)] {
            assert_eq!(DeepZoom::new(Size::new(1, side)).max_level(), expected, "{side}");
        }
        let largest = DeepZoom::new(Size::new(u32::MAX, 7));
        assert_eq!((largest.max_level(), largest.factor(0), largest.factor(1)), (32, None, Some(1 << 31)));
    }

    #[test]
    fn tiles_overlap_inside_and_end_with_the_level() {
        let zoom = DeepZoom::new(Size::new(1200, 510));
        let level = zoom.max_level();
        assert_eq!(zoom.tile(level, 0, 0), Some(Window::new(0, 0, 511, 510)));
        assert_eq!(zoom.tile(level, 1, 0), Some(Window::new(509, 0, 512, 510)));
        assert_eq!(zoom.tile(level, 2, 0), Some(Window::new(1019, 0, 181, 510)));
        assert_eq!((zoom.tile(level, 3, 0), zoom.tile(level, 0, 1)), (None, None));
        assert_eq!(zoom.tile(level, u32::MAX, u32::MAX), None);
        assert_eq!(zoom.tile(0, 0, 0), Some(Window::new(0, 0, 1, 1)));
    }

    #[test]
    fn tiles_cover_every_pixel_once_without_their_overlap() {
        for len in [1, 509, 510, 511, 512, 1020, 1021, 5000] {
            let mut next = 0;
            for index in 0.. {
                let Some((first, n)) = span(index, len) else { break };
                let own = first + i64::from(if index > 0 { OVERLAP_PX } else { 0 });
                assert_eq!(own, next, "{len}");
                next = (own + i64::from(TILE_PX)).min(i64::from(len));
                assert_eq!(first + i64::from(n), (next + i64::from(OVERLAP_PX)).min(len.into()), "{len}");
            }
            assert_eq!(next, i64::from(len));
        }
    }

    #[test]
    fn the_description_names_all_there_is() {
        let dzi = DeepZoom::new(Size::new(70, 80)).dzi("jpeg");
        for part in [
            "xmlns=\"http://schemas.microsoft.com/deepzoom/2008\"",
            "Format=\"jpeg\"",
            "TileSize=\"510\"",
            "Overlap=\"1\"",
            "<Size Width=\"70\" Height=\"80\"/>",
        ] {
            assert!(dzi.contains(part), "{part} is not in {dzi}");
        }
    }
}
