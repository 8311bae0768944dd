//! Pixels and bits: eight pixels to a byte or 64 to a word, the leftmost pixel in the most significant bit.
//!
//! Everything works on whole words of eight bytes, which is as fast as memory without vector instructions.

/// The lowest bit of every byte of a word.
const LOW_BITS: u64 = u64::from_le_bytes([1; 8]);
/// The highest bit of every byte of a word.
const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);

/// Up to eight packed bytes as one word, the leftmost pixel in the most significant bit, missing bytes 0.
pub(crate) fn word_of(bytes: &[u8]) -> u64 {
    if let Ok(bytes) = <[u8; 8]>::try_from(bytes) {
        return u64::from_be_bytes(bytes);
    }
    bytes.iter().take(8).enumerate().fold(0, |word, (i, &byte)| word | (byte as u64) << (56 - 8 * i))
}

/// Calls `each(i, word, bits)` for every word of `words` and the 64 pixels that belong to it, numbered `i`.
///
/// Non-zero pixels are set bits; the padding bits of the last word are 0.
pub(crate) fn zip_packed<T>(words: &mut [T], pixels: &[u8], mut each: impl FnMut(usize, &mut T, u64)) {
    let (blocks, rest) = pixels.as_chunks::<64>();
    for (i, (word, block)) in words.iter_mut().zip(blocks).enumerate() {
        each(i, word, pack_block(block));
    }
    if let Some(word) = words.get_mut(blocks.len()).filter(|_| !rest.is_empty()) {
        let mut block = [0; 64];
        block[..rest.len()].copy_from_slice(rest);
        each(blocks.len(), word, pack_block(&block));
    }
}

/// Packs non-zero pixels to set bits; the padding bits of the last byte become 0.
pub(crate) fn pack_row(pixels: &[u8], packed: &mut [u8]) {
    let (words, last) = packed.as_chunks_mut::<8>();
    zip_packed(words, pixels, |_, word, bits| *word = bits.to_be_bytes());
    let rest = pixels.get(64 * words.len()..).unwrap_or_default();
    zip_packed(&mut [last], rest, |_, last, bits| last.copy_from_slice(&bits.to_be_bytes()[..last.len()]));
}

/// 64 pixels as one word.
fn pack_block(block: &[u8; 64]) -> u64 {
    // Most of a slide holds no object.
    if *block == [0; 64] {
        return 0;
    }
    block
        .as_chunks::<8>()
        .0
        .iter()
        .fold(0, |word, &group| word << 8 | pack_group(u64::from_le_bytes(group)) as u64)
}

/// Eight pixels, the first in the lowest byte, as one byte, the first in the highest bit.
const fn pack_group(pixels: u64) -> u8 {
    // Adding 127 to the low seven bits of a byte carries into its highest bit unless they are all 0.
    let is_set = (((pixels & !HIGH_BITS) + !HIGH_BITS) | pixels) & HIGH_BITS;
    // Each term of the product moves the bit of one pixel to its place in the highest byte; no two sums meet.
    ((is_set >> 7).wrapping_mul(0x8040_2010_0804_0201) >> 56) as u8
}

/// Eight pixels with the value `on` where the byte has a bit, else 0.
const fn unpack_group(byte: u8, on: u8) -> [u8; 8] {
    // Byte i of the word keeps bit 7 - i; what is left of it carries into the highest bit.
    let own_bit = (byte as u64 * LOW_BITS) & 0x0102_0408_1020_4080;
    let is_set = (own_bit + !HIGH_BITS) & HIGH_BITS;
    ((is_set >> 7) * on as u64).to_le_bytes()
}

/// Sets the pixels of set bits to `on` and leaves the others alone, which must be 0 already.
pub(crate) fn unpack_words_over_zeros(words: &[u64], on: u8, pixels: &mut [u8]) {
    let (blocks, rest) = pixels.as_chunks_mut::<64>();
    for (block, &word) in blocks.iter_mut().zip(words) {
        match word {
            0 => {}
            u64::MAX => block.fill(on),
            _ => unpack_bytes(&word.to_be_bytes(), on, block),
        }
    }
    if let Some(&word) = words.get(blocks.len()) {
        unpack_bytes(&word.to_be_bytes(), on, rest);
    }
}

/// Unpacks bytes to pixels of the value `on` and 0, as many as there is room for.
fn unpack_bytes(bytes: &[u8], on: u8, pixels: &mut [u8]) {
    for (group, &byte) in pixels.chunks_mut(8).zip(bytes) {
        group.copy_from_slice(&unpack_group(byte, on)[..group.len()]);
    }
}

/// Unpacks the pixels from column `x0` of a packed row on into zeros and ones.
pub(crate) fn unpack_row(packed: &[u8], x0: usize, pixels: &mut [u8]) {
    let Some(from) = packed.get(x0 / 8..) else { return };
    let n_skipped = x0 % 8;
    if n_skipped == 0 {
        return unpack_bytes(from, 1, pixels);
    }
    let Some((&first, rest)) = from.split_first() else { return };
    let (lead, aligned) = pixels.split_at_mut((8 - n_skipped).min(pixels.len()));
    lead.copy_from_slice(&unpack_group(first, 1)[n_skipped..][..lead.len()]);
    unpack_bytes(rest, 1, aligned);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_every_byte_pack_and_unpack() {
        for byte in 0..=255 {
            for on in [1, 2, 127, 128, 200, 255] {
                let pixels = unpack_group(byte, on);
                for (i, &pixel) in pixels.iter().enumerate() {
                    assert_eq!(pixel, if byte >> (7 - i) & 1 == 1 { on } else { 0 }, "{byte} {i}");
                }
                assert_eq!(pack_group(u64::from_le_bytes(pixels)), byte, "{on}");
            }
        }
    }

    #[test]
    fn rows_of_every_length_pack_and_unpack() {
        let pixels: Vec<u8> = (0..200).map(|i| if i * i % 7 < 3 { 0 } else { i as u8 | 1 }).collect();
        for n in 0..=pixels.len() {
            let mut packed = vec![0xff; n.div_ceil(8)];
            pack_row(&pixels[..n], &mut packed);
            let mut words = vec![0; n.div_ceil(64)];
            zip_packed(&mut words, &pixels[..n], |_, word, bits| *word = bits);
            assert_eq!(words, packed.chunks(8).map(word_of).collect::<Vec<_>>());
            let expected = |on: u8| -> Vec<u8> {
                pixels[..n].iter().map(|&pixel| if pixel == 0 { 0 } else { on }).collect()
            };
            for x0 in 0..n.min(20) {
                let mut row = vec![9; n - x0];
                unpack_row(&packed, x0, &mut row);
                assert_eq!(row, expected(1)[x0..], "{n} from {x0}");
            }
            let mut row = vec![9; n];
            row.fill(0);
            unpack_words_over_zeros(&words, 3, &mut row);
            assert_eq!(row, expected(3));
        }
    }
}
