//! Predicting many slides and leaving their files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use hubmap_io::Rle;
use serde::Serialize;

use crate::config::PredictConfig;
use crate::outputs::{OutputKind, OutputPlan, SlideInput, SlideSink, pending_file, write_submission};
use crate::predictor::Predictor;
use crate::progress::{Interrupted, Progress};
use crate::stage::StageSeconds;

/// What became of one slide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlideSummary {
    /// Id of the slide.
    pub id: String,
    /// The slide's file.
    pub path: PathBuf,
    /// Columns in pixels.
    pub width: u32,
    /// Rows in pixels.
    pub height: u32,
    /// Resolution, if the file states it.
    pub microns_per_px: Option<f64>,
    /// Blocks that were predicted.
    pub n_blocks: usize,
    /// Connected objects.
    pub objects: usize,
    /// Pixels above the threshold.
    pub positive_pixels: u64,
    /// Where the time went.
    pub seconds: StageSeconds,
    /// From opening the slide to its last file.
    pub total_seconds: f64,
}

/// A slide that could not be predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedSlide {
    /// Id of the slide.
    pub id: String,
    /// The slide's file.
    pub path: PathBuf,
    /// Why.
    pub error: String,
}

/// The content of `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Settings of the prediction.
    pub settings: PredictConfig,
    /// Number of models that were averaged.
    pub n_models: usize,
    /// Kinds of files that were written.
    pub outputs: Vec<OutputKind>,
    /// Slides that were predicted.
    pub slides: Vec<SlideSummary>,
    /// Slides that were not.
    pub failed: Vec<FailedSlide>,
    /// Whole run.
    pub total_seconds: f64,
}

/// Predicts slides one after the other and writes the files of `plan`.
///
/// A slide that fails leaves no file, is listed in [`Summary::failed`], and the rest goes on.
/// The submission table holds the slides that did not fail.
/// An [`Interrupted`] run is an error; the files of the slides before stay.
pub fn predict_slides(
    predictor: &Predictor,
    slides: &[SlideInput],
    plan: &OutputPlan,
    progress: &dyn Progress,
) -> Result<Summary> {
    let start = Instant::now();
    std::fs::create_dir_all(&plan.folder)
        .with_context(|| format!("cannot create folder {}", plan.folder.display()))?;
    let mut summary = Summary {
        settings: predictor.config().clone(),
        n_models: predictor.n_models(),
        outputs: plan.kinds.clone(),
        slides: Vec::new(),
        failed: Vec::new(),
        total_seconds: 0.0,
    };
    let mut rows = Vec::new();
    for slide in slides {
        match predict_slide(predictor, slide, plan, progress) {
            Ok((slide_summary, rle)) => {
                progress.slide_finished(&slide.id, None);
                rows.push((slide.id.clone(), rle));
                summary.slides.push(slide_summary);
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                progress.slide_finished(&slide.id, Some(&error));
                let error = format!("{error:#}");
                summary.failed.push(FailedSlide { id: slide.id.clone(), path: slide.path.clone(), error });
            }
        }
    }
    if plan.wants(OutputKind::Rle) && !rows.is_empty() {
        write_submission(&plan.path(OutputKind::Rle, "", predictor.config().threshold), &rows, &plan.order)?;
    }
    summary.total_seconds = start.elapsed().as_secs_f64();
    write_summary(&plan.folder.join("summary.json"), &summary)?;
    Ok(summary)
}

/// Predicts one slide and writes its files.
fn predict_slide(
    predictor: &Predictor,
    input: &SlideInput,
    plan: &OutputPlan,
    progress: &dyn Progress,
) -> Result<(SlideSummary, Rle)> {
    let start = Instant::now();
    let slide = hubmap_io::open(&input.path)?;
    let slide = slide.as_ref();
    let size = slide.size();
    let threshold = predictor.config().threshold;
    let n_blocks = predictor.grid(size).len();
    progress.slide_started(&input.id, n_blocks);

    let npy_path = plan.wants(OutputKind::Npy).then(|| plan.path(OutputKind::Npy, &input.id, threshold));
    let mut sink = SlideSink::new(size, threshold, npy_path.as_deref())?;
    let mut seconds = predictor.predict(slide, &mut sink, None, progress)?.seconds;

    let write_start = Instant::now();
    let prediction = sink.finish()?;
    let rle = Rle::encode(&prediction.mask);
    let (objects, positive_pixels) = (prediction.objects.len(), prediction.mask.count_ones());
    prediction.write(slide, &input.id, threshold, plan)?;
    seconds.write += write_start.elapsed().as_secs_f64();
    let summary = SlideSummary {
        id: input.id.clone(),
        path: input.path.clone(),
        width: size.width,
        height: size.height,
        microns_per_px: slide.microns_per_px(),
        n_blocks,
        objects,
        positive_pixels,
        seconds,
        total_seconds: start.elapsed().as_secs_f64(),
    };
    Ok((summary, rle))
}

fn write_summary(path: &Path, summary: &Summary) -> Result<()> {
    let file = pending_file::write(path, |out| Ok(serde_json::to_writer_pretty(out, summary)?))?;
    pending_file::commit(file)
}
