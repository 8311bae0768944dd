//! The bytes of a TIFF file, with errors that name the file.

use std::io::IoSliceMut;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::byte_source::{ByteSource, Fetched, LocalFile};
use crate::{Error, Result};

/// A byte source and its name for error messages.
#[derive(Debug, Clone)]
pub(super) struct Source {
    path: PathBuf,
    bytes: Arc<dyn ByteSource>,
}

impl Source {
    /// Opens a regular file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = LocalFile::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => Error::usage(path, "not a file"),
            _ => Error::io(path, "open", error),
        })?;
        Ok(Self::new(path, Arc::new(file)))
    }

    /// Bytes under a name of their own.
    pub(super) fn new(path: &Path, bytes: Arc<dyn ByteSource>) -> Self {
        Self { path: path.to_owned(), bytes }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of bytes.
    pub(super) fn len(&self) -> u64 {
        self.bytes.byte_len()
    }

    /// The same file with the bytes of `ranges` at hand, or `None` if they are as good as at hand already.
    ///
    /// Ranges that leave the file are left out, so that reading them fails as it does in a local file.
    pub(super) fn fetch(&self, ranges: impl FnOnce() -> Vec<Range<u64>>) -> Result<Option<Self>> {
        if !self.bytes.is_remote() {
            return Ok(None);
        }
        let len = self.len();
        let mut ranges = ranges();
        ranges.retain(|range| range.start < range.end && range.end <= len);
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        ranges.dedup();
        let bytes = self.bytes.fetch(&ranges).map_err(|e| Error::io(&self.path, "read", e))?;
        Ok(Some(Self::new(&self.path, Arc::new(Fetched::new(ranges, bytes, len)))))
    }

    /// Refuses `n_bytes` from `offset` on if they are not all in the file; `what` names them.
    pub(super) fn check(&self, offset: u64, n_bytes: u64, what: impl Fn() -> String) -> Result<()> {
        let len = self.len();
        match offset.checked_add(n_bytes) {
            Some(end) if end <= len => Ok(()),
            Some(end) => {
                Err(self.format(format!("truncated: {} ends at byte {end} but the file has {len}", what())))
            }
            None => Err(self.format(format!("{} lies at the impossible byte {offset}", what()))),
        }
    }

    /// Fills `buffer` from `offset` on; `what` names the bytes.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8], what: impl Fn() -> String) -> Result<()> {
        self.check(offset, buffer.len() as u64, what)?;
        self.bytes.read_at(offset, buffer).map_err(|e| Error::io(&self.path, "read", e))
    }

    /// Fills several buffers from `offset` on; `what` names the bytes.
    pub(super) fn read_vectored_at(
        &self,
        offset: u64,
        buffers: &mut [IoSliceMut<'_>],
        what: impl Fn() -> String,
    ) -> Result<()> {
        let n_bytes = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        self.check(offset, n_bytes, what)?;
        self.bytes.read_vectored_at(offset, buffers).map_err(|e| Error::io(&self.path, "read", e))
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
