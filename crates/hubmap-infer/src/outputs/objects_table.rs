//! A table with a row for each object.

use std::path::Path;

use anyhow::{Context, Result};
use hubmap_files::PendingFile;

use super::object_id::object_uuid;
use super::pending_file;
use crate::objects::DetectedObject;

/// Columns of the table. Lengths are in pixels of the slide, `x1` and `y1` lie behind the last pixel; `area_um2` is empty
/// where the slide does not state its resolution.
const COLUMNS: [&str; 11] = [
    "number",
    "uuid",
    "area_px",
    "area_um2",
    "centroid_x",
    "centroid_y",
    "x0",
    "y0",
    "x1",
    "y1",
    "mean_probability",
];

/// Writes a csv of objects as they come.
#[derive(Debug)]
pub(super) struct ObjectsTable {
    writer: csv::Writer<PendingFile>,
    slide_id: String,
    microns_per_px: Option<f64>,
}

impl ObjectsTable {
    pub(super) fn create(path: &Path, slide_id: &str, microns_per_px: Option<f64>) -> Result<Self> {
        let mut writer = csv::Writer::from_writer(pending_file::create(path)?);
        writer.write_record(COLUMNS).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { writer, slide_id: slide_id.to_owned(), microns_per_px })
    }

    pub(super) fn push(&mut self, object: &DetectedObject) -> Result<()> {
        let area_um2 = self.microns_per_px.map(|microns| object.area_px as f64 * microns * microns);
        let [x, y] = object.centroid;
        let bounds = object.bounds;
        let written = self.writer.write_record([
            object.number.to_string(),
            object_uuid(&self.slide_id, object.number),
            object.area_px.to_string(),
            area_um2.map(|area| format!("{area:.3}")).unwrap_or_default(),
            format!("{x:.3}"),
            format!("{y:.3}"),
            bounds.x.to_string(),
            bounds.y.to_string(),
            bounds.right().to_string(),
            bounds.bottom().to_string(),
            format!("{:.6}", object.mean_probability),
        ]);
        written.with_context(|| format!("cannot write {}", self.writer.get_ref().path().display()))
    }

    /// Completes the file, which has no name yet.
    pub(super) fn finish(self) -> Result<PendingFile> {
        let path = self.writer.get_ref().path().to_owned();
        let file = self.writer.into_inner().map_err(csv::IntoInnerError::into_error);
        pending_file::flushed(file.with_context(|| format!("cannot write {}", path.display()))?)
    }
}
