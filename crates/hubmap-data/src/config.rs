//! Settings of data generation and of the training data, as they stand in `configs/base.toml`.
//!
//! No field has a hidden default, and unknown keys are errors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::augment::{Transform, Transforms};
use crate::cut::CutKind;
use crate::dataset::DatasetKind;
use crate::fold::ensure_distinct;
use crate::sampler::{BackgroundCuts, BackgroundRule, PolygonCuts};
use crate::{DatasetName, Fold, Normalization};

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
    /// Seed of which background tiles are kept, of windows at random places and of drawn folds.
    pub seed: u64,
    /// Which kinds of windows are cut.
    pub kinds: Vec<CutKind>,
    /// Which annotated objects get a window.
    pub objects_in: ObjectPlace,
    /// Classes of the anatomy files that are cortex; letter case is ignored.
    pub cortex_labels: Vec<String>,
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
    /// Windows at random places without objects.
    pub background_cuts: BackgroundCuts,
    /// Windows at random places inside given polygons.
    pub polygon_cuts: PolygonCuts,
}

/// Where the centroid of an object must lie for the object to get a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectPlace {
    /// Anywhere, as in the original.
    Anywhere,
    /// Inside an outline of the cortex; every slide must have one.
    Cortex,
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
        self.background_cuts.validate().context("data_gen")?;
        ensure!(!self.kinds.is_empty(), "data_gen.kinds is empty: nothing would be cut");
        let kinds = self.kinds.iter().collect::<BTreeSet<_>>();
        ensure!(kinds.len() == self.kinds.len(), "data_gen.kinds lists a kind twice");
        let needs_cortex = self.objects_in == ObjectPlace::Cortex || kinds.contains(&CutKind::Background);
        ensure!(
            !needs_cortex || !self.cortex_labels.is_empty(),
            "data_gen.cortex_labels is empty, but objects or background are to be in the cortex"
        );
        ensure!(
            !kinds.contains(&CutKind::Background) || self.background_cuts.per_slide > 0,
            "data_gen.background_cuts.per_slide is 0, but data_gen.kinds lists \"background\""
        );
        ensure!(
            !kinds.contains(&CutKind::Polygon)
                || (self.polygon_cuts.per_slide > 0 && !self.polygon_cuts.labels.is_empty()),
            "data_gen.kinds lists \"polygon\", but data_gen.polygon_cuts has no labels or takes 0 per slide"
        );
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
    /// Where tiles are read from.
    pub source: SourceKind,
    /// The folder `SPLITS` that data generation wrote, for [`SourceKind::Cuts`].
    pub splits_dir: PathBuf,
    /// The competition folder, for [`SourceKind::Slides`].
    pub slides_dir: PathBuf,
    /// Folder that remembers, from one start to the next, which tiles of the grid are kept; empty for none.
    pub scan_dir: PathBuf,
    /// Side of the square crop that the network sees, in tile pixels.
    pub crop_px: u32,
    /// Name in [`DataConfig::transforms`] of what happens to training samples.
    pub train_transform: String,
    /// The same for validation samples; if it draws anything, it draws the same in every epoch.
    pub valid_transform: String,
    /// Transforms by name.
    pub transforms: Transforms,
    /// Memory for decoded tiles in MiB, of all datasets together; 0 for none.
    pub cache_mib: u64,
    /// Whether training tiles are decoded before the first epoch, up to `cache_mib`, or all of them if that is 0.
    pub preload_train: bool,
    /// The same for validation tiles.
    pub preload_valid: bool,
    /// How often the training samples of a slide are taken per epoch, by id; once if it is not listed.
    pub slide_weights: BTreeMap<String, f64>,
    /// How often whole training datasets are taken per epoch.
    pub multiply: Multiply,
    /// Whether folds may be split by tiles, with one slide on both sides.
    pub allow_shared_slides: bool,
    /// Pixel to float.
    pub normalization: Normalization,
    /// Names of the folds, in the order of their numbers.
    pub folds: Vec<String>,
    /// Datasets concatenated for training, such as `train_{fold}_33`; `{fold}` stands for the fold's name.
    pub train: Vec<String>,
    /// Datasets concatenated for validation, such as `val_{fold}_33`.
    pub valid: Vec<String>,
}

/// Where tiles are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// From the files of data generation.
    Cuts,
    /// Straight from the slides.
    Slides,
}

/// How often the samples of a training dataset are taken per epoch, by kind; the fraction of a number is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiply {
    /// For object cuts, `train_…`.
    pub train: f64,
    /// For grid cuts, `grid_…`.
    pub grid: f64,
    /// For background cuts, `background_…`.
    pub background: f64,
    /// For polygon cuts, `polygon_…`.
    pub polygon: f64,
}

impl Multiply {
    /// The number for datasets of a kind; validation samples are always taken once.
    pub const fn of(&self, kind: DatasetKind) -> f64 {
        match kind {
            DatasetKind::TrainObjects => self.train,
            DatasetKind::TrainGrid => self.grid,
            DatasetKind::TrainBackground => self.background,
            DatasetKind::TrainPolygon => self.polygon,
            DatasetKind::ValidObjects => 1.0,
        }
    }
}

/// Largest weight of a sample: more are a slip, and would fill the memory with the order of an epoch.
const MAX_WEIGHT: f64 = 1000.0;

