//! A slide that is being looked at, with what belongs to it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use hubmap_infer::{OutputKind, PredictConfig, SlideInput, TissueConfig, TissueMask};
use hubmap_io::{MemorySlide, Polygon, RasterReader, Size, trace_polygons};
use serde::Serialize;

use crate::deep_zoom::{DeepZoom, OVERLAP_PX, TILE_PX};
use crate::objects::{Measured, Objects, ViewedObject, read_outlines, read_table};
use crate::outlines;
use crate::problem::Problem;
use crate::route::{Layer, OutlineSet};
use crate::sources::Sources;
use crate::tile_reader::TileReader;

/// Decoded pixels of a slide that are kept, in bytes.
const SLIDE_CACHE: usize = 192 << 20;

/// Decoded pixels of a mask, or of probabilities.
const LAYER_CACHE: usize = 24 << 20;

/// Holes in tissue are outlined if they are so many times as large as the smallest piece of tissue; smaller ones are
/// lumens and vessels.
const TISSUE_HOLES: u64 = 100;

const WHITE: u8 = 255;

/// Where only an array holds the probabilities. It has no levels: a view of a whole slide would read all of its gigabytes.
const ONLY_NPY: &str = "No probabilities to look at: this run kept them as an array (npy), which has no smaller copies of \
    itself to zoom with. With `--write probability` hubmap-infer and hubmap-ensemble write a picture that has.";

/// An open slide; objects and tissue are looked for when they are asked for.
pub(crate) struct OpenSlide {
    id: String,
    file: String,
    stamp: u64,
    reader: Arc<dyn RasterReader>,
    slide: TileReader,
    mask: Option<TileReader>,
    probability: Option<TileReader>,
    has_objects: (bool, bool),
    /// What is not there to be seen, and how it would be.
    notes: Vec<&'static str>,
    /// Layers that could not be opened, and why.
    problems: Vec<String>,
    objects: OnceLock<Result<Objects, Problem>>,
    tissue: OnceLock<Result<Vec<Polygon>, Problem>>,
}

/// What the page must know of a slide.
#[derive(Debug, Serialize)]
struct Info<'a> {
    id: &'a str,
    file: &'a str,
    width: u32,
    height: u32,
    microns_per_px: Option<f64>,
    vendor: &'a str,
    n_levels: usize,
    tile_px: u32,
    overlap_px: u32,
    max_level: u32,
    layers: Vec<&'static str>,
    outlines: Vec<&'static str>,
    notes: &'a [&'static str],
    problems: &'a [String],
    /// Changes with the files.
    stamp: String,
}

/// What is listed of the objects.
#[derive(Debug, Serialize)]
struct ObjectLists<'a> {
    predicted: Option<&'a [ViewedObject]>,
    truth: Option<&'a [ViewedObject]>,
}

impl OpenSlide {
    /// Opens a slide and its predictions; `stamp` is that of its files.
    pub(crate) fn open(sources: &Sources, input: &SlideInput, stamp: u64) -> Result<Self> {
        let reader = input.location.open()?;
        let reader = match sources.microns_per_px(input) {
            Some(microns_per_px) => hubmap_io::with_resolution(reader, microns_per_px),
            None => reader,
        };
        let reader: Arc<dyn RasterReader> = Arc::from(reader);
        let slide = TileReader::new(Arc::clone(&reader), WHITE, SLIDE_CACHE)?;
        let mut problems = Vec::new();
        let mut layer = |kinds: &[OutputKind]| {
            let path = kinds.iter().find_map(|&kind| sources.output(kind, &input.id))?;
            match open_layer(&path, reader.size()) {
                Ok(layer) => Some(layer),
                Err(error) => {
                    problems.push(format!("{error:#}"));
                    None
                }
            }
        };
        let mask = layer(&[OutputKind::Mask, OutputKind::Bitmask]);
        let probability = layer(&[OutputKind::Probability]);
        let has_only_npy = sources.output(OutputKind::Probability, &input.id).is_none()
            && sources.output(OutputKind::Npy, &input.id).is_some();
        Ok(Self {
            id: input.id.clone(),
            file: input.location.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            stamp,
            has_objects: (sources.predicted(&input.id).is_some(), sources.truth(&input.id).is_some()),
            reader,
            slide,
            mask,
            probability,
            notes: if has_only_npy { vec![ONLY_NPY] } else { Vec::new() },
            problems,
            objects: OnceLock::new(),
            tissue: OnceLock::new(),
        })
    }

    pub(crate) const fn stamp(&self) -> u64 {
        self.stamp
    }

    pub(crate) fn layer(&self, layer: Layer) -> Result<&TileReader, Problem> {
        let found = match layer {
            Layer::Slide => Some(&self.slide),
            Layer::Mask => self.mask.as_ref(),
            Layer::Probability => self.probability.as_ref(),
        };
        found.ok_or_else(|| Problem::not_found(format!("slide {} has no {} layer", self.id, layer.name())))
    }

