//! A TIFF file that grows at its end and gets its name when it is complete.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use hubmap_files::PendingFile;

use super::source::Source;
use super::spec::CLASSIC_LIMIT;
use crate::{Error, Result};

/// The file behind a writer; numbers are stored with their least significant byte first.
pub(super) struct Output {
    path: PathBuf,
    file: PendingFile,
    /// Where the next byte goes.
    position: u64,
    is_big: bool,
}

impl Output {
    /// Starts a file with a header that leads nowhere yet; `path` is untouched until [`Output::finish`].
    pub(super) fn create(path: &Path, is_big: bool) -> Result<Self> {
        let file = PendingFile::create(path).map_err(|e| Error::io(path, "create", e))?;
        let mut output = Self { path: path.to_owned(), file, position: 0, is_big };
        let header: &[u8] = if is_big {
            &[b'I', b'I', 43, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        } else {
            &[b'I', b'I', 42, 0, 0, 0, 0, 0]
        };
        output.append(header)?;
        Ok(output)
    }

    /// Whether offsets have 64 bits.
    pub(super) fn is_big(&self) -> bool {
        self.is_big
    }

    /// Adds bytes at the end; returns where they start.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.position;
        let end = start + bytes.len() as u64;
        if !self.is_big && end > CLASSIC_LIMIT {
            return Err(Error::usage(&self.path, "more than 4 GiB need a BigTIFF file"));
        }
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, "write", e))?;
        self.position = end;
        Ok(start)
    }

    /// Adds zeros up to a multiple of 8, where directories start; returns that place.
    pub(super) fn align(&mut self) -> Result<u64> {
        let padding = self.position.next_multiple_of(8) - self.position;
        self.append(&[0; 8][..padding as usize])?;
        Ok(self.position)
    }

    /// What has been written so far, for reading.
    pub(super) fn reopen(&mut self) -> Result<Source> {
        self.file.flush().map_err(|e| Error::io(&self.path, "write", e))?;
        Source::open(self.file.temporary_path())
    }

    /// Lets the header point to the first directory and gives the file its name, replacing what had that name.
    pub(super) fn finish(self, first_directory: u64) -> Result<()> {
        let path = self.path.clone();
        let file = self.finish_unnamed(first_directory)?;
        file.commit().map_err(|e| Error::io(&path, "rename the temporary file to", e))
    }

    /// Lets the header point to the first directory; all bytes are written, but the file has no name yet.
    pub(super) fn finish_unnamed(mut self, first_directory: u64) -> Result<PendingFile> {
        let (place, n_bytes) = if self.is_big { (8, 8) } else { (4, 4) };
        let write_error = |e| Error::io(&self.path, "write", e);
        self.file.seek(SeekFrom::Start(place)).map_err(write_error)?;
        self.file.write_all(&first_directory.to_le_bytes()[..n_bytes]).map_err(write_error)?;
        self.file.flush().map_err(write_error)?;
        Ok(self.file)
    }
}
