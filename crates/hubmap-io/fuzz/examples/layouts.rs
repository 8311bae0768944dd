//! Writes a small TIFF file of every layout and codec that `TiffWriter` offers: `layouts FOLDER`.

use std::path::Path;

use hubmap_io::{Compression, Layout, Size, TiffSpec, TiffWriter};
use ndarray::Array3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: layouts FOLDER")?;
    let folder = Path::new(&folder);
    for (idx, spec) in specs().into_iter().enumerate() {
        let Size { width, height } = spec.size;
        let shape = (height as usize, width as usize, usize::from(spec.bands));
        let picture =
            Array3::from_shape_fn(shape, |(y, x, band)| ((x / 3 * 11 + y / 2 * 7) ^ (band * 90)) as u8);
        let mut writer = TiffWriter::create(&folder.join(format!("layout-{idx:03}")), spec)?;
        writer.write_rows(&picture)?;
        writer.finish()?;
    }
    Ok(())
}

fn specs() -> Vec<TiffSpec> {
    let layouts = [
        Layout::Tiled { tile: 16, planar: false },
        Layout::Tiled { tile: 32, planar: true },
        Layout::Strips { rows: 16, planar: false },
        Layout::Strips { rows: 48, planar: true },
        Layout::Pages { tile: 16 },
    ];
    let codecs = [
        (Compression::None, false),
        (Compression::Lzw, true),
        (Compression::Deflate, false),
        (Compression::Deflate, true),
        (Compression::Zstd, true),
        (Compression::Jpeg { quality: 60 }, false),
        (Compression::Jpeg { quality: 95 }, false),
    ];
    let mut specs = Vec::new();
    for layout in layouts {
        for (compression, predictor) in codecs {
            let size = Size::new(41, 37);
            let big = specs.len() % 2 == 0;
            let rgb = TiffSpec { layout, compression, predictor, big, ..TiffSpec::rgb(size) };
            specs.push(TiffSpec { bands: 1, microns_per_px: Some(0.5), ..rgb.clone() });
            if !predictor && !matches!(compression, Compression::Jpeg { .. }) {
                specs.push(TiffSpec { bands: 1, bits: 1, ..rgb.clone() });
            }
            specs.push(rgb);
        }
    }
    specs
}
