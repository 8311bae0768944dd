//! From windows of a slide to network input.

use anyhow::Result;
use hubmap_data::Normalization;
use hubmap_io::{RasterReader, Window, area_downscale};
use ndarray::Array3;

use crate::stage::{Stage, StageClock};

/// Reads windows of a slide as network input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TileReader<'a> {
    pub(crate) normalization: Normalization,
    pub(crate) scale: u32,
    pub(crate) clock: &'a StageClock,
}

impl TileReader<'_> {
    /// The window reduced and normalised, `[3, h / scale, w / scale]`.
    pub(crate) fn read(&self, slide: &dyn RasterReader, window: Window) -> Result<Array3<f32>> {
        let pixels = self.clock.time(Stage::Read, || slide.read(window))?;
        Ok(self
            .clock
            .time(Stage::Reduce, || self.normalization.apply(&area_downscale(pixels.view(), self.scale))))
    }
}
