//! Huffman codes and the bits they are read from.
#![expect(
    clippy::inline_always,
    reason = "the loops over blocks are compiled for the vector unit as a whole"
)]

/// Codes of up to this many bits are looked up at once, with the bits of their value if those fit too.
const LOOK: u32 = 9;

/// Longest code.
const MAX_CODE_BITS: u32 = 16;

/// A run that goes beyond the last coefficient, for the end of a block.
const PAST_THE_BLOCK: i32 = 64;

/// One code table (ITU-T T.81, annex C).
#[derive(Debug, Clone)]
pub(super) struct Huffman {
    /// By the next [`LOOK`] bits: value << 16 | run << 8 | bits of code and value; 0 where they do not fit.
    whole: [i32; 1 << LOOK],
    /// By the next [`LOOK`] bits: symbol << 8 | bits of the code; 0 where the code is longer.
    short: [u16; 1 << LOOK],
    /// By length: the first code that is too large for it, shifted up to 16 bits.
    limits: [u32; MAX_CODE_BITS as usize + 1],
    /// By length: index of a code's symbol, less the code.
    firsts: [i32; MAX_CODE_BITS as usize + 1],
    symbols: [u8; 256],
}

impl Huffman {
    /// A table without codes.
    pub(super) const fn empty() -> Self {
        Self {
            whole: [0; 1 << LOOK],
            short: [0; 1 << LOOK],
            limits: [0; MAX_CODE_BITS as usize + 1],
            firsts: [0; MAX_CODE_BITS as usize + 1],
            symbols: [0; 256],
        }
    }

    /// The table with `counts` codes of 1 to 16 bits, which stand for `symbols` in order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, String> {
        let mut table = Self::empty();
        let Some(kept) = table.symbols.get_mut(..symbols.len()) else {
            return Err("JPEG: Huffman table of more than 256 codes".to_owned());
        };
        kept.copy_from_slice(symbols);
        let (mut code, mut idx) = (0_u32, 0_usize);
        for (len, &count) in (1..=MAX_CODE_BITS).zip(counts) {
            table.firsts[len as usize] = idx as i32 - code as i32;
            for _ in 0..count {
                let Some(&symbol) = symbols.get(idx) else {
                    return Err("JPEG: Huffman table without its symbols".to_owned());
                };
                if code >> len != 0 {
                    return Err("JPEG: Huffman table with more codes than fit".to_owned());
                }
                if len <= LOOK {
                    let first = (code << (LOOK - len)) as usize;
                    let entry = (u16::from(symbol) << 8) | len as u16;
                    table.short[first..first + (1 << (LOOK - len))].fill(entry);
                }
                code += 1;
                idx += 1;
            }
            table.limits[len as usize] = code << (MAX_CODE_BITS - len);
            code <<= 1;
        }
        for (next, whole) in table.whole.iter_mut().enumerate() {
            *whole = whole_entry(table.short[next], next as u64);
        }
        Ok(table)
    }
}

/// What a lookup of AC codes gives when the code and its value are among the bits `next`.
fn whole_entry(short: u16, next: u64) -> i32 {
    let (symbol, len) = (short >> 8, u32::from(short & 0xFF));
    let (run, size) = (i32::from(symbol >> 4), u32::from(symbol & 15));
    match (len, run, size) {
        (0, ..) => 0,
        // 16 zeros: 15 and one that is written.
        (_, 15, 0) => (15 << 8) | len as i32,
        // Ends of several blocks occur in progressive scans, which do not use this table.
        (_, _, 0) => (PAST_THE_BLOCK << 8) | len as i32,
        _ if len + size > LOOK => 0,
        _ => {
            let value = extend(next << (64 - LOOK) << len, size);
            (value << 16) | (run << 8) | (len + size) as i32
        }
    }
}

/// The signed value that the top `size` bits of `word` stand for, at most 16 and not 0 bits.
#[inline(always)]
const fn extend(word: u64, size: u32) -> i32 {
    let value = (word >> (64 - size)) as i32;
    // Values that start with a 0 are negative.
    let is_negative = !((word as i64) >> 63) as i32;
    value + (is_negative & ((-1 << size) + 1))
}

/// A reader of bits, highest first; past the end there are zeros.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Bytes taken into `word`, also those past the end.
    at: usize,
    /// The next bits, from the top down.
    word: u64,
    /// How many of them count.
    n: u32,
}

