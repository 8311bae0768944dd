//! Tiles as windows of open slides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hubmap_io::{Size, Window};
use rayon::prelude::*;

use super::grid_memory::{recall, remember};
use crate::config::DataGenConfig;
use crate::cut::{Cut, CutKind};
use crate::cuts::Progress;
use crate::dataset::{Tile, TilePixels};
use crate::{Competition, Dataset, DatasetName, Fold, Sample, Slide};

/// Windows that a thread of a scan may hold.
const WINDOWS_PER_THREAD: usize = 4;

/// A slide that stays open, with the settings by which it is cut.
#[derive(Debug)]
pub struct OpenSlide {
    slide: Slide,
    config: Arc<DataGenConfig>,
}

impl OpenSlide {
    /// The tile of a window that is kept.
    ///
    /// # Errors
    ///
    /// As [`Cut::read`]; the message names the slide's file.
    pub fn read(&self, cut: &Cut) -> Result<Sample> {
        cut.read_kept(&self.slide, &self.config)
    }

    /// A part of this tile, in its pixels; no more of the slide is read.
    ///
    /// # Errors
    ///
    /// As [`Cut::read_part`]; the message names the slide's file.
    pub fn read_part(&self, cut: &Cut, part: Window) -> Result<Sample> {
        cut.read_part(part, &self.slide, &self.config)
    }

    /// Width and height of this tile.
    pub fn tile_size(&self, cut: &Cut) -> Size {
        cut.tile_size(&self.config)
    }
}

/// Open slides and their windows: the datasets that data generation would write, without writing them.
///
/// Holds the masks as bitmaps, and of the pixels nothing.
#[derive(Debug)]
pub struct SlideSource {
    config: Arc<DataGenConfig>,
    folds: Vec<Fold>,
    slides: BTreeMap<String, Windows>,
}

/// A slide and the windows that become tiles, by kind.
#[derive(Debug)]
struct Windows {
    slide: Arc<OpenSlide>,
    cuts: BTreeMap<CutKind, Vec<Cut>>,
}

impl SlideSource {
    /// Opens the training slides of a competition folder for windows of some kinds.
    ///
    /// For [`CutKind::Grid`] every window is read once to see whether it is background, at most 4 at a time per thread of
    /// the current rayon pool. `scan_dir` remembers the outcome per slide, until settings or the slide's file change.
    ///
    /// # Errors
    ///
    /// The settings are invalid or lack a kind, a slide cannot be opened, read or cut, `scan_dir` cannot be written, or
    /// the work was cancelled.
    pub fn open(
        dir: &Path,
        config: &DataGenConfig,
        kinds: &BTreeSet<CutKind>,
        scan_dir: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        let competition = Competition::open(dir)?;
        progress.begin("opening slides", competition.train.len() as u64);
        let slides = competition.train.par_iter().with_max_len(1).map(|entry| {
            ensure!(!progress.is_cancelled(), "cancelled while opening slides");
            let slide = entry.open()?;
            progress.advance();
            Ok(slide)
        });
        Self::from_slides(slides.collect::<Result<Vec<_>>>()?, config, kinds, scan_dir, progress)
    }

    /// The same for slides that are already open.
    ///
    /// # Errors
    ///
    /// As [`SlideSource::open`].
    pub fn from_slides(
        slides: Vec<Slide>,
        config: &DataGenConfig,
        kinds: &BTreeSet<CutKind>,
        scan_dir: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        for kind in kinds {
            ensure!(
                config.kinds.contains(kind),
                "data_gen.kinds lacks {}, which datasets of data.train or data.valid are made of",
                serde_json::to_string(kind)?
            );
        }
        let ids = slides.iter().map(|slide| slide.id.clone()).collect::<Vec<_>>();
        let folds = config.folds_over(&ids)?;
        let mut cuts = slides
            .iter()
            .map(|slide| {
                let of_kind = |&kind: &CutKind| Ok((kind, Cut::of_kind(kind, slide, config)?));
                kinds.iter().map(of_kind).collect::<Result<BTreeMap<_, _>>>()
            })
            .collect::<Result<Vec<_>>>()?;
        if kinds.contains(&CutKind::Grid) {
            keep_tissue(&slides, &mut cuts, config, scan_dir, progress)?;
        }
        let config = Arc::new(config.clone());
        let slides = slides.into_iter().zip(cuts).map(|(slide, cuts)| {
            let id = slide.id.clone();
            (id, Windows { slide: Arc::new(OpenSlide { slide, config: Arc::clone(&config) }), cuts })
        });
        Ok(Self { slides: slides.collect(), config: Arc::clone(&config), folds })
    }

