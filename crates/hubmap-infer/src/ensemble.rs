//! The mean of what several runs predicted, from their files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use hubmap_data::Fault;
use hubmap_io::{Location, RasterReader, Size, Window};
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use crate::outputs::{NpyReader, OutputKind, OutputPlan, SlideInput};
use crate::postprocess::PostprocessConfig;
use crate::predictor::{PredictStats, RowSink};
use crate::progress::{Interrupted, Progress};
use crate::run::{RowSource, RunSpec, SlideState};
use crate::stage::StageSeconds;

/// Pixels of each map that are read at a time.
const BAND_PX: u32 = 1 << 22;

/// The output folders of several runs of inference, whose probabilities are averaged.
///
/// Maps are `predicts/raw/<id>.npy`, or where a run has none `predicts/probabilities/<id>.tiff`, whose levels are
/// taken as 255ths. The mean of values p with weights w is `Σ w p / Σ w`, summed in single precision in the order of
/// the runs and rounded to half precision: `numpy.mean(maps, axis=0)` of half-precision arrays, and with weights
/// `numpy.average(maps, axis=0, weights=numpy.float32(w)).astype(numpy.float16)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    runs: Vec<PathBuf>,
    weights: Vec<f32>,
}

impl Ensemble {
    /// An ensemble of the output folders of at least two runs, with a weight for each, or all alike if there are none.
    pub fn new(runs: Vec<PathBuf>, weights: Option<Vec<f32>>) -> Result<Self> {
        ensure!(
            runs.len() > 1,
            "an ensemble needs the output folders of two runs or more, not {}",
            runs.len()
        );
        let weights = weights.unwrap_or_else(|| vec![1.0; runs.len()]);
        ensure!(
            weights.len() == runs.len(),
            "{} weights for {} runs: give one for each",
            weights.len(),
            runs.len()
        );
        let sum: f32 = weights.iter().sum();
        ensure!(
            weights.iter().all(|&weight| weight >= 0.0) && sum > 0.0 && sum.is_finite(),
            "weights {weights:?}: they must be numbers from 0 on, and not all of them 0"
        );
        for (i, run) in runs.iter().enumerate() {
            let maps = [OutputKind::Npy, OutputKind::Probability].map(|kind| map_path(run, kind, ""));
            ensure!(
                maps.iter().filter_map(|map| map.parent()).any(Path::is_dir),
                "{}: neither predicts/raw nor predicts/probabilities is in this folder; predict with the output npy",
                run.display()
            );
            ensure!(!runs[..i].contains(run), "{} is named twice; give it a weight instead", run.display());
        }
        Ok(Self { runs, weights })
    }

    /// Refuses slides that are not in all runs with their size; the error lists every one of them.
    ///
    /// A slide that cannot be opened is left to [`run_slides`](crate::run_slides), which reports it and goes on.
    pub fn check(&self, slides: &[SlideInput]) -> Result<()> {
        let mut problems = Vec::new();
        for slide in slides {
            let Ok(size) = slide.location.open().map(|slide| slide.size()) else { continue };
            for run in &self.runs {
                match Map::open(run, &slide.id) {
                    Ok(None) => problems.push(format!("{} lacks {}", run.display(), slide.id)),
                    Ok(Some(map)) if map.size() != size => {
                        let (run, id) = (run.display(), &slide.id);
                        problems.push(format!("{run} has {id} with {} instead of {size} px", map.size()));
                    }
                    Ok(Some(_)) => {}
                    Err(error) => problems.push(format!("{error:#}")),
                }
            }
        }
        ensure!(problems.is_empty(), "the runs do not hold the same slides: {}", problems.join("; "));
        Ok(())
    }

    /// What a run over this ensemble is: maps above `threshold` are positive.
    pub fn run_spec(&self, threshold: f32, postprocess: PostprocessConfig) -> RunSpec {
        let runs: Vec<_> = self.runs.iter().map(|run| run.display().to_string()).collect();
        let settings = serde_json::json!({
            "runs": runs,
            "weights": self.weights,
            "threshold": threshold,
            "postprocess": postprocess,
        });
        RunSpec {
            threshold,
            postprocess,
            depends_on: serde_json::json!({ "weights": self.weights }),
            settings,
            model: format!("ensemble of {}", runs.join(", ")),
            n_models: self.runs.len(),
        }
    }

    /// The maps of a slide.
    fn maps(&self, id: &str, size: Size) -> Result<Vec<Map>> {
        let open = |run: &PathBuf| {
            let map = Map::open(run, id)?.with_context(|| format!("{} has no map of {id}", run.display()))?;
            ensure!(
                map.size() == size,
                "{}: its map of {id} is {}, not {size} px",
                run.display(),
                map.size()
            );
            Ok(map)
        };
        self.runs.iter().map(open).collect()
    }

