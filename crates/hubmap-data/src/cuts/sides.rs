//! Which side of which fold each tile goes to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use hubmap_io::{Polygon, Window, read_annotations};
use rand::seq::SliceRandom;

use super::record::Outcomes;
use crate::config::{DataGenConfig, FoldSource};
use crate::cut::CutKind;
use crate::seed::{Purpose, hash_id, stream};
use crate::{Fold, FoldBy};

/// How tiles are to be sorted, with everything read that it takes.
#[derive(Debug)]
pub(super) enum Sorting {
    BySlides(Vec<Fold>),
    /// A share of each slide's tiles validates.
    RandomTiles {
        valid_fraction: f64,
        seed: u64,
    },
    /// Tiles whose centre lies in a polygon of their slide validate.
    Polygons(BTreeMap<String, Vec<Polygon>>),
}

/// The tiles of all kinds on one slide.
pub(super) struct SlideTiles<'a> {
    pub(super) slide: &'a str,
    pub(super) kinds: Vec<(CutKind, &'a Outcomes)>,
}

/// A fold, down to the tile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitFold {
    pub(super) name: String,
    pub(super) by: FoldBy,
    pub(super) train: Vec<SideTiles>,
    pub(super) valid: Vec<SideTiles>,
    /// Tiles on neither side, as they share pixels with tiles that validate.
    pub(super) n_left_out: usize,
}

/// Tiles of a kind and a slide on one side of a fold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SideTiles {
    pub(super) kind: CutKind,
    pub(super) slide: String,
    pub(super) tile_idxs: Vec<usize>,
}

impl Sorting {
    /// Reads and checks what the configuration names.
    ///
    /// # Errors
    ///
    /// The folds do not fit the slides, or polygons cannot be read.
    pub(super) fn new(config: &DataGenConfig, slides: &[String]) -> Result<Self> {
        Ok(match config.folds {
            FoldSource::Listed | FoldSource::Drawn => Self::BySlides(config.folds_over(slides)?),
            FoldSource::RandomTiles => {
                Self::RandomTiles { valid_fraction: config.valid_fraction, seed: config.seed }
            }
            FoldSource::Polygons => Self::Polygons(read_polygons(&config.valid_polygons_dir, slides)?),
        })
    }

    /// The folds over the tiles of all slides.
    ///
    /// # Errors
    ///
    /// A side of a fold by tiles would be empty.
    pub(super) fn folds(&self, tiles: &[SlideTiles<'_>], window_px: u32) -> Result<Vec<SplitFold>> {
        match self {
            Self::BySlides(folds) => Ok(folds.iter().map(|fold| by_slides(fold, tiles)).collect()),
            Self::RandomTiles { valid_fraction, seed } => {
                let drawn = |slide: &SlideTiles<'_>| drawn_tiles(slide, *valid_fraction, *seed);
                Ok(vec![by_tiles("random", tiles, window_px, drawn)?])
            }
            Self::Polygons(polygons) => {
                let inside = |slide: &SlideTiles<'_>| {
                    let polygons = polygons.get(slide.slide).map_or(&[][..], Vec::as_slice);
                    tiles_within(slide, polygons, window_px)
                };
                Ok(vec![by_tiles("polygons", tiles, window_px, inside)?])
            }
        }
    }
}

