//! Binary images of slide size, one bit per pixel.
#![expect(clippy::needless_pass_by_value, reason = "array views are made to be passed by value")]

pub(crate) mod packed;

use ndarray::{Array2, ArrayView2};

use self::packed::{pack_row, unpack_row, word_of};
use crate::{Polygon, Size, Window};

/// A binary image: the glomeruli of a slide, or any other set of its pixels.
///
/// Pixels are stored as the rows of a 1-bit TIFF: row by row, eight pixels to a byte, the leftmost pixel in
/// the most significant bit, every row padded to whole bytes with zeros.
/// A slide of 40,000 × 40,000 pixels takes 200 MB, and pages that were never written take no memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    size: Size,
    stride: usize,
    bits: Vec<u8>,
}

impl Mask {
    /// A mask with no pixel set.
    pub fn new(size: Size) -> Self {
        let stride = size.width.div_ceil(8) as usize;
        Self { size, stride, bits: vec![0; stride * size.height as usize] }
    }

    /// A mask of the non-zero pixels of a `[height, width]` image.
    pub fn from_array(pixels: ArrayView2<'_, u8>) -> Self {
        let (height, width) = pixels.dim();
        let mut mask = Self::new(Size::new(width as u32, height as u32));
        mask.set_rows(0, pixels);
        mask
    }

    /// Width and height in pixels.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Whether the pixel in column `x` of row `y` is set; pixels off the mask are not.
    pub fn get(&self, x: u32, y: u32) -> bool {
        x < self.size.width && y < self.size.height && { self.bits[self.byte_idx(x, y)] & bit_of(x) != 0 }
    }

    /// Sets or clears one pixel; a pixel off the mask is ignored.
    pub fn set(&mut self, x: u32, y: u32, value: bool) {
        if x >= self.size.width || y >= self.size.height {
            return;
        }
        let idx = self.byte_idx(x, y);
        if value {
            self.bits[idx] |= bit_of(x);
        } else {
            self.bits[idx] &= !bit_of(x);
        }
    }

    /// Replaces whole rows, from row `y0` on, by `[n_rows, width]` pixels; non-zero means set.
    ///
    /// # Panics
    /// If the rows are not as wide as the mask, or reach below its last row.
    pub fn set_rows(&mut self, y0: u32, pixels: ArrayView2<'_, u8>) {
        let (n_rows, width) = pixels.dim();
        assert_eq!(width, self.size.width as usize, "rows must be as wide as the mask");
        assert!(n_rows as u64 + y0 as u64 <= self.size.height as u64, "rows must lie on the mask");
        if width == 0 {
            return;
        }
        let first = y0 as usize * self.stride;
        for (row, packed) in pixels.rows().into_iter().zip(self.bits[first..].chunks_exact_mut(self.stride)) {
            match row.as_slice() {
                Some(row) => pack_row(row, packed),
                None => pack_row(&row.to_vec(), packed),
            }
        }
    }

    /// Sets the pixels `x0..x1` of row `y`; what lies off the mask is ignored.
    pub fn fill_run(&mut self, y: u32, x0: u32, x1: u32) {
        let x1 = x1.min(self.size.width);
        if y >= self.size.height || x0 >= x1 {
            return;
        }
        let row = &mut self.bits[y as usize * self.stride..][..self.stride];
        let (first, last) = (x0 as usize / 8, (x1 - 1) as usize / 8);
        let head = 0xff_u8 >> (x0 % 8);
        let tail = 0xff_u8 << (7 - (x1 - 1) % 8);
        if first == last {
            row[first] |= head & tail;
        } else {
            row[first] |= head;
            row[first + 1..last].fill(0xff);
            row[last] |= tail;
        }
    }

    /// Sets every pixel whose centre lies inside `polygon`, by the rule of [`Polygon::spans`].
    pub fn fill_polygon(&mut self, polygon: &Polygon) {
        polygon.spans(self.size.window(), |y, x0, x1| self.fill_run(y as u32, x0 as u32, x1 as u32));
    }

    /// Number of set pixels.
    pub fn count_ones(&self) -> u64 {
        let words = self.bits.chunks_exact(8);
        let rest: u64 = words.remainder().iter().map(|byte| byte.count_ones() as u64).sum();
        rest + words.map(|word| word_of(word).count_ones() as u64).sum::<u64>()
    }

