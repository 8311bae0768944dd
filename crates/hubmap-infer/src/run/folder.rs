//! The folder of a run: its locks, and what killed runs left in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hubmap_files::{FolderLock, are_under_way, remove_unfinished, remove_unfinished_of};

use super::record::SlideRecord;
use crate::outputs::{OutputKind, OutputPlan, SlideInput, pending_file};

/// Makes the folder of a run its own and cleans it of what killed runs left.
pub(super) fn exclusive(plan: &OutputPlan) -> Result<FolderLock> {
    let lock = lock(plan, FolderLock::take)?;
    // Those of parts, of which none is at work now.
    let locks = slide_lock(plan, "");
    if locks.is_dir() {
        std::fs::remove_dir_all(&locks).with_context(|| format!("cannot remove {}", locks.display()))?;
    }
    let parts = OutputPlan { part: Some(String::new()), ..plan.clone() };
    let places = files_of(plan, "").chain([plan.summary(), parts.summary()]);
    for folder in places.filter_map(|path| path.parent().map(Path::to_owned)) {
        remove_unfinished(&folder).with_context(|| format!("cannot clean {}", folder.display()))?;
    }
    Ok(lock)
}

/// Shares the folder with other parts of a run, and cleans it of what killed ones left of these slides.
pub(super) fn shared(plan: &OutputPlan, slides: &[SlideInput]) -> Result<FolderLock> {
    let lock = lock(plan, FolderLock::take_shared)?;
    let what = || format!("cannot clean {}", plan.folder.display());
    let files: Vec<Vec<PathBuf>> = slides.iter().map(|slide| files_of(plan, &slide.id).collect()).collect();
    let mut are_under_way = are_under_way(&files.concat()).with_context(what)?.into_iter();
    for (slide, files) in slides.iter().zip(&files) {
        let n_under_way = are_under_way.by_ref().take(files.len()).filter(|&is| is).count();
        // Those of a slide that another job is at are not left but being written: by the same part, started twice, or by
        // a part of another division.
        if n_under_way > 0
            && let Some(_lock) = take_slide_lock(plan, &slide.id)?
        {
            remove_unfinished_of(files).with_context(what)?;
        }
    }
    Ok(lock)
}

fn lock(
    plan: &OutputPlan,
    take: impl FnOnce(&Path) -> std::io::Result<Option<FolderLock>>,
) -> Result<FolderLock> {
    let path = plan.folder.join("predicts").join(".lock");
    pending_file::create_folder_of(&path)?;
    let lock = take(&path).with_context(|| format!("cannot lock {}", path.display()))?;
    let Some(lock) = lock else {
        bail!(
            "{}: another run is writing to this folder; wait for it or choose another folder",
            plan.folder.display()
        )
    };
    if !lock.is_effective {
        tracing::warn!("{}: this file system has no locks; do not run twice at once", path.display());
    }
    Ok(lock)
}

/// Place of the lock of a slide that a part is at.
pub(super) fn slide_lock(plan: &OutputPlan, id: &str) -> PathBuf {
    plan.folder.join("predicts").join("locks").join(id)
}

/// Keeps other parts from a slide; `None` if another is at it.
pub(super) fn take_slide_lock(plan: &OutputPlan, id: &str) -> Result<Option<FolderLock>> {
    let path = slide_lock(plan, id);
    pending_file::create_folder_of(&path)?;
    FolderLock::take(&path).with_context(|| format!("cannot lock {}", path.display()))
}

/// Place of the picture of where a slide has tissue.
pub(super) fn tissue_path(plan: &OutputPlan, id: &str) -> PathBuf {
    plan.folder.join("predicts").join("tissue").join(format!("{id}.png"))
}

/// All files that a slide may have, and its record.
pub(super) fn files_of(plan: &OutputPlan, id: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let others = [tissue_path(plan, id), SlideRecord::path(plan, id)];
    OutputKind::ALL.map(|kind| plan.path(kind, id)).into_iter().chain(others)
}
