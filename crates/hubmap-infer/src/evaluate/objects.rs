//! Agreement of connected objects.

use std::collections::HashMap;

use hubmap_io::{Polygon, Rle, RowRun, Size, Window, trace_runs};
use serde::Serialize;

use super::columns::{ColumnRun, column_runs, for_shared};

/// How many objects agree.
///
/// An object is a set of pixels connected through their sides, as [`trace_polygons`](hubmap_io::trace_polygons)
/// outlines it.
/// A predicted and a true object match if their intersection is more than half of their union (intersection over union > 0.5).
/// Such a pair is the only one for both objects, so that no choice is left (Kirillov et al., Panoptic
/// Segmentation, 2019); one of exactly 0.5 is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ObjectScore {
    /// Objects of the prediction.
    pub predicted: u64,
    /// Objects of the truth.
    pub truth: u64,
    /// Pairs that match.
    pub matched: u64,
    /// Matched share of the predicted objects; none without any.
    pub precision: Option<f64>,
    /// Matched share of the true objects; none without any.
    pub recall: Option<f64>,
    /// `2 matched / (predicted + truth)`; 1 where there are no objects at all.
    pub f1: f64,
}

impl ObjectScore {
    pub(super) fn new(predicted: u64, truth: u64, matched: u64) -> Self {
        let share = |n: u64| (n > 0).then(|| matched as f64 / n as f64);
        let total = predicted + truth;
        let f1 = if total == 0 { 1.0 } else { 2.0 * matched as f64 / total as f64 };
        Self { predicted, truth, matched, precision: share(predicted), recall: share(truth), f1 }
    }
}

/// Agreement of the objects of two masks of an image of this size; runs must lie on it.
///
/// Time and memory grow with the number of runs.
pub fn count_matches(predicted: &Rle, truth: &Rle, size: Size) -> ObjectScore {
    between_columns(&column_runs(predicted, size.height), &column_runs(truth, size.height))
}

/// As [`count_matches`].
pub(super) fn between_columns(predicted: &[ColumnRun], truth: &[ColumnRun]) -> ObjectScore {
    let (predicted_objects, truth_objects) = (Objects::label(predicted), Objects::label(truth));
    let shared = shared_pixels((predicted, &predicted_objects.of_run), (truth, &truth_objects.of_run));
    let is_match = |&(&(a, b), &n): &(&(usize, usize), &u64)| {
        // n > (area + area - n) / 2
        3 * n > predicted_objects.areas[a] + truth_objects.areas[b]
    };
    let matched = shared.iter().filter(is_match).count() as u64;
    ObjectScore::new(predicted_objects.areas.len() as u64, truth_objects.areas.len() as u64, matched)
}

/// Pixels that pairs of objects have in common, of those that have any; with the runs come the objects that they belong to.
fn shared_pixels(a: (&[ColumnRun], &[usize]), b: (&[ColumnRun], &[usize])) -> HashMap<(usize, usize), u64> {
    let mut shared = HashMap::new();
    for_shared(a.0, b.0, |i, j, n_px| *shared.entry((a.1[i], b.1[j])).or_default() += u64::from(n_px));
    shared
}

/// The connected objects of a mask, as [`ObjectScore`] counts them and
/// [`DetectedObject`](crate::DetectedObject) numbers them: by their first pixels, top to bottom, then left to right.
///
/// Memory grows with the number of runs; outlines are traced when they are asked for.
#[derive(Debug, Clone, Default)]
pub struct MaskObjects {
    columns: Vec<ColumnRun>,
    /// The object of each run.
    of_run: Vec<usize>,
    /// Indices of runs, object by object; within one as in `columns`.
    by_object: Vec<usize>,
    objects: Vec<MaskObject>,
}

/// An object of a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskObject {
    /// Number of pixels.
    pub area_px: u64,
    /// Mean of the centres of its pixels, `[x, y]`; the first pixel of the slide has its centre at 0.5, 0.5.
    pub centroid: [f64; 2],
    /// The smallest window with all pixels.
    pub bounds: Window,
    /// Its place in `by_object`.
    first_run: usize,
    n_runs: usize,
}

/// Two objects, of two masks, that share pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectPair {
    /// Place among the objects of the one mask.
    pub a: usize,
    /// Place among the objects of the other.
    pub b: usize,
    /// Intersection over union; above 0.5 they match, see [`ObjectScore`].
    pub iou: f64,
}

