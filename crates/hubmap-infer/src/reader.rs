//! From windows of a slide to network input, reading every pixel once.
//!
//! Tiles overlap by their context: at the original's settings, windows of neighbouring tiles have 2.25 times the pixels of
//! the slide. So the slide is read in cells, of whole chunks of the file where that is possible, which are reduced at once
//! and kept until the last tile that needs them is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use hubmap_data::Normalization;
use hubmap_io::{RasterReader, Window, area_downscale};
use ndarray::{Array3, s};

use crate::stage::{Stage, StageClock};

/// Cells along a side of a tile, about: few enough to be read at speed, enough that little is read and kept for nothing.
const CELLS_PER_TILE: u32 = 3;
/// Sides of chunks beyond which cells are not made of whole ones.
const MAX_CHUNK_PX: u32 = 4096;
/// Full-resolution pixels that are read at once, about.
const MAX_READ_PX: u32 = 8 << 20;

/// Makes tiles for the networks, from any number of threads.
///
/// It holds reduced pixels, three bytes each: about those of as many rows of the slide as a tile has, and a row of cells.
pub(crate) struct TileReader<'a> {
    slide: &'a dyn RasterReader,
    normalization: Normalization,
    scale: u32,
    clock: &'a StageClock,
    /// Width and height of a cell in slide pixels, multiples of `scale`.
    cell: (u32, u32),
    cells: Mutex<HashMap<(i64, i64), Cell>>,
}

/// What tiles need of a cell.
struct Cell {
    /// The smallest window around it, in slide pixels.
    needed: Window,
    /// Tiles that are still to be made of it.
    n_users: usize,
    /// The reduced pixels of `needed`, once they are read.
    pixels: Arc<Mutex<Option<Array3<u8>>>>,
}

impl<'a> TileReader<'a> {
    /// A reader of these windows, whose corners and sides are multiples of `scale`; each may be read once.
    pub(crate) fn new(
        slide: &'a dyn RasterReader,
        normalization: Normalization,
        scale: u32,
        windows: impl Iterator<Item = Window>,
        clock: &'a StageClock,
    ) -> Self {
        let (size, chunk) = (slide.size(), slide.chunk_size());
        let windows: Vec<Window> = windows.collect();
        let wanted = windows.iter().map(|window| window.width / CELLS_PER_TILE).max().unwrap_or(scale);
        let cell_side = |slide_side, chunk_side| cell_side(slide_side, chunk_side, scale, wanted);
        let cell = (cell_side(size.width, chunk.width), cell_side(size.height, chunk.height));
        let mut reader = Self { slide, normalization, scale, clock, cell, cells: Mutex::default() };
        let mut cells: HashMap<_, Cell> = HashMap::new();
        for window in windows {
            for (place, part) in reader.parts(window) {
                cells
                    .entry(place)
                    .and_modify(|cell| {
                        cell.needed = around(cell.needed, part);
                        cell.n_users += 1;
                    })
                    .or_insert(Cell { needed: part, n_users: 1, pixels: Arc::default() });
            }
        }
        reader.cells = Mutex::new(cells);
        reader
    }

