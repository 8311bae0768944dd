//! Column-major runs from rows that arrive top to bottom.
#![expect(clippy::needless_pass_by_value, reason = "array views are made to be passed by value")]

use ndarray::{ArrayView1, ArrayView2, s};
use rayon::prelude::*;

use super::Rle;
use crate::mask::packed::{word_of, zip_packed};
use crate::{Mask, Size};

/// Pixels that one thread searches at a time.
const BAND_PX: usize = 1 << 22;

/// Encodes a mask whose rows arrive in blocks, top to bottom, without ever holding the mask.
///
/// Only pixels that differ from the one above them are kept, eight bytes each, and sorted by column at the
/// end; a transposed copy of the mask is never made.
/// Large blocks are searched in parallel.
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
    last: RowAbove,
    /// In the order of their rows.
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
        Self { size, n_rows: 0, last: RowAbove::blank(size.width), toggles: Vec::new() }
    }

    /// Takes the next `[n_rows, width]` pixels; non-zero means set.
    ///
    /// # Panics
    /// If the rows are not as wide as the mask, or there are more of them than the mask has.
    pub fn push_rows(&mut self, pixels: ArrayView2<'_, u8>) {
        let (n_rows, width) = pixels.dim();
        assert_eq!(width, self.size.width as usize, "rows must be as wide as the mask");
        let first = self.begin_rows(n_rows);
        let band_rows = (BAND_PX / width.max(1)).max(1);
        if n_rows <= band_rows {
            return self.last.push_rows(first, pixels, &mut self.toggles);
        }
        let bands: Vec<_> = (0..n_rows.div_ceil(band_rows))
            .into_par_iter()
            .map(|band| {
                let (start, end) = (band * band_rows, ((band + 1) * band_rows).min(n_rows));
                let mut above = match start.checked_sub(1) {
                    None => self.last.clone(),
                    Some(y) => RowAbove::of(pixels.row(y)),
                };
                let mut toggles = Vec::new();
                above.push_rows(first + start as u32, pixels.slice(s![start..end, ..]), &mut toggles);
                toggles
            })
            .collect();
        for band in bands {
            self.toggles.extend(band);
        }
        self.last = RowAbove::of(pixels.row(n_rows - 1));
    }

    /// Takes the next row as [`Mask::row_bytes`] returns it; padding bits are ignored.
    ///
    /// # Panics
    /// If the row has another length, or there are more rows than the mask has.
    pub fn push_row_bytes(&mut self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.size.width.div_ceil(8) as usize, "a row must be as wide as the mask");
        let y = self.begin_rows(1);
        self.last.push_packed(y, bytes, &mut self.toggles);
    }

    /// The runs of all rows; rows that never arrived count as empty.
    pub fn finish(mut self) -> Rle {
        if self.n_rows < self.size.height {
            self.last.push_blank(self.n_rows, &mut self.toggles);
        }
        runs_of_toggles(&[self.toggles], self.size)
    }

    /// Counts rows that arrive and returns the number of the first.
    fn begin_rows(&mut self, n_rows: usize) -> u32 {
        let first = self.n_rows;
        assert!(n_rows <= (self.size.height - first) as usize, "more rows than the mask has");
        self.n_rows += n_rows as u32;
        first
    }
}

/// The runs of a whole mask, bands of rows in parallel.
pub(super) fn encode(mask: &Mask) -> Rle {
    let size = mask.size();
    let band_rows = (BAND_PX / size.width.max(1) as usize).max(1) as u32;
    let bands: Vec<Vec<Toggle>> = (0..size.height.div_ceil(band_rows))
        .into_par_iter()
        .map(|band| {
            let start = band * band_rows;
            let end = start.saturating_add(band_rows).min(size.height);
            let mut above = RowAbove::blank(size.width);
            if let Some(y) = start.checked_sub(1) {
                above.push_packed(y, mask.row_bytes(y), &mut Vec::new());
            }
            let mut toggles = Vec::new();
            for y in start..end {
                above.push_packed(y, mask.row_bytes(y), &mut toggles);
            }
            toggles
        })
        .collect();
    runs_of_toggles(&bands, size)
}

/// The last row that was seen, 64 pixels to a word, the leftmost in the most significant bit.
#[derive(Debug, Clone)]
struct RowAbove {
    width: u32,
    words: Vec<u64>,
}

impl RowAbove {
    fn blank(width: u32) -> Self {
        Self { width, words: vec![0; width.div_ceil(64) as usize] }
    }

    fn of(pixels: ArrayView1<'_, u8>) -> Self {
        let mut row = Self::blank(pixels.len() as u32);
        row.push_pixels(0, pixels, &mut Vec::new());
        row
    }

    /// Goes down over all rows of `pixels`, of which the first is row `y` of the mask.
    fn push_rows(&mut self, y: u32, pixels: ArrayView2<'_, u8>, toggles: &mut Vec<Toggle>) {
        for (y, row) in (y..).zip(pixels.rows()) {
            self.push_pixels(y, row, toggles);
        }
    }

    /// Goes down to row `y`, noting the pixels that differ.
    fn push_pixels(&mut self, y: u32, pixels: ArrayView1<'_, u8>, toggles: &mut Vec<Toggle>) {
        let mut push = |pixels: &[u8]| {
            zip_packed(&mut self.words, pixels, |i, above, word| replace_word(above, word, i, y, toggles));
        };
        match pixels.as_slice() {
            Some(pixels) => push(pixels),
            None => push(&pixels.to_vec()),
        }
    }

    /// [`RowAbove::push_pixels`] for a packed row, whose padding bits are ignored.
    fn push_packed(&mut self, y: u32, bytes: &[u8], toggles: &mut Vec<Toggle>) {
        let (whole, rest) = bytes.as_chunks::<8>();
        let n_padding = 64 * self.words.len() as u32 - self.width;
        let Some((last, words)) = self.words.split_last_mut() else { return };
        for (i, (above, &bytes)) in words.iter_mut().zip(whole).enumerate() {
            replace_word(above, u64::from_be_bytes(bytes), i, y, toggles);
        }
        let last_bytes = whole.get(words.len()).map_or(rest, |bytes| bytes.as_slice());
        replace_word(last, word_of(last_bytes) & u64::MAX << n_padding, words.len(), y, toggles);
    }

    /// Goes down to an empty row.
    fn push_blank(&mut self, y: u32, toggles: &mut Vec<Toggle>) {
        self.words.iter_mut().enumerate().for_each(|(i, above)| replace_word(above, 0, i, y, toggles));
    }
}

/// Goes down from the word above to the one below it, the `i`th of row `y`, noting the pixels that differ.
#[inline]
fn replace_word(above: &mut u64, word: u64, i: usize, y: u32, toggles: &mut Vec<Toggle>) {
    if *above == word {
        return;
    }
    let mut changed = *above ^ word;
    *above = word;
    while changed != 0 {
        let bit = changed.leading_zeros();
        toggles.push(Toggle { x: 64 * i as u32 + bit, y });
        changed &= !(1 << (63 - bit));
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
