//! Open copies of a file, one for each read at a time.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gdal::errors::GdalError;
use gdal::{Dataset, DatasetOptions, GdalOpenFlags};

use crate::{Error, Result};

/// One open copy of the file: its dataset, or one dataset per band.
pub(super) type Handle = Vec<Dataset>;

/// The open copies of a file that no read is using.
#[derive(Debug)]
pub(super) struct Handles {
    path: PathBuf,
    /// What GDAL has to open, one name per dataset of a handle.
    names: Vec<PathBuf>,
    max_idle: usize,
    idle: Mutex<Vec<Handle>>,
}

impl Handles {
    /// Starts with the handle `datasets`, opened from `names`; keeps one for every thread of the rayon pool.
    pub(super) fn new(path: &Path, names: Vec<PathBuf>, datasets: Handle) -> Self {
        let idle = Mutex::new(vec![datasets]);
        Self { path: path.to_owned(), names, max_idle: rayon::current_num_threads(), idle }
    }

    /// Reads with a handle that is nobody else's for as long.
    pub(super) fn with(&self, read: impl FnOnce(&[Dataset]) -> gdal::errors::Result<()>) -> Result<()> {
        let idle = self.idle().pop();
        let handle = match idle {
            Some(handle) => handle,
            None => self.names.iter().map(|name| open_dataset(&self.path, name)).collect::<Result<_>>()?,
        };
        // A handle that failed is closed: what it remembers of the file may be damaged.
        read(&handle).map_err(|e| Error::format(&self.path, message(e)))?;
        let mut idle = self.idle();
        if idle.len() < self.max_idle {
            idle.push(handle);
        }
        Ok(())
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens `name` for reading; errors are about `path`.
pub(super) fn open_dataset(path: &Path, name: &Path) -> Result<Dataset> {
    if name.to_str().is_none() {
        return Err(Error::unsupported(path, "name, for GDAL: it is not UTF-8"));
    }
    let open_flags = GdalOpenFlags::GDAL_OF_READONLY
        | GdalOpenFlags::GDAL_OF_RASTER
        | GdalOpenFlags::GDAL_OF_VERBOSE_ERROR;
    Dataset::open_ex(name, DatasetOptions { open_flags, ..DatasetOptions::default() }).map_err(|e| {
        let problem = message(e);
        match std::fs::metadata(path) {
            // Names of GDAL's own are no files either; its message says what is wrong with them.
            Err(cause) => Error::io(path, "open", std::io::Error::new(cause.kind(), problem)),
            Ok(_) => Error::format(path, problem),
        }
    })
}

/// What GDAL says, without the names of its C functions.
pub(super) fn message(error: GdalError) -> String {
    match error {
        GdalError::CplError { msg, .. } | GdalError::NullPointer { msg, .. } if !msg.is_empty() => {
            format!("GDAL: {msg}")
        }
        other => format!("GDAL: {other}"),
    }
}
