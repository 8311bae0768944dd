//! What is known about outputs that are there already: one small JSON file per slide, written last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hubmap_io::{Size, Window};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::folders::{StateDir, is_of_length};
use super::stamp::Stamp;
use crate::tile_file::write_atomically;

/// Format of the records; others are treated as if they were not there.
const VERSION: u32 = 1;

/// The finished outputs of a slide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlideRecord {
    /// Full-resolution size.
    pub(super) size: Size,
    /// Annotated polygons.
    pub(super) n_objects: usize,
    /// Set pixels of the mask.
    pub(super) n_positive_px: u64,
    /// The mask in `bigmasks/`.
    pub(super) mask: Option<MaskRecord>,
    /// Tiles by the folder of their cuts, such as `grid_x33_1024`.
    pub(super) cuts: BTreeMap<String, TilesRecord>,
}

/// A finished mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaskRecord {
    pub(super) stamp: Stamp,
    pub(super) n_bytes: u64,
}

/// The finished tiles of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TilesRecord {
    pub(super) stamp: Stamp,
    pub(super) outcomes: Outcomes,
}

/// What became of windows, by their number.
pub(super) type Outcomes = BTreeMap<usize, Outcome>;

/// What became of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Left out, as background.
    Skipped,
    /// A tile on disk.
    Kept {
        /// Left edge of the window on the slide.
        x: i64,
        /// Top edge.
        y: i64,
        /// Length of the image's file.
        image_bytes: u64,
        /// Length of the mask's file.
        mask_bytes: u64,
    },
}

impl Outcome {
    /// Whether the files of tile `tile_idx`, below `parts` (images, masks), are there with the lengths they had.
    pub(super) fn is_intact(self, tile_idx: usize, parts: &[PathBuf; 2]) -> bool {
        match self {
            Self::Skipped => true,
            Self::Kept { image_bytes, mask_bytes, .. } => parts
                .iter()
                .zip([image_bytes, mask_bytes])
                .all(|(dir, n_bytes)| is_of_length(&dir.join(tile_file(tile_idx)), n_bytes)),
        }
    }

    /// The tile's window of `side_px`, if it was kept.
    pub(super) const fn window(self, side_px: u32) -> Option<Window> {
        match self {
            Self::Skipped => None,
            Self::Kept { x, y, .. } => Some(Window::new(x, y, side_px, side_px)),
        }
    }
}

/// Name of a tile's files.
pub(super) fn tile_file(tile_idx: usize) -> String {
    format!("{tile_idx:06}.png")
}

impl SlideRecord {
    /// The record of a slide; `None` if there is none that this version understands.
    pub(super) fn read(state: &StateDir, slide_id: &str) -> Result<Option<Self>> {
        read_json(&state.record(slide_id))
    }

    /// Writes the record in place of an older one.
    pub(super) fn write(&self, state: &StateDir, slide_id: &str) -> Result<()> {
        write_json(&state.record(slide_id), self)
    }
}

/// A record with the version of its format.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    record: T,
}

/// Reads a record; `None` if there is none, or none of this version.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("cannot read {}", path.display()))?,
    };
    match serde_json::from_slice::<Versioned<T>>(&bytes) {
        Ok(Versioned { version: VERSION, record }) => Ok(Some(record)),
        Ok(Versioned { version, .. }) => {
            tracing::info!("{}: a record of version {version}, not {VERSION}: starting over", path.display());
            Ok(None)
        }
        Err(error) => {
            tracing::warn!("{}: starting over, as the record is damaged: {error}", path.display());
            Ok(None)
        }
    }
}

/// Writes a record; it appears when it is whole.
pub(super) fn write_json<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    write_atomically(path, |out| Ok(serde_json::to_writer(out, &Versioned { version: VERSION, record })?))
}
