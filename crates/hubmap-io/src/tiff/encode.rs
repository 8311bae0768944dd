//! One chunk of pixels to the bytes that go into the file.

use std::io::Write as _;

use ndarray::ArrayRef3;

use super::spec::{Compression, TiffSpec};
use crate::Size;

/// ZSTD level: the library's default, fast and within a few percent of the slow levels on slides.
const ZSTD_LEVEL: i32 = 3;

/// Cuts chunks out of bands of rows and encodes them; buffers are reused from chunk to chunk.
pub(super) struct ChunkEncoder<'a> {
    spec: &'a TiffSpec,
    pixels: Vec<u8>,
    packed: Vec<u8>,
}

impl<'a> ChunkEncoder<'a> {
    /// An encoder for the chunks of one file.
    pub(super) fn new(spec: &'a TiffSpec) -> Self {
        Self { spec, pixels: Vec::new(), packed: Vec::new() }
    }

    /// Encodes the chunk whose in-image pixels are `view`, `[rows, columns, bands of the chunk]`.
    ///
    /// `stored` is the size of the chunk in the file; what the view does not cover is padding.
    pub(super) fn encode(&mut self, view: &ArrayRef3<u8>, stored: Size) -> Result<Vec<u8>, String> {
        let is_jpeg = matches!(self.spec.compression, Compression::Jpeg { .. });
        gather(view, stored, is_jpeg, &mut self.pixels);
        let bands = self.spec.bands_per_chunk();
        let row_len = stored.width as usize * bands;
        if self.spec.bits == 1 {
            pack_bits(&self.pixels, row_len, &mut self.packed);
            std::mem::swap(&mut self.pixels, &mut self.packed);
        } else if self.spec.predictor {
            for row in self.pixels.chunks_exact_mut(row_len) {
                difference(row, bands);
            }
        }
        let pixels = &self.pixels;
        match self.spec.compression {
            Compression::None => Ok(pixels.clone()),
            Compression::Lzw => weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
                .encode(pixels)
                .map_err(|e| e.to_string()),
            Compression::Deflate => {
                let sink = Vec::with_capacity(pixels.len() / 2);
                let mut encoder = flate2::write::ZlibEncoder::new(sink, flate2::Compression::default());
                encoder.write_all(pixels).and_then(|()| encoder.finish()).map_err(|e| e.to_string())
            }
            Compression::Zstd => zstd::bulk::compress(pixels, ZSTD_LEVEL).map_err(|e| e.to_string()),
            Compression::Jpeg { quality } => self.encode_jpeg(quality, stored),
        }
    }

    fn encode_jpeg(&self, quality: u8, stored: Size) -> Result<Vec<u8>, String> {
        use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
        let mut out = Vec::with_capacity(self.pixels.len() / 4);
        let mut encoder = Encoder::new(&mut out, quality);
        encoder.set_sampling_factor(match self.spec.chroma_subsampling() {
            2 => SamplingFactor::F_2_2,
            _ => SamplingFactor::F_1_1,
        });
        let color = if self.spec.bands_per_chunk() == 3 { ColorType::Rgb } else { ColorType::Luma };
        encoder
            .encode(&self.pixels, stored.width as u16, stored.height as u16, color)
            .map_err(|e| e.to_string())?;
        Ok(out)
    }
}

/// Copies `view` to contiguous rows of the stored size.
///
/// The padding repeats the last column and row where that keeps edges soft for a lossy codec, and is 0 otherwise.
fn gather(view: &ArrayRef3<u8>, stored: Size, repeat_edge: bool, out: &mut Vec<u8>) {
    let (rows, columns, bands) = view.dim();
    let row_len = stored.width as usize * bands;
    out.clear();
    out.reserve(row_len * stored.height as usize);
    for row in view.outer_iter() {
        match row.as_slice() {
            Some(slice) => out.extend_from_slice(slice),
            None => out.extend(row.iter()),
        }
        for _ in columns..stored.width as usize {
            if repeat_edge {
                out.extend_from_within(out.len() - bands..);
            } else {
                out.extend(std::iter::repeat_n(0, bands));
            }
        }
    }
    for _ in rows..stored.height as usize {
        if repeat_edge {
            out.extend_from_within(out.len() - row_len..);
        } else {
            out.extend(std::iter::repeat_n(0, row_len));
        }
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
