#![doc = include_str!("../README.md")]

mod chart;
mod error;
mod found;
mod gallery;
mod histogram;
mod outline;
mod page;
mod picture;
mod predictions;
mod run;
mod slide;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hubmap_infer::{Evaluation, Interrupted, Masks, Progress, Sweep, find_slides};
use hubmap_io::{Location, RemoteOptions};

pub use error::ReportError;

use found::Found;
use gallery::Gallery;
use page::{Page, PredictionPart, SlidePart};
use predictions::Predictions;
use run::Run;
use slide::{Analyst, SlideView, Totals};

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportJob {
    /// A run folder of training, an output folder of inference or of an ensemble, or both; or a folder that holds them, such
    /// as that of `hubmap-demo`, of which the newest of each are taken.
    pub inputs: Vec<PathBuf>,
    /// A slide or a folder of slides, or their addresses, where they are not where inference found them.
    pub slides: Option<Location>,
    /// What lets in to stores, for slides that inference found there.
    pub remote: RemoteOptions,
    /// The truth: a table such as `train.csv`, a folder of mask TIFFs, or of QuPath annotations named by slide. That of a
    /// demo folder is found.
    pub truth: Option<PathBuf>,
    /// Whether to measure how far outlines are apart, see `hubmap_infer::hausdorff_95`.
    pub hausdorff: bool,
}

/// What a page came to.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportSummary {
    /// Predicted slides.
    pub n_slides: usize,
    /// Those of them that could not be read, each with the reason on the page.
    pub failed: Vec<String>,
    /// Mean Dice over slides, with a truth.
    pub mean_dice: Option<f64>,
    /// Length of the page.
    pub n_bytes: usize,
}

/// Sides of pictures of slides in pixels, at most, by how many slides there are: pages are to stay quick. None beyond.
const PICTURE_SIDES: [(usize, u32); 3] = [(6, 1600), (24, 1000), (60, 600)];

