//! What a run tells of its slides.

use std::path::{Path, PathBuf};

use hubmap_data::Fault;
use serde::{Deserialize, Serialize, Serializer};

use super::Maker;
use crate::outputs::OutputKind;
use crate::stage::StageSeconds;

/// A path as it is shown: JSON has no others than those of Unicode, and a slide is not to fail for its name.
fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// What became of one slide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlideSummary {
    /// Id of the slide.
    pub id: String,
    /// The slide's file, or its address without what may be secret.
    #[serde(serialize_with = "shown")]
    pub path: PathBuf,
    /// Columns in pixels.
    pub width: u32,
    /// Rows in pixels.
    pub height: u32,
    /// Resolution, if the file states it.
    pub microns_per_px: Option<f64>,
    /// Blocks of the slide.
    pub n_blocks: usize,
    /// Those that were left out, because there is no tissue on them.
    pub n_skipped: usize,
    /// Those that an earlier, interrupted run has predicted.
    pub n_replayed: usize,
    /// Connected objects.
    pub objects: u64,
    /// Pixels of the mask.
    pub positive_pixels: u64,
    /// Where the time went.
    pub seconds: StageSeconds,
    /// From opening the slide to its last file.
    pub total_seconds: f64,
    /// Blocks per second of that time.
    pub blocks_per_second: f64,
    /// Whether an earlier run did all this, and nothing was to be done in this one.
    #[serde(default)]
    pub reused: bool,
    /// Who did it; not known of slides from before there was this.
    #[serde(default)]
    pub made_by: Option<Maker>,
}

/// A slide that could not be predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedSlide {
    /// Id of the slide.
    pub id: String,
    /// The slide's file, or its address without what may be secret.
    #[serde(serialize_with = "shown")]
    pub path: PathBuf,
    /// Why.
    pub error: String,
    /// Whose fault it is; nobody's in files of before there was this.
    #[serde(default)]
    pub kind: Fault,
}

/// The content of `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Settings of the prediction.
    pub settings: serde_json::Value,
    /// What the caller says of the models: a hash of their weights, usually.
    pub model: String,
    /// Number of models that were averaged.
    pub n_models: usize,
    /// Kinds of files that were written.
    pub outputs: Vec<OutputKind>,
    /// Slides that were predicted, now or by an earlier run, in the order of the input.
    pub slides: Vec<SlideSummary>,
    /// Slides that were not, in the order of the input.
    pub failed: Vec<FailedSlide>,
    /// Whole run.
    pub total_seconds: f64,
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn slides_with_names_that_are_no_unicode_are_written_down() {
        use std::os::unix::ffi::OsStrExt as _;

        let path = std::ffi::OsStr::from_bytes(b"slide-\xff.tiff").into();
        let failed =
            super::FailedSlide { id: "a".to_owned(), path, error: String::new(), kind: super::Fault::Other };
        let text = serde_json::to_string(&failed).unwrap();
        assert!(text.contains("slide-\u{fffd}.tiff"), "{text}");
    }
}