    /// Weighted mean of the rows `y0..y0 + n_rows`.
    fn mean(&self, maps: &mut [Map], y0: u32, n_rows: u32, width: u32) -> Result<Array2<f16>> {
        let mut sum = Array2::<f32>::zeros((n_rows as usize, width as usize));
        for (map, &weight) in maps.iter_mut().zip(&self.weights) {
            map.add_rows(y0, weight, &mut sum)?;
        }
        let total: f32 = self.weights.iter().sum();
        let mut mean = Array2::from_elem(sum.dim(), f16::ZERO);
        for_rows(&mut mean, &sum, |mean, sum| *mean = f16::from_f32(sum / total));
        Ok(mean)
    }
}

impl RowSource for Ensemble {
    fn inputs(&self, slide: &SlideInput) -> Vec<Location> {
        let maps = self.runs.iter().filter_map(|run| find_map(run, &slide.id));
        std::iter::once(slide.location.clone()).chain(maps.map(|(_, path)| path.into())).collect()
    }

    fn n_blocks(&self, size: Size) -> usize {
        size.height.div_ceil(band_rows(size)) as usize
    }

    fn push_rows(
        &mut self,
        slide: &SlideInput,
        opened: &dyn RasterReader,
        _state: &SlideState,
        sink: &mut (dyn RowSink + Send),
        progress: &dyn Progress,
    ) -> Result<PredictStats> {
        let size = opened.size();
        let mut maps = self.maps(&slide.id, size).map_err(Fault::or_input)?;
        let mut seconds = StageSeconds::default();
        for y0 in (0..size.height).step_by(band_rows(size) as usize) {
            if progress.interrupted() {
                bail!(Interrupted);
            }
            let merge_start = Instant::now();
            let mean = self.mean(&mut maps, y0, band_rows(size).min(size.height - y0), size.width)?;
            let write_start = Instant::now();
            sink.write_rows(y0, &mean)?;
            seconds.merge += (write_start - merge_start).as_secs_f64();
            seconds.write += write_start.elapsed().as_secs_f64();
            progress.blocks_done(1);
        }
        let n_blocks = self.n_blocks(size);
        Ok(PredictStats { n_blocks, n_skipped: 0, n_replayed: 0, seconds, tissue: None })
    }
}

fn band_rows(size: Size) -> u32 {
    (BAND_PX / size.width.max(1)).max(1)
}

/// Calls `work(out, value)` for all values and where they go, in parallel over rows.
fn for_rows<A: Send, B: Sync + Copy>(
    out: &mut Array2<A>,
    values: &Array2<B>,
    work: impl Fn(&mut A, B) + Sync,
) {
    let mut rows: Vec<_> = out.outer_iter_mut().zip(values.outer_iter()).collect();
    rows.par_iter_mut().for_each(|(out, values)| {
        out.iter_mut().zip(&*values).for_each(|(out, &value)| work(out, value));
    });
}

/// Where a run has the map of a slide, if anywhere.
fn find_map(run: &Path, id: &str) -> Option<(OutputKind, PathBuf)> {
    let places = [OutputKind::Npy, OutputKind::Probability].map(|kind| (kind, map_path(run, kind, id)));
    places.into_iter().find(|(_, path)| path.is_file())
}

fn map_path(run: &Path, kind: OutputKind, id: &str) -> PathBuf {
    run.join(OutputPlan::path_in_folder(kind, id))
}

/// The probabilities that a run predicted for a slide.
enum Map {
    Half(NpyReader),
    Levels(Box<dyn RasterReader>),
}

impl Map {
    /// The map of a slide, if the run has one.
    fn open(run: &Path, id: &str) -> Result<Option<Self>> {
        match find_map(run, id) {
            Some((OutputKind::Npy, path)) => Ok(Some(Self::Half(NpyReader::open(&path)?))),
            Some((_, path)) => {
                let reader = hubmap_io::open(&path)?;
                ensure!(reader.bands() == 1, "{}: {} bands instead of 1", path.display(), reader.bands());
                Ok(Some(Self::Levels(reader)))
            }
            None => Ok(None),
        }
    }

    fn size(&self) -> Size {
        match self {
            Self::Half(reader) => reader.size(),
            Self::Levels(reader) => reader.size(),
        }
    }

    /// Adds the rows from `y0` on, times a weight, to a sum of so many rows.
    fn add_rows(&mut self, y0: u32, weight: f32, sum: &mut Array2<f32>) -> Result<()> {
        let n_rows = sum.nrows() as u32;
        match self {
            Self::Half(reader) => {
                let values = reader.read_rows(y0, n_rows)?;
                for_rows(sum, &values, |sum, value| *sum += weight * value.to_f32());
            }
            Self::Levels(reader) => {
                let window = Window::new(0, y0.into(), reader.size().width, n_rows);
                let levels = reader.read(window)?.index_axis_move(Axis(2), 0);
                for_rows(sum, &levels, |sum, level| *sum += weight * (f32::from(level) / 255.0));
            }
        }
        Ok(())
    }
}
