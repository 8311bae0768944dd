//! From a slide to rows of probabilities: blocks, models, views, merge, enlarge, paste (spec section 6).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use crossbeam_channel::{Receiver, bounded};
use half::f16;
use hubmap_data::Normalization;
use hubmap_io::{RasterReader, Size, Window, area_downscale};
use ndarray::{Array2, Array3, Array4, ArrayRef2, Axis, s};
use serde::{Deserialize, Serialize};

use crate::blocks::{Block, BlockGrid};
use crate::config::{Merge, PredictConfig};
use crate::progress::{Interrupted, Progress};
use crate::segment::SegmentTiles;
use crate::upsample::bilinear_f16_into;

/// Receives the probabilities of a slide, whole rows from top to bottom.
///
/// Rows come a block row at a time, each exactly once and in order, so that files can grow with them and a
/// slide never has to fit in memory.
pub trait RowSink {
    /// Takes the `[n_rows, slide width]` probabilities of rows `y0..y0 + n_rows`.
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()>;
}

/// The probabilities of a whole slide in memory, two bytes a pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbabilityMap {
    /// `[height, width]`.
    pub probabilities: Array2<f16>,
}

impl ProbabilityMap {
    /// A map of zeros.
    pub fn new(size: Size) -> Self {
        Self { probabilities: Array2::from_elem((size.height as usize, size.width as usize), f16::ZERO) }
    }
}

impl RowSink for ProbabilityMap {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        let y0 = y0 as usize;
        self.probabilities.slice_mut(s![y0..y0 + probabilities.nrows(), ..]).assign(probabilities);
        Ok(())
    }
}

/// Seconds spent on the stages of one slide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// Reading, reducing and normalising, summed over the reader threads, beside the other stages.
    pub read: f64,
    /// Waiting for those threads.
    pub wait: f64,
    /// Forward passes with their views and means.
    pub infer: f64,
    /// Enlarging and pasting.
    pub merge: f64,
    /// Handing rows to their sink.
    pub write: f64,
}

/// Predicts slides with one or more models, the folds of a run.
pub struct Predictor {
    models: Vec<Box<dyn SegmentTiles>>,
    normalization: Normalization,
    config: PredictConfig,
}

impl Predictor {
    /// A predictor that averages over `models`, which see pixels after `normalization`.
    pub fn new(
        models: Vec<Box<dyn SegmentTiles>>,
        normalization: Normalization,
        config: PredictConfig,
    ) -> Result<Self> {
        ensure!(!models.is_empty(), "a prediction needs at least one model");
        normalization.validate()?;
        config.validate()?;
        Ok(Self { models, normalization, config })
    }

    /// The settings in use.
    pub const fn config(&self) -> &PredictConfig {
        &self.config
    }

    /// What pixels go through before the models see them.
    pub const fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// Number of models that are averaged.
    pub fn n_models(&self) -> usize {
        self.models.len()
    }

    /// The blocks in which a slide of this size is predicted.
    pub fn grid(&self, size: Size) -> BlockGrid {
        BlockGrid::new(size, self.config.block_px(), self.config.context_px())
    }

    /// Predicts a slide and hands its probabilities to `sink`, row by row.
    ///
    /// Blocks are read on threads of their own while the calling thread runs the models.
    pub fn predict(
        &self,
        slide: &dyn RasterReader,
        sink: &mut dyn RowSink,
        progress: &dyn Progress,
    ) -> Result<StageSeconds> {
        ensure!(
            slide.bands() == 3,
            "{}: the slide has {} bands, but the networks need the 3 of RGB",
            slide.path().display(),
            slide.bands()
        );
        let blocks: Vec<Block> = self.grid(slide.size()).row_major().collect();
        let read_nanos = AtomicU64::new(0);
        let mut seconds = StageSeconds::default();
        std::thread::scope(|scope| -> Result<()> {
            let lanes: Vec<_> = (0..self.config.read_threads)
                .map(|lane| {
                    let (sender, receiver) = bounded(self.config.read_ahead);
                    let reader = TileReader {
                        slide,
                        normalization: self.normalization,
                        scale: self.config.scale,
                        nanos: &read_nanos,
                    };
                    let lane_blocks = blocks.iter().skip(lane).step_by(self.config.read_threads);
                    scope.spawn(move || {
                        for block in lane_blocks {
                            // The receiver is gone when the prediction failed: nobody wants the rest.
                            if sender.send(reader.read(block.read)).is_err() {
                                break;
                            }
                        }
                    });
                    receiver
                })
                .collect();
            self.run(&blocks, &lanes, slide.size().width, sink, progress, &mut seconds)
        })?;
        seconds.read = read_nanos.into_inner() as f64 / 1e9;
        Ok(seconds)
    }

