//! Windows of slides that become tiles, and the tile of a window.
//!
//! Tiles on disk and tiles read straight from slides are made here, so both are the same.

use anyhow::{Context, Result};
use hubmap_io::{Mask, ScaleOptions, Window, area_downscale, area_downscale_2d, nearest_downscale_2d};
use ndarray::{Array2, ArrayView2, Axis};

use crate::config::DataGenConfig;
use crate::sampler::{Grid, object_windows};
use crate::{Sample, Slide};

/// Which sampler chooses windows; decides their folder and how their masks are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutKind {
    /// Around an annotated object.
    Objects,
    /// Of the grid.
    Grid,
}

impl CutKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Objects, Self::Grid];

    /// First part of the names of the kind's folders.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Objects => "glomi",
            Self::Grid => "grid",
        }
    }
}

/// A window that may become a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Its sampler.
    pub kind: CutKind,
    /// Number of the tile among those of its kind on its slide, and its file name.
    pub tile_idx: usize,
    /// On the slide; it may leave it.
    pub window: Window,
}

impl Cut {
    /// Every window of a slide that may become a tile, in the order of kinds and numbers.
    ///
    /// # Errors
    ///
    /// An annotation from which no window can be made.
    pub fn all_of(slide: &Slide, config: &DataGenConfig) -> Result<Vec<Self>> {
        let mut cuts = Vec::new();
        for kind in CutKind::ALL {
            let windows = match kind {
                CutKind::Objects => object_windows(&slide.features, config.window_px())
                    .with_context(|| format!("slide {}: cannot place object windows", slide.id))?,
                CutKind::Grid => Grid::new(slide.reader.size(), config.window_px()).windows().collect(),
            };
            cuts.extend(windows.into_iter().enumerate().map(|(tile_idx, window)| Self {
                kind,
                tile_idx,
                window,
            }));
        }
        Ok(cuts)
    }

    /// The tile, reduced by the scale; `None` for background of the grid that is left out.
    ///
    /// Masks around objects are averaged to grey edges, masks of the grid stay hard (pipeline, section 2).
    ///
    /// # Errors
    ///
    /// The slide has no mask or cannot be read.
    pub fn read(&self, slide: &Slide, config: &DataGenConfig) -> Result<Option<Sample>> {
        let mask = slide.mask.as_ref().with_context(|| format!("slide {} has no mask", slide.id))?;
        let image = match self.kind {
            CutKind::Objects => {
                slide.reader.read_scaled(self.window, config.scale, &ScaleOptions::default())?
            }
            CutKind::Grid => {
                let pixels = slide.reader.read(self.window)?;
                let rule = &config.background;
                if rule.is_background(&pixels) && !rule.keeps(config.seed, &slide.id, self.tile_idx) {
                    return Ok(None);
                }
                area_downscale(pixels.view(), config.scale)
            }
        };
        let mask = match self.kind {
            CutKind::Objects => reduced(mask, self.window, config.scale, area_downscale_2d),
            CutKind::Grid => reduced(mask, self.window, config.scale, nearest_downscale_2d),
        };
        let name = format!("{}/{}/{:06}", self.kind.prefix(), slide.id, self.tile_idx);
        Sample::new(name, image, mask).map(Some)
    }
}

/// Rows of a mask, after the reduction, that are made at once: few enough for a core's own cache.
const MASK_ROWS: u32 = 16;

/// A window of a mask as levels 0 and 255, reduced by `scale`, which divides its sides.
fn reduced(
    mask: &Mask,
    window: Window,
    scale: u32,
    reduce: fn(ArrayView2<'_, u8>, u32) -> Array2<u8>,
) -> Array2<u8> {
    let (height, width) = (window.height / scale, window.width / scale);
    let mut out = Array2::zeros((height as usize, width as usize));
    for (idx, mut rows) in out.axis_chunks_iter_mut(Axis(0), MASK_ROWS as usize).enumerate() {
        let y = window.y + i64::from(idx as u32 * MASK_ROWS * scale);
        let mut full = mask.read(Window { y, height: rows.nrows() as u32 * scale, ..window });
        full.mapv_inplace(|bit| bit * u8::MAX);
        rows.assign(&reduce(full.view(), scale));
    }
    out
}
