//! Folds that were trained in folders of their own, as one run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use hubmap_models::WeightsFile;

use crate::fold_state::FoldProgress;
use crate::run::draw_curves;
use crate::run_dir::{MODELS_FOLDER, RunDir, unfinished_folder};

/// Joins runs of single folds, with the same settings, into one run folder that inference takes.
///
/// Every fold of the settings must be finished in one of the `runs`, which stay as they are. `out` may be there from
/// before: folds that are in it are left alone.
///
/// # Errors
///
/// Runs whose settings differ; folds that are missing, not finished, in several of the runs, or whose weights are damaged, all
/// by name. Nothing is written then.
pub fn collect_folds(runs: &[PathBuf], out: &Path) -> Result<RunDir> {
    let runs = runs.iter().map(|run| RunDir::open(run)).collect::<Result<Vec<_>>>()?;
    let first = runs.first().context("no runs to collect folds from")?;
    let settings = settings(first)?;
    for run in &runs {
        ensure!(
            self::settings(run)? == settings,
            "{} was trained with other settings than {}: compare their config.toml",
            run.path().display(),
            first.path().display()
        );
    }
    let (names, n_epochs) = folds(&settings).with_context(|| first.config_path().display().to_string())?;

    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for (fold_idx, name) in names.iter().enumerate() {
        let fold = format!("fold {fold_idx} (`{name}`)");
        match finished(&runs, fold_idx, n_epochs)? {
            Found::In(run) => {
                let source = run.fold_folder(fold_idx);
                problems.extend(damaged_weights(&source)?.map(|problem| format!("{fold}: {problem}")));
                sources.push(source);
            }
            Found::Twice(a, b) => {
                problems.push(format!("{fold} is in {} and in {}", a.path().display(), b.path().display()));
            }
            Found::Unfinished(run, n_done) => problems.push(format!(
                "{fold} has {n_done} of {n_epochs} epochs: go on with it by hubmap-train --resume {}",
                run.path().display()
            )),
            Found::Nowhere => problems.push(format!("{fold} is in none of the runs")),
        }
    }
    if !problems.is_empty() {
        bail!("the folds are not complete: {}", problems.join("; "));
    }

    let run = RunDir::at(out, &settings)?;
    for (fold_idx, source) in sources.iter().enumerate() {
        let target = run.fold_folder(fold_idx);
        if !target.exists() {
            copy_folder(source, &target)
                .with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))?;
        }
    }
    draw_curves(&run, &names)?;
    Ok(run)
}

/// What is wrong with the weights of a fold, if there are none or they cannot be read.
fn damaged_weights(fold: &Path) -> Result<Option<String>> {
    let folder = fold.join(MODELS_FOLDER);
    let list = || fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect();
    let paths: std::io::Result<Vec<PathBuf>> = list();
    let mut paths = paths.with_context(|| format!("cannot list folder {}", folder.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    if paths.is_empty() {
        return Ok(Some(format!("no weights in {}", folder.display())));
    }
    Ok(paths.iter().find_map(|path| WeightsFile::open(path).err()).map(|error| error.to_string()))
}

/// Where a fold is.
enum Found<'a> {
    In(&'a RunDir),
    Twice(&'a RunDir, &'a RunDir),
    Unfinished(&'a RunDir, usize),
    Nowhere,
}

fn finished(runs: &[RunDir], fold_idx: usize, n_epochs: usize) -> Result<Found<'_>> {
    let mut found = Found::Nowhere;
    for run in runs {
        let Some(progress) = FoldProgress::load(&run.state_path(fold_idx))? else { continue };
        found = match found {
            Found::In(other) if progress.n_epochs == n_epochs => return Ok(Found::Twice(other, run)),
            Found::In(other) => Found::In(other),
            _ if progress.n_epochs == n_epochs => Found::In(run),
            _ => Found::Unfinished(run, progress.n_epochs),
        };
    }
    Ok(found)
}

fn settings(run: &RunDir) -> Result<String> {
    let path = run.config_path();
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Names of the folds, and epochs of each.
fn folds(settings: &str) -> Result<(Vec<String>, usize)> {
    let settings: toml::Table = settings.parse()?;
    let folds = settings.get("data").and_then(|data| data.get("folds")).context("data.folds is missing")?;
    let epochs =
        settings.get("train").and_then(|train| train.get("epochs")).context("train.epochs is missing")?;
    Ok((folds.clone().try_into().context("data.folds")?, epochs.clone().try_into().context("train.epochs")?))
}

/// Copies a folder; it gets its name when it is whole.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    let parent = to.parent().unwrap_or(Path::new("."));
    let folder = unfinished_folder(parent)?;
    copy_contents(from, folder.path())?;
    fs::rename(folder.path(), to)?;
    // What is there no more cannot be removed.
    let _ = folder.keep();
    Ok(())
}

fn copy_contents(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_contents(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
