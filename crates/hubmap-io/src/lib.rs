#![doc = include_str!("../README.md")]

mod annotation;
mod byte_source;
mod cached_slide;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
#[cfg(feature = "gdal")]
mod gdal_slide;
mod geometry;
mod location;
mod mask;
mod mask_tiff;
mod memory_slide;
#[cfg(not(feature = "remote"))]
mod no_remote;
mod overlay;
mod polygon;
mod raster;
#[cfg(feature = "remote")]
mod remote;
mod resample;
mod resolution;
mod rle;
mod tiff;
mod window_memory;

/// Optional parts of this crate by their features, and whether this build has them.
pub const OPTIONAL_FEATURES: [(&str, bool); 3] = [
    ("gdal", cfg!(feature = "gdal")),
    ("jpeg2000", cfg!(feature = "jpeg2000")),
    ("remote", cfg!(feature = "remote")),
];

pub use annotation::{
    AnnotationReader, AnnotationWriter, Feature, ObjectKind, read_annotations, write_annotations,
};
pub use byte_source::ByteSource;
pub use cached_slide::CachedSlide;
pub use error::{Error, Result};
#[cfg(feature = "gdal")]
pub use gdal_slide::GdalSlide;
pub use geometry::{Size, Window};
pub use location::{Location, RemoteOptions, Stat, is_remote};
pub use mask::Mask;
pub use mask_tiff::{read_mask, write_mask_tiff};
pub use memory_slide::MemorySlide;
pub use overlay::{OverlayStyle, write_overlay};
pub use polygon::{Bounds, Polygon, Region, RowRun, trace_polygons, trace_runs};
pub use raster::{AssociatedImage, Level, LevelUse, RasterReader, ReadOptions, ScaleOptions, open};
#[cfg(feature = "remote")]
pub use remote::RemoteFile;
pub use resample::{area_downscale, area_downscale_2d, nearest_downscale, nearest_downscale_2d};
pub use resolution::with_resolution;
pub use rle::{Rle, RleDecoder, RleEncoder, RleError, Run};
pub use tiff::{
    Compression, Layout, PageInfo, PyramidSpec, PyramidWriter, RawSamples, Reduction, Sample, SampleKind,
    TiffFile, TiffSlide, TiffSpec, TiffWriter, write_mask,
};
