//! TIFF files: a streaming writer, and a reader of windows that needs no lock and no C library.

mod coding;
mod decode;
mod encode;
mod fax;
mod file;
mod ifd;
mod image;
mod info;
mod jpeg;
mod lzw;
mod ome;
mod output;
mod page;
mod pyramid;
mod region;
mod roles;
mod sample_kind;
mod samples;
mod slide;
mod source;
mod spec;
mod tag;
mod write_ifd;
mod writer;
mod ycbcr;

pub use file::{RawSamples, TiffFile};
pub use info::PageInfo;
pub use pyramid::{PyramidSpec, PyramidWriter, Reduction};
pub use sample_kind::{Sample, SampleKind};
#[cfg(feature = "gdal")]
pub(crate) use info::stated_microns_per_px;
pub use slide::TiffSlide;
pub use spec::{Compression, Layout, TiffSpec};
pub use writer::{TiffWriter, write_mask};
