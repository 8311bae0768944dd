//! Files that appear complete or not at all.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempPath;

/// A finished temporary file that waits beside its final place; dropped without
/// [`commit`](PendingFile::commit) it is deleted.
#[derive(Debug)]
pub struct PendingFile {
    temporary: TempPath,
    path: PathBuf,
}

impl PendingFile {
    /// An empty temporary file in the folder of `path`, which is created if needed, and a writer into it.
    pub fn create(path: &Path) -> Result<(Self, BufWriter<File>)> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create folder {}", folder.display()))?;
        let mut builder = tempfile::Builder::new();
        let suffix = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
        builder.prefix(".unfinished-").suffix(suffix.as_deref().unwrap_or_default());
        // The default is a private file, which the rename would keep.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let (file, temporary) = builder
            .tempfile_in(folder)
            .with_context(|| format!("cannot create a file in {}", folder.display()))?
            .into_parts();
        Ok((Self { temporary, path: path.to_owned() }, BufWriter::new(file)))
    }

    /// A file whose bytes `write` produces.
    pub fn write(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<Self> {
        let (pending, mut writer) = Self::create(path)?;
        let written = write(&mut writer)
            .and_then(|()| writer.into_inner().map_err(|e| anyhow::Error::from(e.into_error())).map(drop));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(pending)
    }

    /// A file that `write` creates itself at the temporary path that it is given.
    pub fn write_at(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let (pending, _) = Self::create(path)?;
        write(&pending.temporary).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(pending)
    }

    /// The final place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file to its final place, over what was there.
    pub fn commit(self) -> Result<()> {
        let Self { temporary, path } = self;
        temporary.persist(&path).with_context(|| format!("cannot move a finished file to {}", path.display()))
    }
}
