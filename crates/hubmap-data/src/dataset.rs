//! Tiles as a list of weighted samples.

mod cache;
mod draw;
mod folder;
mod name;
mod sides;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

pub use cache::CacheBudget;
pub use draw::Draw;
pub use name::{DatasetKind, DatasetName};
pub use sides::{ensure_disjoint, ensure_no_shared_tile};

use self::cache::TileCache;
use crate::Sample;
use crate::augment::{Transform, leading_crop, perform};
use crate::cut::Cut;
use crate::cuts::Progress;
use crate::seed::StreamRng;
use crate::source::OpenSlide;
use crate::tile_file::{read_image, read_mask};

/// An image and its mask, wherever they are.
#[derive(Debug, Clone)]
pub struct Tile {
    /// Dataset, slide and number, such as `train_0e_33/2f6ecfcdf/000012`.
    pub name: String,
    /// What was cut, whatever fold and side it is used on, such as `glomi/2f6ecfcdf/000012`.
    pub id: String,
    /// Id of the slide that the tile is from.
    pub slide: String,
    /// Where its pixels are.
    pub pixels: TilePixels,
}

/// Where the pixels of a tile are.
#[derive(Debug, Clone)]
pub enum TilePixels {
    /// In files.
    Files {
        /// The image, an RGB PNG.
        image: PathBuf,
        /// The mask, a gray PNG.
        mask: PathBuf,
    },
    /// On a slide.
    Window {
        /// The slide and how it is cut.
        slide: Arc<OpenSlide>,
        /// A window that is known to be kept.
        cut: Cut,
    },
}

impl Tile {
    /// Reads and decodes the pixels.
    fn decode(&self) -> Result<Sample> {
        match &self.pixels {
            TilePixels::Files { image, mask } => {
                Sample::new(self.name.clone(), read_image(image)?, read_mask(mask)?)
                    .with_context(|| image.display().to_string())
            }
            TilePixels::Window { slide, cut } => self.named(cut, slide.read(cut)),
        }
    }

    /// What was read of a window under the name of the tile.
    fn named(&self, cut: &Cut, read: Result<Sample>) -> Result<Sample> {
        let sample = read.with_context(|| format!("{}: window {}", self.name, cut.window))?;
        Ok(Sample { name: self.name.clone(), ..sample })
    }
}

/// A list of tiles with weights: how often each is taken per epoch.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    tiles: Vec<Tile>,
    /// One per tile.
    weights: Vec<f64>,
    cache: Option<Arc<TileCache>>,
}

impl Dataset {
    /// Each of the tiles once.
    pub fn from_tiles(tiles: Vec<Tile>) -> Self {
        Self { weights: vec![1.0; tiles.len()], cache: None, tiles }
    }

    /// The tiles of all datasets, one dataset after the other, with their weights; decoded tiles are forgotten.
    pub fn concat(datasets: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for dataset in datasets {
            all.tiles.extend(dataset.tiles);
            all.weights.extend(dataset.weights);
        }
        all
    }

    /// All weights multiplied.
    ///
    /// # Panics
    ///
    /// If the factor is negative or not a number.
    #[must_use]
    pub fn weighted(mut self, factor: f64) -> Self {
        assert!(factor >= 0.0, "a weight of {factor}");
        self.weights.iter_mut().for_each(|weight| *weight *= factor);
        self
    }

    /// The weights of the tiles of some slides multiplied; slides that are not here do nothing.
    ///
    /// # Panics
    ///
    /// As [`Dataset::weighted`].
    #[must_use]
    pub fn with_slide_weights(mut self, factors: &BTreeMap<String, f64>) -> Self {
        for (tile, weight) in self.tiles.iter().zip(&mut self.weights) {
            if let Some(&factor) = factors.get(&tile.slide) {
                assert!(factor >= 0.0, "a weight of {factor} for slide {}", tile.slide);
                *weight *= factor;
            }
        }
        self
    }

    /// Keeps decoded tiles in memory until the budget is used up; what was kept before is forgotten.
    ///
    /// Clones share what is kept.
    #[must_use]
    pub fn with_cache(mut self, budget: &Arc<CacheBudget>) -> Self {
        self.cache = Some(Arc::new(TileCache::new(self.tiles.len(), Arc::clone(budget))));
        self
    }