    /// Number of set pixels in `window`; pixels off the mask are not set.
    pub fn count_ones_in(&self, window: Window) -> u64 {
        let Some(inside) = window.intersect(&self.size.window()) else { return 0 };
        let (x0, x1) = (inside.x as usize, inside.right() as usize);
        let (first, last) = (x0 / 8, (x1 - 1) / 8);
        let head = 0xff_u8 >> (x0 % 8);
        let tail = 0xff_u8 << (7 - (x1 - 1) % 8);
        let in_row = |row: &[u8]| {
            if first == last {
                return (row[first] & head & tail).count_ones() as u64;
            }
            let words = row[first + 1..last].chunks_exact(8);
            let rest: u64 = words.remainder().iter().map(|byte| byte.count_ones() as u64).sum();
            let ends = (row[first] & head).count_ones() + (row[last] & tail).count_ones();
            rest + ends as u64 + words.map(|word| word_of(word).count_ones() as u64).sum::<u64>()
        };
        (inside.y..inside.bottom()).map(|y| in_row(self.row_bytes(y as u32))).sum()
    }

    /// The packed pixels of row `y`, `width.div_ceil(8)` bytes; the padding bits are 0.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_bytes(&self, y: u32) -> &[u8] {
        &self.bits[y as usize * self.stride..][..self.stride]
    }

    /// Replaces row `y` by packed pixels as [`Mask::row_bytes`] returns them; padding bits are ignored.
    ///
    /// # Panics
    /// If there is no such row, or `bytes` is shorter than a row.
    pub fn set_row_bytes(&mut self, y: u32, bytes: &[u8]) {
        let row = &mut self.bits[y as usize * self.stride..][..self.stride];
        row.copy_from_slice(&bytes[..self.stride]);
        let used = self.size.width % 8;
        if used != 0
            && let Some(last) = row.last_mut()
        {
            *last &= 0xff << (8 - used);
        }
    }

    /// Pixels of `window` as `[height, width]` zeros and ones; pixels off the mask are 0.
    pub fn read(&self, window: Window) -> Array2<u8> {
        let mut pixels = Array2::zeros((window.height as usize, window.width as usize));
        let Some(inside) = window.intersect(&self.size.window()) else { return pixels };
        let (left, top) = ((inside.x - window.x) as usize, (inside.y - window.y) as usize);
        for (dy, mut out) in pixels.rows_mut().into_iter().skip(top).take(inside.height as usize).enumerate()
        {
            let row = self.row_bytes(inside.y as u32 + dy as u32);
            if let Some(out) = out.as_slice_mut() {
                unpack_row(row, inside.x as usize, &mut out[left..left + inside.width as usize]);
            }
        }
        pixels
    }

    /// All pixels as `[height, width]` zeros and ones: eight times the memory of the mask.
    pub fn to_array(&self) -> Array2<u8> {
        self.read(self.size.window())
    }

    /// Sets every pixel that is set in `other`.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn union(&mut self, other: &Self) {
        assert_eq!(self.size, other.size, "masks must have the same size");
        for (a, &b) in self.bits.iter_mut().zip(&other.bits) {
            *a |= b;
        }
    }

    /// Clears every pixel that is not set in `other`.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn intersect(&mut self, other: &Self) {
        assert_eq!(self.size, other.size, "masks must have the same size");
        for (a, &b) in self.bits.iter_mut().zip(&other.bits) {
            *a &= b;
        }
    }

    /// The packed rows from the first on, `width.div_ceil(8)` bytes each; padding bits must stay 0.
    pub(crate) fn rows_mut(&mut self, n_rows: usize) -> std::slice::ChunksMut<'_, u8> {
        self.bits.chunks_mut((n_rows * self.stride).max(1))
    }

    fn byte_idx(&self, x: u32, y: u32) -> usize {
        y as usize * self.stride + x as usize / 8
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({}, {} set)", self.size, self.count_ones())
    }
}

/// The bit of column `x` in its byte.
const fn bit_of(x: u32) -> u8 {
    0x80 >> (x % 8)
}
