//! What a page says about itself, before anything is decoded.

use super::ifd::Directory;
use super::old_jpeg;
use super::source::Source;
use super::tag::{self, codec, photometric};
use crate::{Result, Size};

/// One page (IFD) of a TIFF file as its tags describe it.
///
/// Values come straight from the file: a page can be described that cannot be read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PageInfo {
    /// Place in the file: `3` for the fourth page, `0/sub1` for the second child (`SubIFD`) of the first.
    pub name: String,
    /// Width and height in pixels; 0 where the tag is missing.
    pub size: Size,
    /// Samples per pixel.
    pub bands: u32,
    /// Bits of each sample, the most if they differ.
    pub bits: u32,
    /// `SampleFormat`: 1 unsigned, 2 signed, 3 floating point, 4 unknown.
    pub sample_format: u32,
    /// `Compression` code; see [`PageInfo::compression_name`].
    pub compression: u32,
    /// `PhotometricInterpretation` code; see [`PageInfo::photometric_name`].
    pub photometric: u32,
    /// `Predictor` code: 1 none, 2 horizontal differences, 3 floating point.
    pub predictor: u32,
    /// Whether the chunks are tiles; otherwise they are strips.
    pub is_tiled: bool,
    /// Columns and rows of a full chunk.
    pub chunk: Size,
    /// Whether each band has chunks of its own.
    pub is_planar: bool,
    /// `NewSubfileType` bits: 1 reduced-resolution copy, 2 page of many, 4 mask.
    pub subfile_type: u32,
    /// Microns per pixel along x, if the page or its description states it.
    pub microns_per_px: Option<f64>,
}

impl PageInfo {
    /// Reads the describing tags; damaged ones count as missing.
    pub(super) fn read(source: &Source, directory: &Directory) -> Self {
        let number = |tag| lenient(directory.number(source, tag));
        let small = |tag, default| number(tag).unwrap_or(default);
        let size = Size::new(small(tag::IMAGE_WIDTH, 0), small(tag::IMAGE_LENGTH, 0));
        let is_tiled = directory.has(tag::TILE_WIDTH) || directory.has(tag::TILE_OFFSETS);
        let chunk = if is_tiled {
            Size::new(small(tag::TILE_WIDTH, 0), small(tag::TILE_LENGTH, 0))
        } else {
            // 0 stands for all rows, as if the tag were missing.
            let rows = number(tag::ROWS_PER_STRIP).filter(|&rows| rows > 0).unwrap_or(u32::MAX);
            Size::new(size.width, rows.min(size.height))
        };
        let bits = directory.numbers(source, tag::BITS_PER_SAMPLE).ok().flatten();
        let bits = bits.and_then(|bits| bits.into_iter().max()).unwrap_or(1);
        let mut info = Self {
            name: directory.name.clone(),
            size,
            bands: small(tag::SAMPLES_PER_PIXEL, 1),
            bits: u32::try_from(bits).unwrap_or(u32::MAX),
            sample_format: small(tag::SAMPLE_FORMAT, 1),
            compression: small(tag::COMPRESSION, 1),
            photometric: small(tag::PHOTOMETRIC, u32::from(photometric::BLACK_IS_ZERO)),
            predictor: small(tag::PREDICTOR, 1),
            is_tiled,
            chunk,
            is_planar: small(tag::PLANAR_CONFIG, 1) == 2,
            subfile_type: small(tag::NEW_SUBFILE_TYPE, 0),
            microns_per_px: microns_per_px(source, directory),
        };
        if let Some((size, bands)) = old_jpeg::thumbnail(source, directory) {
            let color = if bands == 3 { photometric::YCBCR } else { photometric::BLACK_IS_ZERO };
            (info.size, info.chunk, info.bands, info.bits) = (size, size, bands as u32, 8);
            (info.compression, info.photometric) = (u32::from(codec::OLD_JPEG), u32::from(color));
        }
        info
    }