/// Writes the page about the folders of `job` to `out`, where it appears when it is complete.
///
/// Of `progress`, only [`Progress::interrupted`] is asked, between slides and parts of them.
/// A slide that cannot be read has the reason in its place and is listed in the summary; the rest goes on.
///
/// # Errors
///
/// Folders of no use, files that cannot be understood, and a truth that lacks predicted slides: see [`ReportError`].
pub fn write_report(
    job: &ReportJob,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ReportSummary, ReportError> {
    let found = Found::look(&job.inputs)?;
    let run = found.run.as_deref().map(Run::read).transpose()?;
    let mut notes = found.notes.clone();
    let predictions = match &found.predictions {
        Some(folder) => {
            Some(predictions_part(job, &found, Predictions::read(folder)?, &mut notes, progress)?)
        }
        None if job.truth.is_some() => return Err(ReportError::TruthWithoutPredictions),
        None => None,
    };
    let page = Page { run, predictions, notes };
    let html = page.render().into_string();
    let write = |source| ReportError::Write { path: out.to_owned(), source };
    hubmap_files::write_whole(out, html.as_bytes()).map_err(write)?;
    let part = page.predictions.as_ref();
    Ok(ReportSummary {
        n_slides: part.map_or(0, |part| part.slides.len()),
        failed: part.map_or_else(Vec::new, PredictionPart::failed),
        mean_dice: part.and_then(|part| part.evaluation.as_ref()).map(|evaluation| evaluation.mean_dice),
        n_bytes: html.len(),
    })
}

/// Everything about predictions.
fn predictions_part(
    job: &ReportJob,
    found: &Found,
    predictions: Predictions,
    notes: &mut Vec<String>,
    progress: &dyn Progress,
) -> Result<PredictionPart, ReportError> {
    let paths = locate_slides(job, found, &predictions)?;
    let ids: BTreeSet<String> = predictions.slides.iter().map(|slide| slide.id.clone()).collect();
    let Some(masks) = &predictions.masks else {
        let totals = Totals::default();
        return Ok(PredictionPart {
            slides: Vec::new(),
            predictions,
            evaluation: None,
            truth_path: None,
            totals,
        });
    };
    let masks = Masks::open(masks, &ids)?;
    let truth = open_truth(job, found, &ids, notes)?;
    let analyst = Analyst {
        predictions: &predictions,
        masks: &masks,
        truth: truth.as_ref(),
        hausdorff: job.hausdorff,
        progress,
    };
    let n_slides = predictions.slides.len();
    let mut totals = Totals::default();
    let mut views = Vec::new();
    for (idx, slide) in predictions.slides.iter().enumerate() {
        if progress.interrupted() {
            return Err(ReportError::Interrupted);
        }
        let view = analyst.look(idx, slide, paths[idx].as_ref(), picture_side(n_slides, idx), &mut totals);
        views.push(match view {
            Err(error) if error.is::<Interrupted>() => return Err(ReportError::Interrupted),
            other => other.map_err(|error| format!("{error:#}")),
        });
    }
    read_crops(&mut totals.gallery, &paths, progress)?;
    let scores: Vec<_> = views.iter().flatten().filter_map(|view: &SlideView| view.score.clone()).collect();
    let (sweep_ids, counts): (Vec<_>, Vec<_>) = std::mem::take(&mut totals.sweep).into_iter().unzip();
    let sweep = (!counts.is_empty()).then(|| Sweep::of(sweep_ids, &counts));
    let evaluation = (!scores.is_empty()).then(|| Evaluation::of(scores, sweep));
    let truth_path = truth.map(|truth| truth.path().to_owned());
    let slides = views.into_iter().zip(paths);
    let slides = slides.map(|(view, path)| SlidePart { path: path.map(|path| path.path().to_owned()), view });
    Ok(PredictionPart { slides: slides.collect(), predictions, evaluation, truth_path, totals })
}

/// How large the picture of a slide may be, 0 for none.
fn picture_side(n_slides: usize, slide_idx: usize) -> u32 {
    let side = PICTURE_SIDES.iter().find(|(n, _)| n_slides <= *n).or(PICTURE_SIDES.last());
    side.filter(|(n, _)| slide_idx < *n).map_or(0, |(_, side)| *side)
}

/// The place of each slide: where `--slides` has it, where inference found it, or in the demo's folder.
fn locate_slides(
    job: &ReportJob,
    found: &Found,
    predictions: &Predictions,
) -> Result<Vec<Option<Location>>, ReportError> {
    let by_id = |locations: &[Location]| -> anyhow::Result<BTreeMap<String, Location>> {
        let slides = if locations.is_empty() { Vec::new() } else { find_slides(locations)? };
        Ok(slides.into_iter().map(|slide| (slide.id, slide.location)).collect())
    };
    let named = by_id(job.slides.as_slice())?;
    let beside: Vec<Location> = found.slides.iter().map(|path| path.as_path().into()).collect();
    let beside = by_id(&beside)?;
    let locate = |slide: &predictions::PredictedSlide| {
        // An address that this build does not read is as good as a file that is gone.
        let of_summary =
            slide.summary.as_ref().and_then(|summary| Location::parse(&summary.path, &job.remote).ok());
        let of_summary = of_summary.filter(|location| location.as_file().is_none_or(Path::is_file));
        named.get(&slide.id).cloned().or(of_summary).or_else(|| beside.get(&slide.id).cloned())
    };
    Ok(predictions.slides.iter().map(locate).collect())
}

/// The truth, which must have every predicted slide; that of a demo folder is passed by where it has not.
fn open_truth(
    job: &ReportJob,
    found: &Found,
    ids: &BTreeSet<String>,
    notes: &mut Vec<String>,
) -> Result<Option<Masks>, ReportError> {
    let Some(path) = job.truth.as_ref().or(found.truth.as_ref()) else { return Ok(None) };
    let truth = Masks::open(path, ids)?;
    let known: BTreeSet<String> = truth.ids().into_iter().collect();
    let missing: Vec<String> = ids.iter().filter(|id| !known.contains(*id)).cloned().collect();
    if missing.is_empty() {
        return Ok(Some(truth));
    }
    if job.truth.is_none() {
        notes.push(format!("{} is not of these slides and is left out.", path.display()));
        return Ok(None);
    }
    Err(ReportError::MissingTruth { truth: truth.path().to_owned(), ids: missing })
}

/// Reads the pictures of the objects that are shown, slide by slide.
fn read_crops(
    gallery: &mut Gallery,
    paths: &[Option<Location>],
    progress: &dyn Progress,
) -> Result<(), ReportError> {
    let mut shown: Vec<_> = gallery.all_mut().collect();
    shown.sort_by_key(|shown| shown.slide_idx);
    for of_slide in shown.chunk_by_mut(|a, b| a.slide_idx == b.slide_idx) {
        let path = of_slide.first().and_then(|shown| paths.get(shown.slide_idx)?.as_ref());
        // A file that cannot be opened is told where its picture would be.
        let Some(slide) = path.and_then(|path| path.open().ok()) else { continue };
        for shown in of_slide {
            if progress.interrupted() {
                return Err(ReportError::Interrupted);
            }
            shown.read_picture(slide.as_ref());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_slides_the_smaller_their_pictures() {
        assert_eq!((picture_side(1, 0), picture_side(6, 5), picture_side(7, 0)), (1600, 1600, 1000));
        assert_eq!((picture_side(60, 59), picture_side(1000, 59), picture_side(1000, 60)), (600, 600, 0));
    }
}
