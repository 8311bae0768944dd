//! From packed samples of a chunk to the bytes that the caller asked for.

use std::ops::Range;

use super::info::PageInfo;
use super::page::{Page, Palette};
use super::source::Source;
use super::tag::{photometric, sample_format};
use super::ycbcr::ToRgb;
use crate::Result;

/// How decoded rows become pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pixels {
    bits: usize,
    /// Samples per pixel in each decoded row.
    bands_per_row: usize,
    is_planar: bool,
    /// The only plane to decode, where one band is wanted of several.
    only_plane: Option<usize>,
    big_endian: bool,
    sample_format: u32,
    color: Color,
}

/// What is made of the samples of a pixel.
#[derive(Debug, Clone, PartialEq)]
enum Color {
    /// All samples as they are, whole bytes of the machine's order.
    Raw,
    /// The first bands.
    First(usize),
    /// The first band, scaled up to 8 bits and possibly inverted.
    Gray { scale: u8, is_inverted: bool },
    /// The first band looked up.
    Palette(Palette),
    /// Ink to light.
    Cmyk,
    /// Luma and chroma to light.
    Ycbcr(Box<ToRgb>),
}

impl Pixels {
    /// Samples as the page stores them: 1 to 8 bits in one byte, up to 16 in two and so on.
    ///
    /// Only `YCbCr` pixels that share their chroma become RGB, as those of JPEG streams do.
    pub(super) fn raw(page: &Page) -> Self {
        let needs_rgb = page.blocks().is_some() || page.has_blocky_chroma;
        Self::with(page, ycbcr(page).filter(|_| needs_rgb).unwrap_or(Color::Raw))
    }

    /// 8-bit gray or RGB, 1-bit masks as 0 and 1, wider samples of up to 16 bits as they are; refuses other pages.
    pub(super) fn shown(source: &Source, page: &Page, info: &PageInfo) -> Result<Self> {
        if page.bits > 16 {
            return Err(source.unsupported(format!(
                "BitsPerSample (tag 258) = {} as pixels of 8 or 16 bits, page {}",
                page.bits, page.name
            )));
        }
        if !matches!(page.sample_format, 1 | 4) {
            return Err(source.unsupported(format!(
                "SampleFormat (tag 339) = {}, page {}",
                page.sample_format, page.name
            )));
        }
        let scale = match page.bits {
            1 => 1,
            bits => (255 / ((1_u32 << bits) - 1)) as u8,
        };
        let color = u16::try_from(page.photometric).unwrap_or(u16::MAX);
        let color = match (color, page.bands) {
            (photometric::BLACK_IS_ZERO, _) | (photometric::RGB, 3..) if page.bits > 8 => Color::Raw,
            (photometric::WHITE_IS_ZERO, 1 | 2) if page.bits <= 8 => Color::Gray { scale, is_inverted: true },
            (photometric::BLACK_IS_ZERO | photometric::MASK, 1 | 2) if page.bits <= 8 => {
                Color::Gray { scale, is_inverted: false }
            }
            (photometric::BLACK_IS_ZERO | photometric::RGB, 3..) if page.bits == 8 => Color::First(3),
            // JPEG gives back RGB.
            (photometric::YCBCR, 3)
                if page.codec == super::page::Codec::Jpeg && !page.has_blocky_chroma && !page.is_planar =>
            {
                Color::First(3)
            }
            (photometric::YCBCR, 3) if let Some(color) = ycbcr(page) => color,
            (photometric::PALETTE, 1 | 2) if page.palette.len() >= 1 << page.bits => {
                Color::Palette(page.palette.clone())
            }
            (photometric::CMYK, 4 | 5) if page.bits == 8 => Color::Cmyk,
            _ => {
                return Err(source.unsupported(format!(
                    "PhotometricInterpretation (tag 262) = {} ({}) with {} samples of {} bits, page {}",
                    page.photometric,
                    info.photometric_name(),
                    page.bands,
                    page.bits,
                    page.name
                )));
            }
        };
        Ok(Self::with(page, color))
    }

    fn with(page: &Page, color: Color) -> Self {
        let color = match color {
            Color::Raw if page.bits == 8 => Color::First(page.bands),
            Color::Gray { scale: 1, is_inverted: false } if page.bits == 8 => Color::First(1),
            other => other,
        };
        Self {
            bits: page.bits,
            bands_per_row: page.bands_per_chunk(),
            is_planar: page.is_planar,
            only_plane: None,
            big_endian: page.encoding.big_endian,
            sample_format: page.sample_format,
            color,
        }
    }

    /// The 8-bit bands of a page as they are.
    pub(super) fn bands(page: &Page) -> Self {
        Self::with(page, Color::First(page.bands))
    }

