//! From probabilities to a mask, and what is done to its objects.

mod config;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use hubmap_data::{anatomy_of, labelled_polygons};
use hubmap_io::{Mask, Polygon, RasterReader, Region, RowRun, Size, read_annotations, trace_runs};
use ndarray::{Array2, ArrayRef2};
use rayon::prelude::*;

use crate::objects::DetectedObject;
use crate::predictor::RowSink;

pub use config::{FillHoles, PostprocessConfig, Within};

/// Post-processing of one slide's objects: [`PostprocessConfig`] with what it needs to know of the slide.
///
/// The steps are, in this order: pixels outside the outlines are cleared ([`Within::Pixels`]), holes of each object are
/// filled, small objects are dropped, objects outside the outlines are dropped ([`Within::Objects`]).
/// The default does nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Postprocess {
    /// Largest hole that is filled, in pixels.
    max_hole_px: u64,
    /// Fewest pixels of an object.
    min_area_px: u64,
    /// Pixels that may be positive.
    clip: Option<Region>,
    /// One of these must hold an object's centroid.
    outlines: Option<Vec<Polygon>>,
    /// How far outlines of objects may be off, in pixels.
    simplify_px: f64,
}

impl Postprocess {
    /// What `config` asks for on the slide `id`.
    ///
    /// Outlines come from the slide's annotations of anatomical structures, beside its file.
    pub fn for_slide(config: &PostprocessConfig, slide: &dyn RasterReader, id: &str) -> Result<Self> {
        let folder = slide.path().parent().filter(|folder| !folder.as_os_str().is_empty());
        Self::new(config, slide, id, anatomy_of(folder.unwrap_or(Path::new(".")), id).as_deref())
    }

    /// The same with outlines from a file of annotations, for slides that lie elsewhere; an error if they are needed and there
    /// is none.
    pub fn new(
        config: &PostprocessConfig,
        slide: &dyn RasterReader,
        id: &str,
        anatomy: Option<&Path>,
    ) -> Result<Self> {
        let mut min_area_px = config.min_area_px;
        if config.min_area_um2 > 0.0 {
            let microns = slide.microns_per_px().with_context(|| {
                format!(
                    "{} does not state its resolution: infer.postprocess.min_area_um2 needs it, \
                     set min_area_px instead",
                    slide.path().display()
                )
            })?;
            min_area_px = min_area_px.max((config.min_area_um2 / (microns * microns)).ceil() as u64);
        }
        let outlines = match config.within {
            Within::Anywhere => None,
            Within::Pixels | Within::Objects => Some(outlines_of(anatomy, id, &config.within_labels)?),
        };
        let (clip, outlines) = match config.within {
            Within::Pixels => (outlines.map(|polygons| Region::new(&polygons, slide.size().window())), None),
            Within::Anywhere | Within::Objects => (None, outlines),
        };
        Ok(Self {
            max_hole_px: config.fill_holes.max_px(),
            min_area_px,
            clip,
            outlines,
            simplify_px: config.simplify_px,
        })
    }

    /// The outline of an object as it goes to a file of outlines.
    pub fn outline(&self, object: &DetectedObject) -> Polygon {
        let polygon = object.polygon();
        if self.simplify_px > 0.0 { polygon.simplified(self.simplify_px) } else { polygon }
    }

    /// The pixels that may be positive, if not all.
    pub(crate) const fn clip(&self) -> Option<&Region> {
        self.clip.as_ref()
    }

    /// Fills the holes of an object that are small enough, and returns the pixels of these, if there are any.
    ///
    /// A hole is a part of the slide that the object surrounds: pixels connected through their sides, whatever they are.
    pub(crate) fn fill_holes(&self, runs: &mut Vec<RowRun>) -> Option<Vec<RowRun>> {
        if self.max_hole_px == 0 {
            return None;
        }
        let window = DetectedObject::bounds_of(runs);
        let mut filled = Vec::new();
        for polygon in trace_runs(runs) {
            for hole in polygon.holes.into_iter().map(Polygon::new) {
                if hole.area() <= self.max_hole_px as f64 {
                    hole.spans(window, |y, x0, x1| {
                        filled.push(RowRun { y: y as u32, x0: x0 as u32, x1: x1 as u32 });
                    });
                }
            }
        }
        if filled.is_empty() {
            return None;
        }
        runs.extend(&filled);
        runs.sort_unstable();
        runs.dedup_by(|next, run| {
            let touches = run.y == next.y && run.x1 == next.x0;
            if touches {
                run.x1 = next.x1;
            }
            touches
        });
        Some(filled)
    }

    /// Whether an object stays.
    pub(crate) fn keeps(&self, object: &DetectedObject) -> bool {
        let is_inside =
            |polygons: &Vec<Polygon>| polygons.iter().any(|polygon| polygon.contains(object.centroid));
        object.area_px >= self.min_area_px && self.outlines.as_ref().is_none_or(is_inside)
    }
}

/// The polygons of some classes in the anatomical structures of a slide.
fn outlines_of(anatomy: Option<&Path>, id: &str, labels: &[String]) -> Result<Vec<Polygon>> {
    let Some(path) = anatomy else {
        bail!(
            "slide {id} has no {id}-anatomical-structure.json beside it, which infer.postprocess.within needs: \
             add it or set within = \"anywhere\""
        )
    };
    let features = read_annotations(path)?;
    let polygons: Vec<Polygon> = labelled_polygons(&features, labels).cloned().collect();
    ensure!(
        !polygons.is_empty(),
        "{}: no outline of class {}: set infer.postprocess.within_labels to classes of this file",
        path.display(),
        labels.join(", ")
    );
    Ok(polygons)
}

/// Ones where a probability is strictly greater than the threshold, zeros elsewhere.
///
/// The threshold is rounded to half precision first, as comparing a half-precision array does in numpy.
pub fn positive_pixels(probabilities: &ArrayRef2<f16>, threshold: f32) -> Array2<u8> {
    let threshold = f16::from_f32(threshold);
    let mut pixels = Array2::zeros(probabilities.dim());
    let mut rows: Vec<_> = pixels.outer_iter_mut().zip(probabilities.outer_iter()).collect();
    rows.par_iter_mut().for_each(|(pixels, probabilities)| {
        for (pixel, &probability) in pixels.iter_mut().zip(&*probabilities) {
            *pixel = u8::from(probability > threshold);
        }
    });
    drop(rows);
    pixels
}

/// Builds the mask of a slide from its probabilities as they come, one bit a pixel.
#[derive(Debug, Clone)]
pub struct MaskBuilder {
    /// The mask so far.
    pub mask: Mask,
    threshold: f32,
}

impl MaskBuilder {
    /// A builder for a slide of this size; pixels above `threshold` will be set.
    pub fn new(size: Size, threshold: f32) -> Self {
        Self { mask: Mask::new(size), threshold }
    }
}

impl RowSink for MaskBuilder {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        self.mask.set_rows(y0, positive_pixels(probabilities, self.threshold).view());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_background() {
        let row = ndarray::array![[0.0, 0.5, 0.500_5, 1.0]].mapv(f16::from_f64);
        assert_eq!(positive_pixels(&row, 0.5), ndarray::array![[0, 0, 1, 1]]);
        // 0.3 lies below its neighbour in half precision; that neighbour is still not above the threshold.
        let row = Array2::from_elem((1, 1), f16::from_f32(0.3));
        assert_eq!(positive_pixels(&row, 0.3), ndarray::array![[0]]);
    }
}
