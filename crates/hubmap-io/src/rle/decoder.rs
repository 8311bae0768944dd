//! Rows of pixels, top to bottom, from column-major runs.

use ndarray::{ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::{Rle, RleError, Run};
use crate::mask::packed::unpack_words_over_zeros;
use crate::{Mask, Size};

/// Pixels that one thread draws at a time.
const BAND_PX: usize = 1 << 22;

/// Draws a mask as rows of bytes, top to bottom, without ever holding the mask.
///
/// A pixel that differs from the one above it is a toggle.
/// Sorted by row, four bytes each, the toggles draw the mask in one sweep, where filling run by run would touch
/// one byte in each of thousands of rows.
///
/// ```
/// use hubmap_io::{Rle, RleDecoder, Size};
/// use ndarray::{Array2, array};
///
/// let rle: Rle = "5 3".parse()?;
/// let mut decoder = RleDecoder::new(&rle, Size::new(3, 4))?;
/// let mut band = Array2::zeros((2, 3));
/// decoder.fill_rows(band.view_mut(), 255);
/// assert_eq!(band, array![[0, 255, 0], [0, 255, 0]]);
/// decoder.fill_rows(band.view_mut(), 255);
/// assert_eq!(band, array![[0, 255, 0], [0, 0, 0]]);
/// # Ok::<(), hubmap_io::RleError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RleDecoder {
    size: Size,
    toggles: Toggles,
    /// How many rows were drawn.
    n_rows: u32,
    row: Row,
}

impl RleDecoder {
    /// A decoder that stands before the first row of an image of the given size.
    pub fn new(rle: &Rle, size: Size) -> Result<Self, RleError> {
        let n_fitting = rle.runs().partition_point(|run| run.last() <= size.area());
        if let Some(&Run { start, length }) = rle.runs().get(n_fitting) {
            return Err(RleError::OutOfRange { start, length, size });
        }
        let words = vec![0; size.width.div_ceil(64) as usize];
        let toggles = Toggles::by_row(rle.runs(), size);
        Ok(Self { size, toggles, n_rows: 0, row: Row { words, n_set: 0 } })
    }

    /// How many rows are still to come.
    pub const fn rows_left(&self) -> u32 {
        self.size.height - self.n_rows
    }

    /// Overwrites `[n_rows, width]` pixels by the next rows: `on` in the runs, 0 elsewhere.
    ///
    /// # Panics
    /// If the rows are not as wide as the image, or there are more of them than are left.
    pub fn fill_rows(&mut self, pixels: ArrayViewMut2<'_, u8>, on: u8) {
        self.draw_array(pixels, |row, pixels| {
            // The row stays in the cache, so that memory is written once.
            pixels.fill(0);
            row.draw(on, pixels);
        });
    }

    /// Draws the next rows over zeros, of which pages without a set pixel stay untouched.
    pub(super) fn draw_over_zeros(&mut self, pixels: ArrayViewMut2<'_, u8>, on: u8) {
        self.draw_array(pixels, |row, pixels| row.draw(on, pixels));
    }

    /// All rows as a mask.
    pub(super) fn into_mask(mut self) -> Mask {
        let mut mask = Mask::new(self.size);
        let stride = self.size.width.div_ceil(8) as usize;
        let band_rows = self.band_rows();
        let bands = mask.rows_mut(band_rows as usize);
        self.draw(
            bands,
            |band| band.len() / stride,
            |row, band, y| row.draw_packed(&mut band[y * stride..][..stride]),
        );
        mask
    }

