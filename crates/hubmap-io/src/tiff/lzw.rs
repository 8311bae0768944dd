//! TIFF's LZW, written for speed: strings are copied from the output itself.
//!
//! Each table entry is a place in the output and a length. The entry that a code adds is the previous string and
//! the first byte of the current one, and those lie next to each other in the output, so that adding an entry is
//! one store and decoding a string is one copy. The output is preceded by all 256 bytes in order, so that single
//! bytes are strings like any other.

/// Bytes that must precede the output in its buffer.
pub(super) const LEAD: usize = 256;

/// Bytes that must follow the output in its buffer, because short strings are copied as whole blocks.
pub(super) const SLACK: usize = BLOCK;

/// Bytes that must follow the input in its buffer, because codes are cut out of 8 bytes at once.
pub(super) const INPUT_SLACK: usize = 8;

/// Codes 0 to 255 are bytes.
const CLEAR: usize = 256;
const END: usize = 257;
const MIN_BITS: usize = 9;
const MAX_BITS: usize = 12;
const TABLE_LEN: usize = 1 << MAX_BITS;

/// Strings up to this length are copied as one block, which may write past their end.
const BLOCK: usize = 16;

/// Where the string of a code starts in the buffer, and its length.
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
        let byte = |start: usize| Entry { start: start as u32, len: 1 };
        Self { entries: (0..TABLE_LEN).map(byte).collect() }
    }

    /// Decodes `n` bytes of `input`, which are followed by [`INPUT_SLACK`] more, until the output is full or the
    /// stream ends; returns the number of bytes written.
    ///
    /// The output is what lies between the first [`LEAD`] and the last [`SLACK`] bytes of `buffer`.
    pub(super) fn decode(&mut self, input: &[u8], n: usize, buffer: &mut [u8]) -> Result<usize, String> {
        if u32::try_from(buffer.len()).is_err() {
            return Err("an LZW chunk of more than 4 GiB".to_owned());
        }
        for (byte, value) in buffer.iter_mut().zip(0..=u8::MAX) {
            *byte = value;
        }
        match input[..n] {
            // The first code is CLEAR: 9 bits 1 0000 0000. Lowest bit first, that reads 00 01: the order of
            // libtiff before version 3, which also widened its codes one entry later.
            [0, second, ..] if second & 1 == 1 => self.decode_with::<LowestFirst>(input, n, buffer),
            _ => self.decode_with::<HighestFirst>(input, n, buffer),
        }
    }

    fn decode_with<B: BitOrder>(
        &mut self,
        input: &[u8],
        n: usize,
        buffer: &mut [u8],
    ) -> Result<usize, String> {
        let Some((entries, _)) = self.entries.split_first_chunk_mut::<TABLE_LEN>() else { return Ok(0) };
        let end = buffer.len() - SLACK;
        let n_bits = n * 8;
        let mut at = LEAD;
        let mut bit = 0;
        let mut width = MIN_BITS;
        // The first code after CLEAR defines nothing: it writes to the slot of END, which is never read.
        let mut next = END;
        let mut previous = Entry::default();
        while at < end && bit + width <= n_bits {
            let Some(bytes) = input[bit / 8..].first_chunk::<8>() else { break };
            let code = B::code(*bytes, bit % 8, width);
            bit += width;
            if code == CLEAR {
                next = END;
                width = MIN_BITS;
                continue;
            }
            if code == END {
                break;
            }
            if next < TABLE_LEN {
                // What this code defines ends with the first byte that it is about to write.
                entries[next] = Entry { start: previous.start, len: previous.len + 1 };
            }
            if code > next {
                return Err(format!("LZW code {code} before it is defined"));
            }
            let Entry { start, len } = entries[code % TABLE_LEN];
            let (start, len) = (start as usize, len as usize);
            if len <= BLOCK {
                let Some(&block) = buffer[start..].first_chunk::<BLOCK>() else { break };
                let Some(target) = buffer[at..].first_chunk_mut::<BLOCK>() else { break };
                *target = block;
            } else {
                let n = len.min(end - at);
                buffer.copy_within(start..start + n, at);
            }
            if code == next {
                // The string that this code defines itself ends with the byte it begins with.
                let last = (at + len - 1).min(end);
                buffer[last] = buffer[at];
            }
            previous = Entry { start: at as u32, len: len as u32 };
            at += len;
            // Codes past the end of the table occur in old files that forgot to clear it; they define nothing.
            if next < TABLE_LEN {
                next += 1;
                if next + B::EARLY == 1 << width && width < MAX_BITS {
                    width += 1;
                }
            }
        }
        Ok(at.min(end) - LEAD)
    }
}

/// In which order codes are packed into bytes.
trait BitOrder {
    /// How many entries before its last the table's code width grows.
    const EARLY: usize;

    /// The code of `width` bits that starts at bit `start`, below 8.
    fn code(bytes: [u8; 8], start: usize, width: usize) -> usize;
}

struct HighestFirst;

impl BitOrder for HighestFirst {
    const EARLY: usize = 1;

    #[inline]
    fn code(bytes: [u8; 8], start: usize, width: usize) -> usize {
        ((u64::from_be_bytes(bytes) << start) >> (64 - width)) as usize
    }
}

struct LowestFirst;

impl BitOrder for LowestFirst {
    const EARLY: usize = 0;

    #[inline]
    fn code(bytes: [u8; 8], start: usize, width: usize) -> usize {
        (u64::from_le_bytes(bytes) >> start) as usize & ((1 << width) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{INPUT_SLACK, LEAD, Lzw, SLACK};
    use proptest::prelude::*;

    /// Decodes as many bytes as `out` holds.
    fn decode(packed: &[u8], n_wanted: usize) -> Result<Vec<u8>, String> {
        let mut input = packed.to_vec();
        input.resize(packed.len() + INPUT_SLACK, 0xFF);
        let mut buffer = vec![0xAA; LEAD + n_wanted + SLACK];
        let n = Lzw::new().decode(&input, packed.len(), &mut buffer)?;
        Ok(buffer[LEAD..LEAD + n].to_vec())
    }

    fn round_trip(bytes: &[u8]) {
        let packed =
            weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(bytes).unwrap();
        assert_eq!(decode(&packed, bytes.len()).as_deref(), Ok(bytes));
        // Only the beginning is asked for, or more than there is.
        let part = bytes.len() / 2;
        assert_eq!(decode(&packed, part).as_deref(), Ok(&bytes[..part]));
        assert_eq!(decode(&packed, bytes.len() + 9).as_deref(), Ok(bytes));
        // Old files: lowest bit first, codes grow one entry later, as GIF has it.
        let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(bytes).unwrap();
        assert_eq!(decode(&packed, bytes.len()).as_deref(), Ok(bytes));
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
        assert!(decode(&bits.to_be_bytes(), 64).is_err());
    }

    proptest! {
        #[test]
        fn matches_the_encoder(bytes in proptest::collection::vec(0_u8..4, 0..5000)) {
            round_trip(&bytes);
        }

        #[test]
        fn survives_garbage(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = decode(&bytes, 4000);
        }
    }
}
