//! The folder that a run leaves and inference takes.
//!
//! ```text
//! output/2026_11_23_18_40_00/
//!   config.toml                                   the resolved settings
//!   fold_0/history.csv                            one row per epoch
//!   fold_0/models/e11_t12_ema_0.9312.safetensors  the best weights so far
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hubmap_models::{CheckpointName, SegModel, SegModelConfig, save_weights};
use time::OffsetDateTime;

/// A run folder.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

/// One row of a fold's `history.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Learning rate of the epoch.
    pub rate: f64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Training Dice of the epoch, batch by batch.
    pub train_dice: f64,
    /// Validation Dice of the raw weights, where the epoch was validated.
    pub valid_dice: Option<f64>,
    /// Validation Dice of the averaged weights, where the epoch was validated.
    pub valid_dice_ema: Option<f64>,
    /// Wall time of the epoch in seconds, validation included.
    pub seconds: f64,
}

impl RunDir {
    /// Creates `<parent>/<year>_<month>_<day>_<hour>_<minute>_<second>` (UTC) with the resolved settings in it.
    pub fn create(parent: &Path, config_toml: &str) -> Result<Self> {
        let now = OffsetDateTime::now_utc();
        let stamp = format!(
            "{:04}_{:02}_{:02}_{:02}_{:02}_{:02}",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second()
        );
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let mut path = parent.join(&stamp);
        for attempt in 2.. {
            match fs::create_dir(&path) {
                Ok(()) => break,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    path = parent.join(format!("{stamp}_{attempt}"));
                }
                Err(e) => return Err(e).with_context(|| format!("cannot create {}", path.display())),
            }
        }
        write_file(&path.join("config.toml"), config_toml.as_bytes())?;
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the checkpoints of a fold; made if need be.
    pub fn models_dir(&self, fold_idx: usize) -> Result<PathBuf> {
        let dir = self.fold_dir(fold_idx).join("models");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// Writes a checkpoint of a fold and then removes the one that it supersedes.
    pub fn save_best(
        &self,
        fold_idx: usize,
        name: &CheckpointName,
        model: &SegModel,
        config: &SegModelConfig,
        superseded: Option<&CheckpointName>,
    ) -> Result<PathBuf> {
        let dir = self.models_dir(fold_idx)?;
        let path = dir.join(name.to_string());
        save_weights(model, config, &path)?;
        if let Some(old) = superseded {
            let old = dir.join(old.to_string());
            if old != path {
                fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        Ok(path)
    }

    /// Writes `history.csv` of a fold anew.
    pub fn write_history(&self, fold_idx: usize, rows: &[HistoryRow]) -> Result<()> {
        let dir = self.fold_dir(fold_idx);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let optional = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.6}"));
        let lines = rows.iter().map(|row| {
            let (valid, ema) = (optional(row.valid_dice), optional(row.valid_dice_ema));
            let HistoryRow { epoch, rate, train_loss, train_dice, seconds, .. } = row;
            format!("{epoch},{rate:.8},{train_loss:.6},{train_dice:.6},{valid},{ema},{seconds:.1}\n")
        });
        let header = "epoch,rate,train_loss,train_dice,valid_dice,valid_dice_ema,seconds\n".to_owned();
        let text: String = std::iter::once(header).chain(lines).collect();
        write_file(&dir.join("history.csv"), text.as_bytes())
    }

    fn fold_dir(&self, fold_idx: usize) -> PathBuf {
        self.path.join(format!("fold_{fold_idx}"))
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    hubmap_files::write_whole(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