    /// One band as it is, if it has chunks of its own.
    pub(super) fn plane(&self, page: &Page, band: usize) -> Option<Self> {
        let color = match self.color {
            Color::First(_) => Color::First(1),
            Color::Raw => Color::Raw,
            _ => return None,
        };
        let has_plane = self.is_planar && band < page.bands;
        has_plane.then(|| Self { only_plane: Some(band), color, ..self.clone() })
    }

    /// Bytes per pixel of the output.
    pub(super) fn bytes_per_pixel(&self, page: &Page) -> usize {
        match self.color {
            Color::Raw => page.bands * self.sample_len(),
            Color::First(bands) => bands,
            Color::Gray { .. } => 1,
            Color::Palette(_) | Color::Cmyk | Color::Ycbcr(_) => 3,
        }
    }

    /// The planes that have to be decoded.
    pub(super) fn planes(&self, page: &Page) -> Range<usize> {
        if let Some(plane) = self.only_plane {
            return plane..plane + 1;
        }
        let n_used = match self.color {
            Color::Raw => page.bands,
            Color::First(bands) => bands,
            Color::Gray { .. } | Color::Palette(_) => 1,
            Color::Ycbcr(_) => 3,
            Color::Cmyk => 4,
        };
        if self.is_planar { 0..n_used } else { 0..1 }
    }

    /// Whether a row of pixels is a row of the file.
    pub(super) fn is_plain_copy(&self) -> bool {
        matches!(self.color, Color::First(bands) if bands == self.bands_per_row && self.bits == 8)
    }

    /// Bytes that one unpacked sample takes.
    fn sample_len(&self) -> usize {
        self.bits.div_ceil(8).next_power_of_two()
    }

    /// Converts `n` pixels from column `x` on; `rows` has one row of each decoded plane.
    pub(super) fn convert(&self, rows: &[&[u8]], x: usize, n: usize, unpacked: &mut Vec<u8>, out: &mut [u8]) {
        if let (Color::First(bands), 8) = (&self.color, self.bits) {
            self.take_first(*bands, rows, x, n, out);
            return;
        }
        if self.color == Color::Raw {
            self.unpack_all(rows, x, n, unpacked, out);
            return;
        }
        if let ([row], 1, 1, Color::Gray { is_inverted, .. }) =
            (rows, self.bits, self.bands_per_row, &self.color)
        {
            unpack_bits(row, x, u8::from(*is_inverted), out);
            return;
        }
        let n_bands = self.bands_per_row * rows.len();
        let mut samples = std::mem::take(unpacked);
        samples.resize(n * n_bands, 0);
        self.unpack_all(rows, x, n, unpacked, &mut samples[..n * n_bands]);
        let pixels = samples[..n * n_bands].chunks_exact(n_bands);
        match &self.color {
            Color::Gray { scale, is_inverted } => {
                let most = ((1_u16 << self.bits) - 1) as u8;
                for (out, pixel) in out.iter_mut().zip(pixels) {
                    let value = if *is_inverted { most - pixel[0] } else { pixel[0] };
                    *out = value.wrapping_mul(*scale);
                }
            }
            Color::Palette(palette) => {
                for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    *out = palette[usize::from(pixel[0])];
                }
            }
            Color::Cmyk => {
                for (out, ink) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    let light = |ink: u8| 255 - u16::from(ink);
                    *out = [0, 1, 2].map(|band| (light(ink[band]) * light(ink[3]) / 255) as u8);
                }
            }
            Color::Ycbcr(to_rgb) => {
                for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    *out = to_rgb.pixel([pixel[0], pixel[1], pixel[2]]);
                }
            }
            Color::Raw | Color::First(_) => {}
        }
        *unpacked = samples;
    }

    /// 8-bit samples: the first `bands` of each pixel.
    fn take_first(&self, bands: usize, rows: &[&[u8]], x: usize, n: usize, out: &mut [u8]) {
        match rows {
            [row] if bands == self.bands_per_row => out.copy_from_slice(&row[x * bands..][..n * bands]),
            [row] => {
                let stored = row[x * self.bands_per_row..].chunks_exact(self.bands_per_row);
                for (out, pixel) in out.chunks_exact_mut(bands).zip(stored) {
                    out.copy_from_slice(&pixel[..bands]);
                }
            }
            [r, g, b] => {
                let bands = r[x..][..n].iter().zip(&g[x..][..n]).zip(&b[x..][..n]);
                for (out, ((&r, &g), &b)) in out.as_chunks_mut::<3>().0.iter_mut().zip(bands) {
                    *out = [r, g, b];
                }
            }
            planes => {
                for (band, plane) in planes.iter().enumerate() {
                    let pixels = out[band..].iter_mut().step_by(bands);
                    pixels.zip(&plane[x..][..n]).for_each(|(out, &value)| *out = value);
                }
            }
        }
    }

    /// Every sample of `n` pixels, interleaved, in the machine's byte order.
    fn unpack_all(&self, rows: &[&[u8]], x: usize, n: usize, plane: &mut Vec<u8>, out: &mut [u8]) {
        if let [row] = rows {
            let first = x * self.bands_per_row;
            self.unpack(row, first, n * self.bands_per_row, out);
            return;
        }
        let len = self.sample_len();
        let stride = rows.len() * len;
        plane.resize(n * len, 0);
        for (band, row) in rows.iter().enumerate() {
            self.unpack(row, x, n, &mut plane[..n * len]);
            for (pixel, sample) in out.chunks_exact_mut(stride).zip(plane.chunks_exact(len)) {
                pixel[band * len..][..len].copy_from_slice(sample);
            }
        }
    }

    /// `n` samples from sample `first` on of one row.
    fn unpack(&self, row: &[u8], first: usize, n: usize, out: &mut [u8]) {
        let len = self.sample_len();
        match self.bits {
            8 => out.copy_from_slice(&row[first..first + n]),
            1 => unpack_bits(row, first, 0, out),
            16 | 32 | 64 => {
                out.copy_from_slice(&row[first * len..][..n * len]);
                if self.big_endian != cfg!(target_endian = "big") {
                    // Complex numbers are a real and an imaginary part.
                    let is_complex = matches!(
                        self.sample_format,
                        sample_format::COMPLEX_INT | sample_format::COMPLEX_FLOAT
                    );
                    let number_len = if is_complex { len / 2 } else { len };
                    out.chunks_exact_mut(number_len).for_each(<[u8]>::reverse);
                }
            }
            24 if self.sample_format == sample_format::FLOAT => {
                let samples = row[first * 3..].as_chunks::<3>().0;
                for (out, &[a, b, c]) in out.as_chunks_mut::<4>().0.iter_mut().zip(samples) {
                    let bytes = if self.big_endian { [0, a, b, c] } else { [0, c, b, a] };
                    *out = widen_float(u32::from_be_bytes(bytes)).to_ne_bytes();
                }
            }
            // Packed highest byte first, whatever the byte order of the file.
            24 => {
                for (out, sample) in
                    out.as_chunks_mut::<4>().0.iter_mut().zip(row[first * 3..].as_chunks::<3>().0)
                {
                    let [high, middle, low] = *sample;
                    *out = u32::from_be_bytes([0, high, middle, low]).to_ne_bytes();
                }
            }
            bits => {
                for (i, out) in out.chunks_exact_mut(len).enumerate() {
                    let value = bit_field(row, (first + i) * bits, bits);
                    match out {
                        [byte] => *byte = value as u8,
                        wide => wide.copy_from_slice(&(value as u16).to_ne_bytes()),
                    }
                }
            }
        }
    }
}

