//! Slides that stand in for others in tests and benches.

use std::path::Path;

use hubmap_io::{RasterReader, ReadOptions, Result, Size, Window};
use ndarray::ArrayViewMut3;

/// An RGB slide of one grey, of any size, that takes no memory; its resolution is 0.5 µm a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainSlide {
    /// Width and height in pixels.
    pub size: Size,
    /// All values, also off the slide.
    pub grey: u8,
}

impl RasterReader for PlainSlide {
    fn path(&self) -> &Path {
        Path::new("plain.tiff")
    }

    fn size(&self) -> Size {
        self.size
    }

    fn bands(&self) -> usize {
        3
    }

    fn microns_per_px(&self) -> Option<f64> {
        Some(0.5)
    }

    fn read_with(&self, _: Window, _: &ReadOptions<'_>, mut out: ArrayViewMut3<'_, u8>) -> Result<()> {
        out.fill(self.grey);
        Ok(())
    }
}

/// A slide that tells a function of every window before it is read; an error of the function is that of the read.
pub struct TappedSlide<F> {
    /// The slide itself, of which only the full resolution shows.
    pub slide: Box<dyn RasterReader>,
    /// What it says its chunks are.
    pub chunk_size: Size,
    /// Called with each window, from the threads that read.
    pub tap: F,
}

impl<F> std::fmt::Debug for TappedSlide<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TappedSlide").field("path", &self.slide.path()).finish_non_exhaustive()
    }
}

impl<F: Fn(Window) -> Result<()> + Send + Sync> RasterReader for TappedSlide<F> {
    fn path(&self) -> &Path {
        self.slide.path()
    }

    fn size(&self) -> Size {
        self.slide.size()
    }

    fn bands(&self) -> usize {
        self.slide.bands()
    }

    fn microns_per_px(&self) -> Option<f64> {
        self.slide.microns_per_px()
    }

    fn chunk_size(&self) -> Size {
        self.chunk_size
    }

    fn read_with(&self, window: Window, options: &ReadOptions<'_>, out: ArrayViewMut3<'_, u8>) -> Result<()> {
        (self.tap)(window)?;
        self.slide.read_with(window, options, out)
    }
}