    /// Name of the codec, such as `LZW`.
    pub fn compression_name(&self) -> &'static str {
        match u16::try_from(self.compression) {
            Ok(codec::NONE) => "none",
            Ok(codec::FAX_RLE) => "CCITT RLE",
            Ok(codec::FAX_3) => "CCITT fax 3",
            Ok(codec::FAX_4) => "CCITT fax 4",
            Ok(codec::LZW) => "LZW",
            Ok(codec::OLD_JPEG) => "old JPEG",
            Ok(codec::JPEG) => "JPEG",
            Ok(codec::DEFLATE | codec::OLD_DEFLATE) => "Deflate",
            Ok(codec::PACK_BITS) => "PackBits",
            Ok(codec::APERIO_JPEG_2000_YCBCR | codec::APERIO_JPEG_2000_RGB) => "Aperio JPEG 2000",
            Ok(codec::JPEG_2000) => "JPEG 2000",
            Ok(34887) => "LERC",
            Ok(codec::LZMA) => "LZMA",
            Ok(codec::ZSTD) => "ZSTD",
            Ok(codec::WEBP) => "WebP",
            Ok(50002) => "JPEG XL",
            _ => "unknown",
        }
    }

    /// Name of the colour space, such as `YCbCr`.
    pub fn photometric_name(&self) -> &'static str {
        match u16::try_from(self.photometric) {
            Ok(photometric::WHITE_IS_ZERO) => "white is zero",
            Ok(photometric::BLACK_IS_ZERO) => "black is zero",
            Ok(photometric::RGB) => "RGB",
            Ok(photometric::PALETTE) => "palette",
            Ok(4) => "mask",
            Ok(photometric::CMYK) => "CMYK",
            Ok(photometric::YCBCR) => "YCbCr",
            Ok(8..=10) => "CIELAB",
            Ok(32803) => "colour filter array",
            Ok(34892) => "linear raw",
            _ => "unknown",
        }
    }

    /// Whether the page is a smaller copy of another one.
    pub fn is_reduced(&self) -> bool {
        u64::from(self.subfile_type) & tag::subfile::REDUCED != 0
    }

    /// Whether the page is the transparency mask of another one.
    pub fn is_mask(&self) -> bool {
        u64::from(self.subfile_type) & tag::subfile::MASK != 0
    }
}

fn lenient(number: Result<Option<u64>>) -> Option<u32> {
    number.ok().flatten().and_then(|number| u32::try_from(number).ok())
}

/// Pixels wider than this come from a print resolution such as 72 dpi, not from a microscope.
const MAX_MICRONS_PER_PX: f64 = 50.0;

fn microns_per_px(source: &Source, directory: &Directory) -> Option<f64> {
    let description = directory.text(source, tag::IMAGE_DESCRIPTION).unwrap_or_default();
    let unit = lenient(directory.number(source, tag::RESOLUTION_UNIT));
    stated_microns_per_px(&description, directory.real(source, tag::X_RESOLUTION), unit)
}

/// Pixel size from what Aperio and OME write into the description, else from `XResolution` and `ResolutionUnit`.
pub(crate) fn stated_microns_per_px(
    description: &str,
    x_resolution: Option<f64>,
    resolution_unit: Option<u32>,
) -> Option<f64> {
    let plausible = |microns: &f64| *microns > 0.0 && *microns < MAX_MICRONS_PER_PX;
    from_description(description).filter(plausible).or_else(|| {
        let microns_per_unit = match resolution_unit.unwrap_or(2) {
            2 => 25_400.0,
            3 => 10_000.0,
            _ => return None,
        };
        Some(microns_per_unit / x_resolution?).filter(plausible)
    })
}

/// `MPP = 0.499` of Aperio, or `PhysicalSizeX="0.5"` of OME, whose unit is µm unless stated.
fn from_description(text: &str) -> Option<f64> {
    if let Some((_, rest)) = text.split_once("PhysicalSizeX=\"") {
        let value: f64 = rest.split('"').next()?.parse().ok()?;
        let unit = text.split_once("PhysicalSizeXUnit=\"").and_then(|(_, rest)| rest.split('"').next());
        return match unit {
            None | Some("µm" | "\u{3bc}m" | "um" | "&#181;m" | "&#xB5;m") => Some(value),
            Some("nm") => Some(value / 1e3),
            Some("mm") => Some(value * 1e3),
            Some(_) => None,
        };
    }
    let field = text.split('|').map(str::trim).find_map(|field| field.strip_prefix("MPP"))?;
    field.trim_start().strip_prefix('=')?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::from_description;

    #[test]
    fn reads_pixel_sizes_of_aperio_and_ome() {
        let aperio =
            "Aperio Image Library v10.0\r\n46920x33014 (256x256)|AppMag = 20|MPP = 0.4990|Left = 25.6";
        assert_eq!(from_description(aperio), Some(0.499));
        let ome = r#"<Pixels PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.25">"#;
        assert_eq!(from_description(ome), Some(0.5));
        assert_eq!(from_description(r#"<Pixels PhysicalSizeX="0.65" PhysicalSizeXUnit="µm">"#), Some(0.65));
        assert_eq!(from_description(r#"<Pixels PhysicalSizeX="3" PhysicalSizeXUnit="pixel">"#), None);
        assert_eq!(from_description("MPP"), None);
        assert_eq!(from_description(""), None);
    }
}
