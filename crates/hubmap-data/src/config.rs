//! Settings of data generation and of the training data, as they stand in `configs/base.toml`.
//!
//! No field has a hidden default, and unknown keys are errors.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::augment::Preset;
use crate::dataset::{DatasetKind, ensure_disjoint};
use crate::fold::ensure_distinct;
use crate::sampler::BackgroundRule;
use crate::{Dataset, DatasetName, Fold, Normalization};

/// Largest side of a window on the slide; one takes 3 GiB of memory per thread.
const MAX_WINDOW_PX: u32 = 1 << 15;

/// The table `[data_gen]`: how slides are cut into tiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataGenConfig {
    /// Slide pixels per tile pixel, in each direction.
    pub scale: u32,
    /// Side of a tile in tile pixels.
    pub tile_px: u32,
    /// Seed of which background tiles are kept and of drawn folds.
    pub seed: u64,
    /// Where the folds come from.
    pub folds: FoldSource,
    /// How many folds to draw if they are drawn.
    pub n_drawn_folds: usize,
    /// The folds if they are listed.
    pub listed_folds: Vec<ListedFold>,
    /// Share of each slide's tiles that validate if tiles are drawn.
    pub valid_fraction: f64,
    /// Folder of the polygons in which tiles validate, `<slide>.geojson`, if they decide.
    pub valid_polygons_dir: PathBuf,
    /// Which tiles of the grid are background.
    pub background: BackgroundRule,
}

/// Where folds come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldSource {
    /// From [`DataGenConfig::listed_folds`].
    Listed,
    /// Drawn by slide: [`DataGenConfig::n_drawn_folds`] of them.
    Drawn,
    /// One fold, `random`: of each slide, [`DataGenConfig::valid_fraction`] of the tiles validate.
    RandomTiles,
    /// One fold, `polygons`: tiles whose centre lies in a polygon of [`DataGenConfig::valid_polygons_dir`] validate.
    Polygons,
}

/// A fold by its validation slides; all other slides train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFold {
    /// Name of the fold and of its folder.
    pub name: String,
    /// Ids of the validation slides.
    pub valid: Vec<String>,
}

impl DataGenConfig {
    /// Refuses values that cannot work; the message names the key.
    ///
    /// # Errors
    ///
    /// See above. That slides exist is checked by [`DataGenConfig::folds_over`].
    pub fn validate(&self) -> Result<()> {
        ensure!(self.scale > 0, "data_gen.scale is 0; 1 cuts at full resolution");
        ensure!(self.tile_px > 0, "data_gen.tile_px is 0");
        ensure!(
            self.scale.checked_mul(self.tile_px).is_some_and(|side| side <= MAX_WINDOW_PX),
            "data_gen: a tile of {} px at scale {} is a window of more than {MAX_WINDOW_PX} px",
            self.tile_px,
            self.scale
        );
        self.background.validate().context("data_gen")?;
        match self.folds {
            FoldSource::Listed => ensure!(
                !self.listed_folds.is_empty(),
                "data_gen.folds is \"listed\" but data_gen.listed_folds is empty"
            ),
            FoldSource::Drawn => {
                ensure!(self.n_drawn_folds >= 2, "data_gen.n_drawn_folds is {}, below 2", self.n_drawn_folds);
            }
            FoldSource::RandomTiles => ensure!(
                self.valid_fraction > 0.0 && self.valid_fraction < 1.0,
                "data_gen.valid_fraction = {} is not between 0 and 1",
                self.valid_fraction
            ),
            FoldSource::Polygons => ensure!(
                self.valid_polygons_dir.is_dir(),
                "data_gen.valid_polygons_dir: no folder `{}` with polygons of the slides",
                self.valid_polygons_dir.display()
            ),
        }
        Ok(())
    }

    /// Side of the window on the slide that becomes one tile, in slide pixels.
    pub const fn window_px(&self) -> u32 {
        self.scale * self.tile_px
    }

    /// The last part of the names of the cuts' folders, such as `x33_1024`: the scale twice, for x and y, and
    /// the tile size; `x1010_512` for scale 10 and 512 px.
    pub fn cuts_suffix(&self) -> String {
        format!("x{scale}{scale}_{tile}", scale = self.scale, tile = self.tile_px)
    }

