//! Where an input is: a file of this machine, or an object of a store.

mod options;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use hubmap_files::PendingFile;

#[cfg(not(feature = "remote"))]
use crate::no_remote as remote;
#[cfg(feature = "remote")]
use crate::remote;
use crate::{Error, RasterReader, Result, TiffFile, TiffSlide};

pub use options::RemoteOptions;

/// What addresses that are read begin with.
const SCHEMES: [&str; 4] = ["s3", "gs", "http", "https"];

/// Bytes of a file that are copied between two looks at whether to go on.
const COPY_LEN: u64 = 64 << 20;

/// Where an input is: a file or folder of this machine, or an object of a store with what it takes to be let in.
///
/// It exists in every build; one without the feature `remote` makes no locations of objects. `Display` and `Debug` show paths and
/// addresses, the latter without what may be secret: the part behind a `?`, passwords, and the values of options.
#[derive(Clone, PartialEq, Eq)]
pub struct Location(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Object(Arc<remote::RemoteObject>),
}

/// The state of an input, which tells its versions apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its length.
    pub n_bytes: u64,
    /// When it was changed; 1970 if nobody knows.
    pub modified: SystemTime,
    /// What the store calls this content, quotes included.
    pub e_tag: Option<String>,
    /// What a store that keeps old versions calls this one.
    pub version: Option<String>,
}

/// The scheme of an address, whether it is one that is read or not; `None` for the path of a file.
fn scheme_of(name: &str) -> Option<&str> {
    let (scheme, _) = name.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (!scheme.is_empty() && scheme.bytes().all(is_scheme)).then_some(scheme)
}

/// Whether a name is an address that slides are read from, such as `s3://bucket/slide.svs`, rather than the path of a file.
pub fn is_remote(name: &str) -> bool {
    scheme_of(name).is_some_and(|scheme| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)))
}

impl Location {
    /// What a user named: the path of a file or folder, or an address (`s3://`, `gs://`, `http://`, `https://`).
    ///
    /// `options` let addresses in and do nothing for files. Nothing is opened.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an address in a build without the feature `remote`; [`Error::Usage`] for one with another
    /// scheme, or of no object.
    pub fn parse(name: &Path, options: &RemoteOptions) -> Result<Self> {
        let Some((text, scheme)) = name.to_str().and_then(|text| Some((text, scheme_of(text)?))) else {
            return Ok(Self::from(name));
        };
        if !is_remote(text) {
            let known = SCHEMES.map(|scheme| format!("{scheme}://")).join(", ");
            return Err(Error::usage(name, format!("{scheme}:// is not read; files and {known} are")));
        }
        Ok(Self(Place::Object(Arc::new(remote::RemoteObject::new(text, options)?))))
    }

