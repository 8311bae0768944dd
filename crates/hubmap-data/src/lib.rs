#![doc = include_str!("../README.md")]

pub mod augment;
mod batch;
mod dataset;
mod fold;
mod loader;
mod normalize;
mod sample;
pub mod seed;
pub mod tile_file;

pub use batch::Batch;
pub use dataset::{Dataset, DatasetKind, DatasetName, Tile, ensure_disjoint};
pub use fold::{Fold, ensure_distinct};
pub use loader::{Epoch, Loader, LoaderConfig};
pub use normalize::Normalization;
pub use sample::Sample;