    /// The folds over the given slides.
    ///
    /// # Errors
    ///
    /// A listed slide does not exist, a fold has an empty side, two folds have one name, or tiles are sorted instead of
    /// slides.
    pub fn folds_over(&self, slides: &[String]) -> Result<Vec<Fold>> {
        let folds = match self.folds {
            FoldSource::Drawn => Fold::drawn(slides, self.n_drawn_folds, self.seed),
            FoldSource::Listed => self
                .listed_folds
                .iter()
                .map(|fold| Fold::holding_out(&fold.name, fold.valid.clone(), slides))
                .collect(),
            FoldSource::RandomTiles | FoldSource::Polygons => bail!("data_gen.folds sorts tiles, not slides"),
        }?;
        ensure_distinct(&folds)?;
        Ok(folds)
    }
}

/// The table `[data]`: which tiles train a fold, and how they become batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The folder `SPLITS` that data generation wrote.
    pub splits_dir: PathBuf,
    /// Side of the square crop that the network sees, in tile pixels.
    pub crop_px: u32,
    /// Augmentation of training samples; validation always takes the centre crop.
    pub train_transform: Preset,
    /// Whether training tiles are decoded once and kept in memory: 4 bytes per pixel.
    pub preload_train: bool,
    /// The same for validation tiles.
    pub preload_valid: bool,
    /// Ids of the slides that are harder than the others.
    pub hard_slides: Vec<String>,
    /// How often the training samples of hard slides are repeated; 1 for once.
    pub hard_multiply: usize,
    /// How often whole datasets are repeated.
    pub multiply: Multiply,
    /// Pixel to float.
    pub normalization: Normalization,
    /// Names of the folds, in the order of their numbers.
    pub folds: Vec<String>,
    /// Datasets concatenated for training, such as `train_{fold}_33`; `{fold}` stands for the fold's name.
    pub train: Vec<String>,
    /// Datasets concatenated for validation, such as `val_{fold}_33`.
    pub valid: Vec<String>,
}

/// How often the samples of a training dataset are taken per epoch, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiply {
    /// For object cuts, `train_…`.
    pub train: usize,
    /// For grid cuts, `grid_…`.
    pub grid: usize,
}

/// Both sides of a fold, ready to be read.
#[derive(Debug, Clone)]
pub struct FoldData {
    /// Training samples, with repeats.
    pub train: Dataset,
    /// Validation samples, each once.
    pub valid: Dataset,
}

impl DataConfig {
    /// Refuses values that cannot work; the message names the key.
    ///
    /// # Errors
    ///
    /// See above. That the datasets exist is checked by [`DataConfig::open_fold`].
    pub fn validate(&self) -> Result<()> {
        ensure!(self.crop_px > 0, "data.crop_px is 0");
        ensure!(self.hard_multiply > 0, "data.hard_multiply is 0; 1 takes hard slides once");
        ensure!(self.multiply.train > 0 || self.multiply.grid > 0, "data.multiply drops every dataset");
        self.normalization.validate().context("data")?;
        ensure!(!self.folds.is_empty(), "data.folds is empty");
        for (side, templates) in [("train", &self.train), ("valid", &self.valid)] {
            ensure!(!templates.is_empty(), "data.{side} lists no dataset");
        }
        for fold in &self.folds {
            for (side, templates) in [("train", &self.train), ("valid", &self.valid)] {
                for dataset in expanded(templates, fold).with_context(|| format!("data.{side}"))? {
                    let fits = (side == "valid") == (dataset.kind == DatasetKind::ValidObjects);
                    ensure!(fits, "data.{side} lists {dataset}, which is for the other side");
                    ensure!(
                        &dataset.fold == fold,
                        "data.{side}: {dataset} is not of fold `{fold}`; write {{fold}}"
                    );
                }
            }
        }
        Ok(())
    }

