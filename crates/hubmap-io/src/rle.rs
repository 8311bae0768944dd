//! Run-length encoding of masks, as the competition's tables store them.
#![expect(clippy::needless_pass_by_value, reason = "array views are made to be passed by value")]

mod decoder;
mod encoder;
mod error;
mod text;

pub use decoder::RleDecoder;
pub use encoder::RleEncoder;
pub use error::RleError;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::{Mask, Size};

/// Consecutive set pixels in column-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// Number of the first pixel; the top-left pixel of the image is 1.
    pub start: u64,
    /// How many pixels, at least 1.
    pub length: u64,
}

impl Run {
    /// Number of the last pixel.
    pub const fn last(&self) -> u64 {
        self.start + (self.length - 1)
    }
}

/// A mask as runs of set pixels.
///
/// Pixels are numbered from 1, top to bottom and then left to right (column-major), so a run may continue at
/// the top of the next column.
/// Runs are ascending and as long as possible: two runs neither overlap nor touch.
///
/// The text form, read by [`Rle::parse`] and written by [`Display`](std::fmt::Display), is
/// `start length start length …`.
/// Images are taken and given whole, packed ([`Mask`]) or as bytes, or band by band from top to bottom
/// ([`RleEncoder`], [`RleDecoder`]); none of these makes a transposed copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rle {
    runs: Vec<Run>,
}

impl Rle {
    /// Reads `start length start length …`; white space separates, an empty text is an empty mask.
    ///
    /// Runs that touch are accepted and joined, because some encoders cut runs at every column.
    /// Anything else that breaks the rules is an error: runs out of order or overlapping, zeros, signs,
    /// fractions, a missing last length, numbers beyond 64 bits, a run that reaches pixel 2⁶⁴ − 1.
    pub fn parse(text: &str) -> Result<Self, RleError> {
        text::parse(text)
    }

    /// The runs, ascending and not touching.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Number of set pixels.
    pub fn count_ones(&self) -> u64 {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// The runs of a mask.
    pub fn encode(mask: &Mask) -> Self {
        encoder::encode(mask)
    }

    /// The runs of the non-zero pixels of a `[height, width]` image.
    ///
    /// Bands of rows are searched in parallel.
    pub fn encode_array(pixels: ArrayView2<'_, u8>) -> Self {
        let (height, width) = pixels.dim();
        let mut encoder = RleEncoder::new(Size::new(width as u32, height as u32));
        encoder.push_rows(pixels);
        encoder.finish()
    }

    /// The mask of the given size with these runs set.
    pub fn decode(&self, size: Size) -> Result<Mask, RleError> {
        let decoder = RleDecoder::new(self, size)?;
        Ok(decoder.into_mask())
    }

    /// A new `[height, width]` image of the given size: `on` in the runs, 0 elsewhere.
    ///
    /// Memory without a set pixel is never touched, so the operating system hands out its pages only when
    /// they are read.
    pub fn decode_array(&self, size: Size, on: u8) -> Result<Array2<u8>, RleError> {
        let mut decoder = RleDecoder::new(self, size)?;
        let mut pixels = Array2::zeros((size.height as usize, size.width as usize));
        decoder.draw_over_zeros(pixels.view_mut(), on);
        Ok(pixels)
    }

    /// Overwrites a `[height, width]` image: `on` in the runs, 0 elsewhere.
    pub fn decode_into(&self, pixels: ArrayViewMut2<'_, u8>, on: u8) -> Result<(), RleError> {
        let (height, width) = pixels.dim();
        let mut decoder = RleDecoder::new(self, Size::new(width as u32, height as u32))?;
        decoder.fill_rows(pixels, on);
        Ok(())
    }

    /// Adds a run that starts after the last one, joining the two if they touch.
    fn push(&mut self, start: u64, length: u64) {
        match self.runs.last_mut() {
            Some(previous) if previous.start + previous.length == start => previous.length += length,
            _ => self.runs.push(Run { start, length }),
        }
    }
}

impl std::fmt::Display for Rle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        text::write(self, f)
    }
}

impl std::str::FromStr for Rle {
    type Err = RleError;

    fn from_str(text: &str) -> Result<Self, RleError> {
        Self::parse(text)
    }
}
