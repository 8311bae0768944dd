//! Dice at many thresholds from one pass over the probabilities.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use half::f16;
use hubmap_io::{Rle, RleDecoder, Size};
use ndarray::{Array2, ArrayRef1};
use rayon::prelude::*;
use serde::Serialize;

use super::refuse_missing;
use crate::dice::count_dice;
use crate::outputs::NpyReader;
use crate::progress::{Interrupted, Progress};

/// Thresholds 0.05, 0.10, …, 0.95.
const N_THRESHOLDS: usize = 19;

/// Pixels that are read at a time: 64 MiB of probabilities and truth.
const BAND_PX: u32 = 1 << 24;

/// Dice at other thresholds than that of the masks.
///
/// All lists are in the order of the thresholds.
/// Probabilities are compared as for a mask: in half precision, and only greater ones are positive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// 0.05 to 0.95, ascending.
    pub thresholds: Vec<f64>,
    /// Mean Dice over slides.
    pub mean_dice: Vec<f64>,
    /// Dice of all pixels, as if the slides were one.
    pub pooled_dice: Vec<f64>,
    /// Dice of each slide, in the order of the ids.
    pub slides: Vec<SlideSweep>,
}

/// Dice of one slide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlideSweep {
    /// Id of the slide.
    pub id: String,
    /// Dice at each threshold.
    pub dice: Vec<f64>,
}

impl Sweep {
    /// The scores of slides, whose ids are in the order of their counts.
    pub fn of(ids: Vec<String>, counts: &[SweepCounts]) -> Self {
        let dice: Vec<Vec<f64>> = counts.iter().map(SweepCounts::dice).collect();
        let mean = |i: usize| dice.iter().map(|dice| dice[i]).sum::<f64>() / dice.len() as f64;
        let pooled = counts.iter().fold(SweepCounts::default(), |sum, counts| sum.plus(*counts));
        Self {
            thresholds: thresholds().to_vec(),
            mean_dice: (0..N_THRESHOLDS).map(mean).collect(),
            pooled_dice: pooled.dice(),
            slides: ids.into_iter().zip(dice).map(|(id, dice)| SlideSweep { id, dice }).collect(),
        }
    }

    /// The first threshold with the greatest mean Dice, and that Dice.
    pub fn best(&self) -> (f64, f64) {
        let scores = self.thresholds.iter().copied().zip(self.mean_dice.iter().copied());
        scores.reduce(|best, next| if next.1 > best.1 { next } else { best }).unwrap_or_default()
    }
}

fn thresholds() -> [f64; N_THRESHOLDS] {
    std::array::from_fn(|i| (i + 1) as f64 / 20.0)
}

/// Pixels of a slide by the number of thresholds that their probability is above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepCounts {
    outside: [u64; N_THRESHOLDS + 1],
    inside: [u64; N_THRESHOLDS + 1],
}

impl SweepCounts {
    /// Counts the pixels of a map of probabilities, a `predicts/raw/<id>.npy` of a slide of this size, inside and outside of
    /// the truth, reading it once.
    pub fn of_slide(path: &Path, size: Size, truth: &Rle, progress: &dyn Progress) -> Result<Self> {
        let mut map = NpyReader::open(path)?;
        ensure!(
            map.size() == size,
            "{}: the map is {}, but the slide is {size} px",
            path.display(),
            map.size()
        );
        let mut truth = RleDecoder::new(truth, size)?;
        let n_above = n_above();
        let band_rows = (BAND_PX / size.width.max(1)).max(1);
        let mut counts = Self::default();
        for y0 in (0..size.height).step_by(band_rows as usize) {
            ensure!(!progress.interrupted(), Interrupted);
            let n_rows = band_rows.min(size.height - y0);
            let probabilities = map.read_rows(y0, n_rows)?;
            let mut is_inside = Array2::zeros(probabilities.dim());
            truth.fill_rows(is_inside.view_mut(), 1);
            let rows: Vec<_> = probabilities.outer_iter().zip(is_inside.outer_iter()).collect();
            let band = rows.into_par_iter().map(|(row, is_inside)| Self::of_row(&row, &is_inside, &n_above));
            counts = counts.plus(band.reduce(Self::default, Self::plus));
        }
        Ok(counts)
    }

    fn of_row(probabilities: &ArrayRef1<f16>, is_inside: &ArrayRef1<u8>, n_above: &[u8]) -> Self {
        let mut counts = Self::default();
        for (probability, &is_inside) in probabilities.iter().zip(is_inside) {
            let side = if is_inside == 0 { &mut counts.outside } else { &mut counts.inside };
            side[usize::from(n_above[usize::from(probability.to_bits())])] += 1;
        }
        counts
    }

    fn plus(mut self, other: Self) -> Self {
        self.outside.iter_mut().zip(other.outside).for_each(|(sum, n)| *sum += n);
        self.inside.iter_mut().zip(other.inside).for_each(|(sum, n)| *sum += n);
        self
    }

    /// Dice at each threshold.
    fn dice(&self) -> Vec<f64> {
        let truth = self.inside.iter().sum();
        let dice_at = |i: usize| {
            let shared = self.inside[i + 1..].iter().sum::<u64>();
            count_dice(shared, shared + self.outside[i + 1..].iter().sum::<u64>(), truth)
        };
        (0..N_THRESHOLDS).map(dice_at).collect()
    }
}

/// For all bits of a half-precision number, how many thresholds it is greater than.
fn n_above() -> Vec<u8> {
    let thresholds = thresholds().map(|threshold| f16::from_f32(threshold as f32));
    let of_bits =
        |bits| thresholds.iter().filter(|&&threshold| f16::from_bits(bits) > threshold).count() as u8;
    (0..=u16::MAX).map(of_bits).collect()
}

/// The probability files of slides, in the order of the ids.
pub(super) fn find_probabilities(predictions: &Path, ids: &[String]) -> Result<Vec<PathBuf>> {
    let folder = predictions.join("predicts").join("raw");
    let path_of = |id: &String| folder.join(format!("{id}.npy"));
    refuse_missing(ids, |id| path_of(id).is_file(), &format!("without probabilities <id>.npy in {}", folder.display()))
        .context(
            "a sweep of thresholds needs the probabilities: predict with the output npy, and name that output folder",
        )?;
    Ok(ids.iter().map(path_of).collect())
}
