//! What a caller hears while slides are predicted, and how it can stop them.

/// Listens to the progress of inference.
///
/// Every method does nothing unless implemented; `()` is the listener that ignores everything.
/// All calls come from the thread that predicts.
/// With several devices, several slides may be under way at once, and their blocks come mixed.
pub trait Progress {
    /// A slide was opened and will be predicted in `n_blocks` blocks.
    fn slide_started(&self, _id: &str, _n_blocks: usize) {}

    /// That many more blocks of the slide are predicted, have no tissue, or were in the journal.
    fn blocks_done(&self, _n_blocks: usize) {}

    /// All files of the slide are in place, or it failed for the given reason.
    fn slide_finished(&self, _id: &str, _error: Option<&anyhow::Error>) {}

    /// The slide was finished by an earlier run and is left as it is.
    fn slide_skipped(&self, _id: &str) {}

    /// Asked before each batch; `true` ends the work with [`Interrupted`] once the batches under way are done.
    fn interrupted(&self) -> bool {
        false
    }
}

impl Progress for () {}

/// The error of work that [`Progress::interrupted`] ended; no file of the unfinished slide is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
