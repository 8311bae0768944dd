//! Windows of slides that become tiles, and the tile of a window.
//!
//! Tiles on disk and tiles read straight from slides are made here, so both are the same.

use anyhow::{Context, Result, bail, ensure};
use hubmap_io::{
    Feature, Mask, Polygon, Region, ScaleOptions, Size, Window, area_downscale, area_downscale_2d,
    nearest_downscale_2d,
};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::config::{DataGenConfig, ObjectPlace};
use crate::sampler::{Grid, background_windows, object_centroids, polygon_windows, window_around};
use crate::slide::labelled_polygons;
use crate::{Sample, Slide};

/// Which sampler chooses windows; decides their folder and how their masks are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutKind {
    /// Around an annotated object.
    Objects,
    /// Of the grid.
    Grid,
    /// At random places of the cortex, without objects where there is room.
    Background,
    /// At random places inside the polygons of some classes.
    Polygon,
}

impl CutKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Objects, Self::Grid, Self::Background, Self::Polygon];

    /// First part of the names of the kind's folders.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Objects => "glomi",
            Self::Grid => "grid",
            Self::Background => "background",
            Self::Polygon => "polygon",
        }
    }
}

/// A window that may become a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Its sampler.
    pub kind: CutKind,
    /// Number of the tile among those of its kind on its slide, and its file name.
    ///
    /// Numbers of windows that are left out are left out too.
    pub tile_idx: usize,
    /// On the slide; it may leave it.
    pub window: Window,
}

impl Cut {
    /// Every window of a slide that may become a tile, in the order of kinds and numbers.
    ///
    /// The kinds are those of [`DataGenConfig::kinds`].
    ///
    /// # Errors
    ///
    /// As [`Cut::of_kind`].
    pub fn all_of(slide: &Slide, config: &DataGenConfig) -> Result<Vec<Self>> {
        let mut cuts = Vec::new();
        for kind in CutKind::ALL {
            if config.kinds.contains(&kind) {
                cuts.extend(Self::of_kind(kind, slide, config)?);
            }
        }
        Ok(cuts)
    }

    /// The windows of one kind, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// An annotation from which no window can be made, or the slide lacks its mask or its anatomy where they are needed.
    pub fn of_kind(kind: CutKind, slide: &Slide, config: &DataGenConfig) -> Result<Vec<Self>> {
        let side_px = config.window_px();
        let cut = |(tile_idx, window)| Self { kind, tile_idx, window };
        let of_windows = |windows: Vec<Window>| windows.into_iter().enumerate().map(cut).collect();
        Ok(match kind {
            CutKind::Objects => {
                let centroids = object_centroids(&slide.features)
                    .with_context(|| format!("slide {}: cannot place object windows", slide.id))?;
                let cortex = match config.objects_in {
                    ObjectPlace::Anywhere => None,
                    ObjectPlace::Cortex => Some(cortex_for_objects(slide, config)?),
                };
                let is_wanted = |centroid: [f64; 2]| {
                    cortex.as_ref().is_none_or(|cortex| cortex.iter().any(|part| part.contains(centroid)))
                };
                let numbered = centroids.into_iter().enumerate().filter(|&(_, centroid)| is_wanted(centroid));
                numbered.map(|(idx, centroid)| cut((idx, window_around(centroid, side_px)))).collect()
            }
            CutKind::Grid => Grid::new(slide.reader.size(), side_px).windows().enumerate().map(cut).collect(),
            CutKind::Background => {
                let (region, mask) = (background_region(slide, config)?, mask_of(slide)?);
                let cuts = &config.background_cuts;
                of_windows(background_windows(&region, mask, side_px, cuts, config.seed, &slide.id))
            }
            CutKind::Polygon => {
                let cuts = &config.polygon_cuts;
                let features = slide.features.iter().chain(slide.anatomy.iter().flatten());
                let polygons = labelled_polygons(features, &cuts.labels);
                let region = Region::new(polygons, slide.reader.size().window());
                of_windows(polygon_windows(&region, side_px, cuts.per_slide, config.seed, &slide.id))
            }
        })
    }

    /// The tile, reduced by the scale; `None` for background of the grid that is left out.
    ///
    /// Masks of the grid stay hard, all others are averaged to grey edges (pipeline, section 2).
    ///
    /// # Errors
    ///
    /// The slide has no mask or cannot be read.
    pub fn read(&self, slide: &Slide, config: &DataGenConfig) -> Result<Option<Sample>> {
        if self.is_kept_unseen(slide, config) {
            return self.read_kept(slide, config).map(Some);
        }
        let pixels = slide.reader.read(self.window)?;
        if config.background.is_background(&pixels) {
            return Ok(None);
        }
        self.sample(self.window, slide, config, area_downscale(pixels.view(), config.scale)).map(Some)
    }

    /// Whether [`Cut::read`] gives a tile; reads the pixels only where they decide.
    ///
    /// # Errors
    ///
    /// The slide cannot be read.
    pub fn is_kept(&self, slide: &Slide, config: &DataGenConfig) -> Result<bool> {
        Ok(self.is_kept_unseen(slide, config)
            || !config.background.is_background(&slide.reader.read(self.window)?))
    }

