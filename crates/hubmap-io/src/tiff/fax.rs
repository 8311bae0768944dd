//! CCITT fax codes (ITU-T T.4 and T.6): scanned annotations and old masks of one bit per pixel.
//!
//! A row is the list of the columns where its colour changes, starting from white. White is stored as 0 bits
//! whatever the page makes of it. As in libtiff a damaged row between end-of-line codes ends early and decoding
//! goes on with the next one; where nothing tells the next row, it and all that follow are white. What precedes the
//! first end-of-line code is passed over.

mod codes;

use codes::{MAX_CODE_BITS, RUNS, Run};

/// Which of the fax codes a page uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaxCode {
    /// Rows of runs, each starting on a byte.
    Rle,
    /// T.4: rows of runs, or of differences from the row above, between end-of-line codes.
    Group3 {
        /// Whether a bit after each end-of-line code tells runs from differences.
        is_two_dimensional: bool,
    },
    /// T.6: rows of differences from the row above.
    Group4,
}

/// Decodes rows of `width` pixels into `out`, 8 pixels per byte, until it is full or the data end.
pub(super) fn decode(code: FaxCode, input: &[u8], width: usize, out: &mut [u8]) -> Result<(), String> {
    let row_len = width.div_ceil(8);
    out.fill(0);
    let mut bits = Bits { bytes: input, at: 0 };
    let (mut above, mut row) = (Vec::new(), Vec::new());
    let mut has_ends_of_line = false;
    if let FaxCode::Group3 { is_two_dimensional } = code {
        bits.find_first_row(is_two_dimensional);
    }
    for (y, out) in out.chunks_exact_mut(row_len).enumerate() {
        row.clear();
        let is_whole = match code {
            FaxCode::Rle => {
                bits.align();
                bits.runs(width, &mut row)
            }
            FaxCode::Group3 { is_two_dimensional } => {
                let n_ends = bits.skip_ends_of_line(is_two_dimensional);
                has_ends_of_line |= n_ends > 0;
                // Several in a row end the page.
                if bits.is_at_end() || n_ends > 1 && y > 0 {
                    break;
                }
                let has_runs = !is_two_dimensional || n_ends == 0 || bits.take(1) == 1;
                let is_whole = if has_runs {
                    bits.runs(width, &mut row)
                } else {
                    bits.differences(width, &above, &mut row)
                };
                // What a row lacks is white.
                if !is_whole && row.len() % 2 == 1 {
                    row.pop();
                }
                if has_ends_of_line {
                    // Also passes over what some encoders put behind a whole row.
                    bits.seek_end_of_line();
                }
                is_whole || has_ends_of_line
            }
            FaxCode::Group4 => bits.differences(width, &above, &mut row),
        };
        if !is_whole {
            // The end of the page, or damage.
            let is_end = bits.is_at_end() || row.is_empty() && bits.is_end_of_line();
            if y == 0 && !is_end {
                return Err(format!("no fax code at bit {} of the first row", bits.at));
            }
            break;
        }
        paint(&row, width, out);
        std::mem::swap(&mut above, &mut row);
    }
    Ok(())
}

/// Sets the bits between each odd change and the next.
fn paint(changes: &[usize], width: usize, out: &mut [u8]) {
    for run in changes.chunks(2) {
        let (start, end) = (run[0].min(width), run.get(1).copied().unwrap_or(width).min(width));
        if start >= end {
            continue;
        }
        let (first, last) = (start / 8, (end - 1) / 8);
        let head = 0xFF_u8 >> (start % 8);
        let tail = 0xFF_u8 << (7 - (end - 1) % 8);
        if first == last {
            out[first] |= head & tail;
        } else {
            out[first] |= head;
            out[first + 1..last].fill(0xFF);
            out[last] |= tail;
        }
    }
}

/// A reader of bits, highest first; past the end there are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits read so far.
    at: usize,
}

