#![doc = include_str!("../README.md")]

pub mod augment;
mod batch;
pub mod config;
pub mod cut;
pub mod cuts;
mod dataset;
mod dice;
mod fold;
mod loader;
mod normalize;
pub mod preview;
mod sample;
pub mod sampler;
pub mod seed;
mod slide;
pub mod tile_file;
mod vectorize;

pub use batch::Batch;
pub use dataset::{Dataset, DatasetKind, DatasetName, Tile, ensure_disjoint};
pub use dice::DiceSums;
pub use fold::{Fold, ensure_distinct};
pub use loader::{Epoch, Loader, LoaderConfig};
pub use normalize::Normalization;
pub use sample::Sample;
pub use slide::{Competition, Slide, TestSlide, TrainSlide};
