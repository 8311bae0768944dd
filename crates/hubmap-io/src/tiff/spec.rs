//! What a TIFF file to be written looks like.

use std::path::Path;

use super::coding::Coding;
use super::sample_kind::SampleKind;
use crate::{Error, Result, Size};

/// How the pixels of a TIFF file are cut into chunks and where the bands go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Square tiles.
    Tiled {
        /// Side of a tile in pixels, a multiple of 16.
        tile: u32,
        /// Whether each band has tiles of its own; otherwise the bands are interleaved by pixel.
        planar: bool,
    },
    /// Strips of full rows.
    Strips {
        /// Rows per strip; the last strip may have fewer.
        rows: u32,
        /// Whether each band has strips of its own; otherwise the bands are interleaved by pixel.
        planar: bool,
    },
    /// One single-band tiled page per band; GDAL calls them subdatasets.
    Pages {
        /// Side of a tile in pixels, a multiple of 16.
        tile: u32,
    },
}

/// How the chunks of a TIFF file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Stored as they are.
    None,
    /// TIFF's variant of LZW.
    Lzw,
    /// zlib streams, code 8.
    Deflate,
    /// Zstandard frames, code 50000, an extension of libtiff and GDAL.
    Zstd,
    /// Baseline JPEG, lossy, one self-contained stream per chunk.
    ///
    /// Three interleaved bands are stored as `YCbCr`, with 4:2:0 chroma below quality 90 and full chroma from
    /// there on; separate bands are stored as gray streams.
    Jpeg {
        /// From 1 (smallest) to 100 (best).
        quality: u8,
    },
}

impl Compression {
    /// Factor by which JPEG chroma is reduced in each direction.
    pub(super) const fn chroma_subsampling(self) -> u8 {
        match self {
            Self::Jpeg { quality } if quality < 90 => 2,
            _ => 1,
        }
    }
}

impl std::str::FromStr for Compression {
    type Err = String;

    /// `none`, `lzw`, `deflate`, `zstd`, `jpeg` (quality 90) or `jpeg:QUALITY`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "lzw" => Ok(Self::Lzw),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            "jpeg" => Ok(Self::Jpeg { quality: 90 }),
            _ => text
                .strip_prefix("jpeg:")
                .and_then(|quality| quality.parse().ok())
                .filter(|quality| (1..=100).contains(quality))
                .map(|quality| Self::Jpeg { quality })
                .ok_or_else(|| format!("unknown compression {text:?}")),
        }
    }
}

/// Everything that [`TiffWriter`](crate::TiffWriter) needs to know before the first pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct TiffSpec {
    /// Full-resolution size.
    pub size: Size,
    /// Samples per pixel: 3 for RGB, 1 for gray and masks.
    pub bands: u8,
    /// Bits per sample: 8, or 1 for masks of one band.
    pub bits: u8,
    /// Chunks and the place of the bands.
    pub layout: Layout,
    /// Codec of the chunks.
    pub compression: Compression,
    /// Whether to store differences of horizontal neighbours (predictor 2), which compress better.
    ///
    /// Only for 8-bit samples with LZW, Deflate or ZSTD.
    pub predictor: bool,
    /// Whether to write `BigTIFF`, which a file of more than 4 GiB needs.
    pub big: bool,
    /// Microns per pixel in both directions, stored as pixels per centimetre.
    pub microns_per_px: Option<f64>,
    /// Text for the `ImageDescription` tag.
    pub description: Option<String>,
}

impl TiffSpec {
    /// An RGB slide in interleaved 256 px tiles, Deflate with predictor, in a `BigTIFF` file.
    pub fn rgb(size: Size) -> Self {
        Self {
            size,
            bands: 3,
            bits: 8,
            layout: Layout::Tiled { tile: 256, planar: false },
            compression: Compression::Deflate,
            predictor: true,
            big: true,
            microns_per_px: None,
            description: None,
        }
    }

