//! What is known of finished slides: `predicts/done/<id>.json`.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::identity::hash_json;
use super::{RunSpec, SlideSummary};
use crate::outputs::{OutputKind, OutputPlan, SlideInput, WrittenFile, pending_file};

/// Raised when files of the same settings, models and inputs come out with other bytes.
const OUTPUT_VERSION: u32 = 1;

/// What the files of all slides of a run are made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    version: u32,
    /// SHA-256 of the settings that files depend on.
    settings: String,
    model: String,
}

impl Identity {
    pub(super) fn of(spec: &RunSpec) -> Result<Self> {
        let settings = serde_json::json!({
            "threshold": spec.threshold,
            "postprocess": spec.postprocess,
            "depends_on": spec.depends_on,
        });
        Ok(Self { version: OUTPUT_VERSION, settings: hash_json(&settings)?, model: spec.model.clone() })
    }
}

/// What a slide's files are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Inputs {
    /// Of the slide's file, and of others that its outputs depend on.
    files: Vec<Stamp>,
    /// A resolution that counts instead of the file's.
    microns_per_px: Option<f64>,
}

impl Inputs {
    pub(super) fn of(files: &[PathBuf], slide: &SlideInput) -> Result<Self> {
        let files = files.iter().map(|path| Stamp::of(path)).collect::<Result<_>>()?;
        Ok(Self { files, microns_per_px: slide.microns_per_px })
    }
}

/// What is the same for all slides of a run, as far as it is of interest when they are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunFacts {
    pub(super) settings: serde_json::Value,
    pub(super) model: String,
    pub(super) n_models: usize,
    pub(super) threshold: f32,
}

impl RunFacts {
    pub(super) fn of(spec: &RunSpec) -> Self {
        let RunSpec { settings, model, n_models, threshold, .. } = spec.clone();
        Self { settings, model, n_models, threshold }
    }
}

/// The state of an input file: slides are too large to hash, so that a copy with a new time counts as another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    n_bytes: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (u64, u32),
}

impl Stamp {
    fn of(path: &Path) -> Result<Self> {
        let attempt = || -> std::io::Result<Self> {
            let metadata = std::fs::metadata(path)?;
            // Before 1970 is no time that a file system gives; any constant will do.
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(Self { n_bytes: metadata.len(), modified: (modified.as_secs(), modified.subsec_nanos()) })
        };
        attempt().with_context(|| format!("cannot open {}", path.display()))
    }
}

/// A slide whose files are all in place; written after them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SlideRecord {
    pub(super) identity: Identity,
    pub(super) run: RunFacts,
    pub(super) inputs: Inputs,
    pub(super) outputs: Vec<WrittenFile>,
    pub(super) summary: SlideSummary,
}

impl SlideRecord {
    /// Where the record of a slide is.
    pub(super) fn path(plan: &OutputPlan, id: &str) -> PathBuf {
        plan.record(id)
    }

    /// The record of a slide, if there is one that can be read.
    pub(super) fn read(plan: &OutputPlan, id: &str) -> Option<Self> {
        let path = Self::path(plan, id);
        let text = std::fs::read(&path).ok()?;
        let record = serde_json::from_slice(&text);
        // It may be of another version of this program, and is written anew.
        record
            .inspect_err(|error| {
                tracing::warn!("{}: {error}; the slide counts as unfinished", path.display());
            })
            .ok()
    }

    /// Ids of all slides that have a record, sorted.
    pub(super) fn ids(plan: &OutputPlan) -> Result<Vec<String>> {
        let folder = Self::path(plan, "");
        let folder = folder.parent().unwrap_or(&folder);
        let list = || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect();
        let names: std::io::Result<Vec<std::ffi::OsString>> = list();
        let names = match names {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("cannot list {}", folder.display()))?,
        };
        let id_of = |name: &std::ffi::OsString| Some(name.to_str()?.strip_suffix(".json")?.to_owned());
        let mut ids: Vec<String> = names.iter().filter_map(id_of).collect();
        ids.sort();
        Ok(ids)
    }

    /// Whether a slide's files were made with the same, of the same.
    pub(super) fn is_of(&self, identity: &Identity, inputs: &Inputs) -> bool {
        self.identity == *identity && self.inputs == *inputs
    }

    /// The kinds of files that were written.
    pub(super) fn kinds(&self) -> Vec<OutputKind> {
        self.outputs.iter().map(|file| file.kind).collect()
    }

    /// Whether every wanted file is where it was put, with the length that it had.
    pub(super) fn has_files(&self, plan: &OutputPlan) -> bool {
        let is_in_place = |file: &WrittenFile| {
            std::fs::metadata(plan.folder.join(&file.path))
                .is_ok_and(|metadata| metadata.len() == file.n_bytes)
        };
        plan.kinds.iter().all(|kind| self.outputs.iter().any(|file| file.kind == *kind && is_in_place(file)))
    }

    /// Writes the record.
    pub(super) fn write(&self, plan: &OutputPlan) -> Result<()> {
        let path = Self::path(plan, &self.summary.id);
        let file = pending_file::write(&path, |out| Ok(serde_json::to_writer_pretty(out, self)?))?;
        pending_file::commit(file)
    }

    /// Removes the record of a slide, if there is one.
    pub(super) fn remove(plan: &OutputPlan, id: &str) -> Result<()> {
        let path = Self::path(plan, id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}
