//! What can go wrong between folders and a page.

use std::path::{Path, PathBuf};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// No folder was named.
    #[error("name a run folder of hubmap-train, an output folder of hubmap-infer, or both")]
    NothingNamed,
    /// A named folder cannot be looked into.
    #[error("cannot open folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A named folder is of neither kind.
    #[error(
        "{}: neither a run folder of hubmap-train (config.toml) nor an output folder of hubmap-infer (summary.json, \
         predicts/ or submission__*.csv), and it holds none",
        path.display()
    )]
    NothingInFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Two folders of the same kind: a page is about one of each.
    #[error("two {kind}s, {} and {}: name one", first.display(), second.display())]
    TwoOfAKind {
        /// `run folder` or `output folder`.
        kind: &'static str,
        /// The one named first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A truth without anything to compare with it.
    #[error("a truth needs predictions: name the output folder of hubmap-infer too")]
    TruthWithoutPredictions,
    /// The truth lacks predicted slides.
    #[error("{} of the predicted slides not in the truth {}: {}", ids.len(), truth.display(), ids.join(", "))]
    MissingTruth {
        /// The table or folder.
        truth: PathBuf,
        /// The slides.
        ids: Vec<String>,
    },
    /// A file says what it cannot mean.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        problem: String,
    },
    /// The page could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The page.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// An error of reading predictions, truth or slides, which names its file.
    #[error(transparent)]
    Data(#[from] anyhow::Error),
}

impl ReportError {
    /// Whether what was asked for cannot be had, whatever is in the files.
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NothingNamed
                | Self::Folder { .. }
                | Self::NothingInFolder { .. }
                | Self::TwoOfAKind { .. }
                | Self::TruthWithoutPredictions
        )
    }

    /// An [`ReportError::File`] about `path`.
    pub(crate) fn file(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), problem: problem.to_string() }
    }
}
