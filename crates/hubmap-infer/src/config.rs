//! How slides are predicted: the `[infer]` table.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::postprocess::PostprocessConfig;
use crate::tta::Tta;

/// What is averaged over the models (folds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// Mean of logits over models, then over views, then one sigmoid: the original's evaluation.
    Logits,
    /// For each model the mean of logits over views and a sigmoid, then the mean over models: the Kaggle variant.
    Probabilities,
}

impl std::str::FromStr for Merge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "logits" => Ok(Self::Logits),
            "probabilities" => Ok(Self::Probabilities),
            other => Err(format!("unknown merge '{other}': use logits or probabilities")),
        }
    }
}

/// Settings of inference (spec section 6).
///
/// Lengths are in *tile pixels*, after the reduction by `scale`: a block of 1024 at scale 3 covers 3072 px of
/// the slide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictConfig {
    /// Slide pixels per tile pixel along each side.
    pub scale: u32,
    /// Side of a block without context, in tile pixels.
    pub block: u32,
    /// Context read around a block on every side, in tile pixels; predicted and thrown away.
    pub context: u32,
    /// Tiles per forward pass; does not change results.
    pub batch: usize,
    /// Views of each tile that are averaged.
    pub tta: Tta,
    /// What is averaged over models.
    pub merge: Merge,
    /// A pixel is positive when its probability is greater than this, compared in half precision.
    pub threshold: f32,
    /// Threads that read and reduce blocks while the network works.
    pub read_threads: usize,
    /// Prepared blocks that each of these threads keeps waiting.
    pub read_ahead: usize,
    /// What is done to the mask after the threshold.
    pub postprocess: PostprocessConfig,
}

impl PredictConfig {
    /// The original's settings: blocks of 1024 with 256 of context at scale 3, D4, mean of logits.
    pub const fn original() -> Self {
        Self {
            scale: 3,
            block: 1024,
            context: 256,
            batch: 1,
            tta: Tta::D4,
            merge: Merge::Logits,
            threshold: 0.5,
            read_threads: 2,
            read_ahead: 1,
            postprocess: PostprocessConfig::OFF,
        }
    }

    /// Settings from an `[infer]` table that may leave keys out; those have the [original](Self::original) value.
    pub fn from_table(table: &toml::Table) -> Result<Self> {
        let mut merged = toml::Table::try_from(Self::original())?;
        overlay(&mut merged, table);
        let config: Self = merged.try_into().context("table [infer]")?;
        config.validate()?;
        Ok(config)
    }

    /// Refuses settings that cannot work, with the reason.
    pub fn validate(&self) -> Result<()> {
        ensure!((1..=64).contains(&self.scale), "infer.scale is {}: it must be 1 to 64", self.scale);
        ensure!(self.block > 0, "infer.block is 0: a block needs at least one pixel");
        let in_slide_px = |tile_px: u32| tile_px.checked_mul(self.scale).filter(|&px| px <= 1 << 20);
        ensure!(
            self.context
                .checked_mul(2)
                .and_then(|c| c.checked_add(self.block))
                .and_then(in_slide_px)
                .is_some(),
            "infer.block {} with infer.context {} at infer.scale {} is too large",
            self.block,
            self.context,
            self.scale
        );
        ensure!(
            self.tile_side().is_multiple_of(32),
            "infer.block + 2 * infer.context is {}: the networks need a multiple of 32, such as {}",
            self.tile_side(),
            self.tile_side().next_multiple_of(32)
        );
        ensure!(self.batch > 0, "infer.batch is 0: at least one tile goes through the network at a time");
        ensure!(
            (0.0..=1.0).contains(&self.threshold),
            "infer.threshold is {}: it must be from 0 to 1",
            self.threshold
        );
        ensure!(self.read_threads > 0, "infer.read_threads is 0: at least one thread must read");
        ensure!(self.read_ahead > 0, "infer.read_ahead is 0: at least one block must wait");
        self.postprocess.validate()
    }

    /// Side of the square that goes through the network, in tile pixels.
    pub const fn tile_side(&self) -> u32 {
        self.block + 2 * self.context
    }

    /// Side of a block in slide pixels.
    pub const fn block_px(&self) -> u32 {
        self.block * self.scale
    }

    /// Context around a block in slide pixels.
    pub const fn context_px(&self) -> u32 {
        self.context * self.scale
    }
}

/// Lays a table over another, and tables in it over those of the same name.
pub(crate) fn overlay(below: &mut toml::Table, above: &toml::Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => drop(below.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_overrides_single_keys() {
        let text = "tta = \"none\"\nbatch = 4\npostprocess.min_area_px = 9";
        let table: toml::Table = toml::from_str(text).unwrap();
        let postprocess = PostprocessConfig { min_area_px: 9, ..PostprocessConfig::OFF };
        let expected = PredictConfig { tta: Tta::None, batch: 4, postprocess, ..PredictConfig::original() };
        assert_eq!(PredictConfig::from_table(&table).unwrap(), expected);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let table: toml::Table = toml::from_str("treshold = 0.4").unwrap();
        let message = format!("{:#}", PredictConfig::from_table(&table).unwrap_err());
        assert!(message.contains("treshold") && message.contains("[infer]"), "{message}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let good = PredictConfig::original();
        for (bad, word) in [
            (PredictConfig { scale: 0, ..good.clone() }, "scale"),
            (PredictConfig { block: 1000, ..good.clone() }, "multiple of 32"),
            (PredictConfig { context: u32::MAX / 2, ..good.clone() }, "too large"),
            (PredictConfig { batch: 0, ..good.clone() }, "batch"),
            (PredictConfig { threshold: f32::NAN, ..good.clone() }, "threshold"),
            (PredictConfig { read_threads: 0, ..good.clone() }, "read_threads"),
        ] {
            let message = format!("{:#}", bad.validate().unwrap_err());
            assert!(message.contains(word), "{message}");
        }
        good.validate().unwrap();
    }
}
