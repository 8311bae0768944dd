//! Writing tiled pyramids from tiles in any order, from any number of threads, in bounded memory.

mod directories;
mod grid;
mod ome;
mod parents;
mod rebuild;
mod reduce;
mod spec;
mod store;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubmap_files::PendingFile;
use ndarray::{Array3, ArrayRef3, ArrayViewMut3, s};
use rayon::prelude::*;

use super::encode::{ChunkEncoder, gather, repeat_edges};
use super::sample_kind::{Sample, SampleKind};
use crate::{Error, Result, Size};
use grid::{Grid, Place};
use parents::{Content, Parents, Quarter};
use rebuild::StoredLevel;
use reduce::{Pixels, halve};
use store::Store;

pub use spec::{PyramidSpec, Reduction};

/// Writes one pyramid, tile by tile.
///
/// Tiles of the full resolution come in any order and from any threads; each is encoded on the thread that brings
/// it. Reduced levels grow by themselves: a tile is written as soon as the four that it is made of have arrived.
/// Those that wait for a part share [`PyramidSpec::memory_bytes`]; what does not fit is computed from the file at the
/// end, so that memory depends neither on the size of the slide nor on the order of arrival. The pixels of the file
/// depend on neither threads nor order.
///
/// Tiles that never arrive, and those that are all 0, take no room: they share one tile of zeros.
/// With a lossy codec, levels are reductions of the pixels that are stored, not of those that were given.
///
/// The file appears under its name only when [`PyramidWriter::finish`] succeeds; a writer that is dropped before
/// that leaves nothing behind.
///
/// ```
/// use hubmap_io::{PyramidSpec, PyramidWriter, SampleKind, Size};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("mask.ome.tiff");
/// let spec = PyramidSpec { ome: true, ..PyramidSpec::mask(Size::new(1200, 700), SampleKind::U8) };
/// let writer = PyramidWriter::create(&path, spec)?;
/// // Columns 0 and 1 of the lower row of 512 px tiles; the rest stays 0.
/// writer.write_block(0, 512, &ndarray::Array3::from_elem((188, 1024, 1), 255_u8))?;
/// writer.finish()?;
///
/// let pages = hubmap_io::TiffFile::open(&path)?.pages().to_vec();
/// let levels: Vec<Size> = pages.iter().filter(|page| !page.name.contains('/')).map(|page| page.size).collect();
/// assert_eq!(levels, [Size::new(1200, 700), Size::new(600, 350), Size::new(300, 175)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PyramidWriter {
    path: PathBuf,
    spec: PyramidSpec,
    grids: Vec<Grid>,
    store: Mutex<Store>,
    parents: Mutex<Parents>,
    /// Buffers of threads that are not writing right now.
    idle: Mutex<Vec<Worker>>,
    /// Whether a tile was accepted and then lost.
    has_failed: AtomicBool,
}

/// Tiles that are encoded before the first of them is written.
const TILES_AT_ONCE: usize = 256;

/// A tile on its way into the file.
struct MadeTile {
    place: Place,
    /// The encoded tile and the pixels of its reduction, or `None` if all are 0.
    bytes: Option<(Vec<u8>, Vec<u8>)>,
}

/// What one thread needs to write tiles.
struct Worker {
    encoder: ChunkEncoder,
    /// The current tile, padded to its full size.
    tile: Vec<u8>,
    /// Its reduction.
    quarter: Vec<u8>,
}

impl PyramidWriter {
    /// Starts a file; `path` is untouched until [`PyramidWriter::finish`].
    pub fn create(path: &Path, spec: PyramidSpec) -> Result<Self> {
        spec.validate(path)?;
        let grids = spec.grids();
        let store = Store::create(path, &grids, spec.needs_big())?;
        // What a lossy codec makes of a tile is known once it is stored.
        let limit = if spec.coding().is_lossy() { 0 } else { spec.memory_bytes };
        let parents = Parents::new(spec.tile as usize, spec.coding().bytes_per_pixel(), limit);
        Ok(Self {
            path: path.to_owned(),
            grids,
            store: Mutex::new(store),
            parents: Mutex::new(parents),
            idle: Mutex::new(Vec::new()),
            has_failed: AtomicBool::new(false),
            spec,
        })
    }

    /// What is being written.
    pub fn spec(&self) -> &PyramidSpec {
        &self.spec
    }

