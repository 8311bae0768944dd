//! Finding the networks in what a user gives as `--model`: a run folder, or a file of weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use hubmap_data::Normalization;
use hubmap_models::{Attention, CheckpointName, DecoderKind, EncoderKind, SegModelConfig, guess_config};

use crate::config::{PredictConfig, overlay};
use crate::network::Network;
use crate::predictor::Predictor;
use crate::segment::SegmentTiles;

/// What the user says about the network in a bare weights file; the rest is guessed from its tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchitectureFlags {
    /// `--encoder`.
    pub encoder: Option<EncoderKind>,
    /// `--decoder`.
    pub decoder: Option<DecoderKind>,
    /// `--attention`.
    pub attention: Option<Attention>,
}

impl ArchitectureFlags {
    /// `model` with what the flags say changed.
    fn over(self, model: SegModelConfig) -> SegModelConfig {
        SegModelConfig {
            encoder: self.encoder.unwrap_or(model.encoder),
            decoder: self.decoder.unwrap_or(model.decoder),
            attention: self.attention.unwrap_or(model.attention),
        }
    }
}

/// The weights of one fold.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Number of the fold; `None` for a bare weights file.
    pub fold_idx: Option<usize>,
    /// The file of weights, safetensors or a PyTorch checkpoint.
    pub path: PathBuf,
}

/// Everything that prediction needs to know about a trained model: one network, weights for each fold.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFolder {
    /// The run folder or weights file.
    pub path: PathBuf,
    /// The network.
    pub model: SegModelConfig,
    /// How its input was normalised in training.
    pub normalization: Normalization,
    /// The `[infer]` table of the run, empty for a bare weights file.
    pub infer: toml::Table,
    /// One checkpoint a fold, ascending.
    pub checkpoints: Vec<Checkpoint>,
}

/// File in a run folder with the resolved settings of its training.
pub const CONFIG_FILE: &str = "config.toml";

impl ModelFolder {
    /// Opens a run folder (spec section 5), or a bare weights file with hints about its network.
    ///
    /// In a run folder each `fold_<i>` counts with the checkpoint of the highest epoch in its name (of equal
    /// epochs the better Dice), and the settings come from `config.toml`; `flags` may repeat these but not
    /// contradict them.
    pub fn open(path: &Path, flags: ArchitectureFlags) -> Result<Self> {
        let metadata =
            std::fs::metadata(path).with_context(|| format!("cannot open model {}", path.display()))?;
        if metadata.is_dir() { Self::open_run(path, flags) } else { Self::open_weights(path, flags) }
    }

    /// Settings of prediction: the original's, changed by the run's `[infer]` table, changed by `overrides`.
    pub fn predict_config(&self, overrides: &toml::Table) -> Result<PredictConfig> {
        let mut table = self.infer.clone();
        overlay(&mut table, overrides);
        PredictConfig::from_table(&table)
    }

    /// Loads the network of every fold onto a device.
    pub fn load(&self, device: &Device) -> Result<Vec<Network>> {
        self.checkpoints
            .iter()
            .map(|checkpoint| Network::load(&self.model, &checkpoint.path, device))
            .collect()
    }

    /// Loads the network of every fold onto a device, ready to predict slides.
    pub fn predictor(&self, config: PredictConfig, device: &Device) -> Result<Predictor> {
        let networks = self.load(device)?.into_iter();
        let models = networks.map(|network| Box::new(network) as Box<dyn SegmentTiles>).collect();
        Predictor::new(models, self.normalization, config)
    }

    fn open_weights(path: &Path, flags: ArchitectureFlags) -> Result<Self> {
        let model = if let ArchitectureFlags {
            encoder: Some(encoder),
            decoder: Some(decoder),
            attention: Some(attention),
        } = flags
        {
            SegModelConfig { encoder, decoder, attention }
        } else {
            flags.over(guess_config(path)?)
        };
        Ok(Self {
            path: path.to_owned(),
            model,
            normalization: Normalization::KIDNEY,
            infer: toml::Table::new(),
            checkpoints: vec![Checkpoint { fold_idx: None, path: path.to_owned() }],
        })
    }

    fn open_run(path: &Path, flags: ArchitectureFlags) -> Result<Self> {
        let config_path = path.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&config_path).with_context(|| {
            format!("{} is not a run folder: cannot read its {CONFIG_FILE}", path.display())
        })?;
        let parse = || -> Result<_> {
            let config: toml::Table = toml::from_str(&text)?;
            let model = config.get("model").context("table [model] is missing")?.clone();
            let model: SegModelConfig = model.try_into().context("table [model]")?;
            let normalization = match config.get("data").and_then(|data| data.get("normalization")) {
                Some(value) => value.clone().try_into().context("table [data.normalization]")?,
                None => Normalization::KIDNEY,
            };
            let infer = match config.get("infer") {
                Some(toml::Value::Table(table)) => table.clone(),
                Some(_) => bail!("infer is not a table"),
                None => toml::Table::new(),
            };
            Ok((model, normalization, infer))
        };
        let (model, normalization, infer) = parse().with_context(|| config_path.display().to_string())?;
        let wanted = flags.over(model);
        ensure!(wanted == model, "{} holds {model}, but the flags ask for {wanted}", path.display());

        let mut folds = folds_of(path)?;
        folds.sort();
        ensure!(!folds.is_empty(), "{} has no folds: there is no folder fold_0, fold_1, …", path.display());
        let checkpoints = folds.into_iter().map(|(fold_idx, folder)| {
            Ok(Checkpoint { fold_idx: Some(fold_idx), path: newest_checkpoint(&folder.join("models"))? })
        });
        let checkpoints = checkpoints.collect::<Result<_>>()?;
        Ok(Self { path: path.to_owned(), model, normalization, infer, checkpoints })
    }
}

/// Folders `fold_<i>` with their numbers.
fn folds_of(run: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let names = file_names(run)?;
    let numbered = names.into_iter().filter_map(|name| {
        let fold_idx = name.strip_prefix("fold_")?.parse().ok()?;
        Some((fold_idx, run.join(name)))
    });
    Ok(numbered.filter(|(_, folder)| folder.is_dir()).collect())
}

/// The checkpoint with the highest epoch in its name.
fn newest_checkpoint(folder: &Path) -> Result<PathBuf> {
    let names = if folder.is_dir() { file_names(folder)? } else { Vec::new() };
    let checkpoints =
        names.iter().filter_map(|name| name.parse::<CheckpointName>().ok().map(|parsed| (parsed, name)));
    let newest = checkpoints.max_by(|(a, _), (b, _)| a.epoch.cmp(&b.epoch).then(a.dice.total_cmp(&b.dice)));
    let (_, name) = newest.with_context(|| {
        format!(
            "no checkpoint in {}: expected e<epoch>_t<total>_<tag>_<dice>.safetensors or .pth",
            folder.display()
        )
    })?;
    Ok(folder.join(name))
}

/// Names in a folder, those that are not Unicode left out.
fn file_names(folder: &Path) -> Result<Vec<String>> {
    let list = || -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    };
    list().with_context(|| format!("cannot list {}", folder.display()))
}
