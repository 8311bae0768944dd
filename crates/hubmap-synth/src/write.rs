//! Slides as TIFF files.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use hubmap_io::{Compression, Layout, TiffSpec, TiffWriter, Window};

use crate::SyntheticSlide;

/// How a slide is stored: one of the layouts and codecs that the competition's slides come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFormat {
    /// Chunks and the place of the bands.
    pub layout: Layout,
    /// Codec of the chunks.
    pub compression: Compression,
    /// `BigTIFF` rather than classic TIFF, which ends at 4 GiB.
    pub big: bool,
}

impl FileFormat {
    /// All combinations of tiles, strips, planes and pages with none, LZW, Deflate, ZSTD and JPEG, alternating
    /// between `BigTIFF` and classic TIFF.
    pub fn all() -> Vec<Self> {
        let codecs = [
            Compression::Jpeg { quality: 85 },
            Compression::Lzw,
            Compression::None,
            Compression::Deflate,
            Compression::Zstd,
        ];
        // Neighbours in the list differ in both, so that a few slides show much of the variety.
        (0..20_usize)
            .map(|i| Self { layout: LAYOUTS[i % 4].1, compression: codecs[i % 5], big: i % 3 != 2 })
            .collect()
    }
}

impl Default for FileFormat {
    /// Tiles with JPEG in a `BigTIFF` file: what most slide scanners write.
    fn default() -> Self {
        Self { layout: LAYOUTS[0].1, compression: Compression::Jpeg { quality: 90 }, big: true }
    }
}

/// Layouts by name.
const LAYOUTS: [(&str, Layout); 4] = [
    ("tiled", Layout::Tiled { tile: 256, planar: false }),
    ("planar", Layout::Tiled { tile: 256, planar: true }),
    ("strips", Layout::Strips { rows: 64, planar: false }),
    ("pages", Layout::Pages { tile: 256 }),
];

impl FromStr for FileFormat {
    type Err = anyhow::Error;

    /// `LAYOUT-CODEC` or `LAYOUT-CODEC-classic`: a layout of `tiled`, `planar`, `strips` and `pages`, a codec as
    /// [`Compression`] reads it.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('-');
        let name = parts.next().unwrap_or_default();
        let Some(&(_, layout)) = LAYOUTS.iter().find(|(known, _)| *known == name) else {
            bail!("{text:?}: unknown layout {name:?}, not one of tiled, planar, strips, pages");
        };
        let codec = parts.next().unwrap_or("none");
        let compression = codec.parse().map_err(anyhow::Error::msg).with_context(|| format!("{text:?}"))?;
        let big = match parts.next() {
            None | Some("big") => true,
            Some("classic") => false,
            Some(other) => bail!("{text:?}: {other:?} is neither big nor classic"),
        };
        if let Some(rest) = parts.next() {
            bail!("{text:?}: nothing can follow, but there is {rest:?}");
        }
        Ok(Self { layout, compression, big })
    }
}

/// Writes a slide as a TIFF file, in memory for a few hundred rows whatever its size.
///
/// The file appears under its name only when it is complete.
pub fn write_slide(path: &Path, slide: &SyntheticSlide, format: FileFormat) -> Result<()> {
    /// Rows that are rendered at once.
    const BAND_ROWS: u32 = 256;
    let size = slide.size();
    let can_predict =
        matches!(format.compression, Compression::Lzw | Compression::Deflate | Compression::Zstd);
    let spec = TiffSpec {
        layout: format.layout,
        compression: format.compression,
        predictor: can_predict,
        big: format.big,
        microns_per_px: Some(slide.spec().microns_per_px),
        ..TiffSpec::rgb(size)
    };
    let mut writer = TiffWriter::create(path, spec)?;
    for y0 in (0..size.height).step_by(BAND_ROWS as usize) {
        let n_rows = BAND_ROWS.min(size.height - y0);
        writer.write_rows(&slide.render(Window::new(0, y0 as i64, size.width, n_rows)))?;
    }
    writer.finish()?;
    Ok(())
}
