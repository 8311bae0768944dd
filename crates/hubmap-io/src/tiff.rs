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
#[cfg(feature = "jpeg2000")]
mod jpeg2000;
mod lzw;
mod old_jpeg;
mod ome;
mod output;
mod page;
mod pixels;
mod predictor;
mod pyramid;
mod region;
mod roles;
mod sample_kind;
mod samples;
mod slide;
mod source;
mod spec;
mod tag;
mod webp;
mod write_ifd;
mod writer;
mod ycbcr;

pub use file::{RawSamples, TiffFile};
pub use info::PageInfo;
#[cfg(feature = "gdal")]
pub(crate) use info::stated_microns_per_px;
pub use pyramid::{PyramidSpec, PyramidWriter, Reduction};
pub use sample_kind::{Sample, SampleKind};
pub use slide::TiffSlide;
pub use spec::{Compression, Layout, TiffSpec};
pub use writer::{TiffWriter, write_mask};
