//! How slides are predicted: the `[infer]` table.

use anyhow::{Context, Result, ensure};
use hubmap_io::Size;
use serde::{Deserialize, Serialize};

use crate::blocks::BlockGrid;
use crate::postprocess::PostprocessConfig;
use crate::tta::Tta;

/// What sides of tiles must be a multiple of: the networks halve maps five times.
pub(crate) const TILE_MULTIPLE: u32 = 32;

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

/// How the results of neighbouring tiles become one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blend {
    /// Every pixel is that of its block, enlarged with the block's own context; blocks do not overlap. The original's.
    Crop,
    /// Mean of the probabilities of all blocks over a pixel.
    Mean,
    /// The same, weighted by a Gaussian around each block's centre with a standard deviation of an eighth of its side,
    /// as in nnU-Net.
    Gaussian,
}

impl std::str::FromStr for Blend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "crop" => Ok(Self::Crop),
            "mean" => Ok(Self::Mean),
            "gaussian" => Ok(Self::Gaussian),
            other => Err(format!("unknown blend '{other}': use crop, mean or gaussian")),
        }
    }
}

/// Which blocks are left out because there is no tissue on them: the `[infer.tissue]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TissueConfig {
    /// Whether to look for tissue, and give blocks without it the probability 0 without reading them.
    pub skip: bool,
    /// Whether blocks that have tissue on a part of them are cut down to it, with the same context around it.
    ///
    /// It saves more, but a network that looks at whole tiles, as squeeze-and-excitation does, gives other probabilities
    /// for a smaller one.
    pub trim: bool,
    /// Slide pixels per pixel of the mask of tissue along each side.
    pub downsample: u32,
    /// Smaller pieces are not tissue, in slide pixels of area.
    pub min_area: u64,
    /// How far around tissue still counts as tissue, in slide pixels.
    pub margin: u32,
}

impl TissueConfig {
    fn validate(&self) -> Result<()> {
        ensure!(
            (1..=1024).contains(&self.downsample),
            "infer.tissue.downsample is {}: it must be 1 to 1024",
            self.downsample
        );
        ensure!(self.margin <= 1 << 20, "infer.tissue.margin is {}: it must be at most 1048576", self.margin);
        Ok(())
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
    /// How the results of neighbouring tiles become one map.
    pub blend: Blend,
    /// How much of a block lies in the next one, too, in tile pixels; 0 for [`Blend::Crop`].
    pub overlap: u32,
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
    /// Finished strips of rows that wait for their sink, of at most 16 MiB each.
    pub write_ahead: usize,
    /// Whether the results of blocks are kept on disk while a slide is under way, to go on with after an interruption.
    pub journal: bool,
    /// Leaving blocks without tissue out.
    pub tissue: TissueConfig,
    /// What is done to the mask after the threshold.
    pub postprocess: PostprocessConfig,
}

impl PredictConfig {
    /// The original's settings: blocks of 1024 with 256 of context at scale 3, D4, mean of logits.
    pub fn original() -> Self {
        Self {
            scale: 3,
            block: 1024,
            context: 256,
            blend: Blend::Crop,
            overlap: 0,
            batch: 1,
            tta: Tta::D4,
            merge: Merge::Logits,
            threshold: 0.5,
            read_threads: 2,
            read_ahead: 1,
            write_ahead: 2,
            journal: true,
            tissue: TissueConfig { skip: false, trim: true, downsample: 32, min_area: 16_384, margin: 256 },
            postprocess: PostprocessConfig {
                within_labels: vec!["Cortex".to_owned()],
                ..PostprocessConfig::OFF
            },
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
            self.tile_side().is_multiple_of(TILE_MULTIPLE),
            "infer.block + 2 * infer.context is {}: the networks need a multiple of {TILE_MULTIPLE}, such as {}",
            self.tile_side(),
            self.tile_side().next_multiple_of(TILE_MULTIPLE)
        );
        match self.blend {
            Blend::Crop => ensure!(
                self.overlap == 0,
                "infer.overlap is {}: blocks overlap with infer.blend \"mean\" or \"gaussian\" only",
                self.overlap
            ),
            Blend::Mean | Blend::Gaussian => ensure!(
                self.overlap < self.block,
                "infer.overlap is {}: it must be less than infer.block, {}",
                self.overlap,
                self.block
            ),
        }
        ensure!(self.batch > 0, "infer.batch is 0: at least one tile goes through the network at a time");
        ensure!(
            (0.0..=1.0).contains(&self.threshold),
            "infer.threshold is {}: it must be from 0 to 1",
            self.threshold
        );
        ensure!(self.read_threads > 0, "infer.read_threads is 0: at least one thread must read");
        ensure!(self.read_ahead > 0, "infer.read_ahead is 0: at least one block must wait");
        ensure!(self.write_ahead > 0, "infer.write_ahead is 0: at least one strip must wait");
        self.tissue.validate()?;
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

    /// The blocks in which a slide of a size is predicted.
    pub fn grid(&self, size: Size) -> BlockGrid {
        BlockGrid::new(size, self.block_px(), self.context_px()).with_overlap(self.overlap * self.scale)
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
        let text = "tta = \"none\"\nbatch = 4\ntissue = { skip = true }\npostprocess.min_area_px = 9";
        let original = PredictConfig::original();
        let tissue = TissueConfig { skip: true, ..original.tissue.clone() };
        let postprocess = PostprocessConfig { min_area_px: 9, ..original.postprocess.clone() };
        let expected = PredictConfig { tta: Tta::None, batch: 4, tissue, postprocess, ..original };
        let table: toml::Table = toml::from_str(text).unwrap();
        assert_eq!(PredictConfig::from_table(&table).unwrap(), expected);
    }

    #[test]
    fn the_base_config_holds_every_key_with_the_original_value() {
        let base: toml::Table = include_str!("../../../configs/base.toml").parse().unwrap();
        let original = toml::Table::try_from(PredictConfig::original()).unwrap();
        assert_eq!(base["infer"].as_table(), Some(&original));
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
            (PredictConfig { write_ahead: 0, ..good.clone() }, "write_ahead"),
            (PredictConfig { overlap: 8, ..good.clone() }, "infer.blend"),
            (PredictConfig { blend: Blend::Mean, overlap: 1024, ..good.clone() }, "less than infer.block"),
            (
                PredictConfig {
                    tissue: TissueConfig { downsample: 0, ..good.tissue.clone() },
                    ..good.clone()
                },
                "tissue.downsample",
            ),
        ] {
            let message = format!("{:#}", bad.validate().unwrap_err());
            assert!(message.contains(word), "{message}");
        }
        good.validate().unwrap();
    }
}
