//! A pyramid TIFF of one byte a pixel, from rows that come in any number at a time.

use std::path::Path;

use hubmap_files::PendingFile;
use hubmap_io::{PyramidSpec, PyramidWriter, Result};
use ndarray::{Array3, s};
use rayon::prelude::*;

/// Collects rows until a row of tiles is whole, which is then encoded in parallel.
#[derive(Debug)]
pub(super) struct PyramidRows {
    writer: PyramidWriter,
    /// `[rows of a tile, width, 1]`.
    band: Array3<u8>,
    /// First row of the band.
    y0: u32,
    n_filled: usize,
}

impl PyramidRows {
    /// Starts a file in a folder that exists.
    pub(super) fn create(path: &Path, spec: PyramidSpec) -> Result<Self> {
        let n_rows = spec.tile.min(spec.size.height) as usize;
        let band = Array3::zeros((n_rows, spec.size.width as usize, 1));
        Ok(Self { writer: PyramidWriter::create(path, spec)?, band, y0: 0, n_filled: 0 })
    }

    /// Takes the next rows, which `paint` paints by their number among them, on several threads.
    pub(super) fn push(&mut self, n_rows: usize, paint: impl Fn(usize, &mut [u8]) + Sync) -> Result<()> {
        let mut done = 0;
        while done < n_rows {
            let left = (self.writer.spec().size.height - self.y0) as usize;
            let capacity = self.band.len_of(ndarray::Axis(0)).min(left);
            let n_taken = (capacity - self.n_filled).min(n_rows - done);
            let mut rows = self.band.slice_mut(s![self.n_filled..self.n_filled + n_taken, .., ..]);
            let width = rows.len_of(ndarray::Axis(1)).max(1);
            if let Some(pixels) = rows.as_slice_mut() {
                let rows = pixels.par_chunks_mut(width).enumerate().with_min_len(16);
                rows.for_each(|(i, row)| paint(done + i, row));
            }
            self.n_filled += n_taken;
            done += n_taken;
            if self.n_filled == capacity {
                self.writer.write_block(0, self.y0, &self.band.slice(s![..capacity, .., ..]))?;
                self.y0 += capacity as u32;
                self.n_filled = 0;
            }
        }
        Ok(())
    }

    /// Completes the file, which has no name yet.
    pub(super) fn finish(self) -> Result<PendingFile> {
        self.writer.finish_unnamed()
    }
}
