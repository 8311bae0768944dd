//! Writing TIFF files from top to bottom in bounded memory.

use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayRef3, ArrayViewMut2, ArrayViewMut3, Axis, s};
use rayon::prelude::*;

use super::encode::ChunkEncoder;
use super::output::Output;
use super::spec::{Layout, TiffSpec};
use super::write_ifd::{ChunkTable, Chunks, Page, directory};
use crate::{Error, Result, Size};

/// Writes one TIFF file from bands of rows, top to bottom.
///
/// Memory stays within one row of chunks (tiles, or one strip), whatever the layout; chunks are encoded in
/// parallel. The file appears under its name only when [`TiffWriter::finish`] succeeds; a writer that is dropped
/// before that leaves nothing behind.
pub struct TiffWriter {
    path: PathBuf,
    spec: TiffSpec,
    output: Output,
    /// One table per page.
    tables: Vec<ChunkTable>,
    /// The row of chunks being filled, `[rows, width, bands]`.
    pending: Array3<u8>,
    /// Rows of `pending` that are filled.
    n_pending: usize,
    /// Rows received so far.
    n_rows: usize,
}

impl TiffWriter {
    /// Starts a file; `path` is untouched until [`TiffWriter::finish`].
    pub fn create(path: &Path, spec: TiffSpec) -> Result<Self> {
        spec.validate(path)?;
        let Size { width, height } = spec.chunk_size();
        let across = spec.size.width.div_ceil(width) as usize;
        let down = spec.size.height.div_ceil(height) as usize;
        let is_pages = matches!(spec.layout, Layout::Pages { .. });
        let n_pages = if is_pages { spec.bands as usize } else { 1 };
        let planes_per_page = if spec.is_planar() { spec.bands as usize / n_pages } else { 1 };
        let n_chunks = across * down * planes_per_page;
        let table = ChunkTable { offsets: vec![0; n_chunks], byte_counts: vec![0; n_chunks] };
        let pending_rows = height.min(spec.size.height) as usize;
        Ok(Self {
            path: path.to_owned(),
            output: Output::create(path, spec.big)?,
            tables: vec![table; n_pages],
            pending: Array3::zeros((pending_rows, spec.size.width as usize, spec.bands as usize)),
            n_pending: 0,
            n_rows: 0,
            spec,
        })
    }

    /// What is being written.
    pub fn spec(&self) -> &TiffSpec {
        &self.spec
    }

    /// Rows received so far.
    pub fn n_rows(&self) -> u32 {
        self.n_rows as u32
    }

    /// Takes the next rows, `[rows, width, bands]`, of any height; 1-bit files store anything but 0 as 1.
    pub fn write_rows(&mut self, rows: &ArrayRef3<u8>) -> Result<()> {
        let (n_rows, width, bands) = rows.dim();
        if (width, bands) != (self.spec.size.width as usize, self.spec.bands as usize) {
            return Err(Error::usage(
                &self.path,
                format!(
                    "rows of {width} pixels and {bands} bands for an image of {} and {} bands",
                    self.spec.size, self.spec.bands
                ),
            ));
        }
        if self.n_rows + n_rows > self.spec.size.height as usize {
            return Err(Error::usage(
                &self.path,
                format!("{n_rows} more rows after {} do not fit an image of {}", self.n_rows, self.spec.size),
            ));
        }
        let mut rest = rows.view();
        while !rest.is_empty() {
            let capacity = self.pending_capacity();
            if self.n_pending == 0 && rest.len_of(Axis(0)) >= capacity {
                let (now, later) = rest.split_at(Axis(0), capacity);
                self.n_rows += capacity;
                self.write_chunks(&now)?;
                rest = later;
                continue;
            }
            let n_taken = rest.len_of(Axis(0)).min(capacity - self.n_pending);
            let (now, later) = rest.split_at(Axis(0), n_taken);
            self.pending.slice_mut(s![self.n_pending..self.n_pending + n_taken, .., ..]).assign(&now);
            self.n_pending += n_taken;
            self.n_rows += n_taken;
            rest = later;
            if self.n_pending == capacity {
                let pending = std::mem::take(&mut self.pending);
                let written = self.write_chunks(&pending.slice(s![..capacity, .., ..]));
                self.pending = pending;
                self.n_pending = 0;
                written?;
            }
        }
        Ok(())
    }

