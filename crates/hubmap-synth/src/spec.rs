//! What a slide is made from.

use anyhow::{Result, ensure};
use hubmap_io::Size;

/// Everything that decides the pixels of a synthetic slide.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideSpec {
    /// Full-resolution size.
    pub size: Size,
    /// Slides of different seeds share neither anatomy, stain nor noise.
    pub seed: u64,
    /// Microns per pixel; the competition's slides have 0.5.
    pub microns_per_px: f64,
    /// Factor on the size of all structures, 1 for a real kidney.
    ///
    /// At 0.25 a glomerulus of 200 µm is drawn 50 µm wide, so that a slide of 2048 px holds dozens.
    pub scale: f64,
    /// Glomeruli per square millimetre of cortex, at scale 1.
    pub glomeruli_per_mm2: f64,
    /// How much colour and strength of the stains differ from slide to slide, 0 to 1: 1 as between
    /// laboratories, 0 not at all.
    pub stain_variation: f64,
    /// Whether to add folds, pen marks, dust, bubbles and areas out of focus.
    pub artefacts: bool,
}

impl SlideSpec {
    /// A slide at 0.5 µm per pixel with structures of natural size and artefacts.
    pub const fn new(size: Size, seed: u64) -> Self {
        Self {
            size,
            seed,
            microns_per_px: 0.5,
            scale: 1.0,
            glomeruli_per_mm2: 4.5,
            stain_variation: 1.0,
            artefacts: true,
        }
    }

    /// Refuses what cannot be drawn.
    pub(crate) fn validate(&self) -> Result<()> {
        ensure!(self.size.area() > 0, "a slide of {} has no pixels", self.size);
        let microns = self.microns_per_px;
        ensure!((0.05..=20.0).contains(&microns), "microns_per_px {microns} is not in 0.05 to 20");
        ensure!((0.02..=10.0).contains(&self.scale), "scale {} is not in 0.02 to 10", self.scale);
        let density = self.glomeruli_per_mm2;
        ensure!((0.0..=50.0).contains(&density), "glomeruli_per_mm2 {density} is not in 0 to 50");
        let variation = self.stain_variation;
        ensure!((0.0..=1.0).contains(&variation), "stain_variation {variation} is not in 0 to 1");
        Ok(())
    }

    /// Microns of tissue per pixel: what a structure of natural size is measured in.
    pub(crate) fn tissue_microns_per_px(&self) -> f32 {
        (self.microns_per_px / self.scale) as f32
    }
}
