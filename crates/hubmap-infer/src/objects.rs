//! Area and mean probability of each predicted object, measured while rows go by.

use std::ops::Range;

use anyhow::Result;
use half::f16;
use ndarray::{ArrayRef1, ArrayRef2};

use crate::postprocess::positive_pixels;
use crate::predictor::RowSink;

/// Measurements of one connected object of a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectMeasurements {
    /// Row of its first pixel, top to bottom and then left to right.
    pub first_y: u32,
    /// Column of that pixel.
    pub first_x: u32,
    /// Number of pixels.
    pub area_px: u64,
    /// Mean of the probabilities of these pixels.
    pub mean_probability: f64,
}

/// A set of pixels that is connected as far as rows have been seen.
#[derive(Debug, Clone, Copy)]
struct Component {
    parent: u32,
    first: (u32, u32),
    area_px: u64,
    probability_sum: f64,
}

/// A run of positive pixels in the last row, and the component it belongs to.
#[derive(Debug, Clone)]
struct LabelledRun {
    columns: Range<u32>,
    component: u32,
}

/// Measures the connected objects of a thresholded map in one pass from top to bottom.
///
/// Pixels are connected through their sides, as for [`trace_polygons`](hubmap_io::trace_polygons), and the
/// objects are listed in the same order as its polygons.
/// Memory grows with the number of objects, not with their size.
#[derive(Debug, Clone)]
pub struct ObjectMeter {
    threshold: f32,
    components: Vec<Component>,
    last_row: Vec<LabelledRun>,
}

impl ObjectMeter {
    /// A meter for pixels above `threshold`.
    pub const fn new(threshold: f32) -> Self {
        Self { threshold, components: Vec::new(), last_row: Vec::new() }
    }

    /// As [`RowSink::write_rows`], for a caller that has thresholded the rows already.
    pub fn push_rows(&mut self, y0: u32, positive: &ArrayRef2<u8>, probabilities: &ArrayRef2<f16>) {
        for (y, (positive, probabilities)) in
            (y0..).zip(positive.rows().into_iter().zip(probabilities.rows()))
        {
            self.push_row(y, &positive, &probabilities);
        }
    }

    /// The objects, in the order of their first pixels.
    pub fn finish(mut self) -> Vec<ObjectMeasurements> {
        let n = self.components.len() as u32;
        let roots: Vec<u32> = (0..n).filter(|&i| self.root(i) == i).collect();
        let measured = roots.into_iter().map(|root| {
            let component = self.components[root as usize];
            ObjectMeasurements {
                first_y: component.first.0,
                first_x: component.first.1,
                area_px: component.area_px,
                mean_probability: component.probability_sum / component.area_px as f64,
            }
        });
        let mut objects: Vec<_> = measured.collect();
        objects.sort_by_key(|object| (object.first_y, object.first_x));
        objects
    }

    fn push_row(&mut self, y: u32, positive: &ArrayRef1<u8>, probabilities: &ArrayRef1<f16>) {
        let mut row = Vec::new();
        let mut above = 0;
        for columns in runs(positive) {
            let values = probabilities.slice(ndarray::s![columns.start as usize..columns.end as usize]);
            let own = self.components.len() as u32;
            self.components.push(Component {
                parent: own,
                first: (y, columns.start),
                area_px: u64::from(columns.end - columns.start),
                probability_sum: values.iter().map(|p| p.to_f64()).sum(),
            });
            let mut component = own;
            while above < self.last_row.len() && self.last_row[above].columns.end <= columns.start {
                above += 1;
            }
            // A run may touch several above it, and the last of these may touch the next run as well.
            for i in above..self.last_row.len() {
                if self.last_row[i].columns.start >= columns.end {
                    break;
                }
                component = self.union(self.last_row[i].component, component);
            }
            if component != own && own as usize + 1 == self.components.len() {
                // The run went into an older object, so its own entry is not needed.
                self.components.pop();
            }
            row.push(LabelledRun { columns, component });
        }
        self.last_row = row;
    }

    /// Joins two components and returns the root, the one that starts first.
    fn union(&mut self, a: u32, b: u32) -> u32 {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return a;
        }
        let (older, newer) = if self.components[a as usize].first <= self.components[b as usize].first {
            (a, b)
        } else {
            (b, a)
        };
        let merged = self.components[newer as usize];
        self.components[newer as usize].parent = older;
        let component = &mut self.components[older as usize];
        component.area_px += merged.area_px;
        component.probability_sum += merged.probability_sum;
        older
    }

    fn root(&mut self, mut i: u32) -> u32 {
        while self.components[i as usize].parent != i {
            let grandparent = self.components[self.components[i as usize].parent as usize].parent;
            self.components[i as usize].parent = grandparent;
            i = grandparent;
        }
        i
    }
}

impl RowSink for ObjectMeter {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        let positive = positive_pixels(probabilities, self.threshold);
        self.push_rows(y0, &positive, probabilities);
        Ok(())
    }
}

/// The runs of non-zero pixels in a row.
fn runs(row: &ArrayRef1<u8>) -> Vec<Range<u32>> {
    let mut found = Vec::new();
    let mut start = None;
    for (x, &pixel) in (0..).zip(row) {
        match (pixel != 0, start) {
            (true, None) => start = Some(x),
            (false, Some(first)) => {
                found.push(first..x);
                start = None;
            }
            _ => {}
        }
    }
    found.extend(start.map(|first| first..row.len() as u32));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubmap_io::{Mask, trace_polygons};
    use ndarray::Array2;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn objects_match_the_traced_polygons(
            width in 1_usize..20, height in 1_usize..20, seed in prop::collection::vec(0_u8..3, 400), step in 1_usize..5
        ) {
            let map = Array2::from_shape_fn((height, width), |(y, x)| {
                f16::from_f32(if seed[y * 20 + x] > 0 { 0.75 } else { 0.25 })
            });
            let mut meter = ObjectMeter::new(0.5);
            for y0 in (0..height).step_by(step) {
                let rows = map.slice(ndarray::s![y0..(y0 + step).min(height), ..]);
                meter.write_rows(y0 as u32, &rows).unwrap();
            }
            let objects = meter.finish();
            let mask = Mask::from_array(positive_pixels(&map, 0.5).view());
            let polygons = trace_polygons(&mask);
            prop_assert_eq!(objects.len(), polygons.len());
            for (object, polygon) in objects.iter().zip(&polygons) {
                prop_assert_eq!(object.area_px, polygon.area() as u64);
                prop_assert!((object.mean_probability - 0.75).abs() < 1e-12);
                let corner = [f64::from(object.first_x), f64::from(object.first_y)];
                prop_assert!(polygon.exterior.contains(&corner));
            }
        }
    }
}