    /// Takes the tile in `column` and `row` of the full resolution, `[rows, columns, bands]`, cropped to the image.
    ///
    /// A tile that has arrived before is an error, and so are pixels of another type than [`PyramidSpec::samples`].
    pub fn write_tile<T: Sample>(&self, column: u32, row: u32, pixels: &ArrayRef3<T>) -> Result<()> {
        let idx = self.grids.first().and_then(|grid| Some((grid, grid.idx(column, row)?)));
        let Some((grid, idx)) = idx else {
            return Err(self.usage(format!(
                "no tile in column {column}, row {row} of an image of {} in tiles of {}",
                self.spec.size, self.spec.tile
            )));
        };
        self.check(pixels, grid.inside(column, row))?;
        let place = Place { level: 0, row, column };
        self.claim(&[(place, idx)])?;
        self.note(self.make(place, pixels).and_then(|tile| self.keep(vec![tile])))
    }

    /// Takes many tiles at once and encodes them in parallel on the current rayon pool: `[rows, columns, bands]`
    /// whose top-left pixel is at `(x, y)`.
    ///
    /// Their place in the file does not depend on threads: the same blocks in the same order give the same bytes.
    /// The block must consist of whole tiles, those at the right and bottom edge cropped to the image.
    pub fn write_block<T: Sample>(&self, x: u32, y: u32, pixels: &ArrayRef3<T>) -> Result<()> {
        let (rows, columns, _) = pixels.dim();
        let Size { width, height } = self.spec.size;
        let is_whole = |start: u32, len: usize, side: u32| {
            let end = u64::from(start) + len as u64;
            let tile = u64::from(self.spec.tile);
            len > 0
                && u64::from(start).is_multiple_of(tile)
                && end <= u64::from(side)
                && (end == u64::from(side) || end.is_multiple_of(tile))
        };
        if !is_whole(x, columns, width) || !is_whole(y, rows, height) {
            return Err(self.usage(format!(
                "a block of {columns}x{rows} at ({x}, {y}) is not made of whole tiles of {} in an image of {}",
                self.spec.tile, self.spec.size
            )));
        }
        let tile = self.spec.tile as usize;
        let (across, down) = (columns.div_ceil(tile), rows.div_ceil(tile));
        let parts: Vec<_> = (0..across * down)
            .map(|idx| {
                let (x0, y0) = (idx % across * tile, idx / across * tile);
                let column = (x as usize + x0) as u32 / self.spec.tile;
                let place = Place { level: 0, row: (y as usize + y0) as u32 / self.spec.tile, column };
                (place, pixels.slice(s![y0..(y0 + tile).min(rows), x0..(x0 + tile).min(columns), ..]))
            })
            .collect();
        let mut idxs = Vec::with_capacity(parts.len());
        if let Some(grid) = self.grids.first() {
            for (place, part) in &parts {
                self.check(part, grid.inside(place.column, place.row))?;
                idxs.extend(grid.idx(place.column, place.row).map(|idx| (*place, idx)));
            }
        }
        self.claim(&idxs)?;
        parts.chunks(TILES_AT_ONCE).try_for_each(|parts| {
            let parts = parts.par_iter().with_max_len(1);
            let tiles = parts.map(|(place, part)| self.make(*place, part)).collect::<Result<Vec<_>>>();
            self.note(tiles.and_then(|tiles| self.keep(tiles)))
        })
    }

