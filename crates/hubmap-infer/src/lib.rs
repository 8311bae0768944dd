#![doc = include_str!("../README.md")]

mod blocks;
mod config;
mod dice;
mod ensemble;
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
mod plan;
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
pub use ensemble::Ensemble;
pub use evaluate::{
    EvaluateJob, Evaluation, Hausdorff, MaskObject, MaskObjects, Masks, ObjectPair, ObjectScore, PooledScore,
    SlideScore, SlideSweep, Sweep, SweepCounts, Unpredicted, count_matches, evaluate, hausdorff_95,
    markdown_tables, score_slide, score_table, sweep_figure, write_scores_csv, write_sweep_csv,
};
pub use journal::BlockJournal;
#[cfg(feature = "networks")]
pub use model_folder::{ArchitectureFlags, CONFIG_FILE, Checkpoint, ModelFolder};
#[cfg(feature = "networks")]
pub use network::Network;
pub use objects::{BAND_ROWS, DetectedObject, ObjectSink, ObjectStream};
pub use outputs::{
    CLASS_NAME, FinishedFiles, NpyReader, NpyWriter, OVERLAY_MAX_SIDE, OutputKind, OutputPlan, PendingFile,
    RleTable, SlideInput, SlideWriter, WrittenFile, check_ids, find_slides, id_order, read_rle_table,
    write_submission,
};
pub use postprocess::{FillHoles, MaskBuilder, Postprocess, PostprocessConfig, Within, positive_pixels};
pub use predictor::{PredictStats, Predictor, ProbabilityMap, RowSink};
pub use progress::{Interrupted, Progress};
pub use run::{
    FailedSlide, Maker, RowSource, RunSpec, SlideState, SlideSummary, Summary, finished_slide, hash_files,
    join_parts, predict_slides, run_slides,
};
pub use segment::SegmentTiles;
pub use stage::StageSeconds;
pub use tissue::TissueMask;
pub use tta::{Dihedral, Tta};
pub use upsample::{bilinear, bilinear_f16_into};
