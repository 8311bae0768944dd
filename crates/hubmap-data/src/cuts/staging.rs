//! Folders that appear whole or not at all.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A hidden folder to fill; what is not moved out of it is removed with it.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
}

impl Staging {
    /// An empty `.<name>.partial` in `parent`; remains of a killed run are removed.
    pub(super) fn create(parent: &Path, name: &str) -> Result<Self> {
        let dir = parent.join(format!(".{name}.partial"));
        remove_dir(&dir)?;
        create_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The folder to fill.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves a finished folder to its place, removing what is there.
    pub(super) fn publish(&self, part: &str, to: &Path) -> Result<()> {
        remove_dir(to)?;
        if let Some(parent) = to.parent() {
            create_dir(parent)?;
        }
        std::fs::rename(self.dir.join(part), to).with_context(|| format!("cannot write {}", to.display()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the next run tries again.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Creates a folder and its parents, naming it on failure.
pub(super) fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create folder {}", dir.display()))
}

fn remove_dir(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
