//! What a pyramid to be written looks like.

use std::path::Path;

use super::grid::Grid;
use crate::tiff::coding::Coding;
use crate::tiff::sample_kind::SampleKind;
use crate::tiff::spec::{CLASSIC_LIMIT, Compression, check_microns, check_tile};
use crate::{Error, Result, Size};

/// How four pixels of a level become one of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The top-left one: for labels and masks, whose values must not mix.
    Nearest,
    /// Their mean, halves rounded up; at an odd right or bottom edge of those that exist.
    Mean,
}

/// Everything that [`PyramidWriter`](crate::PyramidWriter) needs to know before the first pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct PyramidSpec {
    /// Full-resolution size.
    pub size: Size,
    /// Samples per pixel, interleaved: 3 for RGB, 1 for everything else.
    pub bands: u8,
    /// Type of the samples; bits go with one band only.
    pub samples: SampleKind,
    /// Side of a tile in pixels, a multiple of 16, the same on every level.
    pub tile: u32,
    /// Codec of the tiles; JPEG takes 8-bit samples.
    pub compression: Compression,
    /// Whether to store differences of horizontal neighbours (predictor 2), which compress better.
    ///
    /// Only for 8-bit and 16-bit samples with LZW, Deflate or ZSTD.
    pub predictor: bool,
    /// How levels are made from each other.
    pub reduction: Reduction,
    /// Number of levels, full resolution included. `None` halves until a level fits into one tile.
    pub n_levels: Option<u32>,
    /// Microns per pixel of the full resolution in both directions.
    pub microns_per_px: Option<f64>,
    /// Text for the description of the image.
    pub description: Option<String>,
    /// Whether to write OME-TIFF: OME-XML as `ImageDescription`, and levels as `SubIFDs` too.
    ///
    /// JPEG then has 4:2:0 chroma at every quality, because Bio-Formats 7.3 misreads full chroma in TIFF tiles of any
    /// writer. It also misreads tiles of bits where the width is no multiple of 8: give QuPath masks of `U8`.
    pub ome: bool,
    /// Bytes of half-finished tiles of reduced levels that are kept in memory.
    ///
    /// Tiles beyond are computed at the end from what is in the file by then. Memory is never the price of an
    /// unlucky order of arrival, only time is. The pixels of the file are the same either way.
    pub memory_bytes: usize,
}

impl PyramidSpec {
    /// A mask or label image of one band: nearest reduction, Deflate, 512 px tiles.
    pub fn mask(size: Size, samples: SampleKind) -> Self {
        Self {
            size,
            bands: 1,
            samples,
            tile: 512,
            compression: Compression::Deflate,
            predictor: false,
            reduction: Reduction::Nearest,
            n_levels: None,
            microns_per_px: None,
            description: None,
            ome: false,
            memory_bytes: 64 << 20,
        }
    }

    /// A map of probabilities, stored as they are (`F32`) or scaled to the range of integers: mean reduction,
    /// Deflate, with predictor where there is one, 512 px tiles.
    pub fn probabilities(size: Size, samples: SampleKind) -> Self {
        Self {
            predictor: matches!(samples, SampleKind::U8 | SampleKind::U16),
            reduction: Reduction::Mean,
            ..Self::mask(size, samples)
        }
    }

    /// An RGB slide of 8 bits: mean reduction, Deflate with predictor, 512 px tiles.
    pub fn rgb(size: Size) -> Self {
        Self { bands: 3, ..Self::probabilities(size, SampleKind::U8) }
    }

    /// Sizes of the levels, full resolution first; each is half the one before, rounded up.
    pub fn level_sizes(&self) -> Vec<Size> {
        let mut sizes = vec![self.size];
        let mut last = self.size;
        let is_done = |size: Size, n: usize| match self.n_levels {
            Some(n_levels) => n >= n_levels as usize,
            None => size.width <= self.tile && size.height <= self.tile,
        };
        while !is_done(last, sizes.len()) && last.width.max(last.height) > 1 {
            last = Size::new(last.width.div_ceil(2), last.height.div_ceil(2));
            sizes.push(last);
        }
        sizes
    }

