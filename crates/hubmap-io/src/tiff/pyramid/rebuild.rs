//! Tiles of a reduced level from the tiles of the level before, read back from the file.

use ndarray::Array3;

use super::grid::{Grid, Place};
use super::reduce::{Pixels, halve};
use super::spec::PyramidSpec;
use crate::Result;
use crate::tiff::ifd::Encoding;
use crate::tiff::page::{Codec, Page};
use crate::tiff::predictor::Predictor;
use crate::tiff::region;
use crate::tiff::samples;
use crate::tiff::source::Source;
use crate::tiff::spec::Compression;
use crate::tiff::tag::photometric;
use crate::tiff::write_ifd::ChunkTable;

/// A level that is complete in the file.
pub(super) struct StoredLevel<'a> {
    spec: &'a PyramidSpec,
    grid: Grid,
    source: Source,
    page: Page,
    pixels: samples::Pixels,
}

impl<'a> StoredLevel<'a> {
    /// The level `level`, whose tiles lie in `source` where `table` says; absent ones are 0.
    pub(super) fn new(
        spec: &'a PyramidSpec,
        level: usize,
        grid: Grid,
        source: Source,
        table: ChunkTable,
        is_big: bool,
    ) -> Self {
        let page = page(spec, level, grid, table, is_big);
        let pixels = samples::Pixels::raw(&page);
        Self { spec, grid, source, page, pixels }
    }

    /// Fills the tile `place` of the next level into `out`, whole rows of a tile with zeros around what is inside.
    pub(super) fn reduce(&self, place: Place, out: &mut Vec<u8>) -> Result<()> {
        let coding = self.spec.coding();
        let bytes_per_pixel = coding.bytes_per_pixel();
        let tile_row_len = self.spec.tile as usize * bytes_per_pixel;
        out.clear();
        out.resize(tile_row_len * self.spec.tile as usize, 0);
        let half = self.spec.tile as usize / 2;
        for (right, below) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (column, row) = (place.column * 2 + right, place.row * 2 + below);
            let Some(window) = self.grid.window(column, row) else { continue };
            // One tile at a time: that stays on this thread, which may hold on to its buffers.
            let mut child = Array3::zeros((window.height as usize, window.width as usize, bytes_per_pixel));
            region::read(&self.source, &self.page, &self.pixels, window, child.view_mut())?;
            let Some(bytes) = child.as_slice() else { continue };
            let child =
                Pixels { bytes, size: window.size(), row_len: window.width as usize * bytes_per_pixel };
            let start = below as usize * half * tile_row_len + right as usize * half * bytes_per_pixel;
            halve(child, &coding, self.spec.reduction, &mut out[start..], tile_row_len);
        }
        Ok(())
    }
}

/// What the reader would find if it read the directory of the level.
fn page(spec: &PyramidSpec, level: usize, grid: Grid, table: ChunkTable, is_big: bool) -> Page {
    let coding = spec.coding();
    Page {
        name: level.to_string(),
        encoding: Encoding { is_big, big_endian: false },
        size: grid.size,
        bands: coding.bands,
        bits: usize::from(coding.samples.bits()),
        sample_format: u32::from(coding.samples.format()),
        codec: match coding.compression {
            Compression::None => Codec::None,
            Compression::Lzw => Codec::Lzw,
            Compression::Deflate => Codec::Deflate,
            Compression::Zstd => Codec::Zstd,
            Compression::Jpeg { .. } => Codec::Jpeg,
        },
        predictor: coding.predictor.then_some(Predictor::Horizontal),
        photometric: u32::from(match (coding.is_ycbcr(), coding.bands) {
            (true, _) => photometric::YCBCR,
            (false, 3) => photometric::RGB,
            (false, _) => photometric::BLACK_IS_ZERO,
        }),
        is_planar: false,
        is_tiled: true,
        bits_reversed: false,
        chunk: spec.tile_size(),
        across: grid.across as usize,
        down: grid.down as usize,
        offsets: table.offsets,
        byte_counts: table.byte_counts.into_iter().map(u64::from).collect(),
        jpeg_tables: Vec::new(),
        has_blocky_chroma: false,
        palette: Vec::new(),
        ycbcr: None,
    }
}
