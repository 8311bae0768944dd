//! From rows of probabilities to objects and rows of the mask, each as soon as it is certain.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Result, ensure};
use half::f16;
use hubmap_io::{Mask, Size};
use ndarray::{ArrayRef1, ArrayRef2, s};
use rayon::prelude::*;

use super::DetectedObject;
use super::label::{Component, Labeller};
use super::runs::{MeasuredRun, Threshold, sum};
use crate::postprocess::Postprocess;

/// Rows in which the mask comes out: a row of tiles of the files that are written from it.
pub const BAND_ROWS: u32 = 512;

/// Receives what is certain of a slide's mask.
pub trait ObjectSink {
    /// Takes the next rows of the mask: [`BAND_ROWS`] from row `y0`, a multiple of it, on, or the last ones.
    fn write_rows(&mut self, y0: u32, rows: &Mask) -> Result<()>;

    /// Takes the next object, by the order of [`DetectedObject::number`].
    fn write_object(&mut self, object: &DetectedObject) -> Result<()>;
}

/// Thresholds probabilities and finds connected objects in one pass from top to bottom, post-processing included.
///
/// Pixels are connected through their sides (4-connectivity), as for
/// [`trace_polygons`](hubmap_io::trace_polygons), and objects come in the order of its polygons.
/// A band of rows is final, and goes to the [`ObjectSink`], when no object that touches it can still grow. Memory holds the
/// runs of the objects that touch the bands before that, and these bands at one bit a pixel.
///
/// ```
/// use half::f16;
/// use hubmap_infer::{DetectedObject, ObjectSink, ObjectStream, Postprocess};
/// use hubmap_io::{Mask, Size};
/// use ndarray::array;
///
/// #[derive(Default)]
/// struct Areas(Vec<u64>);
///
/// impl ObjectSink for Areas {
///     fn write_rows(&mut self, _y0: u32, _rows: &Mask) -> anyhow::Result<()> {
///         Ok(())
///     }
///     fn write_object(&mut self, object: &DetectedObject) -> anyhow::Result<()> {
///         self.0.push(object.area_px);
///         Ok(())
///     }
/// }
///
/// let map = array![[0.9, 0.1, 0.8], [0.9, 0.2, 0.1]].mapv(f16::from_f64);
/// let mut areas = Areas::default();
/// let mut stream = ObjectStream::new(Size::new(3, 2), 0.5, Postprocess::default())?;
/// stream.push_rows(0, &map, &mut areas)?;
/// stream.finish(&mut areas)?;
/// assert_eq!(areas.0, [2, 1]);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct ObjectStream {
    size: Size,
    threshold: Threshold,
    next_row: u32,
    labeller: Labeller,
    pending: Pending,
}

/// What is not yet final.
#[derive(Debug)]
struct Pending {
    size: Size,
    postprocess: Postprocess,
    /// First row of the first band.
    y0: u32,
    bands: VecDeque<Mask>,
    /// Objects that have ended, by their first pixels.
    objects: BTreeMap<(u32, u32), DetectedObject>,
    n_written: u64,
}

impl ObjectStream {
    /// A stream for a slide of this size; pixels above `threshold`, from 0 to 1, are positive.
    pub fn new(size: Size, threshold: f32, postprocess: Postprocess) -> Result<Self> {
        ensure!((0.0..=1.0).contains(&threshold), "the threshold is {threshold}: it must be from 0 to 1");
        Ok(Self {
            size,
            threshold: Threshold::new(threshold),
            next_row: 0,
            labeller: Labeller::default(),
            pending: Pending {
                size,
                postprocess,
                y0: 0,
                bands: VecDeque::new(),
                objects: BTreeMap::new(),
                n_written: 0,
            },
        })
    }

    /// Takes the `[n_rows, width]` probabilities of rows `y0..y0 + n_rows`, which follow the rows before.
    pub fn push_rows(
        &mut self,
        y0: u32,
        probabilities: &ArrayRef2<f16>,
        sink: &mut dyn ObjectSink,
    ) -> Result<()> {
        let (n_rows, width) = probabilities.dim();
        ensure!(
            y0 == self.next_row
                && width == self.size.width as usize
                && n_rows <= (self.size.height - y0) as usize,
            "{n_rows} rows of {width} px from row {y0} do not continue a map of {} at row {}",
            self.size,
            self.next_row
        );
        let mut done = 0;
        while done < n_rows {
            let in_band = (BAND_ROWS - self.next_row % BAND_ROWS) as usize;
            let end = n_rows.min(done + in_band);
            self.push_band(&probabilities.slice(s![done..end, ..]));
            self.pending.write_final(self.labeller.first_open_row().unwrap_or(self.next_row), sink)?;
            done = end;
        }
        Ok(())
    }