    fn draw_array(&mut self, mut pixels: ArrayViewMut2<'_, u8>, draw_row: impl Fn(&Row, &mut [u8]) + Sync) {
        assert_eq!(pixels.ncols(), self.size.width as usize, "rows must be as wide as the image");
        assert!(pixels.nrows() <= self.rows_left() as usize, "more rows than the image has");
        let band_rows = self.band_rows() as usize;
        let bands = pixels.axis_chunks_iter_mut(Axis(0), band_rows);
        self.draw(bands, ArrayViewMut2::nrows, |row, band, y| {
            let mut out = band.row_mut(y);
            if let Some(out) = out.as_slice_mut() {
                draw_row(row, out);
            } else {
                let mut pixels = out.to_vec();
                draw_row(row, &mut pixels);
                out.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = pixel);
            }
        });
    }

    /// Draws the next rows into `bands`, each of which takes `n_rows(band)`, in parallel.
    ///
    /// `draw_row(row, band, y)` draws row `y` of a band.
    fn draw<B: Send>(
        &mut self,
        bands: impl Iterator<Item = B>,
        n_rows: impl Fn(&B) -> usize,
        draw_row: impl Fn(&Row, &mut B, usize) + Sync,
    ) {
        let mut jobs = Vec::new();
        for band in bands {
            let rows = self.n_rows..self.n_rows + n_rows(&band) as u32;
            self.n_rows = rows.end;
            jobs.push((self.row.clone(), rows.clone(), band));
            rows.for_each(|y| self.row.toggle(self.toggles.of_row(y)));
        }
        jobs.into_par_iter().for_each(|(mut row, rows, mut band)| {
            for (i, y) in rows.enumerate() {
                row.toggle(self.toggles.of_row(y));
                draw_row(&row, &mut band, i);
            }
        });
    }

    fn band_rows(&self) -> u32 {
        (BAND_PX / self.size.width.max(1) as usize).max(1) as u32
    }
}

/// A row of the image, 64 pixels to a word, the leftmost in the most significant bit.
#[derive(Debug, Clone)]
struct Row {
    words: Vec<u64>,
    n_set: i64,
}

impl Row {
    /// Goes to the row below, which differs in these columns.
    fn toggle(&mut self, columns: &[u32]) {
        for &x in columns {
            let (word, bit) = (&mut self.words[x as usize / 64], 1 << (63 - x % 64));
            *word ^= bit;
            self.n_set += if *word & bit == 0 { -1 } else { 1 };
        }
    }

    /// Draws the row over zeros.
    fn draw(&self, on: u8, pixels: &mut [u8]) {
        if self.n_set > 0 {
            unpack_words_over_zeros(&self.words, on, pixels);
        }
    }

    /// Draws the row over zeros, eight pixels to a byte.
    fn draw_packed(&self, packed: &mut [u8]) {
        if self.n_set == 0 {
            return;
        }
        let (words, rest) = packed.as_chunks_mut::<8>();
        for (bytes, word) in words.iter_mut().zip(&self.words) {
            *bytes = word.to_be_bytes();
        }
        if let Some(last) = self.words.get(words.len()) {
            rest.copy_from_slice(&last.to_be_bytes()[..rest.len()]);
        }
    }
}

/// Columns in which a row differs from the row above it, for every row.
#[derive(Debug, Clone)]
struct Toggles {
    /// Where the columns of row `y` start: `first[y]..first[y + 1]`.
    first: Vec<usize>,
    columns: Vec<u32>,
}

impl Toggles {
    fn by_row(runs: &[Run], size: Size) -> Self {
        let mut first = vec![0; size.height as usize + 1];
        for_each_toggle(runs, size, |_, y| first[y as usize + 1] += 1);
        for y in 1..first.len() {
            first[y] += first[y - 1];
        }
        let mut next = first.clone();
        let mut columns = vec![0; first[size.height as usize]];
        for_each_toggle(runs, size, |x, y| {
            columns[next[y as usize]] = x;
            next[y as usize] += 1;
        });
        Self { first, columns }
    }

    fn of_row(&self, y: u32) -> &[u32] {
        &self.columns[self.first[y as usize]..self.first[y as usize + 1]]
    }
}

/// Calls `toggle(x, y)` for each pixel that differs from the one above it; above the image nothing is set.
fn for_each_toggle(runs: &[Run], size: Size, mut toggle: impl FnMut(u32, u32)) {
    let height = size.height as u64;
    for run in runs {
        let (mut pos, end) = (run.start - 1, run.start - 1 + run.length);
        while pos < end {
            let (x, y) = (pos / height, pos % height);
            let column_end = (x + 1) * height;
            toggle(x as u32, y as u32);
            if end < column_end {
                toggle(x as u32, (end % height) as u32);
            }
            pos = column_end;
        }
    }
}
