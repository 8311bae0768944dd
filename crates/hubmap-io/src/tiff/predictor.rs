//! Samples stored as differences (`Predictor`, tag 317), undone row by row.

use super::page::Page;

/// How samples were made smaller before they were compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    /// Differences from the pixel to the left.
    Horizontal,
    /// The bytes of floats by significance, then differences between neighbouring bytes (TIFF technical note 3).
    Float,
}

impl Predictor {
    /// Undoes it in one row.
    pub(super) fn undo(self, row: &mut [u8], page: &Page, scratch: &mut Vec<u8>) {
        let bands = page.bands_per_chunk();
        match (self, page.bits, bands) {
            (Self::Float, bits, _) => join_floats(row, bits / 8, bands, page.encoding.big_endian, scratch),
            (_, 8, 1) => sum_pixels::<1>(row),
            (_, 8, 3) => sum_pixels::<3>(row),
            (_, 8, 4) => sum_pixels::<4>(row),
            (_, 8, _) => sum_bytes(row, bands),
            (_, bits, _) => sum_wide(row, bits / 8, bands, page.encoding.big_endian),
        }
    }
}

/// Adds up pixels of `N` bytes.
pub(super) fn sum_pixels<const N: usize>(row: &mut [u8]) {
    let mut sum = [0_u8; N];
    for pixel in row.as_chunks_mut::<N>().0 {
        for band in 0..N {
            sum[band] = sum[band].wrapping_add(pixel[band]);
        }
        *pixel = sum;
    }
}

fn sum_bytes(row: &mut [u8], stride: usize) {
    for i in stride..row.len() {
        row[i] = row[i].wrapping_add(row[i - stride]);
    }
}

/// Samples of more than one byte add up as whole numbers in the byte order of the file.
fn sum_wide(row: &mut [u8], sample_len: usize, bands: usize, big_endian: bool) {
    let stride = bands * sample_len;
    for at in (stride..row.len().saturating_sub(sample_len - 1)).step_by(sample_len) {
        let mut carry = 0;
        for i in 0..sample_len {
            let byte = if big_endian { sample_len - 1 - i } else { i };
            let sum = u16::from(row[at + byte]) + u16::from(row[at + byte - stride]) + carry;
            row[at + byte] = sum as u8;
            carry = sum >> 8;
        }
    }
}

/// Floats whose most significant bytes come first, then all of the next, and so on, whatever the byte order.
fn join_floats(row: &mut [u8], sample_len: usize, bands: usize, big_endian: bool, scratch: &mut Vec<u8>) {
    sum_bytes(row, bands);
    scratch.clear();
    scratch.extend_from_slice(row);
    let n_samples = row.len() / sample_len;
    for (i, sample) in row.chunks_exact_mut(sample_len).enumerate() {
        for (byte, out) in sample.iter_mut().enumerate() {
            let plane = if big_endian { byte } else { sample_len - 1 - byte };
            *out = scratch[plane * n_samples + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{join_floats, sum_wide};

    #[test]
    fn sums_16_bit_samples_in_either_byte_order() {
        let mut little = [0xFF, 0x00, 0x02, 0x01];
        sum_wide(&mut little, 2, 1, false);
        assert_eq!(u16::from_le_bytes([little[2], little[3]]), 0x00FF + 0x0102);
        let mut big = [0x00, 0xFF, 0x01, 0x02];
        sum_wide(&mut big, 2, 1, true);
        assert_eq!(u16::from_be_bytes([big[2], big[3]]), 0x00FF + 0x0102);
    }

    #[test]
    fn joins_the_bytes_of_floats() {
        let floats = [1.5_f32, -2.25];
        let [a, b] = floats.map(f32::to_be_bytes);
        let mut row = [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]];
        for i in (1..row.len()).rev() {
            row[i] = row[i].wrapping_sub(row[i - 1]);
        }
        join_floats(&mut row, 4, 1, false, &mut Vec::new());
        assert_eq!(row.as_chunks::<4>().0.iter().map(|&f| f32::from_le_bytes(f)).collect::<Vec<_>>(), floats);
    }
}