    /// The tiles of a named dataset: those that [`Dataset::open`] finds after data generation with the same settings, in
    /// the same order and of the same pixels.
    ///
    /// # Errors
    ///
    /// The settings have another scale or no such fold, or the dataset has no tile.
    pub fn dataset(&self, name: &DatasetName) -> Result<Dataset> {
        ensure!(
            name.scale == self.config.scale,
            "dataset {name} is of scale {}, but data_gen.scale is {}",
            name.scale,
            self.config.scale
        );
        let fold = self.folds.iter().find(|fold| fold.name() == name.fold).with_context(|| {
            let known = self.folds.iter().map(Fold::name).collect::<Vec<_>>().join(", ");
            format!("dataset {name}: data_gen makes no fold `{}`, but {known}", name.fold)
        })?;
        let side = if name.kind.is_valid() { fold.valid() } else { fold.train() };
        let kind = name.kind.cuts();
        let mut tiles = Vec::new();
        // In the order of files in folders.
        for id in side.iter().collect::<BTreeSet<_>>() {
            let windows = self.slides.get(id).with_context(|| format!("slide {id} is not open"))?;
            let cuts = windows
                .cuts
                .get(&kind)
                .with_context(|| format!("dataset {name}: the slides were not opened for its windows"))?;
            tiles.extend(cuts.iter().map(|&cut| Tile {
                name: format!("{name}/{id}/{:06}", cut.tile_idx),
                id: cut.name(id),
                slide: id.clone(),
                pixels: TilePixels::Window { slide: Arc::clone(&windows.slide), cut },
            }));
        }
        ensure!(!tiles.is_empty(), "dataset {name} has no tile: no slide of its side has such a window");
        Ok(Dataset::from_tiles(tiles))
    }
}

/// Leaves only those windows of the grid that become tiles.
fn keep_tissue(
    slides: &[Slide],
    cuts: &mut [BTreeMap<CutKind, Vec<Cut>>],
    config: &DataGenConfig,
    scan_dir: Option<&Path>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut unknown = Vec::new();
    for (slide, cuts) in slides.iter().zip(cuts) {
        let Some(grid) = cuts.get_mut(&CutKind::Grid) else { continue };
        match scan_dir.and_then(|dir| recall(dir, slide, config)) {
            Some(kept) => grid.retain(|cut| kept.binary_search(&cut.tile_idx).is_ok()),
            None => unknown.push((slide, grid)),
        }
    }
    let n_windows = unknown.iter().map(|(_, grid)| grid.len()).sum::<usize>();
    progress.begin("looking for tissue in the grid", n_windows as u64);
    for (slide, grid) in unknown {
        let mut kept = Vec::new();
        // In pieces: threads that wait for each other begin further windows, and each holds its pixels.
        for piece in grid.chunks(WINDOWS_PER_THREAD * rayon::current_num_threads()) {
            let piece = piece.par_iter().with_max_len(1).map(|cut| {
                ensure!(!progress.is_cancelled(), "cancelled while looking at slide {}", slide.id);
                let is_kept = cut.is_kept(slide, config)?;
                progress.advance();
                Ok(is_kept.then_some(*cut))
            });
            kept.extend(piece.collect::<Result<Vec<_>>>()?.into_iter().flatten());
        }
        if let Some(dir) = scan_dir {
            remember(dir, slide, config, kept.iter().map(|cut| cut.tile_idx).collect())?;
        }
        *grid = kept;
    }
    Ok(())
}
