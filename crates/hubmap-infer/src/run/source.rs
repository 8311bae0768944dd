//! Where the probabilities of slides come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hubmap_io::{Location, RasterReader, Size};

use crate::journal::BlockJournal;
use crate::outputs::SlideInput;
use crate::predictor::{PredictStats, Predictor, RowSink};
use crate::progress::Progress;

/// Makes the probabilities of slides, row by row: a [`Predictor`], or anything else, such as a mean of maps on disk.
///
/// [`run_slides`](crate::run_slides) gives each source to one thread.
pub trait RowSource: Send {
    /// The slide's pixels, for its size, resolution and overlay.
    fn open(&self, slide: &SlideInput) -> Result<Box<dyn RasterReader>> {
        Ok(slide.location.open()?)
    }

    /// What the probabilities of a slide are made of; when one of them changes, the slide is predicted again.
    fn inputs(&self, slide: &SlideInput) -> Vec<Location> {
        vec![slide.location.clone()]
    }

    /// The number of blocks, or other units of work, that a slide takes.
    fn n_blocks(&self, size: Size) -> usize;

    /// Name of what computes the probabilities, for the record of a slide; none if that is of no interest.
    fn device(&self) -> Option<&str> {
        None
    }

    /// Pushes all rows of a slide, `opened` by [`RowSource::open`], into `sink`: from top to bottom, each once.
    ///
    /// What it takes to go on with after an interruption, it may keep in the file of `state`.
    /// Progress hears of every block; when it [interrupts](Progress::interrupted), the error is
    /// [`Interrupted`](crate::Interrupted).
    fn push_rows(
        &mut self,
        slide: &SlideInput,
        opened: &dyn RasterReader,
        state: &SlideState,
        sink: &mut (dyn RowSink + Send),
        progress: &dyn Progress,
    ) -> Result<PredictStats>;
}

/// Where a source may keep what it has of a slide that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlideState {
    /// The file, which is deleted when the slide is finished. Its folder may not be there.
    pub path: PathBuf,
    /// Stands for the settings, models and inputs of the slide: what was kept under another key is of no use.
    pub key: Vec<u8>,
}

impl SlideState {
    /// Deletes the file, if there is one.
    pub(super) fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

impl RowSource for Predictor {
    fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    fn n_blocks(&self, size: Size) -> usize {
        self.grid(size).len()
    }

    fn push_rows(
        &mut self,
        _slide: &SlideInput,
        opened: &dyn RasterReader,
        state: &SlideState,
        sink: &mut (dyn RowSink + Send),
        progress: &dyn Progress,
    ) -> Result<PredictStats> {
        if !self.config().journal {
            return self.predict(opened, sink, None, progress);
        }
        let folder = state.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create folder {}", folder.display()))?;
        let mut journal = BlockJournal::open(&state.path, &state.key)?;
        self.predict(opened, sink, Some(&mut journal), progress)
    }
}
