//! Scores of predictions against the truth: pixels, objects, outlines and thresholds.

mod boundary;
mod columns;
mod masks;
mod objects;
mod report;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hubmap_io::{Location, Rle, Size};
use serde::Serialize;

use crate::dice::{count_dice, intersection};
use crate::outputs::find_slides;
use crate::progress::{Interrupted, Progress};

pub use boundary::hausdorff_95;
pub use masks::Masks;
pub use objects::{MaskObject, MaskObjects, ObjectPair, ObjectScore, count_matches};
pub use report::{markdown_tables, score_table, sweep_figure, write_scores_csv, write_sweep_csv};
pub use sweep::{SlideSweep, Sweep, SweepCounts};

use columns::column_runs;

/// What to compare, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluateJob {
    /// A table of encodings such as a submission, a folder of mask TIFFs or of QuPath annotations named by id,
    /// or the output folder of inference.
    pub predictions: PathBuf,
    /// The same kinds, such as `train.csv` or the folder of `<id>.json`.
    pub truth: PathBuf,
    /// Folder of the slides, or prefix of their addresses, whose sizes every encoding and mask must fit.
    pub slides: Location,
    /// What to do with slides of the truth that have no prediction.
    pub unpredicted: Unpredicted,
    /// Whether to measure [`hausdorff_95`].
    pub hausdorff: bool,
    /// Whether to score other thresholds too, from the probabilities in the output folder of inference.
    pub sweep: bool,
}

/// What to do with slides of the truth that have no prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpredicted {
    /// An error that lists them.
    Refuse,
    /// Score the predicted slides only, such as the held-out ones of a fold.
    Skip,
}

/// Agreement of one slide's prediction with its truth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlideScore {
    /// Id of the slide.
    pub id: String,
    /// `2 |A ∩ B| / (|A| + |B|)`; 1 when both are empty.
    pub dice: f64,
    /// Pixels of the prediction.
    pub predicted_pixels: u64,
    /// Pixels of the truth.
    pub truth_pixels: u64,
    /// Pixels of both.
    pub shared_pixels: u64,
    /// Agreement of connected objects.
    pub objects: ObjectScore,
    /// Distance of the outlines, if it was asked for.
    pub hausdorff_95: Option<Hausdorff>,
}

/// Distance between the outlines of two masks, see [`hausdorff_95`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Hausdorff {
    /// In pixels; none where just one of the masks is empty.
    pub px: Option<f64>,
    /// In µm, if the slide states its resolution.
    pub um: Option<f64>,
}

/// Agreement over the pixels and objects of all slides together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PooledScore {
    /// Dice of all pixels, as if the slides were one.
    pub dice: f64,
    /// Pixels of the predictions.
    pub predicted_pixels: u64,
    /// Pixels of the truth.
    pub truth_pixels: u64,
    /// Pixels of both.
    pub shared_pixels: u64,
    /// Agreement of all objects.
    pub objects: ObjectScore,
}

/// Agreement of predictions with the truth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Scores in the order of the ids.
    pub slides: Vec<SlideScore>,
    /// Mean Dice over slides, the competition's score.
    pub mean_dice: f64,
    /// All slides as one.
    pub pooled: PooledScore,
    /// Scores of other thresholds, if they were asked for.
    pub sweep: Option<Sweep>,
}

/// Scores predictions against the truth.
///
/// Ids of the predictions that the truth or the folder of slides lacks are an error that lists them.
/// Of `progress` only [`Progress::interrupted`] is asked, between slides and parts of them.
///
/// Masks are held as runs: memory grows with the number of runs and, for outlines, of their pixels, not with
/// the area of a slide.
pub fn evaluate(job: &EvaluateJob, progress: &dyn Progress) -> Result<Evaluation> {
    let slides_by_id: BTreeMap<String, Location> = find_slides(std::slice::from_ref(&job.slides))?
        .into_iter()
        .map(|slide| (slide.id, slide.location))
        .collect();
    let slide_ids: BTreeSet<String> = slides_by_id.keys().cloned().collect();
    let predictions = Masks::open(&job.predictions, &slide_ids)?;
    let truth = Masks::open(&job.truth, &slide_ids)?;
    let ids = ids_to_score(job, &predictions, &truth, &slide_ids)?;
    let probabilities =
        if job.sweep { sweep::find_probabilities(&job.predictions, &ids)? } else { Vec::new() };

    let mut slides = Vec::new();
    let mut counts: Vec<SweepCounts> = Vec::new();
    for (i, id) in ids.iter().enumerate() {
        ensure!(!progress.interrupted(), Interrupted);
        let slide = slides_by_id[id].open()?;
        let (predicted, true_rle) = (predictions.read(id, slide.size())?, truth.read(id, slide.size())?);
        let microns_per_px = slide.microns_per_px();
        slides.push(score_slide(id, slide.size(), microns_per_px, &predicted, &true_rle, job.hausdorff));
        if let Some(path) = probabilities.get(i) {
            let counted = SweepCounts::of_slide(path, slide.size(), &true_rle, progress);
            counts.push(counted.with_context(|| format!("cannot sweep thresholds over slide {id}"))?);
        }
    }
    let sweep = job.sweep.then(|| Sweep::of(ids, &counts));
    Ok(Evaluation::of(slides, sweep))
}

