//! All files of one slide, written while its probabilities go by.

use std::path::PathBuf;

use anyhow::{Context, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use hubmap_files::PendingFile;
use hubmap_io::{PyramidSpec, PyramidWriter, RasterReader, SampleKind};
use ndarray::{ArrayRef2, s};
use serde::{Deserialize, Serialize};

use super::npy::NpyWriter;
use super::object_files::ObjectFiles;
use super::pending_file;
use super::plan::{OutputKind, OutputPlan};
use super::pyramid_rows::PyramidRows;
use crate::objects::{BAND_ROWS, ObjectStream};
use crate::postprocess::Postprocess;
use crate::predictor::RowSink;

/// Takes a slide's probabilities, from whatever makes them, to the files of an [`OutputPlan`].
///
/// Memory grows with the width of the slide and with the objects that may still grow, not with its area: see
/// [`ObjectStream`]. No file has its final name before [`FinishedFiles::commit`]; a writer that is dropped leaves nothing.
pub struct SlideWriter<'a> {
    slide_id: &'a str,
    npy: Option<NpyWriter>,
    probability: Option<ProbabilityPyramid>,
    stream: ObjectStream,
    files: ObjectFiles<'a>,
}

/// The files of a slide, complete but without their names.
#[derive(Debug)]
pub struct FinishedFiles {
    /// Number of objects.
    pub n_objects: u64,
    /// Pixels of the mask.
    pub positive_pixels: u64,
    slide_id: String,
    files: Vec<(OutputKind, PendingFile)>,
}

/// A file of a slide under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Which of the slide's files it is.
    pub kind: OutputKind,
    /// Where it is, from the folder of the [`OutputPlan`].
    pub path: PathBuf,
    /// Its length.
    pub n_bytes: u64,
}

impl<'a> SlideWriter<'a> {
    /// Starts the files that `plan` wants of a slide; pixels above `threshold` are positive.
    pub fn create(
        slide: &'a dyn RasterReader,
        slide_id: &'a str,
        threshold: f32,
        postprocess: Postprocess,
        plan: &'a OutputPlan,
    ) -> Result<Self> {
        let path = |kind| plan.wants(kind).then(|| plan.path(kind, slide_id));
        let npy = path(OutputKind::Npy).map(|path| NpyWriter::create(&path, slide.size()));
        let probability = path(OutputKind::Probability).map(|path| -> Result<_> {
            pending_file::create_folder_of(&path)?;
            let spec = PyramidSpec {
                microns_per_px: slide.microns_per_px(),
                tile: BAND_ROWS,
                ..PyramidSpec::probabilities(slide.size(), SampleKind::U8)
            };
            let writer = PyramidWriter::create(&path, spec)?;
            Ok(ProbabilityPyramid::new(PyramidRows::new(slide.size(), vec![writer])))
        });
        Ok(Self {
            slide_id,
            npy: npy.transpose()?,
            probability: probability.transpose()?,
            files: ObjectFiles::create(slide, slide_id, &postprocess, plan)?,
            stream: ObjectStream::new(slide.size(), threshold, postprocess)?,
        })
    }

    /// Completes all files; for the overlay, this reads the slide.
    pub fn finish(self) -> Result<FinishedFiles> {
        let Self { slide_id, npy, probability, stream, files: mut object_files } = self;
        let n_objects = stream.finish(&mut object_files)?;
        let positive_pixels = object_files.positive_pixels();
        let mut files = object_files.finish()?;
        if let Some(npy) = npy {
            files.push((OutputKind::Npy, npy.finish()?));
        }
        if let Some(probability) = probability {
            let written = probability.rows.finish()?;
            files.extend(written.into_iter().map(|file| (OutputKind::Probability, file)));
        }
        files.sort_by_key(|(kind, _)| *kind);
        Ok(FinishedFiles { n_objects, positive_pixels, slide_id: slide_id.to_owned(), files })
    }
}

impl RowSink for SlideWriter<'_> {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        let Self { npy, probability, stream, files, .. } = self;
        let n_rows = probabilities.nrows();
        let mut done = 0;
        while done < n_rows {
            let y = y0 + done as u32;
            let end = n_rows.min(done + (BAND_ROWS - y % BAND_ROWS) as usize);
            let band = probabilities.slice(s![done..end, ..]);
            let (raw, mask) = rayon::join(
                || -> Result<()> {
                    npy.as_mut().map_or(Ok(()), |npy| npy.write_rows(y, &band))?;
                    probability.as_mut().map_or(Ok(()), |pyramid| pyramid.push(&band))
                },
                || stream.push_rows(y, &band, files),
            );
            raw.and(mask)?;
            done = end;
        }
        Ok(())
    }
}

impl FinishedFiles {
    /// Gives all files their names, over what was there; if one cannot get it, none of this slide is left.
    pub fn commit(self) -> Result<Vec<WrittenFile>> {
        let mut written: Vec<(PathBuf, WrittenFile)> = Vec::new();
        for (kind, file) in self.files {
            let path = file.path().to_owned();
            let named = pending_file::commit(file).and_then(|()| {
                let metadata = std::fs::metadata(&path);
                Ok(metadata.with_context(|| format!("cannot look at {}", path.display()))?.len())
            });
            match named {
                Ok(n_bytes) => {
                    let relative = OutputPlan::path_in_folder(kind, &self.slide_id);
                    written.push((path, WrittenFile { kind, path: relative, n_bytes }));
                }
                Err(error) => {
                    // What is left of these would look whole; failing to remove one does not change the error.
                    for (path, _) in &written {
                        drop(std::fs::remove_file(path));
                    }
                    return Err(error);
                }
            }
        }
        Ok(written.into_iter().map(|(_, file)| file).collect())
    }
}

impl std::fmt::Debug for SlideWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlideWriter").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Probabilities as a pyramid of 8 bits.
struct ProbabilityPyramid {
    rows: PyramidRows,
    /// The level of every half-precision number by its bits.
    levels: Vec<u8>,
}

impl ProbabilityPyramid {
    fn new(rows: PyramidRows) -> Self {
        Self { rows, levels: (0..=u16::MAX).map(|bits| level_of(f16::from_bits(bits))).collect() }
    }

    fn push(&mut self, probabilities: &ArrayRef2<f16>) -> Result<()> {
        let levels = &self.levels;
        self.rows.push(probabilities.nrows(), |y, pixels| {
            let row = probabilities.row(y);
            let paint = |(pixel, &bits): (&mut u8, &u16)| *pixel = levels[bits as usize];
            match row.as_slice() {
                Some(row) => pixels.iter_mut().zip(row.reinterpret_cast()).for_each(paint),
                None => pixels.iter_mut().zip(row.to_vec().reinterpret_cast()).for_each(paint),
            }
        })?;
        Ok(())
    }
}

/// 0 to 255 for probabilities from 0 to 1, to the nearest; what is no probability goes to the nearer end.
fn level_of(probability: f16) -> u8 {
    (probability.to_f32() * 255.0).round() as u8
}
