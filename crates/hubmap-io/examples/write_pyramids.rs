//! Writes pyramids of every kind into a folder, for `tests/interop/check_pyramids.py` to open with other libraries.
//!
//! `cargo run -p hubmap-io --example write_pyramids -- FOLDER`
//!
//! The script computes the same pictures; `pyramids.json` tells it how each file was made.

use std::path::{Path, PathBuf};

use hubmap_io::{Compression, PyramidSpec, PyramidWriter, Reduction, Sample, SampleKind, Size};
use ndarray::Array3;
use serde_json::json;

type AnyError = Box<dyn std::error::Error>;

/// Uneven, so that tiles at the edges are cropped on every level.
const SIZE: Size = Size::new(1501, 1003);
const TILE: u32 = 128;
const MICRONS_PER_PX: f64 = 0.5;

/// Columns of tiles that never arrive.
const ABSENT_COLUMNS: std::ops::Range<u32> = 8..10;

/// A disc repeated on a coarse grid, 255 inside.
fn mask(x: usize, y: usize) -> u8 {
    let (dx, dy) = ((x % 400).abs_diff(200), (y % 300).abs_diff(150));
    if dx * dx + dy * dy < 90 * 90 { 255 } else { 0 }
}

/// Smooth inside the discs, 0 to 255.
fn probability(x: usize, y: usize) -> u8 {
    if mask(x, y) == 0 { 0 } else { ((x * 3 + y * 2) % 256) as u8 }
}

/// Soft gradients up and down again, which JPEG keeps well.
fn light(x: usize, y: usize, band: usize) -> u8 {
    let wave = (x / 8 + y / 8 * (band + 1) + band * 40) % 400;
    wave.min(400 - wave) as u8
}

fn write<T: Sample>(
    path: &Path,
    spec: &PyramidSpec,
    pixel: impl Fn(usize, usize, usize) -> T,
) -> hubmap_io::Result<()> {
    let writer = PyramidWriter::create(path, spec.clone())?;
    let (across, down) = (spec.size.width.div_ceil(TILE), spec.size.height.div_ceil(TILE));
    // Right to left, so that no reader profits from an order.
    for column in (0..across).rev().filter(|column| !ABSENT_COLUMNS.contains(column)) {
        for row in 0..down {
            let (x, y) = ((column * TILE) as usize, (row * TILE) as usize);
            let width = (SIZE.width as usize - x).min(TILE as usize);
            let height = (SIZE.height as usize - y).min(TILE as usize);
            let shape = (height, width, spec.bands as usize);
            let tile = Array3::from_shape_fn(shape, |(dy, dx, band)| pixel(x + dx, y + dy, band));
            writer.write_tile(column, row, &tile)?;
        }
    }
    writer.finish()
}

fn specs() -> Vec<(&'static str, PyramidSpec)> {
    let masks = |samples| PyramidSpec { tile: TILE, ..PyramidSpec::mask(SIZE, samples) };
    let maps = |samples| PyramidSpec { tile: TILE, ..PyramidSpec::probabilities(SIZE, samples) };
    let slide = PyramidSpec { tile: TILE, ..PyramidSpec::rgb(SIZE) };
    let jpeg = Compression::Jpeg { quality: 95 };
    vec![
        ("mask_bit_deflate", masks(SampleKind::Bit)),
        ("mask_bit_lzw", PyramidSpec { compression: Compression::Lzw, ..masks(SampleKind::Bit) }),
        ("mask_u8_deflate", masks(SampleKind::U8)),
        ("mask_u8_lzw", PyramidSpec { compression: Compression::Lzw, ..masks(SampleKind::U8) }),
        ("mask_u8_zstd", PyramidSpec { compression: Compression::Zstd, ..masks(SampleKind::U8) }),
        ("mask_u8_none", PyramidSpec { compression: Compression::None, ..masks(SampleKind::U8) }),
        ("map_u8", maps(SampleKind::U8)),
        ("map_u16", maps(SampleKind::U16)),
        ("map_f32", maps(SampleKind::F32)),
        ("map_f32_zstd", PyramidSpec { compression: Compression::Zstd, ..maps(SampleKind::F32) }),
        ("slide_deflate", slide.clone()),
        ("slide_jpeg", PyramidSpec { compression: jpeg, predictor: false, ..slide }),
    ]
}

fn main() -> Result<(), AnyError> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("FOLDER is missing")?);
    std::fs::create_dir_all(&folder)?;
    let mut entries = Vec::new();
    for (name, spec) in specs() {
        for ome in [false, true] {
            let file = if ome { format!("{name}.ome.tiff") } else { format!("{name}.tiff") };
            let spec = PyramidSpec { ome, microns_per_px: Some(MICRONS_PER_PX), ..spec.clone() };
            let path = folder.join(&file);
            match (spec.samples, spec.bands) {
                (SampleKind::Bit | SampleKind::U8, 3) => write(&path, &spec, light)?,
                (SampleKind::Bit | SampleKind::U8, _) => match spec.reduction {
                    Reduction::Nearest => write(&path, &spec, |x, y, _| mask(x, y))?,
                    Reduction::Mean => write(&path, &spec, |x, y, _| probability(x, y))?,
                },
                (SampleKind::U16, _) => write(&path, &spec, |x, y, _| u16::from(probability(x, y)) * 257)?,
                (SampleKind::F32, _) => write(&path, &spec, |x, y, _| f32::from(probability(x, y)) / 256.0)?,
            }
            entries.push(json!({
                "file": file,
                "width": SIZE.width,
                "height": SIZE.height,
                "tile": TILE,
                "absent_columns": [ABSENT_COLUMNS.start, ABSENT_COLUMNS.end],
                "bands": spec.bands,
                "bits": spec.samples.bits(),
                "is_mean": spec.reduction == Reduction::Mean,
                "is_lossy": matches!(spec.compression, Compression::Jpeg { .. }),
                "is_ome": ome,
                "compression": format!("{:?}", spec.compression),
                "microns_per_px": MICRONS_PER_PX,
                "levels": spec.level_sizes().iter().map(|size| [size.width, size.height]).collect::<Vec<_>>(),
            }));
        }
    }
    std::fs::write(folder.join("pyramids.json"), serde_json::to_vec_pretty(&entries)?)?;
    Ok(())
}
