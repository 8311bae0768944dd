//! TIFF files: a streaming writer, and a reader of windows that needs no lock and no C library.

mod decode;
mod encode;
mod fax;
mod file;
mod ifd;
mod info;
mod jpeg;
#[cfg(feature = "jpeg2000")]
mod jpeg2000;
mod lzw;
mod old_jpeg;
mod page;
mod pixels;
mod predictor;
mod region;
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
pub use slide::TiffSlide;
pub use spec::{Compression, Layout, TiffSpec};
pub use writer::{TiffWriter, write_mask};