    /// Opens the datasets of a fold, repeats what is to be repeated, and preloads what is to be preloaded.
    ///
    /// # Errors
    ///
    /// There is no such fold, a dataset is missing or broken, or a slide is on both sides.
    pub fn open_fold(&self, fold_idx: usize) -> Result<FoldData> {
        let fold = self.folds.get(fold_idx).with_context(|| {
            format!("there is no fold {fold_idx}: data.folds lists {}, counted from 0", self.folds.len())
        })?;
        let open = |name: &DatasetName| Dataset::open(&self.splits_dir, name);
        let open_repeated = |name: &DatasetName| {
            let n_times = match name.kind {
                DatasetKind::TrainObjects => self.multiply.train,
                DatasetKind::TrainGrid => self.multiply.grid,
                DatasetKind::ValidObjects => 1,
            };
            Ok(open(name)?.repeated(n_times))
        };
        let train = expanded(&self.train, fold)?.iter().map(open_repeated).collect::<Result<Vec<_>>>()?;
        let valid = expanded(&self.valid, fold)?.iter().map(open).collect::<Result<Vec<_>>>()?;
        let mut train = Dataset::concat(train).with_slides_repeated(&self.hard_slides, self.hard_multiply);
        let mut valid = Dataset::concat(valid);
        ensure_disjoint(&train, &valid).with_context(|| format!("fold `{fold}`"))?;
        if self.preload_train {
            train.preload()?;
        }
        if self.preload_valid {
            valid.preload()?;
        }
        Ok(FoldData { train, valid })
    }
}

/// The datasets that templates name for a fold.
fn expanded(templates: &[String], fold: &str) -> Result<Vec<DatasetName>> {
    templates.iter().map(|template| template.replace("{fold}", fold).parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = include_str!("../../../configs/base.toml");

    fn base() -> toml::Table {
        BASE.parse().unwrap()
    }

    fn data() -> DataConfig {
        base()["data"].clone().try_into().unwrap()
    }

    #[test]
    fn base_config_is_complete_valid_and_as_the_pipeline_says() {
        let data_gen: DataGenConfig = base()["data_gen"].clone().try_into().unwrap();
        data_gen.validate().unwrap();
        assert_eq!((data_gen.window_px(), data_gen.cuts_suffix().as_str()), (3072, "x33_1024"));
        let mut slides = vec!["54f2eec69".to_owned()];
        slides.extend(data_gen.listed_folds.iter().flat_map(|fold| fold.valid.clone()));
        assert_eq!(data_gen.folds_over(&slides).unwrap(), Fold::competition(&slides).unwrap());

        let data = data();
        data.validate().unwrap();
        assert_eq!(data.normalization, Normalization::KIDNEY);
        assert_eq!(data.folds, data_gen.listed_folds.into_iter().map(|fold| fold.name).collect::<Vec<_>>());
    }

    #[test]
    fn unknown_keys_and_missing_keys_are_errors() {
        let mut table = base()["data_gen"].as_table().unwrap().clone();
        table["background"].as_table_mut().unwrap().insert("extra".into(), 1.into());
        assert!(table.clone().try_into::<DataGenConfig>().unwrap_err().to_string().contains("extra"));
        table["background"].as_table_mut().unwrap().remove("extra");
        table.remove("seed");
        assert!(table.try_into::<DataGenConfig>().unwrap_err().to_string().contains("seed"));
    }

    #[test]
    fn wrong_datasets_are_named_with_their_key() {
        let refused = |change: fn(&mut DataConfig)| {
            let mut config = data();
            change(&mut config);
            format!("{:#}", config.validate().unwrap_err())
        };
        let error = refused(|c| c.train = vec!["val_{fold}_33".into()]);
        assert_eq!(error, "data.train lists val_0e_33, which is for the other side");
        let error = refused(|c| c.valid = vec!["train_{fold}_33".into()]);
        assert_eq!(error, "data.valid lists train_0e_33, which is for the other side");
        let error = refused(|c| c.train = vec!["train_2a_33".into()]);
        assert_eq!(error, "data.train: train_2a_33 is not of fold `0e`; write {fold}");
        let error = refused(|c| c.train = vec!["train_{fold}_34".into()]);
        assert!(error.starts_with("data.train: dataset `train_0e_34`"), "{error}");
        assert!(refused(|c| c.valid.clear()).contains("data.valid"));
        assert!(refused(|c| c.folds.clear()).contains("data.folds"));
        assert!(refused(|c| c.crop_px = 0).contains("data.crop_px"));
        assert!(refused(|c| c.hard_multiply = 0).contains("data.hard_multiply"));
    }
}