    /// Predicts a slide into memory.
    pub fn predict_map(&self, slide: &dyn RasterReader) -> Result<ProbabilityMap> {
        let mut map = ProbabilityMap::new(slide.size());
        self.predict(slide, &mut map, &())?;
        Ok(map)
    }

    fn run(
        &self,
        blocks: &[Block],
        lanes: &[Receiver<Result<Array3<f32>>>],
        width: u32,
        sink: &mut dyn RowSink,
        progress: &dyn Progress,
        seconds: &mut StageSeconds,
    ) -> Result<()> {
        let mut strip = Strip::new(width, sink);
        let mut n_received = 0;
        for batch in blocks.chunks(self.config.batch) {
            if progress.interrupted() {
                bail!(Interrupted);
            }
            let tiles = timed(&mut seconds.wait, || {
                let mut receive = || -> Result<Array3<f32>> {
                    let lane = &lanes[n_received % lanes.len()];
                    n_received += 1;
                    lane.recv().context("a reader thread ended early")?
                };
                batch.iter().map(|_| receive()).collect::<Result<Vec<_>>>()
            })?;
            let probabilities = timed(&mut seconds.infer, || self.probabilities(&tiles))?;
            for (block, probabilities) in batch.iter().zip(&probabilities) {
                timed(&mut seconds.write, || strip.make_room(block.paste))?;
                timed(&mut seconds.merge, || {
                    let context_px = self.config.context_px().into();
                    let crop = Window { x: context_px, y: context_px, ..block.paste };
                    let x = block.paste.x as usize;
                    let target = strip.rows.slice_mut(s![.., x..x + block.paste.width as usize]);
                    bilinear_f16_into(probabilities, self.config.scale, crop, target);
                });
            }
            progress.blocks_done(batch.len());
        }
        timed(&mut seconds.write, || strip.flush())
    }

    /// Probabilities `[h, w]` of normalised square tiles `[3, h, w]`, averaged over models and views.
    ///
    /// Public for callers with tiles of their own, such as previews; the results do not depend on how tiles
    /// are grouped.
    pub fn probabilities(&self, tiles: &[Array3<f32>]) -> Result<Vec<Array2<f32>>> {
        let views = self.config.tta.views();
        // Sums over views of logits: of the mean over models, or of each model.
        let n_groups = match self.config.merge {
            Merge::Logits => 1,
            Merge::Probabilities => self.models.len(),
        };
        let mut sums: Vec<Vec<Array2<f32>>> =
            tiles.iter().map(|tile| vec![Array2::zeros((tile.dim().1, tile.dim().2)); n_groups]).collect();

        let jobs: Vec<_> = views.iter().flat_map(|&view| (0..tiles.len()).map(move |i| (view, i))).collect();
        let mut rest = jobs.as_slice();
        while let Some(&(first_view, first)) = rest.first() {
            // One forward pass takes views of one shape; a turn exchanges the sides of a tile.
            let shape = first_view.transform(&tiles[first]).dim();
            let n_alike = rest
                .iter()
                .take(self.config.batch)
                .take_while(|(view, i)| view.transform(&tiles[*i]).dim() == shape)
                .count();
            let (batch, later) = rest.split_at(n_alike);
            rest = later;

            let mut input = Array4::zeros((n_alike, shape.0, shape.1, shape.2));
            for (mut slot, (view, i)) in input.outer_iter_mut().zip(batch) {
                slot.assign(&view.transform(&tiles[*i]));
            }
            let per_model = self.models.iter().map(|model| checked_logits(model.as_ref(), &input));
            let groups = match self.config.merge {
                Merge::Logits => vec![mean(per_model)?],
                Merge::Probabilities => per_model.collect::<Result<Vec<_>>>()?,
            };
            for (group_idx, logits) in groups.iter().enumerate() {
                for (logits, (view, i)) in logits.outer_iter().zip(batch) {
                    sums[*i][group_idx] += &view.inverse(&logits).index_axis(Axis(0), 0);
                }
            }
        }

        let n_views = views.len() as f32;
        let merged = sums.into_iter().map(|groups| {
            mean(groups.into_iter().map(|sum| Ok(sum.mapv_into(|logit| sigmoid(logit / n_views)))))
        });
        merged.collect()
    }
}