    /// The tile of a window that is known to be kept: what [`Cut::read`] gives for it, without looking again whether it
    /// is background.
    ///
    /// # Errors
    ///
    /// As [`Cut::read`].
    pub fn read_kept(&self, slide: &Slide, config: &DataGenConfig) -> Result<Sample> {
        self.read_part(self.tile_size(config).window(), slide, config)
    }

    /// A part of the tile that [`Cut::read_kept`] gives, in pixels of the tile; only this part of the slide is read.
    ///
    /// # Errors
    ///
    /// The part is empty or leaves the tile; else as [`Cut::read`].
    pub fn read_part(&self, part: Window, slide: &Slide, config: &DataGenConfig) -> Result<Sample> {
        let size = self.tile_size(config);
        ensure!(
            size.window().intersect(&part) == Some(part),
            "{}: part {part} is empty or leaves the tile of {size}",
            self.name(&slide.id)
        );
        // The part begins and ends on pixels of the tile, so every pixel is reduced from the same area as in the tile.
        let on_slide = Window::new(
            self.window.x + part.x * i64::from(config.scale),
            self.window.y + part.y * i64::from(config.scale),
            part.width * config.scale,
            part.height * config.scale,
        );
        let image = slide.reader.read_scaled(on_slide, config.scale, &ScaleOptions::default())?;
        self.sample(on_slide, slide, config, image)
    }

    /// Width and height of the tile.
    pub fn tile_size(&self, config: &DataGenConfig) -> Size {
        Size::new(self.window.width / config.scale, self.window.height / config.scale)
    }

    /// Whether the window becomes a tile whatever it shows.
    fn is_kept_unseen(&self, slide: &Slide, config: &DataGenConfig) -> bool {
        self.kind != CutKind::Grid || config.background.keeps(config.seed, &slide.id, self.tile_idx)
    }

    /// The reduced image of a window with its mask.
    fn sample(
        &self,
        window: Window,
        slide: &Slide,
        config: &DataGenConfig,
        image: Array3<u8>,
    ) -> Result<Sample> {
        let reduce = match self.kind {
            CutKind::Grid => nearest_downscale_2d,
            CutKind::Objects | CutKind::Background | CutKind::Polygon => area_downscale_2d,
        };
        let mask = reduced(mask_of(slide)?, window, config.scale, reduce);
        Sample::new(self.name(&slide.id), image, mask)
    }

    /// Kind, slide and number, such as `glomi/2f6ecfcdf/000012`: what was cut, whatever fold it is used in.
    pub fn name(&self, slide_id: &str) -> String {
        format!("{}/{slide_id}/{:06}", self.kind.prefix(), self.tile_idx)
    }
}

fn mask_of(slide: &Slide) -> Result<&Mask> {
    slide.mask.as_ref().with_context(|| format!("slide {} has no mask", slide.id))
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

/// The polygons of the cortex, which must be there.
fn cortex_for_objects<'a>(slide: &'a Slide, config: &DataGenConfig) -> Result<Vec<&'a Polygon>> {
    let key = "data_gen.objects_in = \"cortex\"";
    let Some(anatomy) = &slide.anatomy else {
        bail!(
            "slide {id}: {key} needs the outline of the cortex, and there is no \
             {id}-anatomical-structure.json beside its TIFF; add it or set \"anywhere\"",
            id = slide.id
        );
    };
    let cortex = labelled_polygons(anatomy, &config.cortex_labels).collect::<Vec<_>>();
    ensure!(
        !cortex.is_empty(),
        "slide {}: {key} finds no outline of class {} in its anatomy file, which has {}; \
         set data_gen.cortex_labels",
        slide.id,
        config.cortex_labels.join(" or "),
        classes_of(anatomy)
    );
    Ok(cortex)
}

/// Where background is drawn: the cortex, or the whole slide if nothing says where the cortex is.
fn background_region(slide: &Slide, config: &DataGenConfig) -> Result<Region> {
    let whole = slide.reader.size();
    let anatomy = slide.anatomy.as_deref().unwrap_or_default();
    let cortex = labelled_polygons(anatomy, &config.cortex_labels).collect::<Vec<_>>();
    if cortex.is_empty() {
        if !anatomy.is_empty() {
            tracing::warn!(
                "slide {}: no outline of class {} in its anatomy file, which has {}; background is drawn \
                 from the whole slide",
                slide.id,
                config.cortex_labels.join(" or "),
                classes_of(anatomy)
            );
        }
        let [width, height] = [whole.width, whole.height].map(f64::from);
        let outline = Polygon::new(vec![[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]]);
        return Ok(Region::new([&outline], whole.window()));
    }
    let region = Region::new(cortex, whole.window());
    ensure!(
        region.n_pixels() > 0,
        "slide {}: the outline of its cortex encloses no pixel of the slide's {whole}",
        slide.id
    );
    Ok(region)
}

/// The classes of features, for messages.
fn classes_of(features: &[Feature]) -> String {
    let classes = features.iter().filter_map(|feature| feature.class.as_deref());
    let classes = classes.collect::<std::collections::BTreeSet<_>>();
    if classes.is_empty() {
        "no classes".to_owned()
    } else {
        classes.into_iter().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;