    /// Decodes the tiles, in their order, that the cache has room for; does nothing without a cache.
    ///
    /// Runs on the current rayon pool.
    ///
    /// # Errors
    ///
    /// A tile that cannot be read, or the work was cancelled.
    pub fn preload(&self, progress: &dyn Progress) -> Result<()> {
        let Some(cache) = &self.cache else { return Ok(()) };
        let taken = (0..self.tiles.len()).filter(|&tile_idx| self.weights[tile_idx] > 0.0);
        let taken = taken.collect::<Vec<_>>();
        progress.begin("preloading", taken.len() as u64);
        // In pieces, so that it is the first tiles that find room, and few are decoded for nothing.
        for tile_idxs in taken.chunks(4 * rayon::current_num_threads()) {
            let decoded = tile_idxs
                .par_iter()
                .with_max_len(1)
                .map(|&tile_idx| {
                    ensure!(!progress.is_cancelled(), "cancelled while preloading tiles");
                    let is_kept = cache.get(tile_idx).is_some();
                    let sample = if is_kept { None } else { Some(self.tiles[tile_idx].decode()?) };
                    progress.advance();
                    Ok((tile_idx, sample))
                })
                .collect::<Result<Vec<_>>>()?;
            for (tile_idx, sample) in decoded {
                if sample.is_some_and(|sample| matches!(cache.offer(tile_idx, sample), Cow::Owned(_))) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Number of tiles, whatever their weights.
    pub fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Whether there are no tiles.
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
    }

    /// A tile by its number.
    ///
    /// # Panics
    ///
    /// If `tile_idx` is not below [`Dataset::len`].
    pub fn tile(&self, tile_idx: usize) -> &Tile {
        &self.tiles[tile_idx]
    }

    /// All tiles in the order of their numbers.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// How often each tile is taken per epoch, in the order of their numbers.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Ids of the slides with at least one tile.
    pub fn slides(&self) -> BTreeSet<&str> {
        self.tiles.iter().map(|tile| tile.slide.as_str()).collect()
    }

    /// The pixels of a tile, from memory if they are kept there, else from its files or its slide.
    ///
    /// # Errors
    ///
    /// A file is missing, damaged, or image and mask differ in size; the message names it.
    ///
    /// # Panics
    ///
    /// If `tile_idx` is not below [`Dataset::len`].
    pub fn read(&self, tile_idx: usize) -> Result<Sample> {
        self.whole(tile_idx).map(Cow::into_owned)
    }

    /// What `transform` makes of [`Dataset::read`], with less work if it begins with a crop: of a tile that is kept in
    /// memory no more than the crop is copied, and of a slide no more is read, unless the cache has room for the tile.
    ///
    /// # Errors
    ///
    /// As [`Dataset::read`] and [`Transform::apply`].
    ///
    /// # Panics
    ///
    /// As [`Dataset::read`].
    pub fn read_transformed(
        &self,
        tile_idx: usize,
        transform: &Transform,
        rng: &mut StreamRng,
    ) -> Result<Sample> {
        let tile = &self.tiles[tile_idx];
        if let TilePixels::Window { slide, cut } = &tile.pixels {
            let size = slide.tile_size(cut);
            let has_place = |cache: &Arc<TileCache>| cache.has_place(tile_idx, size);
            if !self.cache.as_ref().is_some_and(has_place) {
                let operations = transform.draw_for(&tile.name, size, rng)?;
                let (part, rest) = leading_crop(size, &operations);
                return perform(tile.named(cut, slide.read_part(cut, part))?, rest);
            }
        }
        match self.whole(tile_idx)? {
            Cow::Borrowed(kept) => transform.apply_to(&kept.into(), rng),
            Cow::Owned(sample) => transform.apply(sample, rng),
        }
    }

    /// A whole tile, kept if there is room.
    fn whole(&self, tile_idx: usize) -> Result<Cow<'_, Sample>> {
        let tile = &self.tiles[tile_idx];
        let Some(cache) = &self.cache else { return tile.decode().map(Cow::Owned) };
        if let Some(kept) = cache.get(tile_idx) {
            return Ok(Cow::Borrowed(kept));
        }
        Ok(cache.offer(tile_idx, tile.decode()?))
    }
}

#[cfg(test)]
mod tests;
