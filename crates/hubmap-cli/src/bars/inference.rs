//! Bars of inference.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::Current;
use crate::interrupt;
use crate::progress::Progress;

impl Current<'_> {
    fn end(&self) {
        drop(self.bar.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Inference: one bar for the slides under way, of which there is one per device.
#[derive(Debug)]
pub struct InferBars<'a> {
    current: Current<'a>,
    under_way: Mutex<UnderWay>,
}

/// Slides under way, and the blocks of the bar.
#[derive(Debug, Default)]
struct UnderWay {
    ids: BTreeSet<String>,
    n_blocks: u64,
}

impl<'a> InferBars<'a> {
    /// Bars on `progress`.
    pub fn new(progress: &'a Progress) -> Self {
        Self { current: Current::new(progress), under_way: Mutex::default() }
    }
}

impl hubmap_infer::Progress for InferBars<'_> {
    fn slide_started(&self, id: &str, n_blocks: usize) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.ids.is_empty() {
            under_way.n_blocks = 0;
        }
        under_way.ids.insert(id.to_owned());
        under_way.n_blocks += n_blocks as u64;
        if under_way.ids.len() == 1 {
            self.current.begin(id, under_way.n_blocks, "blocks");
        } else {
            self.current.with(|bar| bar.set_total(under_way.n_blocks));
        }
    }

    fn blocks_done(&self, n_blocks: usize) {
        self.current.with(|bar| bar.inc(n_blocks as u64));
    }

    fn interrupted(&self) -> bool {
        interrupt::requested()
    }

    fn slide_skipped(&self, id: &str) {
        self.current.progress.note(&format!("{id} was finished before"));
    }

    fn slide_finished(&self, id: &str, error: Option<&anyhow::Error>) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // A slide that could not be opened never started.
        if under_way.ids.remove(id) && under_way.ids.is_empty() {
            self.current.end();
        }
        if let Some(error) = error {
            self.current.progress.error(&format!("slide {id}: {error:#}"));
        }
    }
}
