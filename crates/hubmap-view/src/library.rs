//! All slides, and the answers to requests about them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use hubmap_infer::OutputKind;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Serialize;

use crate::colours::Palette;
use crate::encode;
use crate::open_slide::OpenSlide;
use crate::problem::Problem;
use crate::route::{Layer, OutlineSet, Route, Tile};
use crate::sources::{Sources, ViewConfig};

/// Slides that stay open, with what they decoded.
const MAX_OPEN: usize = 3;

/// Encoded tiles and outlines that are kept, in bytes.
const ENCODED_CACHE: u64 = 96 << 20;

/// A tile's size, about, for the number of places in the memory.
const TYPICAL_TILE: u64 = 48 << 10;

/// The colour of predicted masks.
const MASK_COLOUR: [u8; 3] = [0, 114, 178];

const JSON: &str = "application/json";

/// Slides with their predictions and truth, ready to be served.
///
/// Slides are opened when somebody looks at them. What is decoded and encoded is kept in bounded memory: that of the
/// last three slides, and 96 MiB of files that were sent.
pub struct Library {
    sources: Sources,
    /// Those used last at the end.
    open: Mutex<Vec<(usize, Arc<OpenSlide>)>>,
    encoded: Cache<Key, Bytes, ByBytes>,
}

/// A file that takes time to make; `stamp` is that of the slide's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    slide: usize,
    stamp: u64,
    what: Encoded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Encoded {
    Tile(Tile),
    Outlines(OutlineSet, u32),
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Bytes> for ByBytes {
    fn weight(&self, _: &Key, value: &Bytes) -> u64 {
        (value.len() + size_of::<Key>()) as u64
    }
}

/// What is sent for a route.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) content_type: &'static str,
    /// Changes with the content, if it is known.
    pub(crate) tag: Option<String>,
    /// None if the browser has the content with this tag.
    pub(crate) body: Option<Bytes>,
}

/// A slide of the list.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    id: &'a str,
    is_predicted: bool,
    has_truth: bool,
}

impl Library {
    /// Finds slides, predictions and truth; slides are opened later, and a broken one harms no other.
    ///
    /// An error if there is no slide, no prediction or no truth where they are said to be.
    pub fn open(config: &ViewConfig) -> Result<Self> {
        Self::with_cache(config, ENCODED_CACHE)
    }

    fn with_cache(config: &ViewConfig, encoded_bytes: u64) -> Result<Self> {
        let n_places = (encoded_bytes / TYPICAL_TILE).max(1) as usize;
        let encoded = Cache::with_weighter(n_places, encoded_bytes, ByBytes);
        Ok(Self { sources: Sources::find(config)?, open: Mutex::default(), encoded })
    }

    /// Number of slides.
    pub fn n_slides(&self) -> usize {
        self.sources.slides().len()
    }

    /// The answer to a request from a browser that has the content with the tag `known`; takes as long as it takes to
    /// make a tile, or to find all objects of a slide.
    pub(crate) fn answer(&self, route: Route, known: Option<&str>) -> Result<Answer, Problem> {
        let slide = match route {
            Route::Asset(asset) => {
                let mut hasher = DefaultHasher::new();
                asset.body.hash(&mut hasher);
                let tag = Some(format!("\"{:016x}\"", hasher.finish()));
                let body = || Ok(Bytes::from_static(asset.body));
                return Answer::unless_known(asset.content_type, tag, known, body);
            }
            Route::Slides => return Answer::unless_known(JSON, None, known, || Ok(self.list())),
            Route::Info { slide }
            | Route::Objects { slide }
            | Route::Outlines { slide, .. }
            | Route::Dzi { slide, .. }
            | Route::Tile { slide, .. } => slide,
        };
        let open = self.slide(slide)?;
        let tag = Some(format!("\"{}-{:016x}\"", env!("CARGO_PKG_VERSION"), open.stamp()));
        let key = |what| Key { slide, stamp: open.stamp(), what };
        let content_type = route.content_type();
        Answer::unless_known(content_type, tag, known, || match route {
            Route::Objects { .. } => open.object_lists(&self.sources).map(Bytes::from),
            Route::Outlines { set, scale, .. } => {
                let outlines = || open.outlines(&self.sources, set, scale).map(Bytes::from);
                self.encoded.get_or_insert_with(&key(Encoded::Outlines(set, scale)), outlines)
            }
            Route::Dzi { layer, .. } => Ok(open.layer(layer)?.zoom().dzi(layer.format()).into()),
            Route::Tile { tile, .. } => {
                self.encoded.get_or_insert_with(&key(Encoded::Tile(tile)), || encode_tile(&open, tile))
            }
            _ => open.info().map(Bytes::from).map_err(|error| anyhow::Error::from(error).into()),
        })
    }

