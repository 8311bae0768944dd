//! Tag numbers and code values of TIFF 6.0, its supplements and `BigTIFF`.

pub(super) const NEW_SUBFILE_TYPE: u16 = 254;
pub(super) const IMAGE_WIDTH: u16 = 256;
pub(super) const IMAGE_LENGTH: u16 = 257;
pub(super) const BITS_PER_SAMPLE: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
pub(super) const FILL_ORDER: u16 = 266;
pub(super) const IMAGE_DESCRIPTION: u16 = 270;
pub(super) const STRIP_OFFSETS: u16 = 273;
pub(super) const SAMPLES_PER_PIXEL: u16 = 277;
pub(super) const ROWS_PER_STRIP: u16 = 278;
pub(super) const STRIP_BYTE_COUNTS: u16 = 279;
pub(super) const X_RESOLUTION: u16 = 282;
pub(super) const Y_RESOLUTION: u16 = 283;
pub(super) const PLANAR_CONFIG: u16 = 284;
pub(super) const T4_OPTIONS: u16 = 292;
pub(super) const RESOLUTION_UNIT: u16 = 296;
pub(super) const SOFTWARE: u16 = 305;
pub(super) const PREDICTOR: u16 = 317;
pub(super) const COLOR_MAP: u16 = 320;
pub(super) const TILE_WIDTH: u16 = 322;
pub(super) const TILE_LENGTH: u16 = 323;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_BYTE_COUNTS: u16 = 325;
pub(super) const SUB_IFDS: u16 = 330;
pub(super) const SAMPLE_FORMAT: u16 = 339;
pub(super) const JPEG_TABLES: u16 = 347;
pub(super) const JPEG_PROC: u16 = 512;
pub(super) const JPEG_INTERCHANGE_FORMAT: u16 = 513;
pub(super) const JPEG_INTERCHANGE_FORMAT_LENGTH: u16 = 514;
pub(super) const JPEG_RESTART_INTERVAL: u16 = 515;
pub(super) const JPEG_Q_TABLES: u16 = 519;
pub(super) const JPEG_DC_TABLES: u16 = 520;
pub(super) const JPEG_AC_TABLES: u16 = 521;
pub(super) const YCBCR_COEFFICIENTS: u16 = 529;
pub(super) const YCBCR_SUBSAMPLING: u16 = 530;
pub(super) const REFERENCE_BLACK_WHITE: u16 = 532;

/// Values of the Compression tag.
pub(super) mod codec {
    pub(in crate::tiff) const NONE: u16 = 1;
    pub(in crate::tiff) const FAX_RLE: u16 = 2;
    pub(in crate::tiff) const FAX_3: u16 = 3;
    pub(in crate::tiff) const FAX_4: u16 = 4;
    pub(in crate::tiff) const LZW: u16 = 5;
    pub(in crate::tiff) const OLD_JPEG: u16 = 6;
    pub(in crate::tiff) const JPEG: u16 = 7;
    pub(in crate::tiff) const DEFLATE: u16 = 8;
    pub(in crate::tiff) const PACK_BITS: u16 = 32773;
    pub(in crate::tiff) const OLD_DEFLATE: u16 = 32946;
    /// JPEG 2000 of Aperio's slides, and the code that others use.
    pub(in crate::tiff) const APERIO_JPEG_2000_YCBCR: u16 = 33003;
    pub(in crate::tiff) const APERIO_JPEG_2000_RGB: u16 = 33005;
    pub(in crate::tiff) const JPEG_2000: u16 = 34712;
    pub(in crate::tiff) const LZMA: u16 = 34925;
    pub(in crate::tiff) const ZSTD: u16 = 50000;
    pub(in crate::tiff) const WEBP: u16 = 50001;
}

/// Values of the `PhotometricInterpretation` tag.
pub(super) mod photometric {
    pub(in crate::tiff) const WHITE_IS_ZERO: u16 = 0;
    pub(in crate::tiff) const BLACK_IS_ZERO: u16 = 1;
    pub(in crate::tiff) const RGB: u16 = 2;
    pub(in crate::tiff) const PALETTE: u16 = 3;
    pub(in crate::tiff) const MASK: u16 = 4;
    pub(in crate::tiff) const CMYK: u16 = 5;
    pub(in crate::tiff) const YCBCR: u16 = 6;
}

/// Values of the `SampleFormat` tag.
pub(super) mod sample_format {
    pub(in crate::tiff) const FLOAT: u32 = 3;
    pub(in crate::tiff) const COMPLEX_INT: u32 = 5;
    pub(in crate::tiff) const COMPLEX_FLOAT: u32 = 6;
}

/// Bits of the `NewSubfileType` tag.
pub(super) mod subfile {
    /// A smaller copy of another page.
    pub(in crate::tiff) const REDUCED: u64 = 1;
    /// A transparency mask of another page.
    pub(in crate::tiff) const MASK: u64 = 4;
}
