#![doc = include_str!("../README.md")]

mod error;
mod geometry;
mod raster;
mod tiff;

pub use error::{Error, Result};
pub use geometry::{Size, Window};
pub use raster::RasterReader;
pub use tiff::{Compression, Layout, TiffSpec, TiffWriter, write_mask};
