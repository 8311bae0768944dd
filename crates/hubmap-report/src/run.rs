//! A run folder of training, as files say it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hubmap_infer::hash_files;
use serde::Deserialize;

use crate::ReportError;
use crate::found::modified;

/// What a run folder holds.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) path: PathBuf,
    /// The resolved settings as they are on disk.
    pub(crate) config_text: String,
    pub(crate) config: toml::Table,
    /// When its settings were written, which is when it began.
    pub(crate) started: Option<SystemTime>,
    /// Folds that have begun, ascending.
    pub(crate) folds: Vec<Fold>,
    /// SHA-256 of the checkpoints that inference takes, as `summary.json` of predictions has it; none without checkpoints.
    pub(crate) model_hash: Option<String>,
}

/// A fold of a run.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) idx: usize,
    /// Its name in the settings.
    pub(crate) name: String,
    pub(crate) history: Vec<Epoch>,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// A row of `history.csv`; columns of later versions are passed by.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Epoch {
    /// From 0.
    #[serde(rename = "epoch")]
    pub(crate) idx: usize,
    pub(crate) rate: f64,
    pub(crate) train_loss: f64,
    pub(crate) train_dice: f64,
    pub(crate) valid_dice: Option<f64>,
    pub(crate) valid_dice_ema: Option<f64>,
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) data_wait: Option<f64>,
}

/// A file of weights, by its name `e<epoch>_t<total>_<tag>_<dice>.<extension>`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) file: String,
    /// From 0.
    pub(crate) epoch: usize,
    pub(crate) tag: String,
    pub(crate) dice: f64,
}

impl Checkpoint {
    fn parse(file: &str) -> Option<Self> {
        let stem =
            [".safetensors", ".pth", ".pt"].iter().find_map(|extension| file.strip_suffix(extension))?;
        let [epoch, total, tag, dice] = stem.split('_').collect::<Vec<_>>()[..] else { return None };
        total.strip_prefix('t')?.parse::<usize>().ok()?;
        let dice = dice.parse::<f64>().ok().filter(|dice| dice.is_finite())?;
        let epoch = epoch.strip_prefix('e')?.parse().ok()?;
        Some(Self { file: file.to_owned(), epoch, tag: tag.to_owned(), dice })
    }
}

impl Run {
    pub(crate) fn read(path: &Path) -> Result<Self, ReportError> {
        let config_path = path.join("config.toml");
        let config_text =
            std::fs::read_to_string(&config_path).map_err(|error| ReportError::file(&config_path, error))?;
        let config: toml::Table =
            config_text.parse().map_err(|error| ReportError::file(&config_path, error))?;
        let mut folds = Vec::new();
        let mut weights = Vec::new();
        for idx in fold_idxs(path)? {
            let folder = path.join(format!("fold_{idx}"));
            let checkpoint = newest_checkpoint(&folder.join("models"))?;
            weights.extend(checkpoint.iter().map(|checkpoint| folder.join("models").join(&checkpoint.file)));
            let history = read_history(&folder.join("history.csv"))?;
            folds.push(Fold { idx, name: fold_name(&config, idx), history, checkpoint });
        }
        let model_hash = if weights.is_empty() { None } else { Some(hash_files(&weights)?) };
        Ok(Self {
            path: path.to_owned(),
            config_text,
            config,
            started: modified(&config_path),
            folds,
            model_hash,
        })
    }

    /// A setting in words, `–` if there is none.
    pub(crate) fn setting(&self, table: &str, key: &str) -> String {
        match self.config.get(table).and_then(|table| table.get(key)) {
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "–".to_owned(),
        }
    }

    /// Wall time of all epochs in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.folds.iter().flat_map(|fold| &fold.history).map(|epoch| epoch.seconds).sum()
    }

    /// Mean over folds of the Dice of their checkpoints.
    pub(crate) fn mean_dice(&self) -> Option<f64> {
        let dice: Vec<f64> =
            self.folds.iter().filter_map(|fold| Some(fold.checkpoint.as_ref()?.dice)).collect();
        (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64)
    }
}

/// Names are kept in `data.folds`, in order.
fn fold_name(config: &toml::Table, idx: usize) -> String {
    let names = config.get("data").and_then(|data| data.get("folds")).and_then(toml::Value::as_array);
    let name = names.and_then(|names| names.get(idx)).and_then(toml::Value::as_str);
    name.map_or_else(|| idx.to_string(), str::to_owned)
}

