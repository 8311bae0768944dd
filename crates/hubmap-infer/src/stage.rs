//! Where the time of a prediction goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Seconds spent on the stages of one slide.
///
/// Stages run beside each other on threads of their own, so that their sum exceeds the time that passed; those of
/// several threads are summed. What bounds a prediction shows in `wait`: next to nothing, and the networks do; about as
/// much as the time that passed, and it is reading, or, if `write` is as large, the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// Finding tissue on a reduced level.
    pub tissue: f64,
    /// Reading and decoding full-resolution pixels; the readers of files do both at once.
    pub read: f64,
    /// Reducing and normalising them.
    pub reduce: f64,
    /// Networks waiting for tiles.
    pub wait: f64,
    /// Forward passes with their views and means.
    pub infer: f64,
    /// Joining blocks and enlarging them.
    pub merge: f64,
    /// Writing the journal of predicted blocks, and reading those of an earlier run.
    pub journal: f64,
    /// Handing rows to their sink.
    pub write: f64,
}

/// A part of the work whose time is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    Tissue,
    Read,
    Reduce,
    Wait,
    Infer,
    Merge,
    Journal,
    Write,
}

/// Adds up the time of stages over threads.
#[derive(Debug, Default)]
pub(crate) struct StageClock([AtomicU64; 8]);

impl StageClock {
    /// Runs `work` and adds the time it took to a stage.
    pub(crate) fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }

    pub(crate) fn add(&self, stage: Stage, time: Duration) {
        self.0[stage as usize].fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn seconds(&self) -> StageSeconds {
        let of = |stage: Stage| self.0[stage as usize].load(Ordering::Relaxed) as f64 / 1e9;
        StageSeconds {
            tissue: of(Stage::Tissue),
            read: of(Stage::Read),
            reduce: of(Stage::Reduce),
            wait: of(Stage::Wait),
            infer: of(Stage::Infer),
            merge: of(Stage::Merge),
            journal: of(Stage::Journal),
            write: of(Stage::Write),
        }
    }
}
