//! Bars for the long steps of each library.

#[cfg(feature = "inference")]
mod inference;
#[cfg(feature = "networks")]
mod networks;

use std::sync::{Mutex, PoisonError};

use hubmap_data::cuts;
#[cfg(feature = "inference")]
pub use inference::InferBars;
#[cfg(feature = "networks")]
pub use networks::TrainBars;

use crate::interrupt;
use crate::progress::{Bar, Progress};

/// The bar of the step under way; the one before ends when the next begins.
#[derive(Debug)]
struct Current<'a> {
    progress: &'a Progress,
    bar: Mutex<Option<Bar>>,
}

impl<'a> Current<'a> {
    const fn new(progress: &'a Progress) -> Self {
        Self { progress, bar: Mutex::new(None) }
    }

    fn begin(&self, label: &str, total: u64, unit: &str) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        // The old bar writes its last line before the new one begins.
        drop(bar.take());
        *bar = Some(self.progress.bar(label, total, unit));
    }

    fn with(&self, change: impl FnOnce(&Bar)) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            change(bar);
        }
    }
}

impl cuts::Progress for Current<'_> {
    fn begin(&self, task: &str, n_steps: u64) {
        Self::begin(self, task, n_steps, "tiles");
    }

    fn expect(&self, n_steps: u64) {
        self.with(|bar| bar.set_total(n_steps));
    }

    fn advance(&self) {
        self.with(|bar| bar.inc(1));
    }

    fn is_cancelled(&self) -> bool {
        interrupt::requested()
    }
}

/// Data generation: one bar over the tiles of all slides.
#[derive(Debug)]
pub struct DataGenBars<'a>(Current<'a>);

impl<'a> DataGenBars<'a> {
    /// Bars on `progress`.
    pub const fn new(progress: &'a Progress) -> Self {
        Self(Current::new(progress))
    }
}

impl cuts::Progress for DataGenBars<'_> {
    fn begin(&self, task: &str, n_steps: u64) {
        cuts::Progress::begin(&self.0, task, n_steps);
    }

    fn expect(&self, n_steps: u64) {
        self.0.expect(n_steps);
    }

    fn advance(&self) {
        self.0.advance();
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
