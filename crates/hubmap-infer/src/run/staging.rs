//! Copies of inputs on a disk of this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hubmap_io::Location;
use tempfile::TempDir;

use crate::progress::{Interrupted, Progress};

/// What names of folders with copies begin with.
const PREFIX: &str = "hubmap-";

/// A copy of a file or object, which is deleted with this.
#[derive(Debug)]
pub(super) struct LocalCopy {
    pub(super) path: PathBuf,
    _folder: TempDir,
}

impl LocalCopy {
    /// Copies an input into a folder of its own in `scratch`, under its name.
    ///
    /// A process that is killed leaves its copy behind: `scratch` should be a folder that the scheduler empties.
    pub(super) fn of(location: &Location, scratch: &Path, progress: &dyn Progress) -> Result<Self> {
        let what = || format!("cannot copy {location} to {}", scratch.display());
        std::fs::create_dir_all(scratch).with_context(what)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(scratch).with_context(what)?;
        let path = folder.path().join(location.path().file_name().unwrap_or_default());
        let advance =
            |_| if progress.interrupted() { Err(std::io::ErrorKind::Interrupted.into()) } else { Ok(()) };
        match location.copy_to(&path, advance) {
            Err(_) if progress.interrupted() => bail!(Interrupted),
            other => other.with_context(what)?,
        }
        Ok(Self { path, _folder: folder })
    }
}
