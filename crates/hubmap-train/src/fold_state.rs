//! Everything that continues a fold, in memory and on disk.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use hubmap_files::PendingFile;
use hubmap_models::{CheckpointName, SegModel, SegModelConfig};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::config::TrainConfig;
use crate::ema::Ema;
use crate::metric::DiceMeter;
use crate::optimizer::adamw;
use crate::precision::LossScale;
use crate::run_dir::HistoryRow;

/// Says what a file of state is; another layout would have another number.
const FORMAT: &str = "hubmap-train state 1";

/// A fold under way.
pub(crate) struct FoldState {
    /// On an autodiff device.
    pub(crate) model: SegModel,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) ema: Ema<SegModel>,
    pub(crate) progress: FoldProgress,
}

/// How far a fold is.
///
/// Sample order and augmentation are functions of seed, epoch and sample, so that this is the whole position in the
/// data and in every random stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FoldProgress {
    /// Epochs that are over, validation included.
    pub(crate) n_epochs: usize,
    /// What the epoch under way has come to.
    pub(crate) epoch: EpochSums,
    /// Factor on the loss in `f16`; elsewhere it stays as it was.
    pub(crate) loss_scale: LossScale,
    /// The best checkpoint so far.
    pub(crate) best: Option<CheckpointName>,
    /// A row per epoch that is over.
    pub(crate) history: Vec<HistoryRow>,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochSums {
    pub(crate) n_steps: usize,
    pub(crate) n_samples: usize,
    pub(crate) loss: f64,
    pub(crate) dice: DiceMeter,
    /// Wall time, of earlier processes too.
    pub(crate) seconds: f64,
    /// The part of it in which there was no batch to train on.
    pub(crate) wait_seconds: f64,
}

impl FoldState {
    /// The beginning of a fold.
    pub(crate) fn start(model: SegModel, config: &TrainConfig) -> Self {
        Self {
            optimizer: adamw(&config.optimizer, &model),
            ema: Ema::new(&model, config.ema.decay),
            model,
            progress: FoldProgress { loss_scale: LossScale::of(config.precision), ..FoldProgress::default() },
        }
    }

    /// Writes the state over the one before.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let attempt = || -> Result<()> {
            // Only a copy without autodiff has the newest running statistics.
            let model = self.model.valid().into_record().into_bytes()?;
            let average = self.ema.model().clone().into_record().into_bytes()?;
            let optimizer = self.optimizer.into_bytes()?;
            let tensors = [("model", &model), ("ema", &average), ("optimizer", &optimizer)]
                .map(|(name, bytes)| Ok((name, TensorView::new(Dtype::U8, vec![bytes.len()], bytes)?)))
                .into_iter()
                .collect::<Result<Vec<_>>>()?;
            let about = HashMap::from([
                ("format".to_owned(), FORMAT.to_owned()),
                // TOML, because numbers come back from it to the bit.
                ("progress".to_owned(), toml::to_string(&self.progress)?),
            ]);
            let mut file = PendingFile::create(path)?;
            file.write_all(&safetensors::serialize(tensors, Some(about))?)?;
            Ok(file.commit()?)
        };
        attempt().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The state of a file, for the network and the settings that it was made with; `None` if there is no file.
    pub(crate) fn load(
        path: &Path,
        network: SegModelConfig,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Option<Self>> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let attempt = || -> Result<Self> {
            let progress = progress_in(&bytes)?;
            let tensors = SafeTensors::deserialize(&bytes)?;
            let part = |name: &str| -> Result<Bytes> {
                Ok(Bytes::from_bytes_vec(tensors.tensor(name)?.data().to_vec()))
            };
            let record = |name: &str| -> Result<ModuleRecord> {
                ModuleRecord::from_bytes(part(name)?).map_err(|error| anyhow!("{name}: {error:?}"))
            };
            let model = network.init(device).try_load_record(record("model")?)?;
            // A copy of the model: the average follows the tensors with its own ids, and running statistics take
            // none from a record.
            let average = model.valid().try_load_record(record("ema")?)?;
            let optimizer = adamw(&config.optimizer, &model)
                .load_record(OptimizerRecord::from_bytes(part("optimizer")?)?);
            Ok(Self { model, optimizer, ema: Ema::from_shadow(average, config.ema.decay), progress })
        };
        attempt().map(Some).with_context(|| not_a_state(path))
    }
}

impl FoldProgress {
    /// How far a file of state is; `None` if there is no file.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        progress_in(&bytes).map(Some).with_context(|| not_a_state(path))
    }
}

fn not_a_state(path: &Path) -> String {
    format!(
        "{}: not a state of this run's network; delete the file to train the fold from its beginning",
        path.display()
    )
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn progress_in(bytes: &[u8]) -> Result<FoldProgress> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let about = header.metadata().as_ref().context("it has no metadata")?;
    ensure!(about.get("format").is_some_and(|format| format == FORMAT), "it is not of the format `{FORMAT}`");
    Ok(toml::from_str(about.get("progress").context("it has no progress")?)?)
}