impl MaskObjects {
    /// The objects of a mask of an image of this size; runs must lie on it.
    pub fn new(mask: &Rle, size: Size) -> Self {
        let columns = column_runs(mask, size.height);
        let Objects { of_run, areas } = Objects::label(&columns);
        let mut first_pixels = vec![(u32::MAX, u32::MAX); areas.len()];
        for (run, &object) in columns.iter().zip(&of_run) {
            first_pixels[object] = first_pixels[object].min((run.y0, run.x));
        }
        let mut order: Vec<usize> = (0..areas.len()).collect();
        order.sort_unstable_by_key(|&object| first_pixels[object]);
        let mut places = vec![0; areas.len()];
        order.iter().enumerate().for_each(|(place, &object)| places[object] = place);
        let of_run: Vec<usize> = of_run.into_iter().map(|object| places[object]).collect();
        let mut by_object: Vec<usize> = (0..columns.len()).collect();
        by_object.sort_by_key(|&run| of_run[run]);
        let runs_of_objects = by_object.chunk_by(|&a, &b| of_run[a] == of_run[b]);
        let mut first_run = 0;
        let objects = runs_of_objects.map(|runs| {
            let object = MaskObject::new(runs.iter().map(|&run| columns[run]), first_run, runs.len());
            first_run += runs.len();
            object
        });
        let objects = objects.collect();
        Self { columns, of_run, by_object, objects }
    }

    /// All objects, the first with the number 1.
    pub fn as_slice(&self) -> &[MaskObject] {
        &self.objects
    }

    /// The outline of the object at a place along the edges of its pixels, with holes; `None` if there is no such place.
    pub fn outline(&self, place: usize) -> Option<Polygon> {
        let object = self.objects.get(place)?;
        let runs = &self.by_object[object.first_run..object.first_run + object.n_runs];
        // Tracing goes by rows: columns are the rows of the mirrored object.
        let mirrored = runs.iter().map(|&run| self.columns[run]);
        let mirrored: Vec<_> = mirrored.map(|run| RowRun { y: run.x, x0: run.y0, x1: run.y1 }).collect();
        let mut outline = trace_runs(&mirrored).pop()?;
        let rings = std::iter::once(&mut outline.exterior).chain(&mut outline.holes);
        rings.flatten().for_each(|vertex| vertex.swap(0, 1));
        Some(outline)
    }

    /// All pairs of an object of this mask and one of another mask of the same image that share pixels, in their order.
    pub fn pairs(&self, other: &Self) -> Vec<ObjectPair> {
        let shared = shared_pixels((&self.columns, &self.of_run), (&other.columns, &other.of_run));
        let pair = |((a, b), n): ((usize, usize), u64)| {
            let union = self.objects[a].area_px + other.objects[b].area_px - n;
            ObjectPair { a, b, iou: n as f64 / union as f64 }
        };
        let mut pairs: Vec<ObjectPair> = shared.into_iter().map(pair).collect();
        pairs.sort_unstable_by_key(|pair| (pair.a, pair.b));
        pairs
    }
}

impl MaskObject {
    /// The object of some runs, at least one.
    fn new(runs: impl Iterator<Item = ColumnRun>, first_run: usize, n_runs: usize) -> Self {
        let (mut area_px, mut sum) = (0, [0.0, 0.0]);
        let (mut min, mut max) = ([u32::MAX; 2], [0; 2]);
        for run in runs {
            let n = f64::from(run.y1 - run.y0);
            area_px += u64::from(run.y1 - run.y0);
            sum = [
                sum[0] + n * (f64::from(run.x) + 0.5),
                sum[1] + n * f64::midpoint(run.y0.into(), run.y1.into()),
            ];
            min = [min[0].min(run.x), min[1].min(run.y0)];
            max = [max[0].max(run.x + 1), max[1].max(run.y1)];
        }
        Self {
            area_px,
            centroid: sum.map(|sum| sum / area_px as f64),
            bounds: Window::new(min[0].into(), min[1].into(), max[0] - min[0], max[1] - min[1]),
            first_run,
            n_runs,
        }
    }
}

/// The connected objects of a mask, numbered from 0 by their first runs.
struct Objects {
    of_run: Vec<usize>,
    areas: Vec<u64>,
}

impl Objects {
    fn label(runs: &[ColumnRun]) -> Self {
        let mut parents: Vec<usize> = (0..runs.len()).collect();
        // A run touches those of the column before that it shares rows with.
        let moved: Vec<ColumnRun> = runs.iter().map(|run| ColumnRun { x: run.x + 1, ..*run }).collect();
        for_shared(&moved, runs, |before, run, _| {
            let (a, b) = (root(&mut parents, before), root(&mut parents, run));
            // Roots are the first runs of their objects.
            parents[a.max(b)] = a.min(b);
        });
        let mut objects = Self { of_run: Vec::with_capacity(runs.len()), areas: Vec::new() };
        for (i, run) in runs.iter().enumerate() {
            let first = root(&mut parents, i);
            let object = if first == i { objects.areas.len() } else { objects.of_run[first] };
            if first == i {
                objects.areas.push(0);
            }
            objects.areas[object] += u64::from(run.y1 - run.y0);
            objects.of_run.push(object);
        }
        objects
    }
}

fn root(parents: &mut [usize], mut i: usize) -> usize {
    while parents[i] != i {
        parents[i] = parents[parents[i]];
        i = parents[i];
    }
    i
}
