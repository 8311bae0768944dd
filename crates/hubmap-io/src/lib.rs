#![doc = include_str!("../README.md")]

mod annotation;
mod error;
mod geometry;
mod mask;
mod mask_tiff;
mod polygon;
mod raster;
mod resample;
mod rle;
mod tiff;

pub use annotation::{
    AnnotationReader, AnnotationWriter, Feature, ObjectKind, read_annotations, write_annotations,
};
pub use error::{Error, Result};
pub use geometry::{Size, Window};
pub use mask::Mask;
pub use mask_tiff::{read_mask, write_mask_tiff};
pub use polygon::{Bounds, Polygon, trace_polygons};
pub use raster::{RasterReader, open};
pub use resample::{area_downscale, area_downscale_2d, nearest_downscale, nearest_downscale_2d};
pub use rle::{Rle, RleDecoder, RleEncoder, RleError, Run};
pub use tiff::{
    Compression, Layout, PageInfo, RawSamples, TiffFile, TiffSlide, TiffSpec, TiffWriter, write_mask,
};
