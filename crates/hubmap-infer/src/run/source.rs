//! Where the probabilities of slides come from.

use std::path::PathBuf;

use anyhow::Result;
use hubmap_io::{RasterReader, Size};

use crate::outputs::SlideInput;
use crate::predictor::{Predictor, RowSink, StageSeconds};
use crate::progress::Progress;

/// Makes the probabilities of slides, row by row: a [`Predictor`], or anything else, such as a mean of maps on disk.
///
/// [`run_slides`](crate::run_slides) gives each source to one thread.
pub trait RowSource: Send {
    /// The slide's pixels, for its size, resolution and overlay.
    fn open(&self, slide: &SlideInput) -> Result<Box<dyn RasterReader>> {
        Ok(hubmap_io::open(&slide.path)?)
    }

    /// The files that the probabilities of a slide are made of; when one changes, the slide is predicted again.
    fn inputs(&self, slide: &SlideInput) -> Vec<PathBuf> {
        vec![slide.path.clone()]
    }

    /// The number of blocks, or other units of work, that a slide takes.
    fn n_blocks(&self, size: Size) -> usize;

    /// Pushes all rows of a slide, `opened` by [`RowSource::open`], into `sink`: from top to bottom, each once.
    ///
    /// Progress hears of every block; when it [interrupts](Progress::interrupted), the error is
    /// [`Interrupted`](crate::Interrupted).
    fn push_rows(
        &mut self,
        slide: &SlideInput,
        opened: &dyn RasterReader,
        sink: &mut dyn RowSink,
        progress: &dyn Progress,
    ) -> Result<StageSeconds>;
}

impl RowSource for Predictor {
    fn n_blocks(&self, size: Size) -> usize {
        self.grid(size).len()
    }

    fn push_rows(
        &mut self,
        _slide: &SlideInput,
        opened: &dyn RasterReader,
        sink: &mut dyn RowSink,
        progress: &dyn Progress,
    ) -> Result<StageSeconds> {
        self.predict(opened, sink, progress)
    }
}
