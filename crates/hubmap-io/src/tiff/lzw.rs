//! TIFF's LZW, written for speed: strings are copied from the output itself.
//!
//! Each table entry is a place in the output and a length. The entry that a code adds is the previous string and
//! the first byte of the current one, and those lie next to each other in the output, so that adding an entry is
//! one store and decoding a string is one copy.

/// Codes 0 to 255 are bytes.
const CLEAR: usize = 256;
const END: usize = 257;
const FIRST_FREE: usize = 258;
const MAX_BITS: u32 = 12;
const TABLE_LEN: usize = 1 << MAX_BITS;

/// Strings up to this length are copied as one block, which may write past their end.
const BLOCK: usize = 16;

/// Where the string of a code starts in the output, and its length.
#[derive(Clone, Copy, Default)]
struct Entry {
    start: u32,
    len: u32,
}

/// The decoder's table, reused from chunk to chunk.
pub(super) struct Lzw {
    entries: Box<[Entry]>,
}

impl Lzw {
    pub(super) fn new() -> Self {
        Self { entries: vec![Entry::default(); TABLE_LEN].into_boxed_slice() }
    }

    /// Decodes until `out` is full or the stream ends; returns the number of bytes written.
    pub(super) fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, String> {
        match input {
            // The first code is CLEAR: 9 bits 1 0000 0000. Lowest bit first, that reads 00 01: the order of
            // libtiff before version 3, which also widened its codes one entry later.
            [0, second, ..] if second & 1 == 1 => self.decode_with::<LsbFirst>(input, out),
            _ => self.decode_with::<MsbFirst>(input, out),
        }
    }

    fn decode_with<B: BitOrder>(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, String> {
        if u32::try_from(out.len()).is_err() {
            return Err("an LZW chunk of more than 4 GiB".to_owned());
        }
        let mut codes = Codes::<B>::new(input);
        let mut at = 0;
        let mut next = FIRST_FREE;
        let mut width = 9;
        // The previous string, if any since the last CLEAR.
        let mut previous: Option<Entry> = None;
        while at < out.len() {
            let Some(code) = codes.take(width) else { break };
            let current = if code < CLEAR {
                out[at] = code as u8;
                Entry { start: at as u32, len: 1 }
            } else if code == CLEAR {
                next = FIRST_FREE;
                width = 9;
                previous = None;
                continue;
            } else if code == END {
                break;
            } else if code < next {
                let Entry { start, len } = self.entries[code & (TABLE_LEN - 1)];
                let len = copy_string(out, start as usize, at, len as usize);
                Entry { start: at as u32, len: len as u32 }
            } else if let (Some(Entry { start, len }), true) = (previous, code == next) {
                // The string that this code is about to define: the previous one and its own first byte.
                let n = copy_string(out, start as usize, at, len as usize);
                let end = at + n;
                if end < out.len() {
                    out[end] = out[start as usize];
                    Entry { start: at as u32, len: len + 1 }
                } else {
                    Entry { start: at as u32, len: n as u32 }
                }
            } else {
                return Err(format!("LZW code {code} before it is defined"));
            };
            at += current.len as usize;
            if let Some(Entry { start, len }) = previous {
                // Codes past the end of the table occur in old files that forgot to clear it; they add nothing.
                if next < TABLE_LEN {
                    self.entries[next] = Entry { start, len: len + 1 };
                    next += 1;
                    if next + B::EARLY >= 1 << width && width < MAX_BITS {
                        width += 1;
                    }
                }
            }
            previous = Some(current);
        }
        Ok(at)
    }
}

/// Copies `len` bytes within `out`, from a string that ends at or before `to`; returns how many fitted.
#[inline]
fn copy_string(out: &mut [u8], from: usize, to: usize, len: usize) -> usize {
    if len <= BLOCK && to + BLOCK <= out.len() {
        let block: [u8; BLOCK] =
            out.get(from..from + BLOCK).and_then(|b| b.try_into().ok()).unwrap_or_default();
        out[to..to + BLOCK].copy_from_slice(&block);
        len
    } else {
        let n = len.min(out.len() - to);
        out.copy_within(from..from + n, to);
        n
    }
}

/// In which order codes are packed into bytes.
trait BitOrder {
    /// How many entries before its last the table's code width grows.
    const EARLY: usize;

    /// Adds 4 bytes below (or above) `n_bits` unread bits.
    fn push(bits: u64, n_bits: u32, bytes: u64, n_new: u32) -> u64;

