//! The files that inference leaves, under the names of the command-line reference.

mod npy;
mod objects_file;
mod overlay;
pub(crate) mod pending_file;
mod rle_table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use half::f16;
use hubmap_io::{Mask, RasterReader, Size, Window, write_mask};
use ndarray::ArrayRef2;
use serde::{Deserialize, Serialize};

use crate::objects::{ObjectMeasurements, ObjectMeter};
use crate::postprocess::positive_pixels;
use crate::predictor::RowSink;

pub use npy::{NpyReader, NpyWriter};
pub use objects_file::{CLASS_NAME, object_features};
pub use overlay::{OVERLAY_MAX_SIDE, write_overlay};
pub use pending_file::PendingFile;
pub use rle_table::{RleTable, id_order, read_rle_table, write_submission};

/// A kind of file to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// `submission__<threshold>.csv`: one run-length encoding a slide.
    Rle,
    /// `predicts/masks/<id>.tiff`: 8 bit, 0 and 255.
    Mask,
    /// `predicts/raw/<id>.npy`: probabilities, float16, `[1, height, width]`.
    Npy,
    /// `predicts/objects/<id>.geojson`: an outline with measurements for each object, for QuPath.
    Geojson,
    /// `predicts/overlays/<id>.png`: the slide, reduced, with the objects drawn over it.
    Overlay,
}

impl OutputKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Rle, Self::Mask, Self::Npy, Self::Geojson, Self::Overlay];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rle => "rle",
            Self::Mask => "mask",
            Self::Npy => "npy",
            Self::Geojson => "geojson",
            Self::Overlay => "overlay",
        }
    }
}

impl std::str::FromStr for OutputKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| format!("unknown output '{text}': use {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Where files go and which are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPlan {
    /// The folder for everything.
    pub folder: PathBuf,
    /// What to write besides `summary.json`.
    pub kinds: Vec<OutputKind>,
    /// Ids in the order that the submission table shall have; slides not named follow after.
    pub order: Vec<String>,
}

impl OutputPlan {
    /// Whether files of this kind are wanted.
    pub fn wants(&self, kind: OutputKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Place of a slide's file of a kind; the table of encodings is one for all slides.
    pub fn path(&self, kind: OutputKind, id: &str, threshold: f32) -> PathBuf {
        let predicts = self.folder.join("predicts");
        match kind {
            OutputKind::Rle => self.folder.join(format!("submission__{threshold}.csv")),
            OutputKind::Mask => predicts.join("masks").join(format!("{id}.tiff")),
            OutputKind::Npy => predicts.join("raw").join(format!("{id}.npy")),
            OutputKind::Geojson => predicts.join("objects").join(format!("{id}.geojson")),
            OutputKind::Overlay => predicts.join("overlays").join(format!("{id}.png")),
        }
    }
}

/// Takes a slide's probabilities to its mask, its objects' measurements and, if wanted, its `.npy` file.
#[derive(Debug)]
pub struct SlideSink {
    threshold: f32,
    mask: Mask,
    meter: ObjectMeter,
    npy: Option<NpyWriter>,
}

/// What is known of a slide once all its rows have gone by.
#[derive(Debug)]
pub struct SlidePrediction {
    /// Pixels above the threshold.
    pub mask: Mask,
    /// Connected objects of the mask.
    pub objects: Vec<ObjectMeasurements>,
    /// The probabilities, on disk.
    pub npy: Option<PendingFile>,
}

impl SlideSink {
    /// A sink for a slide of this size; `npy` is where the probabilities go, if anywhere.
    pub fn new(size: Size, threshold: f32, npy: Option<&Path>) -> Result<Self> {
        let npy = npy.map(|path| NpyWriter::create(path, size)).transpose()?;
        Ok(Self { threshold, mask: Mask::new(size), meter: ObjectMeter::new(threshold), npy })
    }

    /// Ends the map.
    pub fn finish(self) -> Result<SlidePrediction> {
        let npy = self.npy.map(NpyWriter::finish).transpose()?;
        Ok(SlidePrediction { mask: self.mask, objects: self.meter.finish(), npy })
    }
}

impl RowSink for SlideSink {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        let positive = positive_pixels(probabilities, self.threshold);
        self.mask.set_rows(y0, positive.view());
        self.meter.push_rows(y0, &positive, probabilities);
        match &mut self.npy {
            Some(npy) => npy.write_rows(y0, probabilities),
            None => Ok(()),
        }
    }
}

