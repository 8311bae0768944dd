//! Masks of slides as users have them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hubmap_io::{Mask, Rle, RleEncoder, Size, Window, read_annotations};
use ndarray::{Axis, s};

use crate::outputs::{RleTable, find_slides, read_rle_table};

/// Endings of files of annotations.
const ANNOTATION_ENDINGS: [&str; 4] = [".geojson", ".json", ".geojson.gz", ".json.gz"];

/// Masks by slide id, read when they are needed.
#[derive(Debug)]
pub struct Masks {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Table(RleTable),
    Tiffs(BTreeMap<String, PathBuf>),
    Annotations(BTreeMap<String, PathBuf>),
}

impl Masks {
    /// A table of encodings, a folder of mask TIFFs, of annotations, or that inference left, about slides of these ids.
    ///
    /// Of the latter, the masks are read, or if there are none the submission table.
    /// A folder with an annotation file of one of the slides is one of annotations, even if it holds TIFFs,
    /// because those of the competition hold the slides as well. Other JSON files are left alone.
    pub fn open(path: &Path, slide_ids: &BTreeSet<String>) -> Result<Self> {
        let metadata = std::fs::metadata(path).with_context(|| format!("cannot open {}", path.display()))?;
        if !metadata.is_dir() {
            return Ok(Self { path: path.to_owned(), kind: Kind::Table(read_rle_table(path)?) });
        }
        let inference_masks = path.join("predicts").join("masks");
        if !inference_masks.is_dir()
            && let Some(table) = lone_submission(path)?
        {
            return Ok(Self { kind: Kind::Table(read_rle_table(&table)?), path: table });
        }
        let folder = if inference_masks.is_dir() { inference_masks } else { path.to_owned() };
        let annotation_of = |id: &String| {
            let files = ANNOTATION_ENDINGS.iter().map(|ending| folder.join(format!("{id}{ending}")));
            Some((id.clone(), files.into_iter().find(|file| file.is_file())?))
        };
        let annotations: BTreeMap<_, _> = slide_ids.iter().filter_map(annotation_of).collect();
        if !annotations.is_empty() {
            return Ok(Self { path: folder, kind: Kind::Annotations(annotations) });
        }
        let files = find_slides(&[folder.as_path().into()]).with_context(|| {
            format!("neither mask TIFFs nor <id>.json or <id>.geojson of a slide in {}", folder.display())
        })?;
        let files = files.into_iter().map(|file| (file.id, file.location.path().to_owned())).collect();
        Ok(Self { path: folder, kind: Kind::Tiffs(files) })
    }

    /// The table, or the folder in which the files are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ascending ids.
    pub fn ids(&self) -> Vec<String> {
        match &self.kind {
            Kind::Table(table) => table.keys().cloned().collect(),
            Kind::Tiffs(files) | Kind::Annotations(files) => files.keys().cloned().collect(),
        }
    }

    /// The mask of a slide of this size, which it must fit; an id that is not there is an error.
    pub fn read(&self, id: &str, size: Size) -> Result<Rle> {
        let missing = || format!("no mask of {id} in {}", self.path().display());
        match &self.kind {
            Kind::Table(table) => {
                let rle = table.get(id).with_context(missing)?;
                ensure_fits(rle, size).with_context(|| format!("id {id} of {}", self.path.display()))?;
                Ok(rle.clone())
            }
            Kind::Tiffs(files) => read_tiff(files.get(id).with_context(missing)?, size),
            Kind::Annotations(files) => {
                let mut mask = Mask::new(size);
                for feature in read_annotations(files.get(id).with_context(missing)?)? {
                    feature.polygons.iter().for_each(|polygon| mask.fill_polygon(polygon));
                }
                Ok(Rle::encode(&mask))
            }
        }
    }
}

/// The submission table of an output folder of inference; none if the folder is another.
fn lone_submission(folder: &Path) -> Result<Option<PathBuf>> {
    let list =
        || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut tables = list().with_context(|| format!("cannot list folder {}", folder.display()))?;
    tables.retain(|path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| stem.starts_with("submission__")) && path.extension() == Some("csv".as_ref())
    });
    tables.sort();
    ensure!(
        tables.len() < 2,
        "{} holds tables of several thresholds: name one of them instead of the folder: {}",
        folder.display(),
        tables.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(tables.pop())
}

/// Rows of a mask that are read at a time.
const MASK_BAND: u32 = 1024;

/// The non-zero pixels of a single-band TIFF.
fn read_tiff(path: &Path, size: Size) -> Result<Rle> {
    let mask = hubmap_io::open(path)?;
    ensure!(mask.bands() == 1, "{}: a mask has 1 band, this file has {}", path.display(), mask.bands());
    ensure!(
        mask.size() == size,
        "{}: the mask is {}, but the slide is {size} px",
        path.display(),
        mask.size()
    );
    let mut encoder = RleEncoder::new(size);
    for y0 in (0..size.height).step_by(MASK_BAND as usize) {
        let window = Window::new(0, y0.into(), size.width, MASK_BAND.min(size.height - y0));
        encoder.push_rows(mask.read(window)?.index_axis(Axis(2), 0).slice(s![.., ..]));
    }
    Ok(encoder.finish())
}

/// Refuses runs that leave the slide.
fn ensure_fits(rle: &Rle, size: Size) -> Result<()> {
    if let Some(run) = rle.runs().last().filter(|run| run.last() > size.area()) {
        bail!(hubmap_io::RleError::OutOfRange { start: run.start, length: run.length, size });
    }
    Ok(())
}
