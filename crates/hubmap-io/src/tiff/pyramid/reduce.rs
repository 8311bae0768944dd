//! Half as many pixels in each direction.

use super::spec::Reduction;
use crate::Size;
use crate::tiff::coding::Coding;
use crate::tiff::sample_kind::SampleKind;

/// Pixels in memory: rows of interleaved samples in the machine's byte order.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub(super) bytes: &'a [u8],
    /// Pixels that count.
    pub(super) size: Size,
    /// Bytes from one row to the next.
    pub(super) row_len: usize,
}

impl<'a> Pixels<'a> {
    /// The bytes of row `y` that count.
    fn row(&self, y: usize, bytes_per_pixel: usize) -> &'a [u8] {
        &self.bytes[y * self.row_len..][..self.size.width as usize * bytes_per_pixel]
    }
}

/// Writes the reduction of `pixels`, whose sides are halved and rounded up, to the start of `out`, whose rows are
/// `out_row_len` bytes apart.
pub(super) fn halve(
    pixels: Pixels<'_>,
    coding: &Coding,
    reduction: Reduction,
    out: &mut [u8],
    out_row_len: usize,
) {
    let n = coding.bytes_per_pixel();
    let len = pixels.size.width.div_ceil(2) as usize * n;
    let height = pixels.size.height as usize;
    for (y, out) in out.chunks_mut(out_row_len).take(height.div_ceil(2)).enumerate() {
        let top = pixels.row(2 * y, n);
        // A row or pixel that is missing at the edge counts as a copy of its neighbour, which leaves the mean of
        // those that exist.
        let bottom = pixels.row((2 * y + 1).min(height - 1), n);
        let out = &mut out[..len];
        match (reduction, coding.samples, coding.bands) {
            (Reduction::Nearest, ..) => pick(top, n, out),
            (Reduction::Mean, SampleKind::Bit | SampleKind::U8, 1) => mean_of_bytes::<1>(top, bottom, out),
            (Reduction::Mean, SampleKind::Bit | SampleKind::U8, _) => mean_of_bytes::<3>(top, bottom, out),
            (Reduction::Mean, SampleKind::U16, bands) => mean(top, bottom, bands, out, |[a, b, c, d]| {
                let sum =
                    [a, b, c, d].map(|sample| u32::from(u16::from_ne_bytes(sample))).iter().sum::<u32>();
                (((sum + 2) / 4) as u16).to_ne_bytes()
            }),
            (Reduction::Mean, SampleKind::F32, bands) => mean(top, bottom, bands, out, |samples| {
                let [a, b, c, d] = samples.map(f32::from_ne_bytes);
                (((a + b) + (c + d)) * 0.25).to_ne_bytes()
            }),
        }
    }
}

/// Every second pixel.
fn pick(row: &[u8], n: usize, out: &mut [u8]) {
    match n {
        1 => out.iter_mut().zip(row.chunks(2)).for_each(|(out, pair)| *out = pair[0]),
        _ => {
            for (out, pair) in out.chunks_exact_mut(n).zip(row.chunks(2 * n)) {
                out.copy_from_slice(&pair[..n]);
            }
        }
    }
}

/// Means of 8-bit samples; whole pairs of pixels go through a loop that the compiler can vectorise.
fn mean_of_bytes<const BANDS: usize>(top: &[u8], bottom: &[u8], out: &mut [u8]) {
    let sum = |a: u8, b: u8, c: u8, d: u8| {
        ((u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d) + 2) / 4) as u8
    };
    let (top_pairs, top_rest) = top.as_chunks::<BANDS>();
    let (bottom_pairs, _) = bottom.as_chunks::<BANDS>();
    debug_assert!(top_rest.is_empty());
    let pairs = top_pairs.chunks(2).zip(bottom_pairs.chunks(2));
    for (out, (top, bottom)) in out.as_chunks_mut::<BANDS>().0.iter_mut().zip(pairs) {
        let (&[first, ..], &[below, ..]) = (top, bottom) else { continue };
        let (right, below_right) = (top.get(1).unwrap_or(&first), bottom.get(1).unwrap_or(&below));
        for band in 0..BANDS {
            out[band] = sum(first[band], right[band], below[band], below_right[band]);
        }
    }
}

/// Means of samples of `LEN` bytes.
fn mean<const LEN: usize>(
    top: &[u8],
    bottom: &[u8],
    bands: usize,
    out: &mut [u8],
    of_four: impl Fn([[u8; LEN]; 4]) -> [u8; LEN],
) {
    let (top, bottom) = (top.as_chunks::<LEN>().0, bottom.as_chunks::<LEN>().0);
    let pairs = top.chunks(2 * bands).zip(bottom.chunks(2 * bands));
    for (out, (top, bottom)) in out.as_chunks_mut::<LEN>().0.chunks_mut(bands).zip(pairs) {
        for (band, out) in out.iter_mut().enumerate() {
            let right = if top.len() > bands { band + bands } else { band };
            *out = of_four([top[band], top[right], bottom[band], bottom[right]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;

    fn halved(bytes: &[u8], size: Size, samples: SampleKind, bands: usize, reduction: Reduction) -> Vec<u8> {
        let coding = Coding {
            bands,
            samples,
            compression: Compression::None,
            predictor: false,
            chroma_subsampling: 1,
        };
        let n = coding.bytes_per_pixel();
        let row_len = size.width as usize * n;
        let out_row_len = size.width.div_ceil(2) as usize * n;
        let mut out = vec![0; out_row_len * size.height.div_ceil(2) as usize];
        halve(Pixels { bytes, size, row_len }, &coding, reduction, &mut out, out_row_len);
        out
    }

    #[test]
    fn means_round_halves_up_and_ignore_what_is_missing() {
        let bytes = [0, 1, 9, 0, 1, 8, 4, 4, 7];
        let size = Size::new(3, 3);
        assert_eq!(halved(&bytes, size, SampleKind::U8, 1, Reduction::Mean), [1, 9, 4, 7]);
        assert_eq!(halved(&bytes, size, SampleKind::U8, 1, Reduction::Nearest), [0, 9, 4, 7]);
    }

    #[test]
    fn bands_do_not_mix() {
        let bytes = [10, 20, 30, 30, 40, 50];
        assert_eq!(halved(&bytes, Size::new(2, 1), SampleKind::U8, 3, Reduction::Mean), [20, 30, 40]);
        assert_eq!(halved(&bytes, Size::new(2, 1), SampleKind::U8, 3, Reduction::Nearest), [10, 20, 30]);
    }

    #[test]
    fn wide_samples_do_not_overflow() {
        let bytes: Vec<u8> =
            [u16::MAX, u16::MAX, u16::MAX, 65533].iter().flat_map(|v| v.to_ne_bytes()).collect();
        let mean = halved(&bytes, Size::new(2, 2), SampleKind::U16, 1, Reduction::Mean);
        assert_eq!(mean, 65535_u16.to_ne_bytes());
        let bytes: Vec<u8> = [0.5_f32, 1.0, 0.0].iter().flat_map(|v| v.to_ne_bytes()).collect();
        let mean = halved(&bytes, Size::new(1, 3), SampleKind::F32, 1, Reduction::Mean);
        assert_eq!(mean, [0.75_f32, 0.0].map(f32::to_ne_bytes).concat());
    }
}