    fn list(&self) -> Bytes {
        let listed = |id| Listed {
            id,
            is_predicted: self.sources.predicted(id).is_some()
                || self.sources.output(OutputKind::Probability, id).is_some(),
            has_truth: self.sources.truth(id).is_some(),
        };
        let slides: Vec<Listed> = self.sources.slides().iter().map(|slide| listed(&slide.id)).collect();
        let list =
            serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "slides": slides, "heat": heat() });
        list.to_string().into()
    }

    /// A slide that is as its files are now.
    fn slide(&self, index: usize) -> Result<Arc<OpenSlide>, Problem> {
        let input = self.sources.slides().get(index);
        let input = input.ok_or_else(|| Problem::not_found(format!("no slide {index}")))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.iter().position(|(known, _)| *known == index).map(|place| open.remove(place).1);
        let stamp = self.sources.stamp(input)?;
        let slide = match known.filter(|slide| slide.stamp() == stamp) {
            Some(slide) => slide,
            None => Arc::new(OpenSlide::open(&self.sources, input, stamp)?),
        };
        let n_too_many = (open.len() + 1).saturating_sub(MAX_OPEN);
        open.drain(..n_too_many);
        open.push((index, Arc::clone(&slide)));
        Ok(slide)
    }
}

impl Answer {
    fn unless_known(
        content_type: &'static str,
        tag: Option<String>,
        known: Option<&str>,
        body: impl FnOnce() -> Result<Bytes, Problem>,
    ) -> Result<Self, Problem> {
        let is_known = tag.as_deref().zip(known).is_some_and(|(tag, known)| {
            known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)
        });
        let body = if is_known { None } else { Some(body()?) };
        Ok(Self { content_type, tag, body })
    }
}

impl Route {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Asset(asset) => asset.content_type,
            Self::Slides | Self::Info { .. } | Self::Objects { .. } => JSON,
            Self::Outlines { .. } => "application/octet-stream",
            Self::Dzi { .. } => "application/xml",
            Self::Tile { tile: Tile { layer: Layer::Slide, .. }, .. } => "image/jpeg",
            Self::Tile { .. } => "image/png",
        }
    }
}

/// Colours of the probabilities 0 to 1 for the legend, `[red, green, blue]`.
fn heat() -> Vec<[u8; 3]> {
    Palette::heat(0).rgb.into_iter().step_by(15).collect()
}

fn encode_tile(slide: &OpenSlide, tile: Tile) -> Result<Bytes, Problem> {
    let Tile { layer, level, column, row, threshold } = tile;
    let pixels = slide.layer(layer)?.tile(level, column, row)?;
    let missing = || Problem::not_found(format!("no tile {column}_{row} on level {level}"));
    let pixels = pixels.ok_or_else(missing)?;
    let file = match layer {
        Layer::Slide => encode::jpeg(&pixels),
        Layer::Mask => encode::png(&pixels, &Palette::flat(MASK_COLOUR)),
        Layer::Probability => encode::png(&pixels, &Palette::heat(threshold)),
    };
    Ok(file?.into())
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("sources", &self.sources).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
