//! Copies of slides on a disk of this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::outputs::SlideInput;

/// What names of folders with copies begin with.
const PREFIX: &str = "hubmap-";

/// A slide that is read from a copy, which is deleted with this.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) slide: SlideInput,
    _folder: TempDir,
}

impl Staged {
    /// Copies a slide, and the files beside it that are read as well, into a folder of its own in `scratch`.
    ///
    /// A process that is killed leaves its copy behind: `scratch` should be a folder that the scheduler empties.
    pub(super) fn copy(slide: &SlideInput, others: &[PathBuf], scratch: &Path) -> Result<Self> {
        let what = || format!("cannot copy {} to {}", slide.path.display(), scratch.display());
        std::fs::create_dir_all(scratch).with_context(what)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(scratch).with_context(what)?;
        for path in others.iter().filter(|path| path.parent() == slide.path.parent() && **path != slide.path)
        {
            std::fs::copy(path, in_folder(folder.path(), path)).with_context(what)?;
        }
        let path = in_folder(folder.path(), &slide.path);
        std::fs::copy(&slide.path, &path).with_context(what)?;
        Ok(Self { slide: SlideInput { path, ..slide.clone() }, _folder: folder })
    }
}

fn in_folder(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path.file_name().unwrap_or_default())
}