    /// The tiles of each level.
    pub(super) fn grids(&self) -> Vec<Grid> {
        self.level_sizes().into_iter().map(|size| Grid::new(size, self.tile)).collect()
    }

    /// Columns and rows of a tile.
    pub(super) const fn tile_size(&self) -> Size {
        Size::new(self.tile, self.tile)
    }

    /// How the samples of a tile become bytes.
    pub(super) const fn coding(&self) -> Coding {
        Coding {
            bands: self.bands as usize,
            samples: self.samples,
            compression: self.compression,
            predictor: self.predictor,
            chroma_subsampling: if self.ome { 2 } else { self.compression.chroma_subsampling() },
        }
    }

    /// Whether the file could outgrow 32-bit offsets.
    pub(super) fn needs_big(&self) -> bool {
        let n_tiles: u64 = self.grids().iter().map(|grid| grid.n_tiles() as u64).sum();
        let tile_bytes = self.tile_size().area() * u64::from(self.bands) * u64::from(self.samples.bits()) / 8;
        // LZW turns noise into codes of up to 12 bits; directories have two entries per tile.
        n_tiles.saturating_mul(tile_bytes + tile_bytes / 2 + 64) > CLASSIC_LIMIT
    }

    /// Refuses what cannot be written.
    pub(super) fn validate(&self, path: &Path) -> Result<()> {
        let refuse = |problem: String| Err(Error::usage(path, problem));
        if self.size.area() == 0 {
            return refuse(format!("cannot write an image of {} pixels", self.size));
        }
        if !matches!(
            (self.bands, self.samples),
            (1, _) | (3, SampleKind::U8 | SampleKind::U16 | SampleKind::F32)
        ) {
            return refuse(format!("cannot write {} bands of {} bits", self.bands, self.samples.bits()));
        }
        if self.n_levels == Some(0) {
            return refuse("a pyramid needs at least one level".to_owned());
        }
        check_tile(self.tile).or_else(refuse)?;
        self.coding().validate(self.tile_size()).or_else(refuse)?;
        check_microns(self.microns_per_px).or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(width: u32, height: u32, n_levels: Option<u32>) -> Vec<(u32, u32)> {
        let spec = PyramidSpec { n_levels, ..PyramidSpec::mask(Size::new(width, height), SampleKind::U8) };
        spec.level_sizes().into_iter().map(|size| (size.width, size.height)).collect()
    }

    #[test]
    fn levels_halve_until_one_tile_holds_them() {
        assert_eq!(sizes(512, 512, None), [(512, 512)]);
        assert_eq!(sizes(513, 5, None), [(513, 5), (257, 3)]);
        assert_eq!(sizes(2049, 1000, None), [(2049, 1000), (1025, 500), (513, 250), (257, 125)]);
    }

    #[test]
    fn a_stated_number_of_levels_ends_at_one_pixel() {
        assert_eq!(sizes(2049, 1000, Some(2)), [(2049, 1000), (1025, 500)]);
        assert_eq!(sizes(5, 1, Some(9)), [(5, 1), (3, 1), (2, 1), (1, 1)]);
    }

    #[test]
    fn offsets_have_64_bits_where_they_could_be_needed() {
        assert!(!PyramidSpec::mask(Size::new(20_000, 20_000), SampleKind::U8).needs_big());
        assert!(PyramidSpec::mask(Size::new(60_000, 60_000), SampleKind::U8).needs_big());
        assert!(!PyramidSpec::mask(Size::new(60_000, 60_000), SampleKind::Bit).needs_big());
        assert!(PyramidSpec::rgb(Size::new(u32::MAX, u32::MAX)).needs_big());
    }
}