    /// Hands on what is left, and returns the number of objects; an error if rows are missing.
    pub fn finish(mut self, sink: &mut dyn ObjectSink) -> Result<u64> {
        ensure!(
            self.next_row == self.size.height,
            "only {} of {} rows of the map came",
            self.next_row,
            self.size.height
        );
        self.labeller.push_row(self.next_row, &[], |component| self.pending.end(component));
        self.pending.write_final(self.size.height, sink)?;
        Ok(self.pending.n_written)
    }

    /// Takes rows that lie in one band.
    fn push_band(&mut self, probabilities: &ArrayRef2<f16>) {
        let first = self.next_row;
        let runs: Vec<Vec<MeasuredRun>> = (0..probabilities.nrows())
            .into_par_iter()
            .with_min_len(16)
            .map(|i| self.measured_runs(first + i as u32, &probabilities.row(i)))
            .collect();
        self.pending.make_room(first);
        for (y, runs) in (first..).zip(&runs) {
            self.labeller.push_row(y, runs, |component| self.pending.end(component));
        }
        self.next_row += runs.len() as u32;
    }

    fn measured_runs(&self, y: u32, row: &ArrayRef1<f16>) -> Vec<MeasuredRun> {
        let copy;
        let row = if let Some(row) = row.as_slice() {
            row
        } else {
            copy = row.to_vec();
            &copy
        };
        let mut runs = Vec::new();
        let mut push = |x0: u32, x1: u32| {
            let probability_sum = sum(&row[x0 as usize..x1 as usize]);
            runs.push(MeasuredRun { x0, x1, probability_sum });
        };
        match self.pending.postprocess.clip() {
            None => self.threshold.runs(row, push),
            Some(region) => {
                let inside: Vec<_> = region.row(y.into()).map(|(x0, x1)| (x0 as u32, x1 as u32)).collect();
                let mut rest = inside.as_slice();
                self.threshold.runs(row, |x0, x1| {
                    rest = &rest[rest.partition_point(|&(_, right)| right <= x0)..];
                    for &(left, right) in rest.iter().take_while(|(left, _)| *left < x1) {
                        push(x0.max(left), x1.min(right));
                    }
                });
            }
        }
        runs
    }
}

impl Pending {
    /// Adds the band of row `y` if it is not there.
    fn make_room(&mut self, y: u32) {
        let next = self.y0 + self.bands.len() as u32 * BAND_ROWS;
        if y == next {
            let n_rows = BAND_ROWS.min(self.size.height - y);
            self.bands.push_back(Mask::new(Size::new(self.size.width, n_rows)));
        }
    }

    /// Takes a component that cannot grow any more: post-processes it and draws it, unless it is dropped.
    fn end(&mut self, component: Component) {
        let mean_probability = component.probability_sum / component.n_pixels as f64;
        let mut runs = component.runs;
        if let Some(filled) = self.postprocess.fill_holes(&mut runs) {
            // Objects in a hole that is filled become part of the object around it; they all have ended.
            for run in filled {
                let inside = self.objects.range((run.y, run.x0)..(run.y, run.x1)).map(|(first, _)| *first);
                for first in inside.collect::<Vec<_>>() {
                    self.objects.remove(&first);
                }
            }
        }
        let object = DetectedObject::new(runs, mean_probability);
        if !self.postprocess.keeps(&object) {
            return;
        }
        for run in &object.runs {
            let row = run.y - self.y0;
            if let Some(band) = self.bands.get_mut((row / BAND_ROWS) as usize) {
                band.fill_run(row % BAND_ROWS, run.x0, run.x1);
            }
        }
        if let Some(first) = object.first_pixel() {
            self.objects.insert(first, object);
        }
    }

    /// Hands on the bands that end at or above row `limit`, and the objects that start in them.
    fn write_final(&mut self, limit: u32, sink: &mut dyn ObjectSink) -> Result<()> {
        while let Some(band) = self.bands.front() {
            let end = self.y0 + band.size().height;
            // A band is whole when it is as high as can be or the last of the slide.
            if end > limit {
                break;
            }
            while let Some(entry) = self.objects.first_entry().filter(|entry| entry.key().0 < end) {
                self.n_written += 1;
                sink.write_object(&DetectedObject { number: self.n_written, ..entry.remove() })?;
            }
            sink.write_rows(self.y0, band)?;
            self.y0 = end;
            self.bands.pop_front();
        }
        Ok(())
    }
}
