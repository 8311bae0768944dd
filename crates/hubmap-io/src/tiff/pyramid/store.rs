//! The file under way and what is in it.

use std::path::{Path, PathBuf};

use hubmap_files::PendingFile;

use super::directories;
use super::grid::{Grid, Place};
use super::spec::PyramidSpec;
use crate::tiff::output::Output;
use crate::tiff::source::Source;
use crate::tiff::write_ifd::ChunkTable;
use crate::{Error, Result};

/// Tiles that have been written, in the order in which they came.
pub(super) struct Store {
    path: PathBuf,
    output: Output,
    /// One table per level; absent tiles have offset 0.
    tables: Vec<ChunkTable>,
    /// Which tiles of the full resolution have arrived.
    has_arrived: Vec<bool>,
}

impl Store {
    /// An empty file for levels with these tiles.
    pub(super) fn create(path: &Path, grids: &[Grid], is_big: bool) -> Result<Self> {
        let table = |grid: &Grid| {
            let n_tiles = grid.n_tiles();
            ChunkTable { offsets: vec![0; n_tiles], byte_counts: vec![0; n_tiles] }
        };
        Ok(Self {
            path: path.to_owned(),
            output: Output::create(path, is_big)?,
            tables: grids.iter().map(table).collect(),
            has_arrived: grids.first().map_or_else(Vec::new, |grid| vec![false; grid.n_tiles()]),
        })
    }

    /// Notes that tiles of the full resolution, by place and index, have arrived; none of them if one had before, which is
    /// the error.
    pub(super) fn claim(&mut self, tiles: &[(Place, usize)]) -> std::result::Result<(), Place> {
        let had = |idx: usize| self.has_arrived.get(idx).is_none_or(|&has_arrived| has_arrived);
        if let Some((place, _)) = tiles.iter().find(|(_, idx)| had(*idx)) {
            return Err(*place);
        }
        for (_, idx) in tiles {
            self.has_arrived[*idx] = true;
        }
        Ok(())
    }

    /// Adds an encoded tile.
    pub(super) fn append(&mut self, grid: Grid, place: Place, encoded: &[u8]) -> Result<()> {
        let byte_count = self.byte_count(encoded)?;
        let offset = self.output.append(encoded)?;
        if let (Some(table), Some(idx)) =
            (self.tables.get_mut(place.level), grid.idx(place.column, place.row))
        {
            table.offsets[idx] = offset;
            table.byte_counts[idx] = byte_count;
        }
        Ok(())
    }

    /// The file for reading, where the tiles of a level are in it, and whether its offsets have 64 bits.
    pub(super) fn reopen(&mut self, level: usize) -> Result<(Source, ChunkTable, bool)> {
        let table = self.tables.get(level).cloned().unwrap_or_default();
        Ok((self.output.reopen()?, table, self.output.is_big()))
    }

    /// Lets absent tiles share the encoded `zeros` and writes the directories; the file has no name yet.
    pub(super) fn finish(
        mut self,
        spec: &PyramidSpec,
        grids: &[Grid],
        zeros: &[u8],
        description: Option<&str>,
    ) -> Result<PendingFile> {
        self.share(zeros)?;
        let first_directory = directories::append(&mut self.output, spec, grids, &self.tables, description)?;
        self.output.finish_unnamed(first_directory)
    }

    fn share(&mut self, zeros: &[u8]) -> Result<()> {
        let is_present = |table: &ChunkTable| table.offsets.iter().all(|&offset| offset != 0);
        if self.tables.iter().all(is_present) {
            return Ok(());
        }
        let byte_count = self.byte_count(zeros)?;
        let start = self.output.append(zeros)?;
        for table in &mut self.tables {
            for (offset, count) in table.offsets.iter_mut().zip(&mut table.byte_counts) {
                if *offset == 0 {
                    (*offset, *count) = (start, byte_count);
                }
            }
        }
        Ok(())
    }

    fn byte_count(&self, encoded: &[u8]) -> Result<u32> {
        u32::try_from(encoded.len())
            .map_err(|_| Error::usage(&self.path, format!("a tile of {} bytes exceeds 4 GiB", encoded.len())))
    }
}
