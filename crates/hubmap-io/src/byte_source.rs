//! Where the bytes of a slide come from: a file, memory, or an object store.
//!
//! Files are read at positions (`pread`) rather than through a memory map: a map would save one copy out of the page
//! cache, but a file that shrinks while mapped kills the process with SIGBUS, and a network mount that drops does
//! too. A positioned read reports both as errors.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::path::Path;

/// Bytes that many threads read at once, at any position.
///
/// A slide opens from anything that implements this: see [`TiffSlide::from_source`](crate::TiffSlide::from_source).
pub trait ByteSource: std::fmt::Debug + Send + Sync {
    /// Number of bytes.
    fn byte_len(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on; fewer bytes than that are an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Fills several buffers, one after the other, with the bytes from `offset` on.
    fn read_vectored_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let mut at = offset;
        for buffer in buffers {
            self.read_at(at, buffer)?;
            at += buffer.len() as u64;
        }
        Ok(())
    }

    /// Whether each request takes long whatever its size; readers then [`fetch`](Self::fetch) what they need at once.
    fn is_remote(&self) -> bool {
        false
    }

    /// The bytes of many ranges, all inside the source and in ascending order of their starts.
    ///
    /// A remote source merges and overlaps its requests.
    fn fetch(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
        let read = |range: &Range<u64>| {
            let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            let mut bytes = vec![0; len];
            self.read_at(range.start, &mut bytes).map(|()| bytes)
        };
        ranges.iter().map(read).collect()
    }
}

/// A file on a local or mounted file system.
#[derive(Debug)]
pub(crate) struct LocalFile {
    file: File,
    len: u64,
}

impl LocalFile {
    /// Opens a regular file; anything else is an error of kind `InvalidInput`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Before it is opened: a pipe would wait for somebody to write to it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl ByteSource for LocalFile {
    fn byte_len(&self) -> u64 {
        self.len
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        use std::os::windows::fs::FileExt as _;
        while !buffer.is_empty() {
            let n_read = self.file.seek_read(buffer, offset)?;
            if n_read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[n_read..];
            offset += n_read as u64;
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn read_vectored_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let mut at = offset;
        let mut rest = buffers;
        while !rest.is_empty() {
            let n_now = rest.len().min(MAX_BUFFERS);
            let n_read = match rustix::io::preadv(&self.file, &mut rest[..n_now], at) {
                Ok(0) if rest.iter().all(|buffer| buffer.is_empty()) => return Ok(()),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n_read) => n_read,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            IoSliceMut::advance_slices(&mut rest, n_read);
            at += n_read as u64;
        }
        Ok(())
    }
}

/// Most buffers that one system call takes (`IOV_MAX`).
#[cfg(target_os = "linux")]
const MAX_BUFFERS: usize = 1024;

impl ByteSource for Vec<u8> {
    fn byte_len(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = start.checked_add(buffer.len()).and_then(|end| self.get(start..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Some ranges of another source, held in memory.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// In ascending order of their starts.
    ranges: Vec<Range<u64>>,
    bytes: Vec<Vec<u8>>,
    len: u64,
}

impl Fetched {
    /// `len` is the length of the whole source.
    pub(crate) fn new(ranges: Vec<Range<u64>>, bytes: Vec<Vec<u8>>, len: u64) -> Self {
        Self { ranges, bytes, len }
    }
}

impl ByteSource for Fetched {
    fn byte_len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let after = self.ranges.partition_point(|range| range.start <= offset);
        // Ranges may nest or overlap: look back for one that holds all that is wanted.
        let found = (0..after).rev().find_map(|idx| {
            let start = usize::try_from(offset - self.ranges[idx].start).ok()?;
            self.bytes.get(idx)?.get(start..start.checked_add(buffer.len())?)
        });
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn a_file_fills_many_small_buffers_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        let bytes = numbered(40_000);
        std::fs::write(&path, &bytes).unwrap();
        let file = LocalFile::open(&path).unwrap();
        assert_eq!(file.byte_len(), 40_000);
        let mut filled = vec![0; 39_000];
        let mut buffers: Vec<IoSliceMut<'_>> = filled.chunks_mut(17).map(IoSliceMut::new).collect();
        assert!(buffers.len() > 2000);
        file.read_vectored_at(500, &mut buffers).unwrap();
        assert!(filled == bytes[500..39_500]);
        let mut buffers: Vec<IoSliceMut<'_>> = filled.chunks_mut(17).map(IoSliceMut::new).collect();
        assert!(file.read_vectored_at(1001, &mut buffers).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| LocalFile::open(path).map(drop).unwrap_err().kind();
        assert_eq!(refused(folder.path()), io::ErrorKind::InvalidInput);
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert_eq!(refused(&pipe), io::ErrorKind::InvalidInput);
        }
        assert_eq!(refused(&folder.path().join("none")), io::ErrorKind::NotFound);
    }

    #[test]
    fn memory_and_fetched_ranges_end_where_they_end() {
        let bytes = numbered(100);
        let mut two = [0; 2];
        bytes.read_at(98, &mut two).unwrap();
        assert_eq!(two, bytes[98..]);
        assert!(bytes.read_at(99, &mut two).is_err());
        assert!(bytes.read_at(u64::MAX, &mut two).is_err());

        let ranges = vec![10..40, 20..25, 60..70];
        let held = bytes.fetch(&ranges).unwrap();
        let fetched = Fetched::new(ranges, held, 100);
        fetched.read_at(30, &mut two).unwrap();
        assert_eq!(two, bytes[30..32]);
        assert!(fetched.read_at(39, &mut two).is_err());
        assert!(fetched.read_at(5, &mut two).is_err());
        let mut buffers = [0; 6];
        let (first, second) = buffers.split_at_mut(2);
        fetched.read_vectored_at(60, &mut [IoSliceMut::new(first), IoSliceMut::new(second)]).unwrap();
        assert_eq!(buffers, bytes[60..66]);
    }
}