    /// A mask of `bits` 1 or 8 in 512 px Deflate tiles, in a `BigTIFF` file if it could need one.
    pub fn mask(size: Size, bits: u8) -> Self {
        Self {
            bands: 1,
            bits,
            layout: Layout::Tiled { tile: 512, planar: false },
            predictor: false,
            big: size.area() / 8 * bits as u64 > CLASSIC_LIMIT / 2,
            ..Self::rgb(size)
        }
    }

    /// Whether each band is stored in chunks of its own.
    pub(super) const fn is_planar(&self) -> bool {
        match self.layout {
            Layout::Tiled { planar, .. } | Layout::Strips { planar, .. } => planar && self.bands > 1,
            Layout::Pages { .. } => true,
        }
    }

    /// Samples per pixel inside one chunk.
    pub(super) const fn bands_per_chunk(&self) -> usize {
        if self.is_planar() { 1 } else { self.bands as usize }
    }

    /// Columns and rows of a full chunk.
    pub(super) fn chunk_size(&self) -> Size {
        match self.layout {
            Layout::Tiled { tile, .. } | Layout::Pages { tile } => Size::new(tile, tile),
            Layout::Strips { rows, .. } => Size::new(self.size.width, rows.min(self.size.height)),
        }
    }

    /// How the samples of a chunk become bytes.
    pub(super) const fn coding(&self) -> Coding {
        Coding {
            bands: self.bands_per_chunk(),
            samples: if self.bits == 1 { SampleKind::Bit } else { SampleKind::U8 },
            compression: self.compression,
            predictor: self.predictor,
            chroma_subsampling: self.compression.chroma_subsampling(),
        }
    }

    /// Refuses what cannot be written.
    pub(super) fn validate(&self, path: &Path) -> Result<()> {
        let refuse = |problem: String| Err(Error::usage(path, problem));
        if self.size.area() == 0 {
            return refuse(format!("cannot write an image of {} pixels", self.size));
        }
        if !matches!(self.bands, 1 | 3) {
            return refuse(format!("cannot write {} bands, only 1 or 3", self.bands));
        }
        if !matches!((self.bits, self.bands), (8, _) | (1, 1)) {
            return refuse(format!("cannot write {} bands of {} bits", self.bands, self.bits));
        }
        match self.layout {
            Layout::Tiled { tile, .. } | Layout::Pages { tile } => {
                check_tile(tile).or_else(refuse)?;
            }
            Layout::Strips { rows: 0, .. } => return refuse("strips need at least one row".to_owned()),
            Layout::Strips { .. } => {}
        }
        let chunk = self.chunk_size();
        self.coding().validate(chunk).or_else(refuse)?;
        let is_jpeg = matches!(self.compression, Compression::Jpeg { .. });
        if is_jpeg && !chunk.height.is_multiple_of(16) && chunk.height < self.size.height {
            return refuse(format!("JPEG strips of {} rows are not a multiple of 16", chunk.height));
        }
        check_microns(self.microns_per_px).or_else(refuse)
    }
}

/// Says what is wrong with the side of a tile.
pub(super) fn check_tile(tile: u32) -> std::result::Result<(), String> {
    if tile == 0 || !tile.is_multiple_of(16) || tile > MAX_TILE_PX {
        return Err(format!("tile side {tile} is not a multiple of 16 up to {MAX_TILE_PX}"));
    }
    Ok(())
}

/// Says what is wrong with a pixel size.
pub(super) fn check_microns(microns_per_px: Option<f64>) -> std::result::Result<(), String> {
    match microns_per_px {
        Some(microns) if !(1e-4..1e7).contains(&microns) => {
            Err(format!("{microns:?} microns per pixel cannot be stored: it takes 0.0001 to 10000000"))
        }
        _ => Ok(()),
    }
}

/// Size at which 32-bit offsets end.
pub(super) const CLASSIC_LIMIT: u64 = u32::MAX as u64;

/// Largest side of a tile that is written.
const MAX_TILE_PX: u32 = 16384;
