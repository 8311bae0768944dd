//! A slide that is an array.

use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayViewMut3, s};

use crate::{Error, RasterReader, ReadOptions, Result, Size, Window};

/// An 8-bit image in memory, read like any other slide.
///
/// For tests, and for pixels that come from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct MemorySlide {
    path: PathBuf,
    pixels: Array3<u8>,
    microns_per_px: Option<f64>,
}

impl MemorySlide {
    /// A slide of `[height, width, bands]` pixels; `name` stands for its file in messages.
    ///
    /// A side of 0, or of more than 32 bits, is an [`Error::Usage`].
    pub fn new(name: &Path, pixels: Array3<u8>, microns_per_px: Option<f64>) -> Result<Self> {
        let (height, width, bands) = pixels.dim();
        if pixels.is_empty() || u32::try_from(width.max(height)).is_err() {
            return Err(Error::usage(name, format!("an image of {width}x{height} pixels and {bands} bands")));
        }
        Ok(Self { path: name.to_owned(), pixels, microns_per_px })
    }

    /// All pixels, `[height, width, bands]`.
    pub fn pixels(&self) -> &Array3<u8> {
        &self.pixels
    }
}

impl RasterReader for MemorySlide {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> Size {
        let (height, width, _) = self.pixels.dim();
        Size::new(width as u32, height as u32)
    }

    fn bands(&self) -> usize {
        self.pixels.dim().2
    }

    fn microns_per_px(&self) -> Option<f64> {
        self.microns_per_px
    }

    fn read_with(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        mut out: ArrayViewMut3<'_, u8>,
    ) -> Result<()> {
        options.check(&self.path, window, 1, self.bands(), out.dim())?;
        let inside = self.size().window().intersect(&window);
        if inside != Some(window) {
            out.fill(options.fill_u8(&self.path)?);
        }
        let Some(inside) = inside else { return Ok(()) };
        let (x, y) = ((inside.x - window.x) as usize, (inside.y - window.y) as usize);
        let (left, top) = (inside.x as usize, inside.y as usize);
        let (width, height) = (inside.width as usize, inside.height as usize);
        let pixels = self.pixels.slice(s![top..top + height, left..left + width, ..]);
        let mut out = out.slice_mut(s![y..y + height, x..x + width, ..]);
        for (to, from) in (0..out.dim().2).map(|to| (to, options.bands.map_or(to, |bands| bands[to]))) {
            out.slice_mut(s![.., .., to]).assign(&pixels.slice(s![.., .., from]));
        }
        Ok(())
    }
}