impl Evaluation {
    /// The means over slides, at least one, for callers that score them one at a time with [`score_slide`].
    pub fn of(slides: Vec<SlideScore>, sweep: Option<Sweep>) -> Self {
        let mean_dice = slides.iter().map(|slide| slide.dice).sum::<f64>() / slides.len() as f64;
        let pooled = PooledScore::of(&slides);
        Self { slides, mean_dice, pooled, sweep }
    }
}

/// The ids that are predicted and all there.
fn ids_to_score(
    job: &EvaluateJob,
    predictions: &Masks,
    truth: &Masks,
    slide_ids: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let ids = predictions.ids();
    ensure!(!ids.is_empty(), "{} holds no predictions", predictions.path().display());
    let truth_ids = truth.ids();
    let known: BTreeSet<&String> = truth_ids.iter().collect();
    let missing_in = |folder: &Path| format!("predicted but not in {}", folder.display());
    refuse_missing(&ids, |id| known.contains(id), &missing_in(truth.path()))?;
    let problem = format!("predicted but not a slide in {}", job.slides);
    refuse_missing(&ids, |id| slide_ids.contains(id), &problem)?;
    if job.unpredicted == Unpredicted::Refuse {
        let predicted: BTreeSet<&String> = ids.iter().collect();
        let problem = format!("in {} but not predicted", truth.path().display());
        refuse_missing(&truth_ids, |id| predicted.contains(id), &problem)?;
    }
    Ok(ids)
}

/// Scores one slide of this size and resolution; runs must lie on it. Outlines are compared only if `hausdorff` says so.
pub fn score_slide(
    id: &str,
    size: Size,
    microns_per_px: Option<f64>,
    predicted: &Rle,
    truth: &Rle,
    hausdorff: bool,
) -> SlideScore {
    let (predicted_pixels, truth_pixels) = (predicted.count_ones(), truth.count_ones());
    let shared_pixels = intersection(predicted, truth);
    let height = size.height;
    let (predicted, truth) = (column_runs(predicted, height), column_runs(truth, height));
    let hausdorff_95 = hausdorff.then(|| {
        let px = boundary::between_columns(&predicted, &truth);
        Hausdorff { px, um: px.zip(microns_per_px).map(|(px, um_per_px)| px * um_per_px) }
    });
    SlideScore {
        id: id.to_owned(),
        dice: count_dice(shared_pixels, predicted_pixels, truth_pixels),
        predicted_pixels,
        truth_pixels,
        shared_pixels,
        objects: objects::between_columns(&predicted, &truth),
        hausdorff_95,
    }
}

impl PooledScore {
    fn of(slides: &[SlideScore]) -> Self {
        let sum = |count: fn(&SlideScore) -> u64| slides.iter().map(count).sum::<u64>();
        let (predicted_pixels, truth_pixels) = (sum(|s| s.predicted_pixels), sum(|s| s.truth_pixels));
        let shared_pixels = sum(|s| s.shared_pixels);
        Self {
            dice: count_dice(shared_pixels, predicted_pixels, truth_pixels),
            predicted_pixels,
            truth_pixels,
            shared_pixels,
            objects: ObjectScore::new(
                sum(|s| s.objects.predicted),
                sum(|s| s.objects.truth),
                sum(|s| s.objects.matched),
            ),
        }
    }
}

/// An error that lists the ids that are not known.
fn refuse_missing(ids: &[String], is_known: impl Fn(&String) -> bool, problem: &str) -> Result<()> {
    let missing: Vec<&str> = ids.iter().filter(|id| !is_known(id)).map(String::as_str).collect();
    let slides = if missing.len() == 1 { "slide" } else { "slides" };
    ensure!(missing.is_empty(), "{} {slides} {problem}: {}", missing.len(), missing.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests;