impl Bits<'_> {
    /// The next `n` bits, at most 24, without taking them.
    fn peek(&self, n: usize) -> usize {
        let byte = |i: usize| self.bytes.get(self.at / 8 + i).map_or(0, |&byte| usize::from(byte));
        let word = (byte(0) << 24) | (byte(1) << 16) | (byte(2) << 8) | byte(3);
        (word >> (32 - self.at % 8 - n)) & ((1 << n) - 1)
    }

    fn take(&mut self, n: usize) -> usize {
        let value = self.peek(n);
        self.at += n;
        value
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len() * 8
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    /// Whether fill and an end-of-line code follow: no other code starts with 11 zeros.
    fn is_end_of_line(&self) -> bool {
        self.peek(11) == 0
    }

    /// Skips end-of-line codes and the fill before them, but not the tag bit of the last one; returns how many.
    fn skip_ends_of_line(&mut self, has_tags: bool) -> usize {
        let mut n = 0;
        loop {
            let tag = usize::from(has_tags && n > 0);
            let start = self.at;
            self.at += tag;
            if !self.is_end_of_line() {
                self.at = start;
                return n;
            }
            while !self.is_at_end() && self.peek(1) == 0 {
                self.at += 1;
            }
            if self.is_at_end() {
                return n;
            }
            self.at += 1;
            n += 1;
        }
    }

    /// Goes to the first end-of-line code if rows follow it; without one they start at once.
    fn find_first_row(&mut self, has_tags: bool) {
        let start = self.at;
        self.seek_end_of_line();
        let first = self.at;
        let n_ends = self.skip_ends_of_line(has_tags);
        self.at = if n_ends == 1 && !self.is_at_end() { first } else { start };
    }

    /// Goes to the next end-of-line code after a row that broke off.
    fn seek_end_of_line(&mut self) {
        while !self.is_at_end() && !self.is_end_of_line() {
            self.at += 1;
        }
    }

    /// One run of a colour, and whether it ends as it should: where no code matches it is as long as it is so far.
    fn run(&mut self, is_black: bool) -> (usize, bool) {
        let table = if is_black { &RUNS.black } else { &RUNS.white };
        let mut sum = 0;
        loop {
            let Run { len, n_bits } = table[self.peek(MAX_CODE_BITS)];
            if n_bits == 0 || self.is_at_end() {
                return (sum, false);
            }
            self.at += usize::from(n_bits);
            sum += usize::from(len);
            if len < 64 {
                return (sum, true);
            }
        }
    }

    /// A row of runs; false if it breaks off before `width`.
    fn runs(&mut self, width: usize, row: &mut Vec<usize>) -> bool {
        let (mut x, mut is_black) = (0, false);
        while x < width {
            let (run, is_whole) = self.run(is_black);
            x += run;
            row.push(x.min(width));
            is_black = !is_black;
            if !is_whole {
                return x >= width;
            }
        }
        true
    }

    /// A row of differences from the row above; false if it breaks off before `width`.
    fn differences(&mut self, width: usize, above: &[usize], row: &mut Vec<usize>) -> bool {
        // Column of the last change, which before the first pixel lies one to the left.
        let mut last: Option<usize> = None;
        let mut is_black = false;
        let mut idx = 0_usize;
        while last.is_none_or(|last| last < width) {
            // The first change above that lies to the right and is towards the other colour: even ones turn black.
            // `last` only grows, so that the search goes on where it was, but for a step back to the other parity.
            idx = idx.saturating_sub(2);
            idx += usize::from(idx % 2 != usize::from(is_black));
            while idx < above.len() && last.is_some_and(|last| above[idx] <= last) {
                idx += 2;
            }
            let change = |idx: usize| above.get(idx).copied().unwrap_or(width);
            let Some(mode) = self.mode() else { return false };
            let start = last.unwrap_or(0);
            match mode {
                Mode::Pass => last = Some(change(idx + 1)),
                Mode::Horizontal => {
                    let (first, is_whole) = self.run(is_black);
                    row.push((start + first).min(width));
                    if !is_whole {
                        return false;
                    }
                    let (second, is_whole) = self.run(!is_black);
                    row.push((start + first + second).min(width));
                    if !is_whole {
                        return false;
                    }
                    last = Some(start + first + second);
                }
                Mode::Vertical(offset) => {
                    let at = change(idx).saturating_add_signed(offset).clamp(start, width);
                    row.push(at);
                    last = Some(at);
                    is_black = !is_black;
                }
            }
        }
        true
    }

    fn mode(&mut self) -> Option<Mode> {
        if self.is_at_end() {
            return None;
        }
        let (mode, n_bits) = match self.peek(7) {
            64.. => (Mode::Vertical(0), 1),
            48..64 => (Mode::Vertical(1), 3),
            32..48 => (Mode::Vertical(-1), 3),
            16..32 => (Mode::Horizontal, 3),
            8..16 => (Mode::Pass, 4),
            6..8 => (Mode::Vertical(2), 6),
            4..6 => (Mode::Vertical(-2), 6),
            3 => (Mode::Vertical(3), 7),
            2 => (Mode::Vertical(-3), 7),
            // Extensions, which scanners do not write, or the end of the page.
            _ => return None,
        };
        self.at += n_bits;
        Some(mode)
    }
}

