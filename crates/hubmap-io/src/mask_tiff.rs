//! Masks as TIFF files.

use std::path::Path;

use ndarray::Axis;

use crate::{Error, Mask, Result, Window, open, write_mask};

/// Rows that are decoded at once.
const BAND_ROWS: u32 = 512;

/// Writes a mask as a single-band TIFF file of 1 bit (zeros and ones) or 8 bits (0 and 255) per pixel.
///
/// Chunks are Deflate tiles; the file is a `BigTIFF` if it could need one, and appears under its name only
/// when it is complete.
pub fn write_mask_tiff(path: &Path, mask: &Mask, bits: u8) -> Result<()> {
    let size = mask.size();
    write_mask(path, size, bits, |y, mut rows| {
        let window = Window::new(0, y as i64, size.width, rows.nrows() as u32);
        rows.assign(&mask.read(window));
        rows.mapv_inplace(|value| value * 255);
        Ok(())
    })
}

/// Reads a single-band file as a mask: every pixel that is not 0 is set.
pub fn read_mask(path: &Path) -> Result<Mask> {
    let reader = open(path)?;
    if reader.bands() != 1 {
        return Err(Error::unsupported(path, format!("mask of {} bands instead of 1", reader.bands())));
    }
    let size = reader.size();
    let mut mask = Mask::new(size);
    for y0 in (0..size.height).step_by(BAND_ROWS as usize) {
        let n_rows = BAND_ROWS.min(size.height - y0);
        let rows = reader.read(Window::new(0, y0 as i64, size.width, n_rows))?;
        mask.set_rows(y0, rows.index_axis(Axis(2), 0));
    }
    Ok(mask)
}
