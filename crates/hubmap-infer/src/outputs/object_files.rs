//! The files that come of a slide's mask and its objects.

use anyhow::{Context, Result, ensure};
use hubmap_files::PendingFile;
use hubmap_io::{
    AnnotationWriter, Mask, PyramidSpec, PyramidWriter, RasterReader, RleEncoder, SampleKind, Size, Window,
};

use super::objects_table::ObjectsTable;
use super::overlay::{Coverage, OVERLAY_MAX_SIDE};
use super::pending_file;
use super::plan::{OutputKind, OutputPlan};
use super::pyramid_rows::PyramidRows;
use super::{outlines, rle_table};
use crate::objects::{BAND_ROWS, DetectedObject, ObjectSink};
use crate::postprocess::Postprocess;

/// Writes the files of `plan` as rows and objects become certain.
pub(super) struct ObjectFiles<'a> {
    slide: &'a dyn RasterReader,
    slide_id: &'a str,
    plan: &'a OutputPlan,
    microns_per_px: Option<f64>,
    postprocess: Postprocess,
    /// Kinds of files of the mask: one byte a pixel, one bit a pixel, or both.
    mask_kinds: Vec<OutputKind>,
    masks: PyramidRows,
    rle: Option<RleEncoder>,
    outlines: Vec<(OutputKind, AnnotationWriter)>,
    table: Option<ObjectsTable>,
    coverage: Option<Coverage>,
    positive_pixels: u64,
}

impl<'a> ObjectFiles<'a> {
    /// Starts the files of a slide.
    pub(super) fn create(
        slide: &'a dyn RasterReader,
        slide_id: &'a str,
        postprocess: &Postprocess,
        plan: &'a OutputPlan,
    ) -> Result<Self> {
        let (size, microns_per_px) = (slide.size(), slide.microns_per_px());
        let mut mask_kinds = Vec::new();
        let mut masks = Vec::new();
        for (kind, samples) in [(OutputKind::Mask, SampleKind::U8), (OutputKind::Bitmask, SampleKind::Bit)] {
            if plan.wants(kind) {
                let path = plan.path(kind, slide_id);
                pending_file::create_folder_of(&path)?;
                let spec =
                    PyramidSpec { microns_per_px, tile: BAND_ROWS, ..PyramidSpec::mask(size, samples) };
                masks.push(PyramidWriter::create(&path, spec)?);
                mask_kinds.push(kind);
            }
        }
        let outlines =
            [OutputKind::Geojson, OutputKind::GeojsonGz].into_iter().filter(|kind| plan.wants(*kind));
        let outlines = outlines.map(|kind| {
            let path = plan.path(kind, slide_id);
            pending_file::create_folder_of(&path)?;
            Ok((kind, AnnotationWriter::create(&path)?))
        });
        let table = plan.wants(OutputKind::Objects).then(|| plan.path(OutputKind::Objects, slide_id));
        Ok(Self {
            slide,
            slide_id,
            plan,
            microns_per_px,
            postprocess: postprocess.clone(),
            mask_kinds,
            masks: PyramidRows::new(size, masks),
            rle: plan.wants(OutputKind::Rle).then(|| RleEncoder::new(size)),
            outlines: outlines.collect::<Result<_>>()?,
            table: table.map(|path| ObjectsTable::create(&path, slide_id, microns_per_px)).transpose()?,
            coverage: plan.wants(OutputKind::Overlay).then(|| Coverage::new(size, OVERLAY_MAX_SIDE)),
            positive_pixels: 0,
        })
    }

    /// Pixels of the mask so far.
    pub(super) const fn positive_pixels(&self) -> u64 {
        self.positive_pixels
    }

    /// Completes the files, which have no names yet.
    pub(super) fn finish(self) -> Result<Vec<(OutputKind, PendingFile)>> {
        let Self { slide, slide_id: id, plan, .. } = self;
        let mut files = Vec::new();
        files.extend(self.mask_kinds.into_iter().zip(self.masks.finish()?));
        for (kind, writer) in self.outlines {
            files.push((kind, writer.finish_unnamed()?));
        }
        if let Some(table) = self.table {
            files.push((OutputKind::Objects, table.finish()?));
        }
        if let Some(encoder) = self.rle {
            let path = plan.path(OutputKind::Rle, id);
            files.push((OutputKind::Rle, rle_table::write_row(&path, id, &encoder.finish())?));
        }
        if let Some(coverage) = self.coverage {
            let write = |out: &mut PendingFile| coverage.write_overlay(slide, out);
            files.push((
                OutputKind::Overlay,
                pending_file::write(&plan.path(OutputKind::Overlay, id), write)?,
            ));
        }
        Ok(files)
    }
}

impl ObjectSink for ObjectFiles<'_> {
    fn write_rows(&mut self, y0: u32, rows: &Mask) -> Result<()> {
        let Size { width, height } = rows.size();
        self.positive_pixels += rows.count_ones();
        if !self.mask_kinds.is_empty() {
            self.masks.push(height as usize, |y, pixels| {
                // Most rows hold no object.
                if rows.row_bytes(y as u32).iter().all(|&byte| byte == 0) {
                    return pixels.fill(0);
                }
                let row = rows.read(Window::new(0, y as i64, width, 1)).into_raw_vec_and_offset().0;
                pixels.iter_mut().zip(row).for_each(|(pixel, bit)| *pixel = bit * 255);
            })?;
        }
        if let Some(encoder) = &mut self.rle {
            (0..height).for_each(|y| encoder.push_row_bytes(rows.row_bytes(y)));
        }
        if let Some(coverage) = &mut self.coverage {
            coverage.push(y0, rows);
        }
        Ok(())
    }

    fn write_object(&mut self, object: &DetectedObject) -> Result<()> {
        if !self.outlines.is_empty() {
            let outline = self.postprocess.outline(object);
            ensure!(!outline.exterior.is_empty(), "object {} has no outline", object.number);
            let feature = outlines::feature(object, outline, self.slide_id, self.microns_per_px);
            for (_, writer) in &mut self.outlines {
                writer.write(&feature).context("cannot write an object")?;
            }
        }
        self.table.as_mut().map_or(Ok(()), |table| table.push(object))
    }
}

impl std::fmt::Debug for ObjectFiles<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectFiles").field("slide_id", &self.slide_id).finish_non_exhaustive()
    }
}
