//! Where the tiles of a fold come from: files of data generation, or the slides themselves.

mod grid_memory;
mod slides;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

pub use slides::{OpenSlide, SlideSource};

use crate::config::{DataConfig, DataGenConfig, SourceKind};
use crate::cuts::Manifest;
use crate::cuts::Progress;
use crate::dataset::{CacheBudget, ensure_disjoint, ensure_no_shared_tile};
use crate::fold::FoldBy;
use crate::{Dataset, DatasetName};

/// The tiles of all folds, ready to be opened fold by fold.
#[derive(Debug)]
pub struct DataSource {
    config: DataConfig,
    /// Open slides if tiles are read from them.
    slides: Option<SlideSource>,
    /// Of all folds together.
    budget: Arc<CacheBudget>,
}

/// Both sides of a fold, ready to be read.
#[derive(Debug, Clone)]
pub struct FoldData {
    /// Training tiles with their weights.
    pub train: Dataset,
    /// Validation tiles, each once.
    pub valid: Dataset,
}

impl DataSource {
    /// Opens what `config` says: for [`SourceKind::Slides`] all slides, cut as `data_gen` says.
    ///
    /// If tiles of the grid are wanted from slides, the whole grid is read here once, on the current rayon pool, to find
    /// the tiles that are no background; [`DataConfig::scan_dir`] remembers them.
    ///
    /// # Errors
    ///
    /// A table is invalid, a slide cannot be opened or cut, or the work was cancelled. Files of data generation are not
    /// looked at before [`DataSource::fold`].
    pub fn open(config: &DataConfig, data_gen: &DataGenConfig, progress: &dyn Progress) -> Result<Self> {
        config.validate()?;
        let slides = match config.source {
            SourceKind::Cuts => None,
            SourceKind::Slides => {
                let mut kinds = BTreeSet::new();
                for fold in &config.folds {
                    let names = config.datasets_of(fold)?;
                    kinds.extend(names.iter().flatten().map(|name| name.kind.cuts()));
                }
                let scan_dir = Some(config.scan_dir.as_path()).filter(|dir| !dir.as_os_str().is_empty());
                Some(SlideSource::open(&config.slides_dir, data_gen, &kinds, scan_dir, progress)?)
            }
        };
        let budget = Arc::new(CacheBudget::new(config.cache_mib.saturating_mul(1 << 20)));
        Ok(Self { config: config.clone(), slides, budget })
    }

    /// The datasets of a fold by its position in [`DataConfig::folds`], with weights and an empty cache.
    ///
    /// # Errors
    ///
    /// There is no such fold, a dataset is missing or broken, a slide is on both sides, or a slide that has a weight is on
    /// neither.
    pub fn fold(&self, fold_idx: usize) -> Result<FoldData> {
        let config = &self.config;
        let fold = config.folds.get(fold_idx).with_context(|| {
            format!("there is no fold {fold_idx}: data.folds lists {}, counted from 0", config.folds.len())
        })?;
        self.named_fold(fold).with_context(|| format!("fold `{fold}`"))
    }

    /// Bytes of decoded tiles that are kept within [`DataConfig::cache_mib`] now.
    pub fn cached_bytes(&self) -> u64 {
        self.budget.used_bytes()
    }

    fn named_fold(&self, fold: &str) -> Result<FoldData> {
        let config = &self.config;
        let open = |names: &[DatasetName]| {
            let datasets =
                names.iter().map(|name| Ok(self.dataset(name)?.weighted(config.multiply.of(name.kind))));
            datasets.collect::<Result<Vec<_>>>().map(Dataset::concat)
        };
        let [train, valid] = config.datasets_of(fold)?;
        let (train, valid) = (open(&train)?, open(&valid)?);
        self.ensure_apart(fold, &train, &valid)?;
        ensure_known(&config.slide_weights, &train, &valid)?;
        let train = train.with_slide_weights(&config.slide_weights);
        Ok(FoldData {
            train: self.cached(train, config.preload_train),
            valid: self.cached(valid, config.preload_valid),
        })
    }

    fn dataset(&self, name: &DatasetName) -> Result<Dataset> {
        match &self.slides {
            Some(slides) => slides.dataset(name),
            None => Dataset::open(&self.config.splits_dir, name),
        }
    }

    /// Refuses folds whose sides share a slide, or a tile where slides may be shared.
    fn ensure_apart(&self, fold: &str, train: &Dataset, valid: &Dataset) -> Result<()> {
        let (allowed, splits_dir) = (self.config.allow_shared_slides, &self.config.splits_dir);
        let by = match &self.slides {
            Some(_) => Some(FoldBy::Slides),
            None => Manifest::read(splits_dir)?.and_then(|splits| splits.fold(fold).map(|fold| fold.by)),
        };
        ensure!(
            by != Some(FoldBy::Tiles) || allowed,
            "{} splits its tiles, not its slides: validation would see slides of the training; \
             data.allow_shared_slides = true takes it all the same",
            splits_dir.display()
        );
        // Splits of the original have no manifest that says how they were made.
        if allowed && by != Some(FoldBy::Slides) {
            ensure_no_shared_tile(train, valid)
        } else {
            ensure_disjoint(train, valid)
        }
    }

    /// The dataset with a cache, if there is to be one.
    fn cached(&self, dataset: Dataset, is_preloaded: bool) -> Dataset {
        match (self.config.cache_mib, is_preloaded) {
            (0, false) => dataset,
            (0, true) => dataset.with_cache(&Arc::new(CacheBudget::new(u64::MAX))),
            _ => dataset.with_cache(&self.budget),
        }
    }
}

/// Refuses weights of slides that are on neither side, which are most likely misspelt.
fn ensure_known(weights: &BTreeMap<String, f64>, train: &Dataset, valid: &Dataset) -> Result<()> {
    let (train, valid) = (train.slides(), valid.slides());
    for id in weights.keys() {
        ensure!(
            train.contains(id.as_str()) || valid.contains(id.as_str()),
            "data.slide_weights.{id}: slide {id} has no tile on either side"
        );
    }
    Ok(())
}
