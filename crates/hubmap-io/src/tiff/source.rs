//! A file that many threads read at once.
//!
//! Reads are positioned (`pread`) rather than through a memory map: a map would save one copy out of the page
//! cache, but a file that shrinks while mapped kills the process with SIGBUS, and a network mount that drops does
//! too. A positioned read reports both as errors.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// An open file, its name for error messages and its length.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Source {
    /// Opens a regular file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let metadata = file.metadata().map_err(|e| Error::io(path, "open", e))?;
        if !metadata.is_file() {
            return Err(Error::usage(path, "not a file"));
        }
        Ok(Self { path: path.to_owned(), file, len: metadata.len() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Refuses `n_bytes` from `offset` on if they are not all in the file; `what` names them.
    pub(super) fn check(&self, offset: u64, n_bytes: u64, what: impl Fn() -> String) -> Result<()> {
        match offset.checked_add(n_bytes) {
            Some(end) if end <= self.len => Ok(()),
            Some(end) => Err(self.format(format!(
                "truncated: {} ends at byte {end} but the file has {}",
                what(),
                self.len
            ))),
            None => Err(self.format(format!("{} lies at the impossible byte {offset}", what()))),
        }
    }

    /// Fills `buffer` from `offset` on; `what` names the bytes.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8], what: impl Fn() -> String) -> Result<()> {
        self.check(offset, buffer.len() as u64, what)?;
        read_exact_at(&self.file, buffer, offset).map_err(|e| Error::io(&self.path, "read", e))
    }

    /// An [`Error::Format`] about this file.
    pub(super) fn format(&self, problem: impl Into<String>) -> Error {
        Error::format(&self.path, problem)
    }

    /// An [`Error::Unsupported`] about this file.
    pub(super) fn unsupported(&self, feature: impl Into<String>) -> Error {
        Error::unsupported(&self.path, feature)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt as _;
    while !buffer.is_empty() {
        let n_read = file.seek_read(buffer, offset)?;
        if n_read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[n_read..];
        offset += n_read as u64;
    }
    Ok(())
}