fn fold_idxs(run: &Path) -> Result<Vec<usize>, ReportError> {
    let mut idxs: Vec<usize> =
        file_names(run)?.iter().filter_map(|name| name.strip_prefix("fold_")?.parse().ok()).collect();
    idxs.sort_unstable();
    Ok(idxs)
}

/// The checkpoint that inference takes: that of the highest epoch, and of equal ones the best.
fn newest_checkpoint(folder: &Path) -> Result<Option<Checkpoint>, ReportError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let checkpoints = file_names(folder)?.into_iter().filter_map(|name| Checkpoint::parse(&name));
    Ok(checkpoints.max_by(|a, b| a.epoch.cmp(&b.epoch).then(a.dice.total_cmp(&b.dice))))
}

/// Names in a folder that are Unicode, as all of ours are.
fn file_names(folder: &Path) -> Result<Vec<String>, ReportError> {
    let list = || {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()
    };
    let names = list().map_err(|source| ReportError::Folder { path: folder.to_owned(), source })?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// The rows of a history; none before the first epoch has ended.
fn read_history(path: &Path) -> Result<Vec<Epoch>, ReportError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut reader = csv::Reader::from_path(path).map_err(|error| ReportError::file(path, error))?;
    reader.deserialize().collect::<Result<_, _>>().map_err(|error| ReportError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "epoch,rate,train_loss,train_dice,valid_dice,valid_dice_ema,seconds,data_wait\n";

    fn run(folder: &Path) -> Result<Run, ReportError> {
        std::fs::write(folder.join("config.toml"), "[data]\nfolds = [\"a\", \"b\"]\n[train]\nepochs = 3\n")
            .unwrap();
        for name in
            ["fold_1/models/e1_t3_ema_0.9000.safetensors", "fold_1/models/e0_t3_raw_0.9500.safetensors"]
        {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let rows = "0,0.001,1.5,0.3,,,2.5,0.01\n1,0.002,1.0,0.5,0.91,0.9,3.5,0.02\n";
        std::fs::write(folder.join("fold_1/history.csv"), format!("{HEADER}{rows}")).unwrap();
        Run::read(folder)
    }

    #[test]
    fn a_run_is_read_as_inference_takes_it() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path()).unwrap();
        assert_eq!(run.folds.len(), 1);
        let fold = &run.folds[0];
        assert_eq!((fold.idx, fold.name.as_str(), fold.history.len()), (1, "b", 2));
        assert_eq!((fold.history[0].valid_dice, fold.history[1].valid_dice_ema), (None, Some(0.9)));
        let checkpoint = fold.checkpoint.clone().unwrap();
        assert_eq!((checkpoint.epoch, checkpoint.tag.as_str(), checkpoint.dice), (1, "ema", 0.9));
        let weights = dir.path().join("fold_1/models").join(&checkpoint.file);
        assert_eq!(run.model_hash, Some(hash_files([weights]).unwrap()));
        assert_eq!((run.seconds(), run.mean_dice()), (6.0, Some(0.9)));
        assert_eq!(
            (run.setting("train", "epochs"), run.setting("train", "none")),
            ("3".to_owned(), "–".to_owned())
        );
    }

    #[test]
    fn broken_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path()).unwrap();
        let history = dir.path().join("fold_1/history.csv");
        std::fs::write(&history, format!("{HEADER}0,x,1,1,,,1,0\n")).unwrap();
        let error = Run::read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("history.csv") && error.contains("line 2") || error.contains("line: 2"),
            "{error}"
        );
        std::fs::write(dir.path().join("config.toml"), "[data\n").unwrap();
        assert!(Run::read(dir.path()).unwrap_err().to_string().contains("config.toml"));
    }

    #[test]
    fn names_of_checkpoints_are_parsed_and_others_passed_by() {
        let parsed = Checkpoint::parse("e12_t50_ema_0.9312.pth").unwrap();
        assert_eq!((parsed.epoch, parsed.tag.as_str(), parsed.dice), (12, "ema", 0.9312));
        for name in [
            "last.safetensors",
            "e1_t2_ema.pth",
            "ex_t2_ema_0.5.pth",
            "e1_t2_ema_0.5_x.pth",
            "e1_t2_ema_nan.pth",
        ] {
            assert_eq!(Checkpoint::parse(name), None, "{name}");
        }
    }
}
