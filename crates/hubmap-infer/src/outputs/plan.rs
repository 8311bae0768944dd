//! Which files are wanted, and where they go.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A kind of file to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// `submission__<threshold>.csv`: one run-length encoding a slide, made of `predicts/rle/<id>.csv`, the same for one.
    Rle,
    /// `predicts/masks/<id>.tiff`: 8 bit, 0 and 255; a pyramid of 512 px Deflate tiles.
    Mask,
    /// `predicts/bitmasks/<id>.tiff`: the same as one bit a pixel.
    Bitmask,
    /// `predicts/probabilities/<id>.tiff`: probabilities as 8 bit, 255 for 1; a pyramid of means in 512 px Deflate tiles.
    Probability,
    /// `predicts/raw/<id>.npy`: probabilities, float16, `[1, height, width]`.
    Npy,
    /// `predicts/objects/<id>.geojson`: an outline with measurements for each object, for QuPath.
    Geojson,
    /// `predicts/objects/<id>.geojson.gz`: the same, compressed; QuPath opens it as well.
    GeojsonGz,
    /// `predicts/objects/<id>.csv`: a row of measurements for each object.
    Objects,
    /// `predicts/overlays/<id>.png`: the slide, reduced, with the objects drawn over it.
    Overlay,
}

impl OutputKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Rle,
        Self::Mask,
        Self::Bitmask,
        Self::Probability,
        Self::Npy,
        Self::Geojson,
        Self::GeojsonGz,
        Self::Objects,
        Self::Overlay,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rle => "rle",
            Self::Mask => "mask",
            Self::Bitmask => "bitmask",
            Self::Probability => "probability",
            Self::Npy => "npy",
            Self::Geojson => "geojson",
            Self::GeojsonGz => "geojson-gz",
            Self::Objects => "objects",
            Self::Overlay => "overlay",
        }
    }

    /// Folder of the files of slides below `predicts`, and their extension.
    const fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Rle => ("rle", "csv"),
            Self::Mask => ("masks", "tiff"),
            Self::Bitmask => ("bitmasks", "tiff"),
            Self::Probability => ("probabilities", "tiff"),
            Self::Npy => ("raw", "npy"),
            Self::Geojson => ("objects", "geojson"),
            Self::GeojsonGz => ("objects", "geojson.gz"),
            Self::Objects => ("objects", "csv"),
            Self::Overlay => ("overlays", "png"),
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
    /// Whether slides that an earlier run finished, with the same settings, model and input, are left as they are.
    pub reuse_finished: bool,
    /// Name of this part of a larger run, whose other parts may write other slides into the same folder at the same time.
    ///
    /// A part writes `predicts/parts/<name>.json` instead of the summary and the table of all slides;
    /// [`join_parts`](crate::join_parts) makes these when all parts are done. `None` for a run that has the folder to itself.
    pub part: Option<String>,
    /// A folder on a disk of this machine, to which each slide is copied before it is read, and from which it is removed
    /// after; `None` to read slides where they are.
    pub scratch: Option<PathBuf>,
}

impl OutputPlan {
    /// Whether files of this kind are wanted.
    pub fn wants(&self, kind: OutputKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Place of a slide's file of a kind.
    pub fn path(&self, kind: OutputKind, id: &str) -> PathBuf {
        self.folder.join(Self::path_in_folder(kind, id))
    }

    /// Place of the record of a finished slide.
    pub fn record(&self, id: &str) -> PathBuf {
        self.folder.join("predicts").join("done").join(format!("{id}.json"))
    }

    /// Place of the table of all slides' encodings at a threshold.
    pub fn submission(&self, threshold: f32) -> PathBuf {
        self.folder.join(format!("submission__{threshold}.csv"))
    }

    /// Place of the summary.
    pub fn summary(&self) -> PathBuf {
        match &self.part {
            Some(part) => self.folder.join("predicts").join("parts").join(format!("{part}.json")),
            None => self.folder.join("summary.json"),
        }
    }

    /// [`OutputPlan::path`] relative to the folder.
    pub(crate) fn path_in_folder(kind: OutputKind, id: &str) -> PathBuf {
        let (folder, extension) = kind.place();
        PathBuf::from("predicts").join(folder).join(format!("{id}.{extension}"))
    }
}
