//! What can go wrong between a file and pixels.

use std::path::{Path, PathBuf};

/// Shorthand for a result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error of reading or writing; every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, such as `open` or `write`.
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The bytes break the rules of their format: truncated, corrupt, or not of this format at all.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        problem: String,
    },
    /// A valid file that uses something this crate does not read.
    #[error("{}: unsupported {feature}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The tag or key and its value.
        feature: String,
    },
    /// There is no memory for what was asked for.
    #[error("{}: no memory for {what}", path.display())]
    Memory {
        /// The file the request was about.
        path: PathBuf,
        /// What it was that would not fit.
        what: String,
    },
    /// The caller asked for something impossible, such as a window of zero size.
    #[error("{}: {problem}", path.display())]
    Usage {
        /// The file the request was about.
        path: PathBuf,
        /// What is wrong with the request.
        problem: String,
    },
}

impl Error {
    /// An [`Error::Io`] about `path`.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    /// An [`Error::Format`] about `path`.
    pub fn format(path: &Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.into() }
    }

    /// An [`Error::Unsupported`] about `path`.
    pub fn unsupported(path: &Path, feature: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), feature: feature.into() }
    }

    /// An [`Error::Usage`] about `path`.
    pub fn usage(path: &Path, problem: impl Into<String>) -> Self {
        Self::Usage { path: path.to_owned(), problem: problem.into() }
    }

    /// An [`Error::Memory`] about `path`.
    pub fn memory(path: &Path, what: impl Into<String>) -> Self {
        Self::Memory { path: path.to_owned(), what: what.into() }
    }

    /// The file that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::Format { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Memory { path, .. }
            | Self::Usage { path, .. } => path,
        }
    }
}
