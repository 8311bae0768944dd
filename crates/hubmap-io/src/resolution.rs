//! Slides whose resolution is known better than their files say.

use std::path::Path;

use ndarray::{Array3, ArrayViewMut3};

use crate::{
    AssociatedImage, Level, RasterReader, ReadOptions, Result, SampleKind, ScaleOptions, Size, Window,
};

/// The same slide with another resolution, in micrometres per pixel along x and y.
pub fn with_resolution(slide: Box<dyn RasterReader>, microns_per_px: f64) -> Box<dyn RasterReader> {
    Box::new(WithResolution { slide, microns_per_px })
}

struct WithResolution {
    slide: Box<dyn RasterReader>,
    microns_per_px: f64,
}

impl RasterReader for WithResolution {
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
        Some(self.microns_per_px)
    }

    fn read_with(&self, window: Window, options: &ReadOptions<'_>, out: ArrayViewMut3<'_, u8>) -> Result<()> {
        self.slide.read_with(window, options, out)
    }

    fn sample_kind(&self) -> SampleKind {
        self.slide.sample_kind()
    }

    fn chunk_size(&self) -> Size {
        self.slide.chunk_size()
    }

    fn levels(&self) -> Vec<Level> {
        self.slide.levels()
    }

    fn vendor(&self) -> &'static str {
        self.slide.vendor()
    }

    fn description(&self) -> Option<&str> {
        self.slide.description()
    }

    fn associated_images(&self) -> Vec<AssociatedImage> {
        self.slide.associated_images()
    }

    fn read_associated(&self, name: &str) -> Result<Array3<u8>> {
        self.slide.read_associated(name)
    }

    fn read_u16(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u16>> {
        self.slide.read_u16(window, options)
    }

    fn read_scaled(&self, window: Window, factor: u32, options: &ScaleOptions<'_>) -> Result<Array3<u8>> {
        self.slide.read_scaled(window, factor, options)
    }
}
