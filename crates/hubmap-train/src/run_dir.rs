//! The folder that a run leaves and inference takes.
//!
//! ```text
//! output/2026_11_23_18_40_00/
//!   config.toml                                   the resolved settings
//!   curves.png                                    how training went, after every fold
//!   fold_0/history.csv                            one row per epoch
//!   fold_0/models/e11_t12_ema_0.9312.safetensors  the best weights so far
//!   fold_0/logs/events.out.tfevents.…             for TensorBoard
//!   fold_0/last.safetensors                       everything that continues the fold
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hubmap_files::FolderLock;
use hubmap_models::{CheckpointName, SegModel, SegModelConfig, save_weights};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Folder of the weights of a fold, in that of the fold.
pub(crate) const MODELS_FOLDER: &str = "models";

/// Name of the file with the resolved settings.
const CONFIG: &str = "config.toml";

/// A run folder.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

/// One row of a fold's `history.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Share of the time of the training steps in which they waited for batches.
    pub data_wait: f64,
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
        let attempt = || -> Result<PathBuf> {
            fs::create_dir_all(parent)?;
            let folder = unfinished_folder(parent)?;
            write_file(&folder.path().join(CONFIG), config_toml.as_bytes())?;
            let mut path = parent.join(&stamp);
            let mut n = 1;
            while let Err(error) = fs::rename(folder.path(), &path) {
                if !path.exists() {
                    return Err(error.into());
                }
                n += 1;
                path = parent.join(format!("{stamp}_{n}"));
            }
            // What is there no more cannot be removed.
            let _ = folder.keep();
            Ok(path)
        };
        let path = attempt().with_context(|| format!("cannot make a run folder in {}", parent.display()))?;
        Ok(Self { path })
    }

    /// The run in the folder `path`, which is made with these settings if it is not there.
    ///
    /// Several processes may ask for the same folder at once, such as one for each fold.
    ///
    /// # Errors
    ///
    /// It holds a run with other settings, or other files.
    pub fn at(path: &Path, config_toml: &str) -> Result<Self> {
        let run = Self { path: path.to_owned() };
        let make = || -> Result<()> {
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::create_dir_all(parent)?;
            let folder = unfinished_folder(parent)?;
            write_file(&folder.path().join(CONFIG), config_toml.as_bytes())?;
            match fs::rename(folder.path(), path) {
                // What is there no more cannot be removed.
                Ok(()) => drop(folder.keep()),
                // Another process was faster.
                Err(_) if run.config_path().is_file() => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        };
        if !run.config_path().is_file() {
            make().with_context(|| format!("cannot make the run folder {}", path.display()))?;
        }
        let settings = fs::read_to_string(run.config_path())
            .with_context(|| format!("cannot read {}", run.config_path().display()))?;
        ensure!(
            settings == config_toml,
            "{} holds a run with other settings (its config.toml): choose another folder, or go on with it by --resume",
            path.display()
        );
        Ok(run)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a run that was made before.
    ///
    /// # Errors
    ///
    /// There are no settings in it.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_owned() };
        ensure!(
            run.config_path().is_file(),
            "{}: not the folder of a run: it has no config.toml",
            path.display()
        );
        Ok(run)
    }

    /// The resolved settings of the run.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// Everything that continues a fold, whether it is there or not.
    pub fn state_path(&self, fold_idx: usize) -> PathBuf {
        self.fold_path(fold_idx).state_path()
    }

    /// The folder of a fold, whether it is there or not.
    pub(crate) fn fold_folder(&self, fold_idx: usize) -> PathBuf {
        self.fold_path(fold_idx).path
    }

    /// The folder of a fold, which may not be there.
    fn fold_path(&self, fold_idx: usize) -> FoldDir {
        FoldDir { path: self.path.join(format!("fold_{fold_idx}")) }
    }

    /// The folder of a fold, which is made.
    pub fn fold(&self, fold_idx: usize) -> Result<FoldDir> {
        let FoldDir { path } = self.fold_path(fold_idx);
        let models = path.join(MODELS_FOLDER);
        fs::create_dir_all(&models).with_context(|| format!("cannot create {}", models.display()))?;
        Ok(FoldDir { path })
    }
}

/// The folder of a fold in a run.
#[derive(Debug, Clone)]
pub struct FoldDir {
    path: PathBuf,
}

impl FoldDir {
    /// Everything that continues the fold.
    pub fn state_path(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// Logs for TensorBoard.
    pub fn logs_dir(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Writes a checkpoint.
    pub fn save_checkpoint(
        &self,
        name: &CheckpointName,
        model: &SegModel,
        config: &SegModelConfig,
    ) -> Result<PathBuf> {
        let path = self.models_dir().join(name.to_string());
        save_weights(model, config, &path)?;
        Ok(path)
    }

    /// Keeps other processes from this fold until the lock is dropped or the process ends.
    pub(crate) fn lock(&self) -> Result<FolderLock> {
        let path = self.path.join(".lock");
        let lock = FolderLock::take(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        lock.with_context(|| format!("{}: another process is training this fold", self.path.display()))
    }

    /// Removes files that a killed process was writing.
    pub fn remove_unfinished(&self) -> Result<()> {
        for dir in [&self.path, &self.models_dir()] {
            hubmap_files::remove_unfinished(dir)
                .with_context(|| format!("cannot clean {}", dir.display()))?;
        }
        Ok(())
    }

    /// Removes the checkpoints that are superseded, and those of an epoch that was lost.
    pub fn keep_only(&self, best: Option<&CheckpointName>) -> Result<()> {
        let (dir, best) = (self.models_dir(), best.map(ToString::to_string));
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.parse::<CheckpointName>().is_ok() && best.as_deref() != Some(name) {
                let path = entry.path();
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Writes the names of the samples on which the loss was no number.
    pub fn write_bad_batch(&self, names: &[String]) -> Result<PathBuf> {
        let path = self.path.join("bad_batch.txt");
        write_file(&path, (names.join("\n") + "\n").as_bytes())?;
        Ok(path)
    }

    /// Writes `history.csv` anew.
    pub fn write_history(&self, rows: &[HistoryRow]) -> Result<()> {
        let optional = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.6}"));
        let lines = rows.iter().map(|row| {
            let (valid, ema) = (optional(row.valid_dice), optional(row.valid_dice_ema));
            let HistoryRow { epoch, rate, train_loss, train_dice, seconds, data_wait, .. } = row;
            format!(
                "{epoch},{rate:.8},{train_loss:.6},{train_dice:.6},{valid},{ema},{seconds:.1},{data_wait:.4}\n"
            )
        });
        let header =
            "epoch,rate,train_loss,train_dice,valid_dice,valid_dice_ema,seconds,data_wait\n".to_owned();
        let text: String = std::iter::once(header).chain(lines).collect();
        write_file(&self.path.join("history.csv"), text.as_bytes())
    }

    fn models_dir(&self) -> PathBuf {
        self.path.join(MODELS_FOLDER)
    }
}

/// A folder under way beside its final name, which it gets when it is complete.
pub(crate) fn unfinished_folder(parent: &Path) -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unfinished-");
    // The default is a private folder, which the rename would keep; the umask still applies.
    #[cfg(unix)]
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    #[cfg(unix)]
    builder.permissions(readable);
    builder.tempdir_in(parent)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    hubmap_files::write_whole(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
