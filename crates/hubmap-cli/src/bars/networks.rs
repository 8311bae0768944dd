//! Bars of training.

use std::sync::{Mutex, PoisonError};

use hubmap_data::cuts;
use hubmap_train::{EpochReport, FoldStart, Observer, StepReport};

use super::Current;
use crate::interrupt;
use crate::progress::Progress;

/// Training: one bar per fold, one line per epoch.
#[derive(Debug)]
pub struct TrainBars<'a> {
    current: Current<'a>,
    /// Name and number of epochs of the fold under way.
    fold: Mutex<(String, usize)>,
}

impl<'a> TrainBars<'a> {
    /// Bars on `progress`.
    pub const fn new(progress: &'a Progress) -> Self {
        Self { current: Current::new(progress), fold: Mutex::new((String::new(), 0)) }
    }

    fn fold_under_way(&self) -> (String, usize) {
        self.fold.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for TrainBars<'_> {
    fn data(&self) -> &dyn cuts::Progress {
        &self.current
    }

    fn fold(&self, start: &FoldStart<'_>) {
        *self.fold.lock().unwrap_or_else(PoisonError::into_inner) = (start.name.to_owned(), start.n_epochs);
        let total = start.n_epochs * start.n_batches + start.n_valid_batches;
        self.current.begin(&format!("train {}", start.name), total as u64, "batches");
        self.current.with(|bar| bar.inc(start.n_done as u64));
    }

    fn step(&self, report: StepReport) {
        let (_, n_epochs) = self.fold_under_way();
        self.current.with(|bar| {
            let StepReport { epoch, loss, dice, images_per_second, .. } = report;
            let epoch = epoch + 1;
            bar.message(&format!(
                "epoch {epoch}/{n_epochs} loss {loss:.3} dice {dice:.3}, {images_per_second:.1} images/s"
            ));
            bar.inc(1);
        });
    }

    fn valid_batch(&self) {
        self.current.with(|bar| bar.inc(1));
    }

    fn interrupted(&self) -> bool {
        interrupt::requested()
    }

    fn epoch(&self, report: &EpochReport<'_>) {
        let (name, n_epochs) = self.fold_under_way();
        let row = report.row;
        let valid = match (row.valid_dice, row.valid_dice_ema) {
            (Some(raw), Some(ema)) => format!(", valid dice {raw:.4} raw, {ema:.4} EMA"),
            _ => String::new(),
        };
        let saved = if report.checkpoint.is_some() { ", best so far: saved" } else { "" };
        let line = format!(
            "fold {name} epoch {}/{n_epochs}: rate {:.2e}, loss {:.4}, train dice {:.4}{valid}{saved}",
            row.epoch + 1,
            row.rate,
            row.train_loss,
            row.train_dice
        );
        self.current.progress.note(&line);
    }
}
