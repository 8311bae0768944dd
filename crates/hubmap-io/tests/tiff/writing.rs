use std::path::Path;

use hubmap_io::{
    Compression, Error, Layout, RasterReader as _, Size, TiffSlide, TiffSpec, TiffWriter, Window, write_mask,
};
use ndarray::{Array3, Axis};

use crate::{difference, pad_then_crop, picture};

/// Every combination that the writer offers for an RGB slide.
fn specs(size: Size) -> Vec<TiffSpec> {
    let layouts = [
        Layout::Tiled { tile: 64, planar: false },
        Layout::Tiled { tile: 64, planar: true },
        Layout::Strips { rows: 32, planar: false },
        Layout::Strips { rows: 48, planar: true },
        Layout::Strips { rows: u32::MAX, planar: false },
        Layout::Pages { tile: 128 },
    ];
    let codecs = [
        (Compression::None, false),
        (Compression::Lzw, false),
        (Compression::Lzw, true),
        (Compression::Deflate, false),
        (Compression::Deflate, true),
        (Compression::Zstd, false),
        (Compression::Zstd, true),
        (Compression::Jpeg { quality: 80 }, false),
        (Compression::Jpeg { quality: 95 }, false),
    ];
    let mut specs = Vec::new();
    for layout in layouts {
        for (compression, predictor) in codecs {
            for big in [false, true] {
                specs.push(TiffSpec { layout, compression, predictor, big, ..TiffSpec::rgb(size) });
            }
        }
    }
    specs
}

/// Writes `picture` in bands of uneven height.
pub(crate) fn write(path: &Path, spec: TiffSpec, picture: &Array3<u8>) {
    let mut writer = TiffWriter::create(path, spec).unwrap();
    let mut rest = picture.view();
    for n_rows in [1, 70, 3, 33].into_iter().cycle() {
        let (now, later) = rest.split_at(Axis(0), n_rows.min(rest.len_of(Axis(0))));
        writer.write_rows(&now).unwrap();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    writer.finish().unwrap();
}

#[test]
fn what_is_written_reads_back() {
    let picture = picture("rgb_chw.npy");
    let (height, width, _) = picture.dim();
    let size = Size::new(width as u32, height as u32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    for spec in specs(size) {
        let spec = TiffSpec { microns_per_px: Some(0.4985), ..spec };
        write(&path, spec.clone(), &picture);
        let slide = TiffSlide::open(&path).unwrap();
        assert_eq!((slide.size(), slide.bands()), (size, 3), "{spec:?}");
        assert!((slide.microns_per_px().unwrap() - 0.4985).abs() < 1e-7, "{spec:?}");
        let pixels = slide.read(size.window()).unwrap();
        let (worst, mean) = difference(&pixels, &picture);
        match spec.compression {
            Compression::Jpeg { quality } => {
                assert!(mean < if quality < 90 { 9.0 } else { 3.0 }, "{spec:?}: {mean}");
            }
            _ => assert_eq!(worst, 0, "{spec:?}"),
        }
        let window = Window::new(-5, 60, 200, 90);
        assert_eq!(slide.read(window).unwrap(), pad_then_crop(pixels.view(), window), "{spec:?}");
    }
}

#[test]
fn masks_and_gray_images_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.tiff");
    let size = Size::new(1037, 611);
    let value = |x: usize, y: usize| u8::from((x * x + y * 3) % 7 < 3);
    for bits in [1, 8] {
        write_mask(&path, size, bits, |y0, mut rows| {
            for ((row, column), pixel) in rows.indexed_iter_mut() {
                *pixel = 255 * value(column, y0 as usize + row);
            }
            Ok(())
        })
        .unwrap();
        let mask = hubmap_io::open(&path).unwrap();
        assert_eq!((mask.size(), mask.bands()), (size, 1));
        let window = Window::new(3, -2, 1040, 620);
        let pixels = mask.read(window).unwrap();
        for ((row, column, _), &pixel) in pixels.indexed_iter() {
            let (x, y) = (column + 3, row.wrapping_sub(2));
            let inside = x < 1037 && y < 611;
            let expected = if inside { value(x, y) * if bits == 1 { 1 } else { 255 } } else { 0 };
            assert_eq!(pixel, expected, "{bits} bits at {x}, {y}");
        }
    }
}

#[test]
fn an_unfinished_file_never_has_the_final_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    std::fs::write(&path, "the old content").unwrap();
    let picture = Array3::<u8>::zeros((10, 20, 3));
    let mut writer = TiffWriter::create(&path, TiffSpec::rgb(Size::new(20, 30))).unwrap();
    writer.write_rows(&picture).unwrap();
    assert_eq!(writer.n_rows(), 10);
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, Error::Usage { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"the old content");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn impossible_specs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    let good = TiffSpec::rgb(Size::new(100, 100));
    let bad = [
        TiffSpec { size: Size::new(0, 5), ..good.clone() },
        TiffSpec { bands: 2, ..good.clone() },
        TiffSpec { bits: 1, ..good.clone() },
        TiffSpec { layout: Layout::Tiled { tile: 100, planar: false }, ..good.clone() },
        TiffSpec { layout: Layout::Strips { rows: 0, planar: false }, ..good.clone() },
        TiffSpec { compression: Compression::None, ..good.clone() },
        TiffSpec { compression: Compression::Jpeg { quality: 0 }, predictor: false, ..good.clone() },
        TiffSpec { microns_per_px: Some(f64::NAN), ..good.clone() },
    ];
    for spec in bad {
        let error = TiffWriter::create(&path, spec.clone()).unwrap_err();
        assert!(matches!(error, Error::Usage { .. }), "{spec:?}: {error}");
    }
    let mut writer = TiffWriter::create(&path, good).unwrap();
    assert!(writer.write_rows(&Array3::zeros((1, 99, 3))).is_err());
    assert!(writer.write_rows(&Array3::zeros((101, 100, 3))).is_err());
}
