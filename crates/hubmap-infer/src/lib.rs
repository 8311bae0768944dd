#![doc = include_str!("../README.md")]

mod blocks;
mod config;
mod dice;
mod evaluate;
mod failure;
mod journal;
mod merge;
#[cfg(feature = "networks")]
mod model_folder;
#[cfg(feature = "networks")]
mod network;
mod objects;
mod outputs;
mod pipeline;
mod postprocess;
mod predictor;
mod progress;
mod reader;
mod replica;
mod run;
mod segment;
mod stage;
mod tissue;
mod tta;
mod upsample;

pub use blocks::{Block, BlockGrid};
pub use config::{Blend, Merge, PredictConfig, TissueConfig};
pub use dice::{intersection, set_dice};
pub use evaluate::{Evaluation, SlideScore, Unpredicted, evaluate};
pub use journal::BlockJournal;
#[cfg(feature = "networks")]
pub use model_folder::{ArchitectureFlags, CONFIG_FILE, Checkpoint, ModelFolder};
#[cfg(feature = "networks")]
pub use network::Network;
pub use objects::{ObjectMeasurements, ObjectMeter};
pub use outputs::{
    CLASS_NAME, NpyReader, NpyWriter, OVERLAY_MAX_SIDE, OutputKind, OutputPlan, PendingFile, RleTable,
    SlideInput, SlidePrediction, SlideSink, find_slides, id_order, object_features, read_rle_table,
    write_mask_tiff, write_overlay, write_submission,
};
pub use postprocess::{MaskBuilder, positive_pixels};
pub use predictor::{PredictStats, Predictor, ProbabilityMap, RowSink};
pub use progress::{Interrupted, Progress};
pub use run::{FailedSlide, SlideSummary, Summary, predict_slides};
pub use segment::SegmentTiles;
pub use stage::StageSeconds;
pub use tissue::TissueMask;
pub use tta::{Dihedral, Tta};
pub use upsample::{bilinear, bilinear_f16_into};
