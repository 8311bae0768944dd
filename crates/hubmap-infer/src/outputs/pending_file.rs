//! Finished files that wait beside their final place until all of a slide's are finished.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
pub use hubmap_files::PendingFile;

/// An empty file in the folder of `path`, which is created if needed.
pub(super) fn create(path: &Path) -> Result<PendingFile> {
    create_folder_of(path)?;
    PendingFile::create(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Creates the folder of a file and those above it.
pub(crate) fn create_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create folder {}", folder.display()))
}

/// A file whose bytes `write` produces; they are all written when this returns.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut PendingFile) -> Result<()>) -> Result<PendingFile> {
    let mut file = create(path)?;
    write(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
    flushed(file)
}

/// The file with all its bytes handed to the operating system, which is when a full disk shows.
pub(super) fn flushed(mut file: PendingFile) -> Result<PendingFile> {
    file.flush().with_context(|| format!("cannot write {}", file.path().display()))?;
    Ok(file)
}

/// Moves a file to its final place, over what was there.
pub(crate) fn commit(file: PendingFile) -> Result<()> {
    let path = file.path().to_owned();
    file.commit().with_context(|| format!("cannot move a finished file to {}", path.display()))
}