impl<'a> Bits<'a> {
    /// Reads `bytes`, which have no stuffing.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, word: 0, n: 0 }
    }

    /// Whether bits were read that are not there.
    #[inline(always)]
    pub(super) const fn is_exhausted(&self) -> bool {
        self.at * 8 > self.bytes.len() * 8 + self.n as usize
    }

    /// Provides at least 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(&next) => {
                // Bits beyond `n` are the ones that the next call puts there again.
                self.word |= u64::from_be_bytes(next) >> self.n;
                self.at += ((63 - self.n) >> 3) as usize;
                self.n |= 0x38;
            }
            None => self.refill_at_end(),
        }
    }

    #[cold]
    fn refill_at_end(&mut self) {
        while self.n <= 56 {
            let byte = self.bytes.get(self.at).copied().unwrap_or(0);
            self.word |= u64::from(byte) << (56 - self.n);
            self.at += 1;
            self.n += 8;
        }
    }

    #[inline(always)]
    const fn consume(&mut self, n_bits: u32) {
        self.word <<= n_bits;
        self.n = self.n.wrapping_sub(n_bits);
    }

    /// The next `n_bits`, 1 to 16, after a [`refill`](Self::refill).
    #[inline(always)]
    pub(super) const fn take(&mut self, n_bits: u32) -> u32 {
        let value = (self.word >> (64 - n_bits)) as u32;
        self.consume(n_bits);
        value
    }

    /// The next signed value of `size` bits, 0 to 16, after a [`refill`](Self::refill).
    #[inline(always)]
    pub(super) const fn value(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = extend(self.word, size);
        self.consume(size);
        value
    }

    /// The next symbol, after a [`refill`](Self::refill); bits that are no code count as 0, as in libjpeg.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Huffman) -> u32 {
        let entry = table.short[(self.word >> (64 - LOOK)) as usize];
        if entry != 0 {
            self.consume(u32::from(entry & 0xFF));
            return u32::from(entry >> 8);
        }
        let next = (self.word >> (64 - MAX_CODE_BITS)) as u32;
        for len in LOOK + 1..=MAX_CODE_BITS {
            if next < table.limits[len as usize] {
                self.consume(len);
                let code = (next >> (MAX_CODE_BITS - len)) as i32;
                return u32::from(table.symbols[(table.firsts[len as usize] + code) as usize & 255]);
            }
        }
        self.consume(MAX_CODE_BITS);
        0
    }

    /// One AC coefficient: how many zeros come before it, and its value.
    ///
    /// The end of the block comes as a run that leaves it.
    #[inline(always)]
    pub(super) fn coefficient(&mut self, table: &Huffman) -> (usize, i32) {
        self.refill();
        let entry = table.whole[(self.word >> (64 - LOOK)) as usize];
        if entry != 0 {
            self.consume((entry & 0xFF) as u32);
            return ((entry >> 8) as usize & 0xFF, entry >> 16);
        }
        let symbol = self.symbol(table);
        let (run, size) = (symbol >> 4, symbol & 15);
        if size == 0 && run < 15 {
            return (PAST_THE_BLOCK as usize, 0);
        }
        (run as usize, self.value(size))
    }
}

#[cfg(test)]
mod tests {
    use super::{Bits, Huffman};

    /// Codes 0, 10 and 110 for symbols 0x00, 0x01 and 0xF0, and 16 bits for 0x12.
    fn table() -> Huffman {
        let mut counts = [0; 16];
        (counts[0], counts[1], counts[2], counts[15]) = (1, 1, 1, 1);
        Huffman::new(&counts, &[0x00, 0x01, 0xF0, 0x12]).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn reads_runs_and_values() {
        // 10 1, 10 0, 110, 1110000000000000 01, 0
        let bytes = [0b1011_0011, 0b0111_0000, 0b0000_0000, 0b0010_0000];
        let mut bits = Bits::new(&bytes);
        let table = table();
        let seen: Vec<_> = (0..5).map(|_| bits.coefficient(&table)).collect();
        assert_eq!(seen, [(0, 1), (0, -1), (15, 0), (1, -2), (64, 0)]);
        assert!(!bits.is_exhausted());
    }

    #[test]
    fn tables_that_do_not_add_up_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Huffman::new(&counts, &[0, 1, 2]).is_err());
        counts[0] = 2;
        assert!(Huffman::new(&counts, &[0]).is_err());
    }

    #[test]
    fn zeros_follow_the_end() {
        let mut bits = Bits::new(&[0xFF]);
        bits.refill();
        assert_eq!((bits.take(8), bits.is_exhausted()), (255, false));
        bits.refill();
        assert_eq!((bits.take(4), bits.is_exhausted()), (0, true));
    }
}