    /// Writes all remaining rows by asking for them: `fill` gets the first row of a band and a zeroed
    /// `[rows, width, bands]` array to paint.
    pub fn write_with(
        &mut self,
        mut fill: impl FnMut(u32, ArrayViewMut3<'_, u8>) -> Result<()>,
    ) -> Result<()> {
        let mut band = Array3::zeros(self.pending.dim());
        while self.n_rows < self.spec.size.height as usize {
            let capacity = self.pending_capacity() - self.n_pending;
            let mut rows = band.slice_mut(s![..capacity, .., ..]);
            rows.fill(0);
            fill(self.n_rows as u32, rows.view_mut())?;
            self.write_rows(&rows)?;
        }
        Ok(())
    }

    /// Writes the directories and gives the file its name, replacing what had that name.
    pub fn finish(mut self) -> Result<()> {
        if self.n_rows != self.spec.size.height as usize {
            return Err(Error::usage(
                &self.path,
                format!("only {} rows of an image of {} were written", self.n_rows, self.spec.size),
            ));
        }
        let first_directory = self.output.align()?;
        let mut position = first_directory;
        for (page_idx, table) in self.tables.iter().enumerate() {
            let page = self.page(page_idx, table);
            let end = position + directory(&page, self.spec.big, 0, 0).len() as u64;
            let next = if page_idx + 1 == self.tables.len() { 0 } else { end };
            self.output.append(&directory(&page, self.spec.big, position, next))?;
            position = end;
        }
        self.output.finish(first_directory)
    }

    /// What the directory of a page says.
    fn page<'a>(&'a self, page_idx: usize, table: &'a ChunkTable) -> Page<'a> {
        let spec = &self.spec;
        let is_pages = matches!(spec.layout, Layout::Pages { .. });
        Page {
            size: spec.size,
            bands: if is_pages { 1 } else { u16::from(spec.bands) },
            coding: spec.coding(),
            chunks: match spec.layout {
                Layout::Tiled { tile, .. } | Layout::Pages { tile } => Chunks::Tiles(tile),
                Layout::Strips { .. } => Chunks::Strips(spec.chunk_size().height),
            },
            is_planar: spec.is_planar() && !is_pages,
            subfile_type: 0,
            description: spec.description.as_deref().filter(|_| page_idx == 0),
            software: None,
            microns_per_px: spec.microns_per_px,
            sub_ifds: &[],
            table,
        }
    }

    /// Rows of the row of chunks that the next row belongs to.
    fn pending_capacity(&self) -> usize {
        let done = self.n_rows - self.n_pending;
        (self.spec.size.height as usize - done).min(self.pending.len_of(Axis(0)))
    }

    /// Encodes one row of chunks; its rows have been counted in `n_rows` already.
    fn write_chunks(&mut self, rows: &ArrayRef3<u8>) -> Result<()> {
        let spec = self.spec.clone();
        let full = spec.chunk_size();
        let is_tiled = !matches!(spec.layout, Layout::Strips { .. });
        // Strips are stored with the rows that they have, tiles always whole.
        let stored = if is_tiled { full } else { Size::new(full.width, rows.len_of(Axis(0)) as u32) };
        let across = spec.size.width.div_ceil(full.width) as usize;
        let down = spec.size.height.div_ceil(full.height) as usize;
        let chunk_row = (self.n_rows - 1) / full.height as usize;
        let n_planes = if spec.is_planar() { spec.bands as usize } else { 1 };

        let encoded: Vec<Vec<u8>> = (0..n_planes * across)
            .into_par_iter()
            .map_init(
                || ChunkEncoder::new(spec.coding()),
                |encoder, i| {
                    let (plane, column) = (i / across, i % across);
                    let x0 = column * full.width as usize;
                    let x1 = (x0 + full.width as usize).min(spec.size.width as usize);
                    let bands = if n_planes == 1 { 0..spec.bands as usize } else { plane..plane + 1 };
                    encoder.encode(&rows.slice(s![.., x0..x1, bands]), stored)
                },
            )
            .collect::<std::result::Result<_, String>>()
            .map_err(|problem| Error::usage(&self.path, format!("cannot encode a chunk: {problem}")))?;

        for (i, bytes) in encoded.iter().enumerate() {
            let (plane, column) = (i / across, i % across);
            let (page_idx, plane_in_page) = if self.tables.len() > 1 { (plane, 0) } else { (0, plane) };
            let chunk_idx = (plane_in_page * down + chunk_row) * across + column;
            let byte_count = u32::try_from(bytes.len()).map_err(|_| {
                Error::usage(&self.path, format!("a chunk of {} bytes exceeds 4 GiB", bytes.len()))
            })?;
            let offset = self.output.append(bytes)?;
            let table = &mut self.tables[page_idx];
            table.offsets[chunk_idx] = offset;
            table.byte_counts[chunk_idx] = byte_count;
        }
        Ok(())
    }
}

impl std::fmt::Debug for TiffWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TiffWriter")
            .field("path", &self.path)
            .field("spec", &self.spec)
            .field("n_rows", &self.n_rows)
            .finish_non_exhaustive()
    }
}

/// Writes a mask of `bits` 1 or 8 in Deflate tiles, asking for its rows from top to bottom.
///
/// `fill` gets the first row of a band and a zeroed `[rows, width]` array to paint; 1-bit files store anything
/// but 0 as 1.
pub fn write_mask(
    path: &Path,
    size: Size,
    bits: u8,
    mut fill: impl FnMut(u32, ArrayViewMut2<'_, u8>) -> Result<()>,
) -> Result<()> {
    let mut writer = TiffWriter::create(path, TiffSpec::mask(size, bits))?;
    writer.write_with(|y, rows| fill(y, rows.index_axis_move(Axis(2), 0)))?;
    writer.finish()
}
