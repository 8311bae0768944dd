//! Every reader passes the contract suite, over files of every layout.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;
use std::sync::Arc;

use hubmap_io::contract::check_reader;
use hubmap_io::{CachedSlide, Compression, Layout, MemorySlide, Size, TiffSlide, TiffSpec, TiffWriter};
use ndarray::Array3;

/// A picture whose every pixel differs from its neighbours, no multiple of any tile.
fn picture(bands: usize) -> Array3<u8> {
    Array3::from_shape_fn((203, 331, bands), |(y, x, c)| ((y * 7 + x * 13 + c * 50 + y * x / 91) % 251) as u8)
}

/// Layouts and codecs that take every path through the reader.
fn specs(bands: u8) -> Vec<TiffSpec> {
    let layouts = [
        Layout::Tiled { tile: 64, planar: false },
        Layout::Tiled { tile: 512, planar: true },
        Layout::Strips { rows: 32, planar: true },
        Layout::Strips { rows: u32::MAX, planar: false },
        Layout::Pages { tile: 128 },
    ];
    let codecs = [(Compression::None, false), (Compression::Lzw, true), (Compression::Zstd, false)];
    let mut specs = Vec::new();
    for (layout, (compression, predictor)) in layouts.into_iter().flat_map(|l| codecs.map(|c| (l, c))) {
        let size = Size::new(331, 203);
        specs.push(TiffSpec { layout, compression, predictor, bands, ..TiffSpec::rgb(size) });
    }
    specs
}

fn write(path: &Path, spec: TiffSpec, picture: &Array3<u8>) {
    let mut writer = TiffWriter::create(path, spec).unwrap();
    writer.write_rows(picture).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_slide_in_memory_keeps_the_contract() {
    for bands in [1, 3, 5] {
        let slide = MemorySlide::new(Path::new("memory"), picture(bands), Some(0.5)).unwrap();
        check_reader(&slide, &picture(bands));
    }
}

#[test]
fn a_slide_behind_a_memory_keeps_the_contract_with_room_and_without() {
    for max_bytes in [0, 1 << 20, 1 << 30] {
        for bands in [1, 3] {
            let slide = MemorySlide::new(Path::new("memory"), picture(bands), Some(0.5)).unwrap();
            check_reader(&CachedSlide::new(Box::new(slide), max_bytes), &picture(bands));
        }
    }
}

#[test]
fn tiff_slides_keep_the_contract_from_files_and_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    for bands in [1, 3] {
        for spec in specs(bands) {
            write(&path, spec, &picture(bands.into()));
            check_reader(&TiffSlide::open(&path).unwrap(), &picture(bands.into()));
            let bytes = Arc::new(std::fs::read(&path).unwrap());
            check_reader(&TiffSlide::from_source(&path, bytes).unwrap(), &picture(bands.into()));
        }
    }
}
