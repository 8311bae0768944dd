//! Column-major runs from rows that arrive top to bottom.
#![expect(clippy::needless_pass_by_value, reason = "array views are made to be passed by value")]

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::Rle;
use crate::mask::{pack_row, word_of};
use crate::{Mask, Size};

/// Encodes a mask whose rows arrive in blocks, top to bottom, without ever holding the mask.
///
/// Only pixels that differ from the one above them are kept, eight bytes each, and sorted by column at the
/// end; a transposed copy of the mask is never made.
///
/// ```
/// use hubmap_io::{RleEncoder, Size};
/// use ndarray::array;
///
/// let mut encoder = RleEncoder::new(Size::new(3, 4));
/// encoder.push_rows(array![[0, 255, 0], [0, 255, 0]].view());
/// encoder.push_rows(array![[0, 255, 0], [0, 0, 0]].view());
/// assert_eq!(encoder.finish().to_string(), "5 3");
/// ```
#[derive(Debug, Clone)]
pub struct RleEncoder {
    size: Size,
    n_rows: u32,
    /// The last row that arrived, packed.
    above: Vec<u8>,
    packed: Vec<u8>,
    toggles: Vec<Toggle>,
}

/// A pixel that differs from the one above it.
#[derive(Debug, Clone, Copy)]
struct Toggle {
    x: u32,
    y: u32,
}

impl RleEncoder {
    /// An encoder for a mask of the given size, of which no row has arrived.
    pub fn new(size: Size) -> Self {
        let row = vec![0; size.width.div_ceil(8) as usize];
        Self { size, n_rows: 0, above: row.clone(), packed: row, toggles: Vec::new() }
    }

    /// Takes the next `[n_rows, width]` pixels; non-zero means set.
    ///
    /// # Panics
    /// If the rows are not as wide as the mask, or there are more of them than the mask has.
    pub fn push_rows(&mut self, pixels: ArrayView2<'_, u8>) {
        assert_eq!(pixels.ncols(), self.size.width as usize, "rows must be as wide as the mask");
        for row in pixels.rows() {
            let mut packed = std::mem::take(&mut self.packed);
            match row.as_slice() {
                Some(row) => pack_row(row, &mut packed),
                None => pack_row(&row.to_vec(), &mut packed),
            }
            self.push_packed(packed);
        }
    }

    /// Takes the next row as [`Mask::row_bytes`] returns it; padding bits must be 0.
    ///
    /// # Panics
    /// If the row has another length, or there are more rows than the mask has.
    pub fn push_row_bytes(&mut self, bytes: &[u8]) {
        let mut packed = std::mem::take(&mut self.packed);
        packed.copy_from_slice(bytes);
        self.push_packed(packed);
    }

    /// The runs of all rows; rows that never arrived count as empty.
    pub fn finish(mut self) -> Rle {
        if self.n_rows < self.size.height {
            let blank = vec![0; self.above.len()];
            self.push_packed(blank);
        }
        runs_of_toggles(&[self.toggles], self.size)
    }

    fn push_packed(&mut self, packed: Vec<u8>) {
        assert!(self.n_rows < self.size.height, "more rows than the mask has");
        find_toggles(&self.above, &packed, self.n_rows, &mut self.toggles);
        self.n_rows += 1;
        self.packed = std::mem::replace(&mut self.above, packed);
    }
}

/// The runs of a whole mask, bands of rows in parallel.
pub(super) fn encode(mask: &Mask) -> Rle {
    const BAND_ROWS: u32 = 1024;
    let size = mask.size();
    let blank = vec![0; size.width.div_ceil(8) as usize];
    let bands: Vec<Vec<Toggle>> = (0..size.height.div_ceil(BAND_ROWS))
        .into_par_iter()
        .map(|band| {
            let mut toggles = Vec::new();
            let rows = band * BAND_ROWS..band.saturating_add(1).saturating_mul(BAND_ROWS).min(size.height);
            let mut above = if band == 0 { blank.as_slice() } else { mask.row_bytes(rows.start - 1) };
            for y in rows {
                let row = mask.row_bytes(y);
                find_toggles(above, row, y, &mut toggles);
                above = row;
            }
            toggles
        })
        .collect();
    runs_of_toggles(&bands, size)
}

/// Appends the pixels of packed row `y` that differ from the row above, from left to right.
fn find_toggles(above: &[u8], row: &[u8], y: u32, toggles: &mut Vec<Toggle>) {
    if above == row {
        return;
    }
    for (i, (above, row)) in above.chunks(8).zip(row.chunks(8)).enumerate() {
        let mut changed = word_of(above) ^ word_of(row);
        while changed != 0 {
            let bit = changed.leading_zeros();
            toggles.push(Toggle { x: 64 * i as u32 + bit, y });
            changed &= !(1 << (63 - bit));
        }
    }
}

/// Sorts toggles that are ordered by row into columns and pairs them up to runs.
fn runs_of_toggles(bands: &[Vec<Toggle>], size: Size) -> Rle {
    let mut first = vec![0_usize; size.width as usize + 1];
    for toggle in bands.iter().flatten() {
        first[toggle.x as usize + 1] += 1;
    }
    for x in 1..first.len() {
        first[x] += first[x - 1];
    }
    let mut next = first.clone();
    let mut rows = vec![0_u32; first[size.width as usize]];
    for toggle in bands.iter().flatten() {
        let slot = &mut next[toggle.x as usize];
        rows[*slot] = toggle.y;
        *slot += 1;
    }
    let mut rle = Rle::default();
    for (x, column) in first.windows(2).enumerate() {
        let top = x as u64 * size.height as u64 + 1;
        for pair in rows[column[0]..column[1]].chunks(2) {
            let end = pair.get(1).copied().unwrap_or(size.height);
            rle.push(top + pair[0] as u64, (end - pair[0]) as u64);
        }
    }
    rle
}