/// How the next change of a row relates to the row above (T.4, table 4).
enum Mode {
    Pass,
    Horizontal,
    Vertical(isize),
}

#[cfg(test)]
mod tests {
    use super::{FaxCode, decode};
    use proptest::prelude::*;

    #[test]
    fn decodes_a_row_of_runs() {
        // White 4, black 3, white 1.
        let bits = [0b1011_1000, 0b0111_0000];
        let mut out = [0xAA];
        assert_eq!(decode(FaxCode::Rle, &bits, 8, &mut out), Ok(()));
        assert_eq!(out, [0b0000_1110]);
    }

    #[test]
    fn decodes_differences() {
        // Horizontal white 2 black 2, then V0 to the end; the second row repeats the first.
        // 001 0111 11 1 | 1 1 1
        let bits = [0b0010_1111, 0b1111_1000];
        let mut out = [0; 2];
        assert_eq!(decode(FaxCode::Group4, &bits, 8, &mut out), Ok(()));
        assert_eq!(out, [0b0011_0000; 2]);
    }

    #[test]
    fn rows_after_damage_are_white() {
        // Horizontal white 2 black 2 and V0 to the end, then seven zeros, which are no mode.
        let bits = [0b0010_1111, 0b1100_0000, 0b0111_1111, 0xFF];
        let mut out = [0xAA; 3];
        assert_eq!(decode(FaxCode::Group4, &bits, 8, &mut out), Ok(()));
        assert_eq!(out, [0b0011_0000, 0, 0]);
        assert!(decode(FaxCode::Group4, &[0b0000_0011, 0, 0], 8, &mut out).is_err());
    }

    #[test]
    fn what_a_row_lacks_is_white() {
        // End of line; white 2, black 2, white 2 of 8; end of line; white 8.
        let bits = [0b0000_0000, 0b0001_0111, 0b1101_1100, 0b0000_0000, 0b0110_0110];
        let mut out = [0xAA; 2];
        let code = FaxCode::Group3 { is_two_dimensional: false };
        assert_eq!(decode(code, &bits, 8, &mut out), Ok(()));
        assert_eq!(out, [0b0011_0000, 0]);
    }

    #[test]
    fn what_precedes_the_first_end_of_line_is_passed_over() {
        // White 8; end of line; white 4, black 3, white 1; end of line.
        let bits = [0b1001_1000, 0b0000_0000, 0b1101_1100, 0b0011_1000, 0b0000_0001];
        let mut out = [0xAA; 2];
        let code = FaxCode::Group3 { is_two_dimensional: false };
        assert_eq!(decode(code, &bits, 8, &mut out), Ok(()));
        assert_eq!(out, [0b0000_1110, 0]);
        assert_eq!(decode(code, &bits[..1], 8, &mut out[..1]), Ok(()));
    }

    proptest! {
        #[test]
        fn survives_garbage(bytes in proptest::collection::vec(any::<u8>(), 0..300), width in 1_usize..200) {
            for code in [
                FaxCode::Rle,
                FaxCode::Group3 { is_two_dimensional: false },
                FaxCode::Group3 { is_two_dimensional: true },
                FaxCode::Group4,
            ] {
                let mut out = vec![0; width.div_ceil(8) * 40];
                let _ = decode(code, &bytes, width, &mut out);
            }
        }
    }
}
