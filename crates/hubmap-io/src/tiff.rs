//! TIFF files: a streaming writer, and a reader of windows that needs no lock and no C library.

mod encode;
mod spec;
mod tag;
mod write_ifd;
mod writer;

pub use spec::{Compression, Layout, TiffSpec};
pub use writer::{TiffWriter, write_mask};
