//! Where outputs and what is known about them are kept, and who may write there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hubmap_files::FolderLock;

use crate::config::DataGenConfig;
use crate::cut::CutKind;

/// Both halves of a tile, the names of their folders.
pub(super) const PARTS: [&str; 2] = ["imgs", "masks"];

/// The folder of outputs.
#[derive(Debug, Clone)]
pub(super) struct OutputDir(PathBuf);

impl OutputDir {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The mask of a slide.
    pub(super) fn big_mask(&self, slide_id: &str) -> PathBuf {
        self.big_masks().join(format!("{slide_id}.tiff"))
    }

    pub(super) fn big_masks(&self) -> PathBuf {
        self.0.join("bigmasks")
    }

    pub(super) fn cuts(&self) -> PathBuf {
        self.0.join("CUTS")
    }

    pub(super) fn splits(&self) -> PathBuf {
        self.0.join("SPLITS")
    }

    /// Folders of the images and the masks of a slide's tiles.
    pub(super) fn tile_dirs(&self, cuts_name: &str, slide_id: &str) -> [PathBuf; 2] {
        PARTS.map(|part| self.cuts().join(cuts_name).join(part).join(slide_id))
    }

    pub(super) fn state(&self) -> StateDir {
        StateDir(self.0.join(".data-gen"))
    }

    /// Removes what was made of a slide, then what is known about it.
    pub(super) fn remove_slide(&self, slide_id: &str) -> Result<()> {
        remove_file(&self.big_mask(slide_id))?;
        for cuts_name in names_in(&self.cuts())? {
            self.tile_dirs(&cuts_name, slide_id).iter().try_for_each(|dir| remove_dir(dir))?;
        }
        remove_dir(&self.state().slide(slide_id))
    }
}

/// Name of the folder of all cuts of a kind, `glomi_x33_1024`.
pub(super) fn cuts_name(kind: CutKind, config: &DataGenConfig) -> String {
    format!("{}_{}", kind.prefix(), config.cuts_suffix())
}

/// The hidden folder of what is known about outputs: `.data-gen`.
#[derive(Debug, Clone)]
pub(super) struct StateDir(PathBuf);

impl StateDir {
    fn slides(&self) -> PathBuf {
        self.0.join("slides")
    }

    pub(super) fn slide(&self, slide_id: &str) -> PathBuf {
        self.slides().join(slide_id)
    }

    /// What is finished of a slide.
    pub(super) fn record(&self, slide_id: &str) -> PathBuf {
        self.slide(slide_id).join("record.json")
    }

    /// What is done so far of tiles under way.
    pub(super) fn journal(&self, slide_id: &str, cuts_name: &str) -> PathBuf {
        self.slide(slide_id).join(format!("{cuts_name}.journal"))
    }

    /// What the splits were made of.
    pub(super) fn splits(&self) -> PathBuf {
        self.0.join("splits.json")
    }

    /// Ids of all slides of which something is or was being made.
    pub(super) fn slide_ids(&self) -> Result<Vec<String>> {
        let mut ids = names_in(&self.slides())?;
        // File browsers leave files of their own everywhere.
        ids.retain(|id| self.slide(id).is_dir());
        Ok(ids)
    }

    /// Makes sure that no other run writes to the same folder until the lock is dropped, killed runs included.
    pub(super) fn lock(&self) -> Result<FolderLock> {
        self.lock_with(FolderLock::take)
    }

    /// Makes sure that nobody but other parts writes to the same folder until the lock is dropped.
    pub(super) fn lock_shared(&self) -> Result<FolderLock> {
        self.lock_with(FolderLock::take_shared)
    }

    /// Makes sure that no other part is at a slide until the lock is dropped.
    pub(super) fn lock_slide(&self, slide_id: &str) -> Result<FolderLock> {
        create_dir(&self.slide(slide_id))?;
        let path = self.slide(slide_id).join("lock");
        let lock = FolderLock::take(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        lock.with_context(|| format!("another job is at slide {slide_id}: it holds {}", path.display()))
    }

    fn lock_with(&self, take: fn(&Path) -> std::io::Result<Option<FolderLock>>) -> Result<FolderLock> {
        create_dir(&self.slides())?;
        let path = self.0.join("lock");
        let lock = take(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        let Some(lock) = lock else {
            bail!(
                "{}: another hubmap-data-gen is writing to this folder; wait for it or choose another folder",
                self.0.parent().unwrap_or(&self.0).display()
            )
        };
        if !lock.is_effective {
            tracing::warn!("{}: this file system has no locks; do not run twice at once", path.display());
        }
        Ok(lock)
    }

    /// Removes the files under way of a run that was killed.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        remove_unfinished(&self.0)?;
        self.slide_ids()?.iter().try_for_each(|id| remove_unfinished(&self.slide(id)))
    }
}

/// Creates a folder and its parents, naming it on failure.
pub(super) fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create folder {}", dir.display()))
}

/// Removes a folder with what is in it, if it is there.
pub(super) fn remove_dir(dir: &Path) -> Result<()> {
    ignore_missing(std::fs::remove_dir_all(dir)).with_context(|| format!("cannot remove {}", dir.display()))
}

/// Removes a file, if it is there.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    ignore_missing(std::fs::remove_file(path)).with_context(|| format!("cannot remove {}", path.display()))
}

/// Removes a file, or a folder with what is in it, if it is there.
pub(super) fn remove_entry(path: &Path) -> Result<()> {
    if path.is_dir() { remove_dir(path) } else { remove_file(path) }
}

/// Removes the files under way of a run that was killed from one folder.
pub(super) fn remove_unfinished(dir: &Path) -> Result<()> {
    hubmap_files::remove_unfinished(dir).with_context(|| format!("cannot clean {}", dir.display()))
}

fn ignore_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Names of the entries of a folder, sorted; none if it does not exist.
pub(super) fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot list {}", dir.display()))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("cannot list {}", dir.display()))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a file is there and has a length.
pub(super) fn is_of_length(path: &Path, n_bytes: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == n_bytes)
}