impl SlidePrediction {
    /// Writes the files of one slide that `plan` wants; either all of them appear, or none.
    ///
    /// Returns their paths.
    pub fn write(
        self,
        slide: &dyn RasterReader,
        id: &str,
        threshold: f32,
        plan: &OutputPlan,
    ) -> Result<Vec<PathBuf>> {
        let Self { mask, objects, npy } = self;
        let mut pending = Vec::from_iter(npy);
        let path = |kind| plan.path(kind, id, threshold);
        if plan.wants(OutputKind::Mask) {
            pending
                .push(pending_file::write_at(&path(OutputKind::Mask), |path| write_mask_tiff(path, &mask))?);
        }
        if plan.wants(OutputKind::Geojson) {
            let features = object_features(&mask, &objects, slide.microns_per_px())?;
            pending.push(pending_file::write_at(&path(OutputKind::Geojson), |path| {
                Ok(hubmap_io::write_annotations(path, &features)?)
            })?);
        }
        if plan.wants(OutputKind::Overlay) {
            pending.push(pending_file::write(&path(OutputKind::Overlay), |writer| {
                write_overlay(slide, &mask, OVERLAY_MAX_SIDE, writer)
            })?);
        }
        let paths = pending.iter().map(|file| file.path().to_owned()).collect();
        pending.into_iter().try_for_each(pending_file::commit)?;
        Ok(paths)
    }
}

/// Writes a mask as an 8-bit TIFF of 0 and 255.
pub fn write_mask_tiff(path: &Path, mask: &Mask) -> Result<()> {
    let size = mask.size();
    write_mask(path, size, 8, |y, mut rows| {
        let window = Window::new(0, y.into(), size.width, rows.nrows() as u32);
        rows.assign(&mask.read(window).mapv_into(|pixel| pixel * 255));
        Ok(())
    })?;
    Ok(())
}

/// A slide to predict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlideInput {
    /// File name without its extension; names all of the slide's outputs.
    pub id: String,
    /// The file.
    pub path: PathBuf,
}

/// Extensions that slides have, in lower case.
const SLIDE_EXTENSIONS: [&str; 3] = ["tif", "tiff", "svs"];

/// The slides that a user names: each a file, or a folder with `.tif`, `.tiff` and `.svs` files.
///
/// Files in a folder come in the order of their names.
/// An error if there is none, or if two have the same id.
pub fn find_slides(paths: &[PathBuf]) -> Result<Vec<SlideInput>> {
    let mut slides = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path)
            .with_context(|| format!("cannot find slide or folder {}", path.display()))?;
        if !metadata.is_dir() {
            slides.push(slide_input(path)?);
            continue;
        }
        let list =
            || std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut files = list().with_context(|| format!("cannot list folder {}", path.display()))?;
        files.retain(|file| is_slide(file));
        if files.is_empty() {
            bail!("no slides in {}: it has no .tif, .tiff or .svs file", path.display());
        }
        files.sort();
        for file in files {
            slides.push(slide_input(&file)?);
        }
    }
    if slides.is_empty() {
        bail!("no slides were named");
    }
    let mut by_id: Vec<&SlideInput> = slides.iter().collect();
    by_id.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(pair) = by_id.windows(2).find(|pair| pair[0].id == pair[1].id) {
        bail!(
            "two slides have the id {}, so their outputs would overwrite each other: {} and {}",
            pair[0].id,
            pair[0].path.display(),
            pair[1].path.display()
        );
    }
    Ok(slides)
}

fn slide_input(path: &Path) -> Result<SlideInput> {
    let id = path.file_stem().and_then(|stem| stem.to_str());
    let id = id.with_context(|| format!("{} has no Unicode file name to take an id from", path.display()))?;
    Ok(SlideInput { id: id.to_owned(), path: path.to_owned() })
}

fn is_slide(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    !hidden
        && extension.is_some_and(|extension| SLIDE_EXTENSIONS.contains(&extension.as_str()))
        && path.is_file()
}
