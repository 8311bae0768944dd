//! One chunk of pixels to the bytes that go into the file.

use flate2::{Compress, FlushCompress, Status};
use ndarray::ArrayRef3;

use super::coding::Coding;
use super::sample_kind::{Sample, SampleKind};
use super::spec::Compression;
use crate::Size;

/// ZSTD level: the library's default, fast and within a few percent of the slow levels on slides.
const ZSTD_LEVEL: i32 = 3;

/// Encodes chunks; buffers and the state of Deflate are reused from chunk to chunk.
pub(super) struct ChunkEncoder {
    coding: Coding,
    pixels: Vec<u8>,
    packed: Vec<u8>,
    deflate: Option<Compress>,
}

impl ChunkEncoder {
    /// An encoder for chunks of one kind.
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, pixels: Vec::new(), packed: Vec::new(), deflate: None }
    }

    /// Encodes the chunk whose in-image pixels are `view`, `[rows, columns, bands of the chunk]`.
    ///
    /// `stored` is the size of the chunk in the file; what the view does not cover is padding.
    pub(super) fn encode(&mut self, view: &ArrayRef3<u8>, stored: Size) -> Result<Vec<u8>, String> {
        let mut pixels = std::mem::take(&mut self.pixels);
        gather(view, stored, &mut pixels);
        if self.coding.is_lossy() {
            let (rows, columns, bands) = view.dim();
            repeat_edges(&mut pixels, Size::new(columns as u32, rows as u32), stored, bands);
        }
        let encoded = self.encode_stored(&mut pixels, stored);
        self.pixels = pixels;
        encoded
    }

    /// Encodes a whole chunk of the stored size, samples in the machine's byte order, and spoils `pixels`.
    pub(super) fn encode_stored(&mut self, pixels: &mut [u8], stored: Size) -> Result<Vec<u8>, String> {
        let Coding { bands, samples, .. } = self.coding;
        let row_len = stored.width as usize * self.coding.bytes_per_pixel();
        if self.coding.predictor {
            for row in pixels.chunks_exact_mut(row_len) {
                match samples {
                    SampleKind::U16 => difference_wide(row, bands),
                    _ => difference(row, bands),
                }
            }
        }
        if cfg!(target_endian = "big") {
            pixels.chunks_exact_mut(samples.byte_len()).for_each(<[u8]>::reverse);
        }
        let mut packed = std::mem::take(&mut self.packed);
        let pixels = if samples == SampleKind::Bit {
            pack_bits(pixels, row_len, &mut packed);
            packed.as_slice()
        } else {
            &*pixels
        };
        let encoded = self.compress(pixels, stored);
        self.packed = packed;
        encoded
    }

    fn compress(&mut self, pixels: &[u8], stored: Size) -> Result<Vec<u8>, String> {
        match self.coding.compression {
            Compression::None => Ok(pixels.to_vec()),
            Compression::Lzw => weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
                .encode(pixels)
                .map_err(|e| e.to_string()),
            Compression::Deflate => {
                deflate(self.deflate.get_or_insert_with(|| Compress::new(DEFLATE_LEVEL, true)), pixels)
            }
            Compression::Zstd => zstd::bulk::compress(pixels, ZSTD_LEVEL).map_err(|e| e.to_string()),
            Compression::Jpeg { quality } => self.encode_jpeg(quality, pixels, stored),
        }
    }

    fn encode_jpeg(&self, quality: u8, pixels: &[u8], stored: Size) -> Result<Vec<u8>, String> {
        use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
        let mut out = Vec::with_capacity(pixels.len() / 4);
        let mut encoder = Encoder::new(&mut out, quality);
        encoder.set_sampling_factor(match self.coding.chroma_subsampling {
            2 => SamplingFactor::F_2_2,
            _ => SamplingFactor::F_1_1,
        });
        let color = if self.coding.bands == 3 { ColorType::Rgb } else { ColorType::Luma };
        encoder
            .encode(pixels, stored.width as u16, stored.height as u16, color)
            .map_err(|e| e.to_string())?;
        Ok(out)
    }
}

/// The level that zlib itself uses by default.
const DEFLATE_LEVEL: flate2::Compression = flate2::Compression::new(6);

/// One zlib stream; `state` is left as it was found.
fn deflate(state: &mut Compress, bytes: &[u8]) -> Result<Vec<u8>, String> {
    state.reset();
    let mut out = Vec::with_capacity((bytes.len() / 8).max(64));
    loop {
        let rest = &bytes[state.total_in() as usize..];
        match state.compress_vec(rest, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => return Ok(out),
            Ok(_) => out.reserve(out.len().max(64)),
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// Copies `view` to contiguous rows of the stored size, as bytes in the machine's order; the rest is 0.
pub(super) fn gather<T: Sample>(view: &ArrayRef3<T>, stored: Size, out: &mut Vec<u8>) {
    let (rows, columns, bands) = view.dim();
    let row_len = stored.width as usize * bands * size_of::<T>();
    out.clear();
    out.reserve(row_len * stored.height as usize);
    for (y, row) in view.outer_iter().enumerate() {
        match row.as_slice() {
            Some(slice) => T::append(slice, out),
            None => row.iter().for_each(|&sample| T::append(&[sample], out)),
        }
        debug_assert_eq!(out.len(), y * row_len + columns * bands * size_of::<T>());
        out.resize((y + 1) * row_len, 0);
    }
    out.resize(row_len * stored.height as usize, 0);
    debug_assert!(rows <= stored.height as usize);
}

/// Repeats the last column and row of the in-image pixels in the padding, which keeps edges soft for a lossy codec.
pub(super) fn repeat_edges(pixels: &mut [u8], inside: Size, stored: Size, bytes_per_pixel: usize) {
    let row_len = stored.width as usize * bytes_per_pixel;
    let inside_len = inside.width as usize * bytes_per_pixel;
    for row in pixels.chunks_exact_mut(row_len).take(inside.height as usize) {
        for at in (inside_len..row_len).step_by(bytes_per_pixel) {
            row.copy_within(at - bytes_per_pixel..at, at);
        }
    }
    for y in inside.height as usize..stored.height as usize {
        pixels.copy_within((y - 1) * row_len..y * row_len, y * row_len);
    }
}

/// Packs rows of bytes into rows of bits, highest bit first; anything but 0 is 1.
fn pack_bits(pixels: &[u8], row_len: usize, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(pixels.len().div_ceil(8));
    for row in pixels.chunks_exact(row_len) {
        out.extend(row.chunks(8).map(|eight| {
            eight.iter().enumerate().fold(0, |byte, (bit, &pixel)| byte | (u8::from(pixel != 0) << (7 - bit)))
        }));
    }
}

/// Replaces each sample by its difference from the same band of the pixel to its left.
fn difference(row: &mut [u8], bands: usize) {
    for i in (bands..row.len()).rev() {
        row[i] = row[i].wrapping_sub(row[i - bands]);
    }
}

/// [`difference`] of 16-bit samples in the machine's byte order.
fn difference_wide(row: &mut [u8], bands: usize) {
    let mut previous = vec![0_u16; bands];
    for pixel in row.chunks_exact_mut(2 * bands) {
        for (sample, previous) in pixel.as_chunks_mut::<2>().0.iter_mut().zip(&mut previous) {
            let value = u16::from_ne_bytes(*sample);
            *sample = value.wrapping_sub(*previous).to_ne_bytes();
            *previous = value;
        }
    }
}
