//! The interface that every slide reader offers.

use std::path::Path;

use ndarray::{Array3, ArrayViewMut3};

use crate::{Error, Result, Size, TiffSlide, Window};

/// A slide that can be read by windows from several threads at once.
pub trait RasterReader: Send + Sync {
    /// The file this reader was opened from.
    fn path(&self) -> &Path;

    /// Full-resolution size.
    fn size(&self) -> Size;

    /// Samples per pixel as [`RasterReader::read`] returns them: 3 for RGB, 1 for gray and masks.
    fn bands(&self) -> usize;

    /// Microns per pixel along x, if the file states it.
    fn microns_per_px(&self) -> Option<f64>;

    /// Pixels of `window` as `[height, width, bands]`; pixels off the slide are 0.
    fn read(&self, window: Window) -> Result<Array3<u8>>;

    /// The same into an existing `[height, width, bands]` array, whose old content is overwritten.
    fn read_into(&self, window: Window, mut out: ArrayViewMut3<'_, u8>) -> Result<()> {
        let pixels = self.read(window)?;
        if pixels.dim() != out.dim() {
            return Err(Error::usage(
                self.path(),
                format!("an array of {:?} for a window that needs {:?}", out.dim(), pixels.dim()),
            ));
        }
        out.assign(&pixels);
        Ok(())
    }
}

/// Opens a slide or mask; the format is recognised by content, not by name.
pub fn open(path: &Path) -> Result<Box<dyn RasterReader>> {
    Ok(Box::new(TiffSlide::open(path)?))
}
