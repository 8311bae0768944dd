//! WebP chunks, as GDAL writes them.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::decode::Problem;
use super::page::Page;
use super::pixels::Picture;

/// Memory that one chunk may take for its pixels, and as much again for the rest.
const MEMORY_LIMIT: usize = 256 << 20;

/// Decodes a chunk of 8-bit RGB or RGBA; `out` takes its first rows.
pub(super) fn decode(page: &Page, stream: &[u8], out: &mut [u8]) -> Result<(), Problem> {
    let problem = |e: image_webp::DecodingError| Problem::Corrupt(format!("WebP: {e}"));
    let bands = page.bands_per_chunk();
    if page.bits != 8 || !matches!(bands, 3 | 4) {
        return Err(Problem::Unsupported(format!("WebP with {bands} samples of {} bits", page.bits)));
    }
    let mut decoder = WebPDecoder::new(Cursor::new(stream)).map_err(problem)?;
    decoder.set_memory_limit(MEMORY_LIMIT);
    let (width, height) = decoder.dimensions();
    let picture = Picture::new(page, width, height)?;
    let len = decoder.output_buffer_size().filter(|&len| len <= MEMORY_LIMIT);
    let len = len.ok_or_else(|| format!("WebP: {width}x{height} pixels"))?;
    let mut pixels = vec![0; len];
    decoder.read_image(&mut pixels).map_err(problem)?;
    let n_stored = if decoder.has_alpha() { 4 } else { 3 };
    picture.place(page, out, |y, row| {
        let stored = pixels.get(y * width as usize * n_stored..).unwrap_or_default();
        for (out, pixel) in row.chunks_exact_mut(bands).zip(stored.chunks_exact(n_stored)) {
            // A picture without transparency is opaque.
            out.fill(255);
            let n = bands.min(n_stored);
            out[..n].copy_from_slice(&pixel[..n]);
        }
    });
    Ok(())
}