impl std::fmt::Debug for Predictor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predictor")
            .field("n_models", &self.models.len())
            .field("normalization", &self.normalization)
            .field("config", &self.config)
            .finish()
    }
}

/// Reads windows of a slide as network input.
#[derive(Clone, Copy)]
struct TileReader<'a> {
    slide: &'a dyn RasterReader,
    normalization: Normalization,
    scale: u32,
    nanos: &'a AtomicU64,
}

impl TileReader<'_> {
    /// The window reduced and normalised, `[3, h / scale, w / scale]`.
    fn read(&self, window: Window) -> Result<Array3<f32>> {
        let start = Instant::now();
        let pixels = self.slide.read(window)?;
        let tile = self.normalization.apply(&area_downscale(pixels.view(), self.scale));
        self.nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        Ok(tile)
    }
}

/// One row of blocks, on its way to the sink.
struct Strip<'a> {
    y0: u32,
    rows: Array2<f16>,
    width: usize,
    sink: &'a mut dyn RowSink,
}

impl<'a> Strip<'a> {
    fn new(width: u32, sink: &'a mut dyn RowSink) -> Self {
        let width = width as usize;
        Self { y0: 0, rows: Array2::from_elem((0, width), f16::ZERO), width, sink }
    }

    /// Makes the strip the one that a block is pasted to, sending the one before it off.
    fn make_room(&mut self, paste: Window) -> Result<()> {
        let y0 = paste.y as u32;
        if self.rows.nrows() > 0 && y0 == self.y0 {
            return Ok(());
        }
        self.flush()?;
        self.y0 = y0;
        if self.rows.nrows() != paste.height as usize {
            self.rows = Array2::from_elem((paste.height as usize, self.width), f16::ZERO);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.nrows() == 0 { Ok(()) } else { self.sink.write_rows(self.y0, &self.rows) }
    }
}

fn checked_logits(model: &dyn SegmentTiles, input: &Array4<f32>) -> Result<Array4<f32>> {
    let (n, _, h, w) = input.dim();
    let logits = model.logits(input)?;
    ensure!(
        logits.dim() == (n, 1, h, w),
        "the network gave logits of shape {:?} for {n} tiles of {w}x{h} px: expected [{n}, 1, {h}, {w}]",
        logits.shape()
    );
    ensure!(
        logits.iter().all(|logit| logit.is_finite()),
        "the network gave values that are not finite: its weights are damaged or of another model"
    );
    Ok(logits)
}

/// Elementwise mean, summed in order and divided once as the reference does.
fn mean<D: ndarray::Dimension>(
    arrays: impl Iterator<Item = Result<ndarray::Array<f32, D>>>,
) -> Result<ndarray::Array<f32, D>> {
    let (mut sum, mut n) = (None, 0_u32);
    for array in arrays {
        let array = array?;
        n += 1;
        sum = Some(match sum {
            None => array,
            Some(sum) => sum + &array,
        });
    }
    let sum = sum.context("a mean of no models")?;
    Ok(if n == 1 { sum } else { sum / n as f32 })
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Runs `work` and adds the seconds it took.
fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *seconds += Duration::as_secs_f64(&start.elapsed());
    result
}