    /// Writes the whole image by asking for it from top to bottom: `fill` gets the first row of a band and a zeroed
    /// `[rows, width, bands]` array to paint, one tile high.
    pub fn write_with<T: Sample>(
        &self,
        mut fill: impl FnMut(u32, ArrayViewMut3<'_, T>) -> Result<()>,
    ) -> Result<()> {
        let Size { width, height } = self.spec.size;
        let n_rows = self.spec.tile.min(height) as usize;
        let mut band = Array3::from_elem((n_rows, width as usize, self.spec.bands as usize), T::default());
        for y in (0..height).step_by(self.spec.tile as usize) {
            let mut rows = band.slice_mut(s![..n_rows.min((height - y) as usize), .., ..]);
            rows.fill(T::default());
            fill(y, rows.view_mut())?;
            self.write_block(0, y, &rows)?;
        }
        Ok(())
    }

    /// Completes the reduced levels, writes the directories and gives the file its name, replacing what had that name.
    pub fn finish(self) -> Result<()> {
        let path = self.path.clone();
        let file = self.finish_unnamed()?;
        file.commit().map_err(|e| Error::io(&path, "rename the temporary file to", e))
    }

    /// As [`PyramidWriter::finish`], but leaves the naming to the caller, who has files that shall appear together.
    pub fn finish_unnamed(self) -> Result<PendingFile> {
        if self.has_failed.load(Ordering::Acquire) {
            return Err(self.usage("a tile could not be written, so the file is incomplete"));
        }
        for level in 1..self.grids.len() {
            self.complete(level)?;
        }
        let zeros = self.with_worker(|worker| {
            worker.tile.clear();
            worker.tile.resize(self.tile_len(), 0);
            self.encode(worker)
        })?;
        let description = if self.spec.ome {
            Some(ome::ome_xml(&self.spec, &self.path))
        } else {
            self.spec.description.clone()
        };
        let store = self.store.into_inner().unwrap_or_else(PoisonError::into_inner);
        store.finish(&self.spec, &self.grids, &zeros, description.as_deref())
    }

    /// Writes the tiles of a level that still wait for a part; the level before is complete.
    fn complete(&self, level: usize) -> Result<()> {
        let open = lock(&self.parents).take_level(level);
        let stored = if open.iter().any(|(_, content)| *content == Content::Dropped) {
            let (source, table, is_big) = lock(&self.store).reopen(level - 1)?;
            let before = self.grids.get(level - 1);
            before.map(|&grid| StoredLevel::new(&self.spec, level - 1, grid, source, table, is_big))
        } else {
            None
        };
        let mut open = open.into_iter();
        loop {
            // Encoded tiles wait for those before them, so there must not be too many at once.
            let some: Vec<_> = open.by_ref().take(TILES_AT_ONCE).collect();
            if some.is_empty() {
                return Ok(());
            }
            let tiles = some.into_par_iter().with_max_len(1).map(|(place, content)| {
                self.with_worker(|worker| {
                    let is_zero = match (content, &stored) {
                        (Content::Filled(tile), _) => {
                            worker.tile = tile;
                            false
                        }
                        (Content::Dropped, Some(stored)) => {
                            stored.reduce(place, &mut worker.tile)?;
                            !self.spec.coding().is_lossy() && u8::are_zero(&worker.tile)
                        }
                        (Content::Zero | Content::Dropped, _) => true,
                    };
                    self.finish_tile(place, is_zero, worker)
                })
            });
            self.keep(tiles.collect::<Result<_>>()?)?;
        }
    }

    /// Notes that tiles of the full resolution have arrived, or none of them if one had before.
    fn claim(&self, tiles: &[(Place, usize)]) -> Result<()> {
        lock(&self.store).claim(tiles).map_err(|Place { column, row, .. }| {
            self.usage(format!("the tile in column {column}, row {row} has been written before"))
        })
    }

    /// Encodes and reduces a tile of the full resolution.
    fn make<T: Sample>(&self, place: Place, pixels: &ArrayRef3<T>) -> Result<MadeTile> {
        let is_zero = !self.spec.coding().is_lossy() && is_zero(pixels);
        self.with_worker(|worker| {
            if !is_zero {
                gather(pixels, self.spec.tile_size(), &mut worker.tile);
                if self.spec.samples == SampleKind::Bit {
                    worker.tile.iter_mut().for_each(|value| *value = u8::from(*value != 0));
                }
            }
            self.finish_tile(place, is_zero, worker)
        })
    }

    /// Encodes and reduces the tile in the worker's buffer.
    fn finish_tile(&self, place: Place, is_zero: bool, worker: &mut Worker) -> Result<MadeTile> {
        let Some(grid) = self.grids.get(place.level).filter(|_| !is_zero) else {
            return Ok(MadeTile { place, bytes: None });
        };
        let inside = grid.inside(place.column, place.row);
        let bytes_per_pixel = self.spec.coding().bytes_per_pixel();
        let mut quarter = Vec::new();
        // Encoding spoils the pixels, so that they are reduced first.
        if place.level + 1 < self.grids.len() {
            self.reduce(inside, quarter_row_len(inside, bytes_per_pixel), worker);
            quarter.clone_from(&worker.quarter);
        }
        if self.spec.coding().is_lossy() {
            repeat_edges(&mut worker.tile, inside, self.spec.tile_size(), bytes_per_pixel);
        }
        Ok(MadeTile { place, bytes: Some((self.encode(worker)?, quarter)) })
    }

    /// Writes tiles in their order, then the tiles of reduced levels that they complete, and so on.
    fn keep(&self, mut tiles: Vec<MadeTile>) -> Result<()> {
        let bytes_per_pixel = self.spec.coding().bytes_per_pixel();
        while !tiles.is_empty() {
            let mut complete = Vec::new();
            for MadeTile { place, bytes } in tiles {
                let Some(&grid) = self.grids.get(place.level) else { continue };
                if let Some((encoded, _)) = &bytes {
                    lock(&self.store).append(grid, place, encoded)?;
                }
                if place.level + 1 == self.grids.len() {
                    continue;
                }
                let parent = place.parent();
                let n_children = grid.n_children(parent.column, parent.row);
                let row_len = quarter_row_len(grid.inside(place.column, place.row), bytes_per_pixel);
                let bytes = bytes.as_ref().map(|(_, quarter)| quarter.as_slice());
                match lock(&self.parents).add(Quarter { child: place, bytes, row_len }, n_children) {
                    None | Some(Content::Dropped) => {}
                    Some(Content::Zero) => complete.push((parent, None)),
                    Some(Content::Filled(tile)) => complete.push((parent, Some(tile))),
                }
            }
            let make = |(place, tile): (Place, Option<Vec<u8>>)| {
                self.with_worker(|worker| {
                    // Of four tiles with something in them, the pixels that are kept may all be 0.
                    let is_zero = tile.as_deref().is_none_or(u8::are_zero);
                    worker.tile = tile.unwrap_or_default();
                    self.finish_tile(place, is_zero, worker)
                })
            };
            tiles = match complete.len() {
                // The thread that brings a tile does all the work that it makes.
                0..=1 => complete.into_iter().map(make).collect::<Result<_>>()?,
                _ => complete.into_par_iter().with_max_len(1).map(make).collect::<Result<_>>()?,
            };
        }
        Ok(())
    }

    fn reduce(&self, inside: Size, row_len: usize, worker: &mut Worker) {
        let coding = self.spec.coding();
        worker.quarter.resize(row_len * inside.height.div_ceil(2) as usize, 0);
        let tile_row_len = self.spec.tile as usize * coding.bytes_per_pixel();
        let pixels = Pixels { bytes: &worker.tile, size: inside, row_len: tile_row_len };
        halve(pixels, &coding, self.spec.reduction, &mut worker.quarter, row_len);
    }

    fn encode(&self, worker: &mut Worker) -> Result<Vec<u8>> {
        let encoded = worker.encoder.encode_stored(&mut worker.tile, self.spec.tile_size());
        encoded.map_err(|problem| self.usage(format!("cannot encode a tile: {problem}")))
    }

    /// Refuses pixels of the wrong type or shape for a tile of `size`.
    fn check<T: Sample>(&self, pixels: &ArrayRef3<T>, size: Size) -> Result<()> {
        if !T::suits(self.spec.samples) {
            return Err(self.usage(format!(
                "pixels of type {} for samples of {:?}",
                T::NAME,
                self.spec.samples
            )));
        }
        let shape = (size.height as usize, size.width as usize, self.spec.bands as usize);
        if pixels.dim() != shape {
            return Err(self.usage(format!("an array of {:?} for a tile of {shape:?}", pixels.dim())));
        }
        Ok(())
    }

    /// Lends the buffers of a thread that is done, or new ones.
    fn with_worker<R>(&self, work: impl FnOnce(&mut Worker) -> R) -> R {
        let idle = lock(&self.idle).pop();
        let mut worker = idle.unwrap_or_else(|| Worker {
            encoder: ChunkEncoder::new(self.spec.coding()),
            tile: Vec::new(),
            quarter: Vec::new(),
        });
        let done = work(&mut worker);
        lock(&self.idle).push(worker);
        done
    }

    /// Remembers a failure after which the file cannot be completed.
    fn note(&self, written: Result<()>) -> Result<()> {
        if written.is_err() {
            self.has_failed.store(true, Ordering::Release);
        }
        written
    }

    fn tile_len(&self) -> usize {
        self.spec.tile_size().area() as usize * self.spec.coding().bytes_per_pixel()
    }

    fn usage(&self, problem: impl Into<String>) -> Error {
        Error::usage(&self.path, problem)
    }
}

impl std::fmt::Debug for PyramidWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PyramidWriter")
            .field("path", &self.path)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// Bytes of a row of the reduction of a tile.
const fn quarter_row_len(inside: Size, bytes_per_pixel: usize) -> usize {
    inside.width.div_ceil(2) as usize * bytes_per_pixel
}

fn is_zero<T: Sample>(pixels: &ArrayRef3<T>) -> bool {
    pixels.outer_iter().all(|row| match row.as_slice() {
        Some(slice) => T::are_zero(slice),
        None => row.iter().all(|&sample| T::are_zero(&[sample])),
    })
}

/// The lock's content; a thread that panicked left nothing half done in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
