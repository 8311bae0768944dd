//! Data generation: masks, tiles and splits of a competition folder (pipeline, section 2).

mod splits;
mod staging;
mod tiles;

use std::path::Path;

use anyhow::{Result, bail};
use hubmap_io::Size;
use serde::Serialize;

pub use splits::{Manifest, ManifestFold};

use crate::config::DataGenConfig;
use crate::cut::{Cut, CutKind};
use crate::slide::{Competition, TrainSlide};

/// Told how far data generation is; called from several threads.
pub trait Progress: Sync {
    /// A task of `n_steps` begins; the one before, if any, is over.
    fn begin(&self, task: &str, n_steps: u64);

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

/// What was made of a slide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlideReport {
    /// Id of the slide.
    pub slide: String,
    /// Full-resolution size.
    pub size: Size,
    /// Object tiles written.
    pub n_objects: usize,
    /// Grid tiles written, kept background included.
    pub n_grid_kept: usize,
    /// Grid tiles left out as background.
    pub n_background_skipped: usize,
    /// Set pixels of the mask.
    pub n_positive_px: u64,
}

/// A slide that could not be cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlideFailure {
    /// Id of the slide.
    pub slide: String,
    /// What is wrong, with the file.
    pub error: String,
}

/// What data generation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataGenReport {
    /// Slides that were cut, sorted by id.
    pub slides: Vec<SlideReport>,
    /// Slides that could not be cut.
    ///
    /// If there are any, no splits were written, as they would lack these slides.
    pub failures: Vec<SlideFailure>,
    /// Names of the folds in the splits.
    pub folds: Vec<String>,
}

/// A table of the slides, then what failed.
impl std::fmt::Display for DataGenReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.slides.iter().map(|slide| slide.slide.len()).max().unwrap_or(0).max("slide".len());
        let header = ["objects", "grid tiles", "background", "positive px"];
        let row = |f: &mut std::fmt::Formatter<'_>, slide: &str, size: &str, cells: [String; 4]| {
            write!(f, "{slide:width$}  {size:>13}")?;
            cells.iter().zip(header).try_for_each(|(cell, title)| write!(f, "  {cell:>n$}", n = title.len()))
        };
        row(f, "slide", "size", header.map(str::to_owned))?;
        for slide in &self.slides {
            let counts = [slide.n_objects, slide.n_grid_kept, slide.n_background_skipped];
            let [objects, grid, background] = counts.map(|count| count.to_string());
            f.write_str("\n")?;
            let cells = [objects, grid, background, slide.n_positive_px.to_string()];
            row(f, &slide.slide, &slide.size.to_string(), cells)?;
        }
        for SlideFailure { slide, error } in &self.failures {
            write!(f, "\nfailed: {slide}: {error}")?;
        }
        if self.failures.is_empty() {
            write!(f, "\nfolds: {}", self.folds.join(", "))
        } else {
            write!(f, "\nno splits written: mend or remove the slides that failed, and run again")
        }
    }
}

/// Cuts all training slides of the competition folder `input` and splits the tiles into folds.
///
/// Writes `bigmasks/`, `CUTS/` and `SPLITS/` into `output`, which is created; what is there under the same
/// names is replaced slide by slide, each only once its successor is complete.
/// Tiles of a slide are cut on the current rayon pool; every thread holds one window at a time.
///
/// # Errors
///
/// The configuration or the folder is invalid, `output` cannot be written, or the work was cancelled.
/// A slide that cannot be read is no error but a failure in the report.
pub fn generate(
    input: &Path,
    output: &Path,
    config: &DataGenConfig,
    progress: &dyn Progress,
) -> Result<DataGenReport> {
    config.validate()?;
    let competition = Competition::open(input)?;
    // Before hours of cutting, so that a wrong fold costs nothing.
    let folds = config.folds_over(&competition.train_ids())?;
    splits::remove_manifest(output)?;

    let mut report = DataGenReport { slides: Vec::new(), failures: Vec::new(), folds: Vec::new() };
    for entry in &competition.train {
        match cut_slide(entry, output, config, progress) {
            Ok(slide) => report.slides.push(slide),
            Err(error) if progress.is_cancelled() => return Err(error),
            Err(error) => {
                tracing::error!("slide {}: {error:#}", entry.id);
                report.failures.push(SlideFailure { slide: entry.id.clone(), error: format!("{error:#}") });
            }
        }
    }
    if report.failures.is_empty() {
        splits::write(output, config, &folds, progress)?;
        report.folds = folds.iter().map(|fold| fold.name().to_owned()).collect();
    }
    Ok(report)
}

/// Writes the mask and the tiles of one slide.
fn cut_slide(
    entry: &TrainSlide,
    output: &Path,
    config: &DataGenConfig,
    progress: &dyn Progress,
) -> Result<SlideReport> {
    let slide = entry.open()?;
    let Some(mask) = &slide.mask else { bail!("slide {} has no mask", slide.id) };
    let cuts = Cut::all_of(&slide, config)?;
    progress.begin(&slide.id, cuts.len() as u64);
    tiles::write_big_mask(output, &slide.id, mask)?;
    let counts = tiles::write(output, &slide, &cuts, config, progress)?;
    Ok(SlideReport {
        size: slide.reader.size(),
        n_objects: counts.of(CutKind::Objects),
        n_grid_kept: counts.of(CutKind::Grid),
        n_background_skipped: counts.background_skipped,
        n_positive_px: mask.count_ones(),
        slide: slide.id,
    })
}
