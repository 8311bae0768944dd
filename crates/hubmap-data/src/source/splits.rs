//! What the loader must know about a folder of splits.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cuts::Manifest;
use crate::fold::FoldBy;

/// The part of a [`Manifest`] that matters here; whatever else it says is left to its writer.
#[derive(Debug, Deserialize)]
pub(crate) struct Splits {
    /// Slide pixels per tile pixel.
    pub(crate) scale: u32,
    folds: Vec<SplitFold>,
}

#[derive(Debug, Deserialize)]
struct SplitFold {
    name: String,
    #[serde(default)]
    by: FoldBy,
}

impl Splits {
    /// Reads the manifest of a folder of splits; `None` if it has none, as those of the original pipeline.
    ///
    /// # Errors
    ///
    /// The file is there but cannot be read.
    pub(crate) fn read(splits_dir: &Path) -> Result<Option<Self>> {
        let path = splits_dir.join(Manifest::FILE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        serde_json::from_slice(&text).map(Some).with_context(|| format!("{}: not a manifest", path.display()))
    }

    /// What the sides of a fold share nothing of; `None` if the manifest does not list it.
    pub(crate) fn fold_by(&self, name: &str) -> Option<FoldBy> {
        self.folds.iter().find(|fold| fold.name == name).map(|fold| fold.by)
    }
}
