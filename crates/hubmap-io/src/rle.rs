//! Run-length encoding of masks, as the competition's tables store them.

mod encoder;

pub use encoder::RleEncoder;

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
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rle {
    runs: Vec<Run>,
}

/// Why a text is not a run-length encoding, or does not fit an image; tokens are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RleError {
    /// A token that is not a whole number without sign.
    #[error("token {position} ({token:?}) is not a number")]
    NotANumber {
        /// Which token.
        position: usize,
        /// Its text, cut after 32 bytes.
        token: String,
    },
    /// A number that does not fit 64 bits, or a run whose end does not.
    #[error("token {position} overflows 64 bits")]
    Overflow {
        /// Which token.
        position: usize,
    },
    /// A start or a length of zero; pixels are numbered from 1 and no run is empty.
    #[error("token {position} is 0, but {what} are counted from 1")]
    Zero {
        /// Which token.
        position: usize,
        /// `starts` or `lengths`.
        what: &'static str,
    },
    /// The last start has no length.
    #[error("{count} tokens are not pairs of start and length")]
    OddCount {
        /// How many tokens there are.
        count: usize,
    },
    /// A run that starts at or before the last pixel of the run before it.
    #[error(
        "token {position}: the run at {start} starts before pixel {previous_last}, where the last one ends"
    )]
    Unsorted {
        /// Which token.
        position: usize,
        /// First pixel of the run.
        start: u64,
        /// Last pixel of the run before.
        previous_last: u64,
    },
    /// A run that ends after the last pixel of the image.
    #[error("the run {start} {length} leaves an image of {size} ({} pixels)", size.area())]
    OutOfRange {
        /// First pixel of the run.
        start: u64,
        /// Length of the run.
        length: u64,
        /// The image.
        size: Size,
    },
}

impl Rle {
    /// Reads `start length start length …`; white space separates, an empty text is an empty mask.
    ///
    /// Runs that touch are accepted and joined, because some encoders cut runs at every column.
    /// Anything else that breaks the rules is an error: runs out of order or overlapping, zeros, signs,
    /// fractions, numbers beyond 64 bits, a missing last length.
    pub fn parse(text: &str) -> Result<Self, RleError> {
        let mut rle = Self::default();
        let mut start = None;
        let mut count = 0;
        for token in text.split_ascii_whitespace() {
            count += 1;
            let value = parse_number(token, count)?;
            if value == 0 {
                let what = if start.is_none() { "starts" } else { "lengths" };
                return Err(RleError::Zero { position: count, what });
            }
            match start.take() {
                None => {
                    let previous_last = rle.runs.last().map_or(0, Run::last);
                    if value <= previous_last {
                        return Err(RleError::Unsorted { position: count, start: value, previous_last });
                    }
                    start = Some(value);
                }
                Some(start) if start.checked_add(value).is_none() => {
                    return Err(RleError::Overflow { position: count });
                }
                Some(start) => rle.push(start, value),
            }
        }
        if start.is_some() { Err(RleError::OddCount { count }) } else { Ok(rle) }
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

    /// The mask of the given size with these runs set.
    pub fn decode(&self, size: Size) -> Result<Mask, RleError> {
        let mut mask = Mask::new(size);
        let Some(last) = self.runs.last() else { return Ok(mask) };
        if last.last() > size.area() {
            let run = self.runs.iter().find(|run| run.last() > size.area()).unwrap_or(last);
            return Err(RleError::OutOfRange { start: run.start, length: run.length, size });
        }
        // A pixel that differs from the one above it is a toggle; sorted by row they draw the mask in one
        // sweep, where filling column by column would touch one byte in every row for each pixel column.
        let toggles = Toggles::by_row(&self.runs, size);
        let mut row = vec![0; size.width.div_ceil(8) as usize];
        let mut n_set: i64 = 0;
        for y in 0..size.height {
            for &x in toggles.of_row(y) {
                let (byte, bit) = (&mut row[x as usize / 8], 0x80_u8 >> (x % 8));
                *byte ^= bit;
                n_set += if *byte & bit != 0 { 1 } else { -1 };
            }
            if n_set > 0 {
                mask.set_row_bytes(y, &row);
            }
        }
        Ok(mask)
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
        for (i, run) in self.runs.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{} {}", run.start, run.length)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Rle {
    type Err = RleError;

    fn from_str(text: &str) -> Result<Self, RleError> {
        Self::parse(text)
    }
}

/// A token of decimal digits only.
fn parse_number(token: &str, position: usize) -> Result<u64, RleError> {
    let mut value: u64 = 0;
    for byte in token.bytes() {
        if !byte.is_ascii_digit() {
            let token = token.chars().take(32).collect();
            return Err(RleError::NotANumber { position, token });
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add((byte - b'0') as u64))
            .ok_or(RleError::Overflow { position })?;
    }
    Ok(value)
}

/// Columns in which a row differs from the row above it, for every row.
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
