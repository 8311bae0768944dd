//! Dice of predictions against the truth, slide by slide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hubmap_io::{Rle, RleEncoder, Size, Window};
use ndarray::{Axis, s};
use serde::Serialize;

use crate::dice::intersection;
use crate::outputs::{RleTable, find_slides, read_rle_table};

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
}

/// Agreement of predictions with the truth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Scores in the order of the ids.
    pub slides: Vec<SlideScore>,
    /// Mean Dice over slides, the competition's score.
    pub mean_dice: f64,
}

/// What to do with slides of the truth that have no prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpredicted {
    /// An error that lists them.
    Refuse,
    /// Score the predicted slides only, such as the held-out ones of a fold.
    Skip,
}

/// Scores predictions against a table of encodings such as `train.csv`.
///
/// `predictions` is a submission table, a folder of mask TIFFs named by id, or the output folder of inference.
/// `slides` is the folder of the slides, whose sizes every encoding and mask must fit.
/// Ids of the predictions that the truth or the folder of slides lacks are an error that lists them.
pub fn evaluate(
    predictions: &Path,
    truth: &Path,
    slides: &Path,
    unpredicted: Unpredicted,
) -> Result<Evaluation> {
    let predictions = Predictions::open(predictions)?;
    let truth_table = read_rle_table(truth)?;
    let slide_paths: BTreeMap<String, PathBuf> =
        find_slides(&[slides.to_owned()])?.into_iter().map(|slide| (slide.id, slide.path)).collect();

    let ids = predictions.ids();
    ensure!(!ids.is_empty(), "{} holds no predictions", predictions.path().display());
    refuse_missing(
        &ids,
        |id| truth_table.contains_key(id),
        &format!("predicted but not in {}", truth.display()),
    )?;
    refuse_missing(
        &ids,
        |id| slide_paths.contains_key(id),
        &format!("predicted but not a slide in {}", slides.display()),
    )?;
    if unpredicted == Unpredicted::Refuse {
        let predicted: BTreeSet<&String> = ids.iter().collect();
        let truth_ids: Vec<String> = truth_table.keys().cloned().collect();
        refuse_missing(
            &truth_ids,
            |id| predicted.contains(id),
            &format!("in {} but not predicted", truth.display()),
        )?;
    }

    let mut scores = Vec::new();
    for id in ids {
        let (Some(path), Some(truth_rle)) = (slide_paths.get(&id), truth_table.get(&id)) else { continue };
        let size = hubmap_io::open(path)?.size();
        let predicted = predictions.read(&id, size)?;
        ensure_fits(truth_rle, size).with_context(|| format!("id {id} of {}", truth.display()))?;
        scores.push(score(id, &predicted, truth_rle));
    }
    let mean_dice = scores.iter().map(|score| score.dice).sum::<f64>() / scores.len() as f64;
    Ok(Evaluation { slides: scores, mean_dice })
}

fn score(id: String, predicted: &Rle, truth: &Rle) -> SlideScore {
    let (predicted_pixels, truth_pixels) = (predicted.count_ones(), truth.count_ones());
    let shared_pixels = intersection(predicted, truth);
    let dice = crate::dice::set_dice(predicted, truth);
    SlideScore { id, dice, predicted_pixels, truth_pixels, shared_pixels }
}

/// An error that lists the ids that are not known.
fn refuse_missing(ids: &[String], is_known: impl Fn(&String) -> bool, problem: &str) -> Result<()> {
    let missing: Vec<&str> = ids.iter().filter(|id| !is_known(id)).map(String::as_str).collect();
    ensure!(missing.is_empty(), "{} {problem}: {}", count(missing.len(), "slide"), missing.join(", "));
    Ok(())
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Predictions as a user gives them.
enum Predictions {
    Table { path: PathBuf, table: RleTable },
    Masks { path: PathBuf, masks: BTreeMap<String, PathBuf> },
}

impl Predictions {
    fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).with_context(|| format!("cannot open {}", path.display()))?;
        if !metadata.is_dir() {
            return Ok(Self::Table { path: path.to_owned(), table: read_rle_table(path)? });
        }
        let inference_masks = path.join("predicts").join("masks");
        let folder = if inference_masks.is_dir() { inference_masks } else { path.to_owned() };
        let masks = find_slides(std::slice::from_ref(&folder))
            .with_context(|| format!("no mask TIFFs in {}", folder.display()))?;
        let masks = masks.into_iter().map(|mask| (mask.id, mask.path)).collect();
        Ok(Self::Masks { path: folder, masks })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Table { path, .. } | Self::Masks { path, .. } => path,
        }
    }

    fn ids(&self) -> Vec<String> {
        match self {
            Self::Table { table, .. } => table.keys().cloned().collect(),
            Self::Masks { masks, .. } => masks.keys().cloned().collect(),
        }
    }

    fn read(&self, id: &str, size: Size) -> Result<Rle> {
        match self {
            Self::Table { path, table } => {
                let rle = table.get(id).cloned().unwrap_or_default();
                ensure_fits(&rle, size).with_context(|| format!("id {id} of {}", path.display()))?;
                Ok(rle)
            }
            Self::Masks { masks, .. } => match masks.get(id) {
                Some(path) => read_mask(path, size),
                None => bail!("no mask of {id}"),
            },
        }
    }
}

/// Rows of a mask that are read at a time.
const MASK_BAND: u32 = 1024;

/// The non-zero pixels of a single-band TIFF.
fn read_mask(path: &Path, size: Size) -> Result<Rle> {
    let mask = hubmap_io::open(path)?;
    ensure!(mask.bands() == 1, "{}: a mask has 1 band, this file has {}", path.display(), mask.bands());
    ensure!(
        mask.size() == size,
        "{}: the mask is {}, but the slide is {size} px",
        path.display(),
        mask.size()
    );
    let mut encoder = RleEncoder::new(size);
    for y0 in (0..size.height).step_by(MASK_BAND as usize) {
        let window = Window::new(0, y0.into(), size.width, MASK_BAND.min(size.height - y0));
        encoder.push_rows(mask.read(window)?.index_axis(Axis(2), 0).slice(s![.., ..]));
    }
    Ok(encoder.finish())
}

/// Refuses runs that leave the slide.
fn ensure_fits(rle: &Rle, size: Size) -> Result<()> {
    if let Some(run) = rle.runs().last().filter(|run| run.last() > size.area()) {
        bail!(hubmap_io::RleError::OutOfRange { start: run.start, length: run.length, size });
    }
    Ok(())
}