    /// The window reduced and normalised, `[3, h / scale, w / scale]`.
    pub(crate) fn read(&self, window: Window) -> Result<Array3<f32>> {
        let in_tile = |px: u32| (px / self.scale) as usize;
        // What lies off the slide is black, as the original has it.
        let mut tile = Array3::zeros((in_tile(window.height), in_tile(window.width), 3));
        for (place, part) in self.parts(window) {
            let lock = || self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            let (needed, pixels) = match lock().get(&place) {
                Some(cell) => (cell.needed, Arc::clone(&cell.pixels)),
                // Only a window that was not announced comes too late.
                None => (part, Arc::default()),
            };
            // Other threads that need the cell wait here until it is read.
            let mut pixels = pixels.lock().unwrap_or_else(PoisonError::into_inner);
            let reduced = match &mut *pixels {
                Some(reduced) => reduced,
                empty => empty.insert(self.read_reduced(needed)?),
            };
            let ranges = |from: Window| {
                let (x, y) = (in_tile((part.x - from.x) as u32), in_tile((part.y - from.y) as u32));
                (y..y + in_tile(part.height), x..x + in_tile(part.width))
            };
            let ((rows, columns), (to_rows, to_columns)) = (ranges(needed), ranges(window));
            let mut target = tile.slice_mut(s![to_rows, to_columns, ..]);
            for (mut target, row) in
                target.outer_iter_mut().zip(reduced.slice(s![rows, columns, ..]).outer_iter())
            {
                // Rows are runs of bytes in both, which `assign` would copy pixel by pixel.
                match (target.as_slice_mut(), row.as_slice()) {
                    (Some(target), Some(row)) => target.copy_from_slice(row),
                    _ => target.assign(&row),
                }
            }
            let mut cells = lock();
            if let Some(cell) = cells.get_mut(&place) {
                cell.n_users -= 1;
                if cell.n_users == 0 {
                    cells.remove(&place);
                }
            }
        }
        Ok(self.clock.time(Stage::Reduce, || self.normalization.apply(&tile)))
    }

    /// A window of the slide, reduced, in bands that fit in memory at any width.
    fn read_reduced(&self, window: Window) -> Result<Array3<u8>> {
        let side = |px: u32| (px / self.scale) as usize;
        let mut reduced = Array3::zeros((side(window.height), side(window.width), 3));
        let band = (MAX_READ_PX / window.width / self.scale).max(1) * self.scale;
        for y in (0..window.height).step_by(band as usize) {
            let rows = Window { y: window.y + i64::from(y), height: band.min(window.height - y), ..window };
            let pixels = self.clock.time(Stage::Read, || self.slide.read(rows))?;
            self.clock.time(Stage::Reduce, || {
                let target = s![side(y)..side(y + rows.height), .., ..];
                reduced.slice_mut(target).assign(&area_downscale(pixels.view(), self.scale));
            });
        }
        Ok(reduced)
    }

    /// The cells that share pixels of the slide with a window, and these pixels.
    fn parts(&self, window: Window) -> impl Iterator<Item = ((i64, i64), Window)> + use<> {
        let (width, height) = self.cell;
        let size = self.slide.size();
        let span = |start: i64, end: i64, side: u32, slide_side: u32| {
            let (side, last) = (i64::from(side), i64::from(slide_side) - 1);
            start.max(0) / side..(end - 1).min(last).div_euclid(side) + 1
        };
        let columns = span(window.x, window.right(), width, size.width);
        let rows = span(window.y, window.bottom(), height, size.height);
        rows.flat_map(move |row| columns.clone().map(move |column| (column, row))).filter_map(
            move |(column, row)| {
                let (x, y) = (column * i64::from(width), row * i64::from(height));
                Some(((column, row), window.intersect(&Window::new(x, y, width, height))?))
            },
        )
    }
}

/// Side of cells along a side of the slide: a multiple of `scale`, and of the chunks' if that is not too much.
fn cell_side(slide_side: u32, chunk_side: u32, scale: u32, wanted: u32) -> u32 {
    let about_wanted = |unit: u32| unit * (wanted / unit).max(1);
    if chunk_side >= slide_side && slide_side > wanted {
        // Strips run through all columns.
        return slide_side.next_multiple_of(scale);
    }
    let chunk_side = chunk_side.max(1);
    let common = u64::from(chunk_side) * u64::from(scale / gcd(chunk_side, scale));
    if common <= u64::from(MAX_CHUNK_PX) { about_wanted(common as u32) } else { about_wanted(scale) }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The smallest window that holds both.
fn around(a: Window, b: Window) -> Window {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let (right, bottom) = (a.right().max(b.right()), a.bottom().max(b.bottom()));
    Window { x, y, width: (right - x) as u32, height: (bottom - y) as u32 }
}

#[cfg(test)]
mod tests;