    pub(crate) fn info(&self) -> serde_json::Result<Vec<u8>> {
        let Size { width, height } = self.reader.size();
        let named = |is_there: bool, name: &'static str| is_there.then_some(name);
        let layers = [
            Some(Layer::Slide.name()),
            named(self.mask.is_some(), Layer::Mask.name()),
            named(self.probability.is_some(), Layer::Probability.name()),
        ];
        let outlines = [
            named(self.has_objects.0, "predicted"),
            named(self.has_objects.1, "truth"),
            named(self.reader.bands() >= 3, "tissue"),
        ];
        serde_json::to_vec(&Info {
            id: &self.id,
            file: &self.file,
            width,
            height,
            microns_per_px: self.reader.microns_per_px(),
            vendor: self.reader.vendor(),
            n_levels: self.reader.levels().len(),
            tile_px: TILE_PX,
            overlap_px: OVERLAP_PX,
            max_level: DeepZoom::new(self.reader.size()).max_level(),
            layers: layers.into_iter().flatten().collect(),
            outlines: outlines.into_iter().flatten().collect(),
            notes: &self.notes,
            problems: &self.problems,
            stamp: format!("{:016x}", self.stamp),
        })
    }

    /// The list of predicted and true objects.
    pub(crate) fn object_lists(&self, sources: &Sources) -> Result<Vec<u8>, Problem> {
        let objects = self.objects(sources)?;
        let predicted = objects.predicted.as_ref().map(|set| set.objects.as_slice());
        let truth = objects.truth.as_ref().map(|set| set.objects.as_slice());
        serde_json::to_vec(&ObjectLists { predicted, truth }).map_err(|e| anyhow::Error::from(e).into())
    }

    /// Outlines as [`outlines::encode`] writes them.
    pub(crate) fn outlines(
        &self,
        sources: &Sources,
        set: OutlineSet,
        scale: u32,
    ) -> Result<Vec<u8>, Problem> {
        let objects = || self.objects(sources);
        let polygons = match set {
            OutlineSet::Predicted => objects()?.predicted.as_ref().map(|set| set.outlines.as_slice()),
            OutlineSet::Truth => objects()?.truth.as_ref().map(|set| set.outlines.as_slice()),
            OutlineSet::Tissue => Some(self.tissue()?),
        };
        let missing = || Problem::not_found(format!("slide {} has no such outlines", self.id));
        Ok(outlines::encode(polygons.ok_or_else(missing)?, scale))
    }

    fn objects(&self, sources: &Sources) -> Result<&Objects, Problem> {
        let objects = self.objects.get_or_init(|| self.find_objects(sources).map_err(Problem::from));
        objects.as_ref().map_err(Clone::clone)
    }

    fn find_objects(&self, sources: &Sources) -> Result<Objects> {
        let size = self.reader.size();
        let predicted = sources.predicted(&self.id).map(|masks| masks.read(&self.id, size)).transpose();
        let predicted = predicted.context("cannot read the predicted objects")?;
        let truth = sources.truth(&self.id).map(|masks| masks.read(&self.id, size)).transpose();
        let truth = truth.context("cannot read the true objects")?;
        let measured = self.measured(sources).context("cannot read the probabilities of objects")?;
        Ok(Objects::new(predicted.as_ref(), truth.as_ref(), size, &measured))
    }

    fn measured(&self, sources: &Sources) -> Result<HashMap<usize, Measured>> {
        if let Some(table) = sources.output(OutputKind::Objects, &self.id) {
            return read_table(&table);
        }
        let outlines = [OutputKind::Geojson, OutputKind::GeojsonGz];
        let outlines = outlines.into_iter().find_map(|kind| sources.output(kind, &self.id));
        outlines.map_or_else(|| Ok(HashMap::new()), |path| read_outlines(&path))
    }

    fn tissue(&self) -> Result<&[Polygon], Problem> {
        let tissue = self.tissue.get_or_init(|| self.find_tissue().map_err(Problem::from));
        tissue.as_ref().map(Vec::as_slice).map_err(Clone::clone)
    }

    /// Outlines of what inference takes for tissue by its default settings, without the margin that it adds.
    fn find_tissue(&self) -> Result<Vec<Polygon>> {
        ensure!(self.reader.bands() >= 3, "slide {} has no colours to tell tissue by", self.id);
        let original = PredictConfig::original().tissue;
        let TissueConfig { downsample, min_area, .. } = original;
        let pixels = self.slide.whole(downsample)?;
        let reduced = MemorySlide::new(self.reader.path(), pixels, None)?;
        let min_area = min_area / u64::from(downsample).pow(2);
        let config = TissueConfig { downsample: 1, min_area, margin: 0, ..original };
        let outlines = trace_polygons(&TissueMask::find(&reduced, &config)?.mask);
        // One pixel of the mask: its steps go.
        let mut outlines: Vec<_> = outlines.iter().map(|outline| outline.simplified(1.0)).collect();
        let min_hole = (TISSUE_HOLES * min_area) as f64;
        for polygon in &mut outlines {
            polygon.holes.retain(|hole| Polygon::new(hole.clone()).area() >= min_hole);
        }
        let vertices = outlines
            .iter_mut()
            .flat_map(|polygon| std::iter::once(&mut polygon.exterior).chain(&mut polygon.holes).flatten());
        vertices.flatten().for_each(|v| *v *= f64::from(downsample));
        Ok(outlines)
    }
}

/// A mask or probabilities of a slide of this size.
fn open_layer(path: &Path, size: Size) -> Result<TileReader> {
    let layer = hubmap_io::open(path)?;
    ensure!(
        layer.size() == size,
        "{}: it is {} px, but the slide is {size} px",
        path.display(),
        layer.size()
    );
    Ok(TileReader::new(Arc::from(layer), 0, LAYER_CACHE)?)
}
