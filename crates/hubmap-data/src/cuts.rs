//! Data generation: masks, tiles and splits of a competition folder (pipeline, section 2).
//!
//! A run first looks at what is there (`plan`), cuts what is missing or no longer matches (`workers`, `tiles`), and
//! links the tiles into folds (`sides`, `splits`).
//! It may be killed at any moment: files get their names when they are whole, a `journal` per slide and kind says which
//! tiles those are, and a `record` per slide, written last, which of its outputs are finished and what they were made
//! of.
//! Nothing is flushed to the disk itself: after a power failure, files that lack a part are seen by their length and
//! cut again; what keeps its length is seen by the checksums of PNG when it is loaded.

mod folders;
mod journal;
mod plan;
mod record;
mod report;
mod sides;
mod splits;
mod stamp;
mod tiles;
mod workers;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hubmap_files::remove_unfinished_of;
use hubmap_jobs::Shard;

pub use report::{DataGenReport, FoldReport, SlideFailure, SlideReport, TileCounts};
pub use splits::{Manifest, ManifestFold};

use crate::config::DataGenConfig;
use crate::fault::Fault;
use crate::slide::{Competition, TrainSlide};
use folders::{OutputDir, create_dir, cuts_name, remove_unfinished};
use plan::SlidePlan;
use record::{Outcome, Outcomes, SlideRecord};
use sides::{SlideTiles, Sorting, SplitFold};
use splits::Splits;

/// Told how far data generation is; called from several threads.
pub trait Progress: Sync {
    /// A task of `n_steps` begins; the one before, if any, is over.
    fn begin(&self, task: &str, n_steps: u64);

    /// The task will have `n_steps` in all, by what is known now.
    fn expect(&self, _n_steps: u64) {}

    /// Another step of the task is done.
    fn advance(&self);

    /// Asked between tiles: whether to stop with an error at once.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Tells nobody.
impl Progress for () {
    fn begin(&self, _task: &str, _n_steps: u64) {}

