//! Pyramid TIFFs of one byte or bit a pixel, from rows that come in any number at a time.

use hubmap_files::PendingFile;
use hubmap_io::{PyramidWriter, Result, Size};
use ndarray::{Array3, Axis, s};
use rayon::prelude::*;

use crate::objects::BAND_ROWS;

/// Collects rows until a row of tiles is whole, which is then encoded in parallel.
#[derive(Debug)]
pub(super) struct PyramidRows {
    /// Files of the same pixels and tiles.
    writers: Vec<PyramidWriter>,
    size: Size,
    /// `[rows of a tile, width, 1]`.
    band: Array3<u8>,
    /// First row of the band.
    y0: u32,
    n_filled: usize,
}

impl PyramidRows {
    /// Takes rows for files of images of this size, of which there may be several, in tiles of [`BAND_ROWS`].
    pub(super) fn new(size: Size, writers: Vec<PyramidWriter>) -> Self {
        let band = Array3::zeros((BAND_ROWS.min(size.height) as usize, size.width as usize, 1));
        Self { writers, size, band, y0: 0, n_filled: 0 }
    }

    /// Takes the next rows, which `paint` paints by their number among them, on several threads.
    pub(super) fn push(&mut self, n_rows: usize, paint: impl Fn(usize, &mut [u8]) + Sync) -> Result<()> {
        let mut done = 0;
        while done < n_rows {
            let left = (self.size.height - self.y0) as usize;
            let capacity = self.band.len_of(Axis(0)).min(left);
            let n_taken = (capacity - self.n_filled).min(n_rows - done);
            let mut rows = self.band.slice_mut(s![self.n_filled..self.n_filled + n_taken, .., ..]);
            let width = rows.len_of(Axis(1)).max(1);
            if let Some(pixels) = rows.as_slice_mut() {
                let rows = pixels.par_chunks_mut(width).enumerate().with_min_len(16);
                rows.for_each(|(i, row)| paint(done + i, row));
            }
            self.n_filled += n_taken;
            done += n_taken;
            if self.n_filled == capacity {
                let band = self.band.slice(s![..capacity, .., ..]);
                self.writers.iter().try_for_each(|writer| writer.write_block(0, self.y0, &band))?;
                self.y0 += capacity as u32;
                self.n_filled = 0;
            }
        }
        Ok(())
    }

    /// Completes the files, which have no names yet.
    pub(super) fn finish(self) -> Result<Vec<PendingFile>> {
        self.writers.into_iter().map(PyramidWriter::finish_unnamed).collect()
    }
}
