//! Learning rate by epoch.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Cosine from `start` up to `peak`, then cosine down to `end` (spec section 5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Rate of the first epoch.
    pub start: f64,
    /// Highest rate.
    pub peak: f64,
    /// Rate that the way down ends at.
    pub end: f64,
    /// Share of the epochs on the way up.
    pub warmup: f64,
    /// Reproduces the original's slip: each epoch runs with the previous epoch's rate, the first with 0.
    pub one_epoch_late: bool,
}

impl Schedule {
    /// Refuses values that cannot work; the message names the key.
    pub fn validate(&self) -> Result<()> {
        for (name, rate) in [("start", self.start), ("peak", self.peak), ("end", self.end)] {
            ensure!(rate >= 0.0 && rate.is_finite(), "train.schedule.{name} is {rate}: a rate is 0 or more");
        }
        ensure!(
            (0.0..=1.0).contains(&self.warmup),
            "train.schedule.warmup is {}: it must be from 0 to 1",
            self.warmup
        );
        Ok(())
    }

    /// The rate at `position`, the share of training that is done, in `[0, 1]`.
    pub fn at(&self, position: f64) -> f64 {
        let (from, to, share) = if position < self.warmup {
            (self.start, self.peak, position / self.warmup)
        } else if self.warmup < 1.0 {
            (self.peak, self.end, (position - self.warmup) / (1.0 - self.warmup))
        } else {
            (self.peak, self.peak, 0.0)
        };
        from + (to - from) * (1.0 - (std::f64::consts::PI * share).cos()) / 2.0
    }

    /// The rate that epoch `epoch` of `n_epochs` runs with.
    pub fn rate(&self, epoch: usize, n_epochs: usize) -> f64 {
        let nominal = |epoch: usize| self.at(epoch as f64 / n_epochs as f64);
        match (self.one_epoch_late, epoch.checked_sub(1)) {
            (false, _) => nominal(epoch),
            (true, Some(previous)) => nominal(previous),
            (true, None) => 0.0,
        }
    }
}
