//! A whole run: folds one after the other into one run folder.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use hubmap_data::config::{DataConfig, DataGenConfig, SourceKind};
use hubmap_data::{DataSource, Dataset, Loader, LoaderConfig, Shard};
use hubmap_models::{SegModel, SegModelConfig};

use crate::config::TrainConfig;
use crate::curves::curves;
use crate::fit::{FoldPlan, FoldReport, Observer, fit_fold};
use crate::fold_state::FoldProgress;
use crate::replicas::{Division, Replicas};
use crate::run_dir::RunDir;

/// Name of the picture of how training went.
const CURVES: &str = "curves.png";

/// The settings of a run, one field per table of the config.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// `[model]`.
    pub model: SegModelConfig,
    /// `[data]`.
    pub data: DataConfig,
    /// `[data_gen]`: how slides are cut that are read without tiles on disk.
    pub data_gen: DataGenConfig,
    /// `[train]`.
    pub train: TrainConfig,
    /// The whole resolved config, which the run folder keeps and inference reads.
    pub resolved_toml: String,
}

impl RunSettings {
    /// Refuses values that cannot work; the message names the key.
    pub fn validate(&self) -> Result<()> {
        self.train.validate()?;
        self.data.validate()?;
        if self.data.source == SourceKind::Slides {
            self.data_gen.validate()?;
        }
        let crop_px = self.data.crop_px as usize;
        SegModel::check_input(crop_px, crop_px).context("data.crop_px")
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct RunReport {
    /// The run folder.
    pub run: RunDir,
    /// Position and name of each trained fold, and its report.
    pub folds: Vec<(usize, String, FoldReport)>,
}

impl RunReport {
    /// The run as one JSON object: the folder, and per fold the best checkpoint and its Dice.
    pub fn summary(&self) -> serde_json::Value {
        let folds: Vec<serde_json::Value> = self
            .folds
            .iter()
            .map(|(fold_idx, name, report)| {
                let best = report.best.as_ref();
                serde_json::json!({
                    "fold": fold_idx,
                    "name": name,
                    "checkpoint": best.map(ToString::to_string),
                    "dice": best.map(|b| b.dice),
                })
            })
            .collect();
        serde_json::json!({ "run": self.run.path().display().to_string(), "folds": folds })
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy)]
pub enum RunPlace<'a> {
    /// In a new folder under this one.
    NewUnder(&'a Path),
    /// In this folder, which an earlier process made and in which it was interrupted or killed.
    Resumed(&'a RunDir),
    /// In this folder, which is made if it is not there, and gone on with if it has a run with the same settings.
    At(&'a Path),
}

/// Trains the folds of the config in sequence, or only the fold at position `only`.
///
/// Settings and data of every fold are checked before a folder is made. Tiles that are kept in memory are those of the
/// fold under way. Folds of a resumed run that are done are only reported. Several devices share every batch.
pub fn train_run(
    settings: &RunSettings,
    only: Option<usize>,
    place: RunPlace<'_>,
    devices: &[Device],
    observer: &dyn Observer,
) -> Result<RunReport> {
    settings.validate()?;
    let RunSettings { model, data, data_gen, train, resolved_toml } = settings;
    let division = Division::new(train.batch_size, train.micro_batch_size, devices.len())?;
    let replicas = Replicas::start(devices, division, train.loss, train.precision)?;
    let fold_idxs: Vec<usize> = match only {
        Some(fold_idx) => vec![fold_idx],
        None => (0..data.folds.len()).collect(),
    };
    let source = DataSource::open(data, data_gen, observer.data())?;
    let loaders = fold_idxs
        .iter()
        .map(|&fold_idx| {
            let fold = source.fold(fold_idx)?;
            let name = &data.folds[fold_idx];
            let train_loader = loader(fold.train, settings, fold_idx, Side::Train)
                .with_context(|| format!("training data of fold `{name}`"))?;
            let valid_loader = loader(fold.valid, settings, fold_idx, Side::Valid)
                .with_context(|| format!("validation data of fold `{name}`"))?;
            Ok((fold_idx, name, train_loader, valid_loader))
        })
        .collect::<Result<Vec<_>>>()?;

    let run = match place {
        RunPlace::NewUnder(parent) => RunDir::create(parent, resolved_toml)?,
        RunPlace::Resumed(run) => run.clone(),
        RunPlace::At(path) => RunDir::at(path, resolved_toml)?,
    };
    let mut folds = Vec::new();
    for (fold_idx, name, train_loader, valid_loader) in loaders {
        let so_far = FoldProgress::load(&run.state_path(fold_idx))?;
        let is_done = so_far.is_some_and(|progress| progress.n_epochs == train.epochs);
        for (loader, is_preloaded) in
            [(&train_loader, data.preload_train), (&valid_loader, data.preload_valid)]
        {
            if is_preloaded && !is_done {
                loader.dataset().preload(observer.data()).with_context(|| format!("fold `{name}`"))?;
            }
        }
        let plan = FoldPlan {
            fold_idx,
            name,
            model: *model,
            config: train,
            train: &train_loader,
            valid: &valid_loader,
            replicas: &replicas,
        };
        let report = fit_fold(&plan, &run, observer).with_context(|| format!("fold `{name}`"))?;
        folds.push((fold_idx, name.clone(), report));
        draw_curves(&run, &data.folds)?;
    }
    Ok(RunReport { run, folds })
}

/// Draws how training went: of all folds that have begun in this folder, those of other processes too.
pub(crate) fn draw_curves(run: &RunDir, names: &[String]) -> Result<()> {
    let mut histories = Vec::new();
    for (fold_idx, name) in names.iter().enumerate() {
        let progress = FoldProgress::load(&run.state_path(fold_idx))?;
        histories.extend(progress.map(|progress| (name.clone(), progress.history)));
    }
    Ok(curves(&histories).write_png(&run.path().join(CURVES))?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    Valid,
}

fn loader(dataset: Dataset, settings: &RunSettings, fold_idx: usize, side: Side) -> Result<Loader> {
    let (data, train) = (&settings.data, &settings.train);
    let (batch_size, transform) = match side {
        Side::Train => (train.batch_size, &data.train_transform),
        Side::Valid => (train.valid_batch_size, &data.valid_transform),
    };
    let config = LoaderConfig {
        batch_size,
        shard: Shard::WHOLE,
        shuffle: side == Side::Train,
        drop_last: side == Side::Train,
        seed: train.seed.wrapping_add(fold_idx as u64),
        prefetch: train.prefetch,
        threads: None,
        transform: data.transform(transform)?,
        normalization: data.normalization,
    };
    Loader::new(dataset, config)
}
