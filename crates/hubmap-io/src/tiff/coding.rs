//! How the samples of a chunk become bytes.

use super::sample_kind::SampleKind;
use super::spec::Compression;
use crate::Size;

/// What the encoder of chunks needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    /// Samples per pixel inside one chunk.
    pub(super) bands: usize,
    pub(super) samples: SampleKind,
    pub(super) compression: Compression,
    /// Whether samples are stored as horizontal differences.
    pub(super) predictor: bool,
    /// Factor by which JPEG chroma is reduced in each direction, 1 or 2.
    pub(super) chroma_subsampling: u8,
}

impl Coding {
    /// Bytes of a pixel before it is encoded; bits take one each.
    pub(super) const fn bytes_per_pixel(&self) -> usize {
        self.bands * self.samples.byte_len()
    }

    /// Whether what is read back may differ from what was written.
    pub(super) const fn is_lossy(&self) -> bool {
        matches!(self.compression, Compression::Jpeg { .. })
    }

    /// Whether chunks are JPEG streams of three colour components.
    pub(super) const fn is_ycbcr(&self) -> bool {
        self.is_lossy() && self.bands == 3
    }

    /// Says what is wrong with the combination, for chunks of the given size.
    pub(super) fn validate(&self, chunk: Size) -> Result<(), String> {
        let bits = self.samples.bits();
        if self.predictor {
            let suits =
                matches!(self.compression, Compression::Lzw | Compression::Deflate | Compression::Zstd);
            if !suits || !matches!(self.samples, SampleKind::U8 | SampleKind::U16) {
                return Err(format!("the predictor does not go with {:?} and {bits} bits", self.compression));
            }
        }
        let Compression::Jpeg { quality } = self.compression else { return Ok(()) };
        if self.samples != SampleKind::U8 {
            return Err(format!("JPEG cannot hold samples of {bits} bits"));
        }
        if !(1..=100).contains(&quality) {
            return Err(format!("JPEG quality {quality} is not in 1 to 100"));
        }
        if chunk.width > JPEG_MAX_SIDE || chunk.height > JPEG_MAX_SIDE {
            return Err(format!("a JPEG chunk of {chunk} exceeds {JPEG_MAX_SIDE} pixels a side"));
        }
        Ok(())
    }
}

/// Largest side of a JPEG stream.
const JPEG_MAX_SIDE: u32 = 65535;