    /// The path, unless this is an object of a store.
    pub fn as_file(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Object(_) => None,
        }
    }

    /// The path or the address as it is shown, and as errors and readers name it.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Place::File(path) => path,
            Place::Object(object) => object.shown(),
        }
    }

    /// Whether this is a folder, or an address that ends in a slash.
    pub fn is_folder(&self) -> bool {
        match &self.0 {
            Place::File(path) => path.is_dir(),
            Place::Object(object) => object.is_folder(),
        }
    }

    /// What a folder holds, or what is under a prefix down to the next slash, in the order of the names.
    ///
    /// # Errors
    ///
    /// Web servers have no lists: [`Error::Usage`].
    pub fn list(&self) -> Result<Vec<Self>> {
        match &self.0 {
            Place::File(path) => {
                let list = || std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
                let paths: io::Result<Vec<PathBuf>> = list();
                let mut paths = paths.map_err(|e| Error::io(path, "list", e))?;
                paths.sort();
                Ok(paths.into_iter().map(Self::from).collect())
            }
            Place::Object(object) => {
                let objects = object.list()?;
                Ok(objects.into_iter().map(|object| Self(Place::Object(Arc::new(object)))).collect())
            }
        }
    }

    /// Another file of the same folder, or another object under the same prefix; `None` for addresses with a part behind a `?`,
    /// which lets in to one object only.
    pub fn sibling(&self, name: &str) -> Option<Self> {
        match &self.0 {
            Place::File(path) => Some(Self::from(path.with_file_name(name))),
            Place::Object(object) => Some(Self(Place::Object(Arc::new(object.sibling(name)?)))),
        }
    }

    /// Opens the slide or mask that is there.
    pub fn open(&self) -> Result<Box<dyn RasterReader>> {
        match &self.0 {
            Place::File(path) => crate::open(path),
            Place::Object(object) => {
                Ok(Box::new(TiffSlide::from_source(object.shown(), Arc::new(object.open()?))?))
            }
        }
    }

    /// Opens the TIFF file that is there, to look at its pages.
    pub fn open_tiff(&self) -> Result<TiffFile> {
        match &self.0 {
            Place::File(path) => TiffFile::open(path),
            Place::Object(object) => TiffFile::from_source(object.shown(), Arc::new(object.open()?)),
        }
    }

    /// Looks at the state of the input; of an object that is one request.
    pub fn stat(&self) -> Result<Stat> {
        match &self.0 {
            Place::File(path) => stat_file(path).map_err(|e| Error::io(path, "open", e)),
            Place::Object(object) => object.stat(),
        }
    }

    /// [`Location::stat`] of many, with many requests at a time.
    pub fn stat_all(locations: &[Self]) -> Vec<Result<Stat>> {
        let objects: Vec<&remote::RemoteObject> = locations
            .iter()
            .filter_map(|location| match &location.0 {
                Place::Object(object) => Some(&**object),
                Place::File(_) => None,
            })
            .collect();
        let mut of_objects = remote::stat_all(&objects).into_iter();
        let stat = |location: &Self| match &location.0 {
            Place::File(_) => location.stat(),
            // There are as many as objects.
            Place::Object(_) => of_objects.next().unwrap_or_else(|| location.stat()),
        };
        locations.iter().map(stat).collect()
    }

    /// Copies the input to a file, which appears when it is whole. Memory holds some MiB.
    ///
    /// `advance` hears how many bytes are copied, from time to time; its error ends the copy. So does an object that changes
    /// meanwhile.
    pub fn copy_to(&self, path: &Path, mut advance: impl FnMut(u64) -> io::Result<()>) -> Result<()> {
        let writing = |e| Error::io(path, "write", e);
        let mut out = PendingFile::create(path).map_err(writing)?;
        match &self.0 {
            Place::File(from) => {
                let reading = |e| Error::io(from, "copy", e);
                let file = File::open(from).map_err(|e| Error::io(from, "open", e))?;
                let mut to = out.file().map_err(writing)?;
                let mut n_copied = 0;
                loop {
                    // Files, not buffers: the kernel copies by itself.
                    let n_now = io::copy(&mut (&file).take(COPY_LEN), &mut to).map_err(reading)?;
                    n_copied += n_now;
                    advance(n_copied).map_err(reading)?;
                    if n_now < COPY_LEN {
                        break;
                    }
                }
            }
            Place::Object(object) => {
                let mut n_copied = 0;
                let take = |bytes: &[u8]| {
                    out.write_all(bytes)?;
                    n_copied += bytes.len() as u64;
                    advance(n_copied)
                };
                object.open()?.read_all(take).map_err(|e| Error::io(object.shown(), "copy", e))?;
            }
        }
        out.commit().map_err(writing)
    }
}

fn stat_file(path: &Path) -> io::Result<Stat> {
    let metadata = std::fs::metadata(path)?;
    Ok(Stat { n_bytes: metadata.len(), modified: metadata.modified()?, e_tag: None, version: None })
}

impl From<PathBuf> for Location {
    /// A file, whatever its name looks like.
    fn from(path: PathBuf) -> Self {
        Self(Place::File(path))
    }
}

impl From<&Path> for Location {
    /// A file, whatever its name looks like.
    fn from(path: &Path) -> Self {
        Self::from(path.to_owned())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.path(), f)
    }
}

#[cfg(test)]
mod tests;
