//! What stands for objects of stores in a build that cannot read them: there are none.

use std::io;
use std::path::Path;

use crate::{ByteSource, Error, RemoteOptions, Result, Stat};

/// No object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemoteObject {}

impl RemoteObject {
    pub(crate) fn new(address: &str, _options: &RemoteOptions) -> Result<Self> {
        let what = "address: this build reads files only, because it lacks the feature `remote`; \
                    build it with `cargo build --release --features remote`, or copy the slide here";
        Err(Error::unsupported(Path::new(address), what))
    }

    pub(crate) const fn shown(&self) -> &Path {
        match *self {}
    }

    pub(crate) const fn is_folder(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn list(&self) -> Result<Vec<Self>> {
        match *self {}
    }

    pub(crate) const fn sibling(&self, _name: &str) -> Option<Self> {
        match *self {}
    }

    pub(crate) const fn stat(&self) -> Result<Stat> {
        match *self {}
    }

    pub(crate) const fn open(&self) -> Result<NoFile> {
        match *self {}
    }
}

pub(crate) const fn stat_all(_objects: &[&RemoteObject]) -> Vec<Result<Stat>> {
    Vec::new()
}

/// No file.
#[derive(Debug)]
pub(crate) enum NoFile {}

impl NoFile {
    pub(crate) fn read_all(&self, _take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match *self {}
    }
}

impl ByteSource for NoFile {
    fn byte_len(&self) -> u64 {
        match *self {}
    }

    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        match *self {}
    }
}