fn by_slides(fold: &Fold, tiles: &[SlideTiles<'_>]) -> SplitFold {
    let side = |slides: &[String]| {
        let chosen = slides.iter().filter_map(|id| tiles.iter().find(|tiles| tiles.slide == id));
        let all = chosen.flat_map(|slide| {
            slide.kinds.iter().map(|&(kind, outcomes)| SideTiles {
                kind,
                slide: slide.slide.to_owned(),
                tile_idxs: windows(outcomes, 1).map(|(tile_idx, _)| tile_idx).collect(),
            })
        });
        all.collect::<Vec<_>>()
    };
    SplitFold {
        name: fold.name().to_owned(),
        by: FoldBy::Slides,
        train: side(fold.train()),
        valid: side(fold.valid()),
        n_left_out: 0,
    }
}

/// Numbers and windows of the tiles that were kept.
fn windows(outcomes: &Outcomes, side_px: u32) -> impl Iterator<Item = (usize, Window)> {
    outcomes.iter().filter_map(move |(&tile_idx, outcome)| Some((tile_idx, outcome.window(side_px)?)))
}

/// A fold in which the chosen tiles, by place of their kind and number, validate, and those that share no pixel with
/// them train.
fn by_tiles(
    name: &str,
    tiles: &[SlideTiles<'_>],
    window_px: u32,
    choose: impl Fn(&SlideTiles<'_>) -> BTreeSet<(usize, usize)>,
) -> Result<SplitFold> {
    let (mut train, mut valid, mut n_left_out) = (Vec::new(), Vec::new(), 0);
    for slide in tiles {
        let chosen = choose(slide);
        let all = || {
            slide.kinds.iter().enumerate().flat_map(|(kind_idx, (_, outcomes))| {
                windows(outcomes, window_px).map(move |(tile_idx, window)| ((kind_idx, tile_idx), window))
            })
        };
        let held_out =
            all().filter(|(tile, _)| chosen.contains(tile)).map(|(_, window)| window).collect::<Vec<_>>();
        for (kind_idx, &(kind, outcomes)) in slide.kinds.iter().enumerate() {
            let mut of_kind = [Vec::new(), Vec::new()];
            for (tile_idx, window) in windows(outcomes, window_px) {
                if chosen.contains(&(kind_idx, tile_idx)) {
                    of_kind[1].push(tile_idx);
                } else if held_out.iter().any(|other| other.intersect(&window).is_some()) {
                    n_left_out += 1;
                } else {
                    of_kind[0].push(tile_idx);
                }
            }
            for (side, tile_idxs) in [&mut train, &mut valid].into_iter().zip(of_kind) {
                if !tile_idxs.is_empty() {
                    side.push(SideTiles { kind, slide: slide.slide.to_owned(), tile_idxs });
                }
            }
        }
    }
    ensure!(!valid.is_empty(), "no tile validates in fold `{name}`: it needs tiles on both sides");
    ensure!(!train.is_empty(), "no tile trains in fold `{name}`: all share pixels with tiles that validate");
    Ok(SplitFold { name: name.to_owned(), by: FoldBy::Tiles, train, valid, n_left_out })
}

/// A share of the tiles of each kind, at least one but never all.
fn drawn_tiles(slide: &SlideTiles<'_>, fraction: f64, seed: u64) -> BTreeSet<(usize, usize)> {
    let mut chosen = BTreeSet::new();
    for (kind_idx, &(kind, outcomes)) in slide.kinds.iter().enumerate() {
        let mut tile_idxs = windows(outcomes, 1).map(|(tile_idx, _)| tile_idx).collect::<Vec<_>>();
        let id = hash_id(&format!("{}/{}", kind.prefix(), slide.slide));
        tile_idxs.shuffle(&mut stream(seed, Purpose::ValidTiles, id, 0));
        let n_valid = (fraction * tile_idxs.len() as f64).ceil() as usize;
        let n_valid = n_valid.min(tile_idxs.len().saturating_sub(1));
        chosen.extend(tile_idxs.into_iter().take(n_valid).map(|tile_idx| (kind_idx, tile_idx)));
    }
    chosen
}

/// Tiles whose window's centre lies inside one of the polygons.
fn tiles_within(slide: &SlideTiles<'_>, polygons: &[Polygon], window_px: u32) -> BTreeSet<(usize, usize)> {
    let half = f64::from(window_px) / 2.0;
    let is_inside = |window: Window| {
        let centre = [window.x as f64 + half, window.y as f64 + half];
        polygons.iter().any(|polygon| polygon.contains(centre))
    };
    let kinds = slide.kinds.iter().enumerate();
    let inside = kinds.flat_map(|(kind_idx, (_, outcomes))| {
        windows(outcomes, window_px)
            .filter(|(_, window)| is_inside(*window))
            .map(move |(tile_idx, _)| (kind_idx, tile_idx))
    });
    inside.collect()
}

/// Validation polygons by slide, from files named like annotations; a slide without a file has none.
fn read_polygons(dir: &Path, slides: &[String]) -> Result<BTreeMap<String, Vec<Polygon>>> {
    let mut polygons = BTreeMap::new();
    for slide in slides {
        if let Some(path) = polygon_file(dir, slide) {
            let features = read_annotations(&path)?;
            polygons
                .insert(slide.clone(), features.into_iter().flat_map(|feature| feature.polygons).collect());
        }
    }
    ensure!(
        !polygons.is_empty(),
        "data_gen.valid_polygons_dir: {} holds no <slide>.geojson or <slide>.json of any slide",
        dir.display()
    );
    Ok(polygons)
}

fn polygon_file(dir: &Path, slide: &str) -> Option<PathBuf> {
    let endings = [".geojson", ".json", ".geojson.gz", ".json.gz"];
    endings.iter().map(|ending| dir.join(format!("{slide}{ending}"))).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::super::record::Outcome;
    use super::*;

    /// Tiles in a row, `step` pixels from one to the next.
    fn row(n_tiles: usize, step: i64) -> Outcomes {
        let kept = |x| Outcome::Kept { x, y: 0, image_bytes: 1, mask_bytes: 1 };
        (0..n_tiles).map(|tile_idx| (tile_idx, kept(tile_idx as i64 * step))).collect()
    }

    fn slide<'a>(kinds: &[(CutKind, &'a Outcomes)]) -> SlideTiles<'a> {
        SlideTiles { slide: "a", kinds: kinds.to_vec() }
    }

    /// Without validation a training has no score; without training tiles it has nothing to do.
    #[test]
    fn folds_by_tiles_have_two_sides() {
        let one = row(1, 10);
        let random = Sorting::RandomTiles { valid_fraction: 0.5, seed: 1 };
        let error = random.folds(&[slide(&[(CutKind::Grid, &one)])], 10).unwrap_err().to_string();
        assert!(error.contains("no tile validates in fold `random`"), "{error}");
        // The tile in the middle validates, and the others share pixels with it.
        let three = row(3, 5);
        let middle = Polygon::new(vec![[8.0, 0.0], [12.0, 0.0], [12.0, 10.0], [8.0, 10.0]]);
        let polygons = Sorting::Polygons([("a".to_owned(), vec![middle])].into());
        let error = polygons.folds(&[slide(&[(CutKind::Grid, &three)])], 10).unwrap_err().to_string();
        assert!(error.contains("no tile trains in fold `polygons`"), "{error}");
        let apart = row(3, 11);
        let folds =
            polygons.folds(&[slide(&[(CutKind::Grid, &three), (CutKind::Objects, &apart)])], 10).unwrap();
        let sides = [&folds[0].train, &folds[0].valid]
            .map(|side| side.iter().map(|tiles| (tiles.kind, tiles.tile_idxs.clone())).collect::<Vec<_>>());
        // A tile of another kind that shares pixels is left out as well.
        assert_eq!(sides[0], [(CutKind::Objects, vec![2])]);
        assert_eq!(sides[1], [(CutKind::Grid, vec![1])]);
        assert_eq!(folds[0].n_left_out, 4);
    }

    #[test]
    fn tiles_are_drawn_anew_for_every_seed_and_kind() {
        let tiles = row(40, 10);
        let drawn =
            |seed| drawn_tiles(&slide(&[(CutKind::Grid, &tiles), (CutKind::Objects, &tiles)]), 0.25, seed);
        let of_kind = |seed, kind_idx| {
            let drawn = drawn(seed).into_iter().filter(|tile| tile.0 == kind_idx);
            drawn.map(|(_, tile_idx)| tile_idx).collect::<Vec<_>>()
        };
        assert_eq!(of_kind(1, 0).len(), 10);
        assert_ne!(of_kind(1, 0), of_kind(2, 0), "another seed is another fold");
        assert_ne!(of_kind(1, 0), of_kind(1, 1), "kinds are drawn apart");
    }
}