impl DataConfig {
    /// Refuses values that cannot work; the message names the key.
    ///
    /// # Errors
    ///
    /// See above. That the datasets exist is checked by [`DataSource`](crate::DataSource).
    pub fn validate(&self) -> Result<()> {
        ensure!(self.crop_px > 0, "data.crop_px is 0");
        let Multiply { train, grid, background, polygon } = self.multiply;
        let multiply = [("train", train), ("grid", grid), ("background", background), ("polygon", polygon)];
        let weights = multiply.iter().map(|&(key, weight)| (format!("multiply.{key}"), weight));
        let of_slides =
            self.slide_weights.iter().map(|(id, &weight)| (format!("slide_weights.{id}"), weight));
        for (key, weight) in weights.chain(of_slides) {
            ensure!(
                (0.0..=MAX_WEIGHT).contains(&weight),
                "data.{key} = {weight} is not between 0 and {MAX_WEIGHT}"
            );
        }
        ensure!(multiply.iter().any(|&(_, weight)| weight > 0.0), "data.multiply drops every dataset");
        self.normalization.validate().context("data")?;
        for name in self.transforms.names() {
            self.transform(name).context("data.transforms")?;
        }
        self.transform(&self.train_transform).context("data.train_transform")?;
        self.transform(&self.valid_transform).context("data.valid_transform")?;
        ensure!(!self.folds.is_empty(), "data.folds is empty");
        for (i, fold) in self.folds.iter().enumerate() {
            ensure!(!self.folds[..i].contains(fold), "data.folds lists `{fold}` twice");
        }
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

    /// The transform of a name, for crops of `data.crop_px`.
    ///
    /// # Errors
    ///
    /// As [`Transforms::resolve`].
    pub fn transform(&self, name: &str) -> Result<Transform> {
        self.transforms.resolve(name, self.crop_px)
    }

    /// The training and the validation datasets of a fold.
    ///
    /// # Errors
    ///
    /// A name is not that of a dataset.
    pub fn datasets_of(&self, fold: &str) -> Result<[Vec<DatasetName>; 2]> {
        Ok([expanded(&self.train, fold)?, expanded(&self.valid, fold)?])
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

        assert_eq!(data_gen.kinds, [CutKind::Objects, CutKind::Grid]);
        assert_eq!(data_gen.objects_in, ObjectPlace::Anywhere);

        let data = data();
        data.validate().unwrap();
        assert_eq!((data.source, data.cache_mib), (SourceKind::Cuts, 0));
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
        assert!(refused(|c| c.folds.push(c.folds[0].clone())).contains("twice"));
        assert!(refused(|c| c.crop_px = 0).contains("data.crop_px"));
        assert!(refused(|c| c.multiply.polygon = -0.5).contains("data.multiply.polygon = -0.5"));
        let error = refused(|c| c.slide_weights = [("aa".to_owned(), f64::NAN)].into());
        assert!(error.contains("data.slide_weights.aa = NaN"), "{error}");
        let nothing = Multiply { train: 0.0, grid: 0.0, background: 0.0, polygon: 0.0 };
        assert!((nothing.of(DatasetKind::ValidObjects) - 1.0).abs() < f64::EPSILON);
        let mut config = data();
        config.multiply = nothing;
        assert!(config.validate().unwrap_err().to_string().contains("drops every dataset"));
    }

    #[test]
    fn kinds_that_cannot_be_cut_are_named_with_their_key() {
        let base: DataGenConfig = base()["data_gen"].clone().try_into().unwrap();
        let refused = |change: fn(&mut DataGenConfig)| {
            let mut config = base.clone();
            change(&mut config);
            format!("{:#}", config.validate().unwrap_err())
        };
        assert!(refused(|c| c.kinds.clear()).contains("data_gen.kinds is empty"));
        assert!(refused(|c| c.kinds.push(CutKind::Grid)).contains("lists a kind twice"));
        let error = refused(|c| {
            c.kinds = vec![CutKind::Polygon];
            c.polygon_cuts.labels.clear();
        });
        assert!(error.contains("data_gen.polygon_cuts has no labels"), "{error}");
        let error = refused(|c| {
            c.kinds.push(CutKind::Background);
            c.background_cuts.per_slide = 0;
        });
        assert!(error.contains("data_gen.background_cuts.per_slide"), "{error}");
        let error = refused(|c| {
            c.objects_in = ObjectPlace::Cortex;
            c.cortex_labels.clear();
        });
        assert!(error.contains("data_gen.cortex_labels"), "{error}");
        assert!(
            refused(|c| c.background_cuts.max_trials = 0).contains("data_gen: background_cuts.max_trials")
        );
    }

    #[test]
    fn wrong_transforms_are_named_with_their_key() {
        let refused = |change: fn(&mut DataConfig)| {
            let mut config = data();
            change(&mut config);
            format!("{:#}", config.validate().unwrap_err())
        };
        let error = refused(|c| c.train_transform = "lightscale".into());
        let expected = "data.train_transform: there is no transform `lightscale`; did you mean `light_scale`? Known are ";
        assert!(error.starts_with(expected) && error.contains("geometric, "), "{error}");
        assert!(refused(|c| c.valid_transform = "validation".into()).starts_with("data.valid_transform: "));
        // Transforms are checked even if nobody asks for them.
        let error = refused(|c| {
            c.transforms =
                toml::from_str("light_scale = []\nval = []\nbad = [{ kind = \"flip\", p = 2.0 }]").unwrap();
        });
        assert_eq!(
            error,
            "data.transforms: transform `bad`: step 1: flip: probability 2 is not between 0 and 1"
        );
    }
}
