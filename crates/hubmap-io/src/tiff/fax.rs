//! CCITT fax codes (ITU-T T.4 and T.6): scanned annotations and old masks of one bit per pixel.
//!
//! A row is the list of the columns where its colour changes, starting from white. White is stored as 0 bits
//! whatever the page makes of it. As in libtiff a damaged row between end-of-line codes ends early and decoding
//! goes on with the next one; rows that are missing at the end are white.

use std::sync::LazyLock;

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
                if has_ends_of_line {
                    // Also passes over what some encoders put behind a whole row.
                    bits.seek_end_of_line();
                }
                is_whole || has_ends_of_line
            }
            FaxCode::Group4 => bits.differences(width, &above, &mut row),
        };
        paint(&row, width, out);
        if !is_whole {
            // The end of the page, or damage.
            let is_end = bits.is_at_end() || row.is_empty() && bits.is_end_of_line();
            if y == 0 || !is_end {
                return Err(format!("no fax code at bit {} in row {y}", bits.at));
            }
            break;
        }
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

    /// Goes to the next end-of-line code after a row that broke off.
    fn seek_end_of_line(&mut self) {
        while !self.is_at_end() && !self.is_end_of_line() {
            self.at += 1;
        }
    }

    /// One run of a colour, or `None` where no code matches.
    fn run(&mut self, is_black: bool) -> Option<usize> {
        let table = if is_black { &RUNS.black } else { &RUNS.white };
        let mut sum = 0;
        loop {
            let Run { len, n_bits } = table[self.peek(MAX_CODE_BITS)];
            if n_bits == 0 || self.is_at_end() {
                return None;
            }
            self.at += usize::from(n_bits);
            sum += usize::from(len);
            if len < 64 {
                return Some(sum);
            }
        }
    }

    /// A row of runs; false if it breaks off before `width`.
    fn runs(&mut self, width: usize, row: &mut Vec<usize>) -> bool {
        let (mut x, mut is_black) = (0, false);
        while x < width {
            let Some(run) = self.run(is_black) else { return false };
            x += run;
            row.push(x.min(width));
            is_black = !is_black;
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
                    let (Some(first), Some(second)) = (self.run(is_black), self.run(!is_black)) else {
                        return false;
                    };
                    row.push((start + first).min(width));
                    row.push((start + first + second).min(width));
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

/// What a code stands for; 0 bits where there is no such code.
#[derive(Clone, Copy, Default)]
struct Run {
    len: u16,
    n_bits: u8,
}

/// Runs by the next [`MAX_CODE_BITS`] bits.
struct Runs {
    white: Vec<Run>,
    black: Vec<Run>,
}

const MAX_CODE_BITS: usize = 13;

static RUNS: LazyLock<Runs> = LazyLock::new(|| Runs { white: table(WHITE), black: table(BLACK) });

fn table(codes: &str) -> Vec<Run> {
    let mut table = vec![Run::default(); 1 << MAX_CODE_BITS];
    for (i, code) in codes.split_whitespace().chain(LONG.split_whitespace()).enumerate() {
        // Runs of 0 to 63, then multiples of 64.
        let len = if i < 64 { i } else { (i - 63) * 64 };
        let n_free = MAX_CODE_BITS - code.len();
        let first = code.bytes().fold(0, |value, bit| value << 1 | usize::from(bit == b'1')) << n_free;
        table[first..first + (1 << n_free)].fill(Run { len: len as u16, n_bits: code.len() as u8 });
    }
    table
}

/// Codes of white runs: 0 to 63, then 64 to 1728 in steps of 64 (T.4, tables 2 and 3a).
const WHITE: &str = "\
    00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 \
    101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 \
    00000010 00000011 00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 \
    00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010 01010011 \
    01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 \
    00110011 00110100 \
    11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 \
    011010010 011010011 011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 \
    010011000 010011001 010011010 011000 010011011";

/// Codes of black runs, in the same order.
const BLACK: &str = "\
    0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 \
    000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 \
    00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 000001101001 \
    000001101010 000001101011 000011010010 000011010011 000011010100 000011010101 000011010110 000011010111 \
    000001101100 000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111 \
    000001100100 000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111 \
    000000101000 000001011000 000001011001 000000101011 000000101100 000001011010 000001100110 000001100111 \
    0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 \
    0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 \
    0000001110100 0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 \
    0000001010101 0000001011010 0000001011011 0000001100100 0000001100101";

/// Codes of 1792 to 2560 in either colour (T.4, table 3b).
const LONG: &str = "\
    00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 \
    000000010111 000000011100 000000011101 000000011110 000000011111";

#[cfg(test)]
mod tests {
    use super::{FaxCode, RUNS, decode};
    use proptest::prelude::*;

    #[test]
    fn codes_fill_their_space_once() {
        for table in [&RUNS.white, &RUNS.black] {
            let mut seen = std::collections::HashMap::new();
            for run in table.iter().filter(|run| run.n_bits > 0) {
                *seen.entry(run.len).or_insert(0) += 1_usize;
                assert!(seen[&run.len] <= 1 << (13 - run.n_bits));
            }
            // 64 short runs, 27 multiples and 13 long ones, none overwritten by another.
            assert_eq!(seen.len(), 104);
        }
    }

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
