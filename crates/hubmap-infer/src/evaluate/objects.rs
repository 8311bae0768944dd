//! Agreement of connected objects.

use std::collections::HashMap;

use hubmap_io::{Rle, Size};
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
    let mut shared: HashMap<(usize, usize), u64> = HashMap::new();
    for_shared(predicted, truth, |i, j, n_px| {
        let pair = (predicted_objects.of_run[i], truth_objects.of_run[j]);
        *shared.entry(pair).or_default() += u64::from(n_px);
    });
    let is_match = |&(&(a, b), &n): &(&(usize, usize), &u64)| {
        // n > (area + area - n) / 2
        3 * n > predicted_objects.areas[a] + truth_objects.areas[b]
    };
    let matched = shared.iter().filter(is_match).count() as u64;
    ObjectScore::new(predicted_objects.areas.len() as u64, truth_objects.areas.len() as u64, matched)
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