    fn advance(&self) {}
}

/// Cuts all training slides of the competition folder `input` and splits the tiles into folds.
///
/// Writes `bigmasks/`, `CUTS/` and `SPLITS/` into `output`, which is created, and what it has to know later into
/// `.data-gen/`.
/// What is there and matches inputs and settings stays as it is; a run that was stopped or killed goes on with the
/// next tile; outputs of slides that are gone are removed.
/// As many tiles are cut at once as the current rayon pool has threads; two slides at most are open.
///
/// # Errors
///
/// The configuration or the folder is invalid, `output` cannot be written or another run writes to it, or the work was
/// cancelled.
/// A slide that cannot be read is no error but a failure in the report.
pub fn generate(
    input: &Path,
    output: &Path,
    config: &DataGenConfig,
    progress: &dyn Progress,
) -> Result<DataGenReport> {
    config.validate()?;
    let competition = Competition::open(input).map_err(Fault::or_input)?;
    let ids = competition.train_ids();
    // Before hours of cutting, so that a wrong fold costs nothing.
    let sorting = Sorting::new(config, &ids)?;
    let output = OutputDir::new(output);
    let _lock = output.state().lock()?;

    let removed = remove_gone(&output, &ids)?;
    output.state().remove_unfinished()?;
    remove_unfinished(&output.big_masks())?;
    remove_unfinished(&output.splits())?;

    let mut report = DataGenReport { removed, ..DataGenReport::default() };
    let slides: Vec<&TrainSlide> = competition.train.iter().collect();
    let finished = cut(&slides, &output, config, &mut report, progress)?;
    if !report.failures.is_empty() {
        splits::revoke(&output)?;
        return Ok(report);
    }

    let tiles = finished.iter().map(|(id, record)| SlideTiles {
        slide: id,
        kinds: config
            .kinds
            .iter()
            .filter_map(|&kind| Some((kind, &record.cuts.get(&cuts_name(kind, config))?.outcomes)))
            .collect(),
    });
    let folds = sorting.folds(&tiles.collect::<Vec<_>>(), config.window_px())?;
    let splits = Splits::new(&output, config, &folds);
    report.are_splits_up_to_date = splits.are_there()?;
    if !report.are_splits_up_to_date {
        splits::revoke(&output)?;
        create_dir(&output.splits())?;
        splits.write(progress)?;
    }
    report.folds = folds.iter().map(fold_report).collect();
    Ok(report)
}

/// Cuts the slides of one part of the competition folder; jobs with the other parts may be at work in `output` meanwhile.
///
/// The splits, which need all slides, are left to a run of [`generate`] when all parts are done; it finds their tiles.
/// Slides are dealt out by the sizes of their files. For the rest, see [`generate`].
///
/// # Errors
///
/// As for [`generate`]; also if another job is at a slide of this part.
pub fn generate_part(
    input: &Path,
    output: &Path,
    config: &DataGenConfig,
    shard: Shard,
    progress: &dyn Progress,
) -> Result<DataGenReport> {
    config.validate()?;
    let competition = Competition::open(input).map_err(Fault::or_input)?;
    Sorting::new(config, &competition.train_ids())?;
    let output = OutputDir::new(output);
    let _lock = output.state().lock_shared()?;

    let n_bytes = |slide: &TrainSlide| std::fs::metadata(&slide.tiff).map_or(0, |file| file.len());
    let sizes: Vec<u64> = competition.train.iter().map(n_bytes).collect();
    let slides: Vec<&TrainSlide> =
        shard.select(&sizes).into_iter().map(|place| &competition.train[place]).collect();
    let _slide_locks =
        slides.iter().map(|slide| output.state().lock_slide(&slide.id)).collect::<Result<Vec<_>>>()?;
    for slide in &slides {
        remove_unfinished(&output.state().slide(&slide.id))?;
    }
    let masks: Vec<PathBuf> = slides.iter().map(|slide| output.big_mask(&slide.id)).collect();
    remove_unfinished_of(&masks).with_context(|| format!("cannot clean {}", output.big_masks().display()))?;

    let part = Some(shard.to_string());
    let mut report = DataGenReport { part, ..DataGenReport::default() };
    cut(&slides, &output, config, &mut report, progress)?;
    Ok(report)
}

/// Cuts what is missing of slides, and returns those that are finished, sorted by id.
fn cut(
    slides: &[&TrainSlide],
    output: &OutputDir,
    config: &DataGenConfig,
    report: &mut DataGenReport,
    progress: &dyn Progress,
) -> Result<Vec<(String, SlideRecord)>> {
    let mut plans = Vec::new();
    for &entry in slides {
        match SlidePlan::of(entry, output, config) {
            Ok(plan) => plans.push(plan),
            Err(error) => report.fail(&entry.id, &error),
        }
    }
    let unfinished = plans.iter().filter(|plan| plan.finished().is_none()).collect::<Vec<_>>();
    let mut records = plans
        .iter()
        .filter_map(|plan| Some((plan, plan.finished()?.clone())))
        .collect::<Vec<(&SlidePlan<'_>, SlideRecord)>>();
    if !unfinished.is_empty() {
        splits::revoke(output)?;
        create_dir(&output.big_masks())?;
        let results = workers::run(&unfinished, output, config, progress)?;
        for (plan, result) in unfinished.into_iter().zip(results) {
            match result {
                Ok(record) => records.push((plan, record)),
                Err(error) => report.fail(&plan.entry.id, &error),
            }
        }
    }
    records.sort_by(|(a, _), (b, _)| a.entry.id.cmp(&b.entry.id));
    report.failures.sort_by(|a, b| a.slide.cmp(&b.slide));
    report.slides = records.iter().map(|(plan, record)| slide_report(plan, record, config)).collect();
    Ok(records.into_iter().map(|(plan, record)| (plan.entry.id.clone(), record)).collect())
}

/// Removes the outputs of slides that are not in the input; returns their ids.
fn remove_gone(output: &OutputDir, ids: &[String]) -> Result<Vec<String>> {
    let gone = output.state().slide_ids()?.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>();
    if !gone.is_empty() {
        splits::revoke(output)?;
        gone.iter().try_for_each(|id| output.remove_slide(id))?;
    }
    Ok(gone)
}

impl DataGenReport {
    fn fail(&mut self, slide: &str, error: &anyhow::Error) {
        tracing::error!("slide {slide}: {error:#}");
        let (kind, error) = (Fault::of(error), format!("{error:#}"));
        self.failures.push(SlideFailure { slide: slide.to_owned(), error, kind });
    }
}

fn slide_report(plan: &SlidePlan<'_>, record: &SlideRecord, config: &DataGenConfig) -> SlideReport {
    let tiles = config.kinds.iter().map(|&kind| {
        let outcomes = record.cuts.get(&cuts_name(kind, config)).map(|tiles| &tiles.outcomes);
        let n_windows = outcomes.map_or(0, Outcomes::len);
        let n_skipped =
            outcomes.map_or(0, |outcomes| outcomes.values().filter(|o| **o == Outcome::Skipped).count());
        let planned = plan.tiles.iter().find(|tiles| tiles.kind == kind);
        let n_known = |plan: &plan::TilesPlan| plan.known.as_ref().map_or(0, Outcomes::len);
        TileCounts {
            kind: kind.prefix(),
            n_kept: n_windows - n_skipped,
            n_skipped,
            n_up_to_date: planned.map_or(n_windows, n_known),
        }
    });
    SlideReport {
        slide: plan.entry.id.clone(),
        size: record.size,
        n_objects: record.n_objects,
        tiles: tiles.collect(),
        n_positive_px: record.n_positive_px,
    }
}

fn fold_report(fold: &SplitFold) -> FoldReport {
    let count = |side: &[sides::SideTiles]| side.iter().map(|tiles| tiles.tile_idxs.len()).sum();
    FoldReport {
        name: fold.name.clone(),
        by: fold.by,
        n_train: count(&fold.train),
        n_valid: count(&fold.valid),
        n_left_out: fold.n_left_out,
    }
}
