//! The connected objects of a thresholded map, found while its rows go by.

mod label;
mod runs;
mod stream;

pub use stream::{BAND_ROWS, ObjectSink, ObjectStream};

use hubmap_io::{Polygon, RowRun, Window, trace_runs};

/// A connected object of a mask, as it is after post-processing.
///
/// Pixels are connected through their sides (4-connectivity), as for [`trace_polygons`](hubmap_io::trace_polygons).
#[derive(Debug, Clone, PartialEq)]
pub struct DetectedObject {
    /// Place among the objects of the slide, from 1, by their first pixels: top to bottom, then left to right.
    pub number: u64,
    /// Its pixels: sorted, apart from each other, at least one.
    pub runs: Vec<RowRun>,
    /// Number of pixels.
    pub area_px: u64,
    /// Mean of the probabilities of the pixels above the threshold; filled holes do not count.
    pub mean_probability: f64,
    /// Mean of the centres of its pixels, `[x, y]`; the first pixel of the slide has its centre at 0.5, 0.5.
    pub centroid: [f64; 2],
    /// The smallest window with all pixels.
    pub bounds: Window,
}

impl DetectedObject {
    /// The object of some runs.
    fn new(runs: Vec<RowRun>, mean_probability: f64) -> Self {
        let (mut area_px, mut sum_x, mut sum_y) = (0, 0.0, 0.0);
        for run in &runs {
            let n = f64::from(run.x1 - run.x0);
            area_px += u64::from(run.x1 - run.x0);
            sum_x += n * f64::midpoint(run.x0.into(), run.x1.into());
            sum_y += n * (f64::from(run.y) + 0.5);
        }
        Self {
            number: 0,
            area_px,
            mean_probability,
            centroid: [sum_x / area_px as f64, sum_y / area_px as f64],
            bounds: Self::bounds_of(&runs),
            runs,
        }
    }

    /// The smallest window with all pixels of sorted runs.
    pub(crate) fn bounds_of(runs: &[RowRun]) -> Window {
        let (Some(top), Some(bottom)) = (runs.first(), runs.last()) else { return Window::new(0, 0, 0, 0) };
        let (x0, x1) = runs.iter().fold((top.x0, top.x1), |(x0, x1), run| (x0.min(run.x0), x1.max(run.x1)));
        Window::new(x0.into(), top.y.into(), x1 - x0, bottom.y + 1 - top.y)
    }

    /// The outline along the edges of the pixels, with holes; filling it gives the pixels back exactly.
    pub fn polygon(&self) -> Polygon {
        trace_runs(&self.runs).pop().unwrap_or_default()
    }

    /// Column and row of the first pixel, by which objects are ordered.
    fn first_pixel(&self) -> Option<(u32, u32)> {
        self.runs.first().map(|run| (run.y, run.x0))
    }
}
