#![doc = include_str!("../README.md")]

mod error;
mod geometry;
mod raster;

pub use error::{Error, Result};
pub use geometry::{Size, Window};
pub use raster::RasterReader;
