//! Decoded components, before they are brought to the same size.

use super::idct::Sample;
use super::stream::{Component, Frame};

/// The samples of one component, filled up to whole units.
#[derive(Debug, Default)]
pub(super) struct Plane<S> {
    pub(super) samples: Vec<S>,
    pub(super) stride: usize,
    /// Columns and rows that are part of the picture.
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Blocks across and down, whole units of the frame.
    pub(super) blocks_across: usize,
    pub(super) blocks_down: usize,
    /// Whether a scan has been here.
    pub(super) is_decoded: bool,
}

impl<S: Sample> Plane<S> {
    /// Gets ready for `n_units` rows of units, without clearing what a decoder will overwrite.
    pub(super) fn reset(&mut self, frame: &Frame, component: &Component, n_units: usize, block: usize) {
        self.blocks_across = frame.width.div_ceil(block * frame.max_h) * component.h;
        self.blocks_down = n_units * component.v;
        self.stride = self.blocks_across * block;
        self.columns = frame.columns(component);
        self.rows = frame.rows(component).min(self.blocks_down * block);
        self.is_decoded = false;
        let len = self.stride * self.blocks_down * block;
        if self.samples.len() < len || self.samples.len() > 4 * len + (1 << 20) {
            self.samples = vec![S::default(); len];
        }
    }

    /// A row of the picture; the last one again for those below.
    pub(super) fn row(&self, y: usize) -> &[S] {
        let y = y.min(self.rows.saturating_sub(1));
        self.samples.get(y * self.stride..).and_then(|rest| rest.get(..self.columns)).unwrap_or_default()
    }
}