/// The conversion that the samples of a `YCbCr` page still need.
fn ycbcr(page: &Page) -> Option<Color> {
    page.ycbcr.as_ref().map(|ycbcr| Color::Ycbcr(Box::new(ToRgb::new(ycbcr))))
}

/// Bits from `first` on, highest first, as 0 and 1; `flip` 1 swaps the two.
fn unpack_bits(row: &[u8], first: usize, flip: u8, out: &mut [u8]) {
    for (i, out) in out.iter_mut().enumerate() {
        let at = first + i;
        *out = ((row[at / 8] >> (7 - at % 8)) & 1) ^ flip;
    }
}

/// A float of 1 + 7 + 16 bits (TIFF technical note 3) as one of 32.
fn widen_float(bits: u32) -> f32 {
    let (sign, exponent, fraction) = ((bits >> 23) << 31, (bits >> 16) & 0x7F, bits & 0xFFFF);
    match exponent {
        // Below the normal numbers there are steps of 2^-78.
        0 => f32::from_bits(sign | (fraction as f32 * 2.0_f32.powi(-78)).to_bits()),
        0x7F => f32::from_bits(sign | 0x7F80_0000 | fraction << 7),
        _ => f32::from_bits(sign | (exponent + 127 - 63) << 23 | fraction << 7),
    }
}

/// Up to 16 bits from bit `start` on, highest first.
fn bit_field(row: &[u8], start: usize, n_bits: usize) -> u32 {
    let byte = start / 8;
    let get = |i: usize| u32::from(row.get(byte + i).copied().unwrap_or(0));
    let word = (get(0) << 16) | (get(1) << 8) | get(2);
    (word >> (24 - start % 8 - n_bits)) & ((1 << n_bits) - 1)
}
