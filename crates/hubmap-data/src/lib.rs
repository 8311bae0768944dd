#![doc = include_str!("../README.md")]

pub mod augment;
mod batch;
pub mod config;
pub mod cut;
pub mod cuts;
mod dataset;
mod dice;
mod fault;
mod fold;
mod loader;
mod normalize;
pub mod preview;
mod sample;
pub mod sampler;
pub mod seed;
mod slide;
mod source;
pub mod tile_file;
mod vectorize;

pub use batch::Batch;
pub use dataset::{
    CacheBudget, Dataset, DatasetKind, DatasetName, Draw, Tile, TilePixels, ensure_disjoint,
    ensure_no_shared_tile,
};
pub use dice::DiceSums;
pub use fault::{Fault, panic_error};
pub use fold::{Fold, FoldBy, ensure_distinct};
pub use loader::{Epoch, Loader, LoaderConfig, Shard};
pub use normalize::Normalization;
pub use sample::Sample;
pub use slide::{Competition, Slide, TestSlide, TrainSlide, anatomy_names, anatomy_of, labelled_polygons};
pub use source::{DataSource, FoldData, OpenSlide, SlideSource};