    /// Splits off the next code: the code and the bits that remain.
    fn pop(bits: u64, n_bits: u32, width: u32) -> (u64, u64);

    /// 4 bytes as a number.
    fn word(bytes: [u8; 4]) -> u32;
}

struct MsbFirst;

impl BitOrder for MsbFirst {
    const EARLY: usize = 1;

    #[inline]
    fn push(bits: u64, _n_bits: u32, bytes: u64, n_new: u32) -> u64 {
        (bits << n_new) | bytes
    }

    #[inline]
    fn pop(bits: u64, n_bits: u32, width: u32) -> (u64, u64) {
        // Bits above the unread ones are left over from earlier codes and masked away.
        ((bits >> (n_bits - width)) & ((1 << width) - 1), bits)
    }

    fn word(bytes: [u8; 4]) -> u32 {
        u32::from_be_bytes(bytes)
    }
}

struct LsbFirst;

impl BitOrder for LsbFirst {
    const EARLY: usize = 0;

    #[inline]
    fn push(bits: u64, n_bits: u32, bytes: u64, _n_new: u32) -> u64 {
        bits | (bytes << n_bits)
    }

    #[inline]
    fn pop(bits: u64, _n_bits: u32, width: u32) -> (u64, u64) {
        (bits & ((1 << width) - 1), bits >> width)
    }

    fn word(bytes: [u8; 4]) -> u32 {
        u32::from_le_bytes(bytes)
    }
}

/// A reader of codes.
struct Codes<'a, B> {
    input: &'a [u8],
    bits: u64,
    n_bits: u32,
    order: std::marker::PhantomData<B>,
}

impl<'a, B: BitOrder> Codes<'a, B> {
    fn new(input: &'a [u8]) -> Self {
        Self { input, bits: 0, n_bits: 0, order: std::marker::PhantomData }
    }

    #[inline]
    fn take(&mut self, width: u32) -> Option<usize> {
        if self.n_bits < width {
            if let Some((word, rest)) = self.input.split_first_chunk::<4>() {
                self.bits = B::push(self.bits, self.n_bits, u64::from(B::word(*word)), 32);
                self.n_bits += 32;
                self.input = rest;
            } else {
                while let (Some((&byte, rest)), true) = (self.input.split_first(), self.n_bits < width) {
                    self.bits = B::push(self.bits, self.n_bits, u64::from(byte), 8);
                    self.n_bits += 8;
                    self.input = rest;
                }
                if self.n_bits < width {
                    return None;
                }
            }
        }
        let (code, rest) = B::pop(self.bits, self.n_bits, width);
        self.bits = rest;
        self.n_bits -= width;
        Some(code as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::Lzw;
    use proptest::prelude::*;

    fn round_trip(bytes: &[u8]) {
        let packed =
            weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(bytes).unwrap();
        let mut lzw = Lzw::new();
        let mut out = vec![0; bytes.len()];
        assert_eq!(lzw.decode(&packed, &mut out), Ok(bytes.len()));
        assert_eq!(out, bytes);
        // Only the beginning is asked for.
        let mut part = vec![0; bytes.len() / 2];
        assert_eq!(lzw.decode(&packed, &mut part), Ok(part.len()));
        assert_eq!(part, bytes[..part.len()]);
    }

    #[test]
    fn decodes_runs_that_refer_to_themselves() {
        round_trip(&vec![7; 100_000]);
        round_trip(&[]);
        round_trip(&[1]);
        round_trip(b"abababababababababababab");
    }

    #[test]
    fn decodes_past_many_table_resets() {
        let bytes: Vec<u8> =
            (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 27) as u8 * 3).collect();
        round_trip(&bytes);
    }

    #[test]
    fn refuses_codes_from_nowhere() {
        // CLEAR, then 300, most significant bit first.
        let bits = ((0x100_u32 << 9) | 0x12C) << 14;
        assert!(Lzw::new().decode(&bits.to_be_bytes(), &mut [0; 64]).is_err());
    }

    proptest! {
        #[test]
        fn matches_the_encoder(bytes in proptest::collection::vec(0_u8..4, 0..5000)) {
            round_trip(&bytes);
        }

        #[test]
        fn survives_garbage(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut out = vec![0; 4000];
            let _ = Lzw::new().decode(&bytes, &mut out);
        }
    }
}
