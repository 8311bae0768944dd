#![doc = include_str!("../README.md")]

mod assets;
mod colours;
mod deep_zoom;
mod encode;
mod library;
mod objects;
mod open_slide;
mod outlines;
mod problem;
mod route;
mod server;
mod sources;
mod tile_reader;
mod wide_slide;

pub use deep_zoom::{DeepZoom, OVERLAP_PX, TILE_PX};
pub use library::Library;
pub use server::Server;
pub use sources::ViewConfig;
