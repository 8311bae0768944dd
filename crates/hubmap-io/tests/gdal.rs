//! `GdalSlide` keeps the contract, and shows the pixels that `TiffSlide` shows.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;

use gdal::raster::{
    Buffer, ColorEntry, ColorInterpretation, ColorTable, PaletteInterpretation, RasterCreationOptions,
};
use gdal::{Dataset, DriverManager, Metadata as _};
use hubmap_io::contract::check_reader;
use hubmap_io::{
    Compression, Error, GdalSlide, Layout, MemorySlide, RasterReader, ReadOptions, SampleKind, Size,
    TiffSlide, TiffSpec, TiffWriter, Window,
};
use hubmap_test_support::{fixture, json};
use ndarray::{Array3, s};

const WIDTH: usize = 331;
const HEIGHT: usize = 203;

/// A picture whose every pixel differs from its neighbours, no multiple of any tile.
fn picture(bands: usize) -> Array3<u8> {
    let value = |(y, x, c)| ((y * 7 + x * 13 + c * 50 + y * x / 91) % 251) as u8;
    Array3::from_shape_fn((HEIGHT, WIDTH, bands), value)
}

/// A TIFF written by GDAL with `options` such as `NBITS=1`; `finish` adds what is no sample.
fn write_with_gdal(path: &Path, picture: &Array3<u16>, options: &[&str], finish: impl FnOnce(&mut Dataset)) {
    let (height, width, n_bands) = picture.dim();
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let options: RasterCreationOptions = options.iter().copied().collect();
    let is_wide = picture.iter().any(|&value| value > 255);
    let mut dataset = if is_wide {
        driver.create_with_band_type_with_options::<u16, _>(path, width, height, n_bands, &options)
    } else {
        driver.create_with_band_type_with_options::<u8, _>(path, width, height, n_bands, &options)
    }
    .unwrap();
    finish(&mut dataset);
    for band in 0..n_bands {
        let samples: Vec<u16> = picture.slice(s![.., .., band]).iter().copied().collect();
        let mut buffer = Buffer::new((width, height), samples);
        dataset.rasterband(band + 1).unwrap().write((0, 0), (width, height), &mut buffer).unwrap();
    }
    dataset.close().unwrap();
}

/// Both readers of one file agree on everything that both know; returns GDAL's.
fn compare(path: &Path) -> GdalSlide {
    let name = path.display();
    let (ours, theirs) = (TiffSlide::open(path).unwrap(), GdalSlide::open(path).unwrap());
    assert_eq!((theirs.size(), theirs.bands()), (ours.size(), ours.bands()), "{name}");
    assert_eq!(theirs.sample_kind(), ours.sample_kind(), "{name}");
    let microns = [&theirs as &dyn RasterReader, &ours].map(|slide| slide.microns_per_px().unwrap_or(0.0));
    assert!((microns[0] - microns[1]).abs() < 1e-6, "{name}: {microns:?} µm per pixel");
    assert_eq!(theirs.description(), ours.description(), "{name}");
    let sizes = |slide: &dyn RasterReader| slide.levels().iter().map(|l| l.size).collect::<Vec<_>>();
    assert_eq!(sizes(&theirs), sizes(&ours), "{name}");
    for (level, found) in ours.levels().iter().enumerate() {
        let Size { width, height } = found.size;
        for window in [found.size.window(), Window::new(-5, 7, width / 2 + 1, height + 4)] {
            let options = ReadOptions { level, fill: 200, ..ReadOptions::default() };
            let pixels = [&theirs as &dyn RasterReader, &ours].map(|slide| slide.read_u16(window, &options));
            let [theirs, ours] = pixels.map(Result::unwrap);
            assert!(theirs == ours, "{name}: {window} of level {level}");
        }
    }
    theirs
}

#[test]
fn gdal_slides_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    let layouts = [
        (Layout::Tiled { tile: 64, planar: false }, Compression::None, false),
        (Layout::Tiled { tile: 512, planar: true }, Compression::Lzw, true),
        (Layout::Strips { rows: 32, planar: true }, Compression::Zstd, false),
        (Layout::Strips { rows: u32::MAX, planar: false }, Compression::Lzw, false),
        (Layout::Pages { tile: 128 }, Compression::Deflate, true),
    ];
    for bands in [1, 3] {
        for (layout, compression, predictor) in layouts {
            let size = Size::new(WIDTH as u32, HEIGHT as u32);
            let spec = TiffSpec { layout, compression, predictor, bands, ..TiffSpec::rgb(size) };
            let spec = TiffSpec { microns_per_px: Some(0.2527), ..spec };
            let mut writer = TiffWriter::create(&path, spec).unwrap();
            writer.write_rows(&picture(bands.into())).unwrap();
            writer.finish().unwrap();
            let slide = compare(&path);
            assert!(slide.microns_per_px().is_some_and(|microns| (microns - 0.2527).abs() < 1e-6));
            check_reader(&slide, &picture(bands.into()));
        }
    }
}

#[test]
fn lossless_fixtures_read_as_tiff_slides_do() {
    let index = json("numerics/11_tiff/index.json");
    let mut n_compared = 0;
    for file in index["files"].as_array().unwrap() {
        let name = file["file"].as_str().unwrap();
        // GDAL knows nothing of the channels of OME-XML; to it the first three pages are a slide.
        if file["tolerance"] == 0 && !name.starts_with("ome") {
            compare(&fixture(&format!("numerics/11_tiff/{name}")));
            n_compared += 1;
        }
    }
    assert_eq!(n_compared, 21);
}

#[test]
fn every_kind_of_sample_reads_as_tiff_slides_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    let wide = |bands| picture(bands).mapv(u16::from);
    let write = |picture: Array3<u16>, options: &[&str]| {
        write_with_gdal(&path, &picture, options, |_| {});
        compare(&path)
    };
    for inverted in [&[][..], &["PHOTOMETRIC=MINISWHITE"]] {
        for (bits, n_values, most) in [("NBITS=1", 2, 1), ("NBITS=2", 4, 255), ("NBITS=4", 16, 255)] {
            let slide = write(wide(1) % n_values, &[&[bits][..], inverted].concat());
            let pixels = slide.read(slide.size().window()).unwrap();
            assert_eq!((pixels.dim().2, pixels.iter().max()), (1, Some(&most)), "{bits} {inverted:?}");
            check_reader(&slide, &pixels);
        }
        assert_eq!(write(wide(1), inverted).bands(), 1);
    }
    assert_eq!(write(wide(2), &["ALPHA=YES"]).bands(), 1);
    assert_eq!(write(wide(4), &["PHOTOMETRIC=RGB", "ALPHA=YES"]).bands(), 3);
    assert_eq!(write(wide(4), &["PHOTOMETRIC=CMYK"]).bands(), 3);
    for (bands, options, shown) in
        [(1, &[][..], 1), (2, &[], 2), (4, &["PHOTOMETRIC=RGB"], 3), (3, &["NBITS=12"], 3)]
    {
        let slide = write(wide(bands) * 16, options);
        assert_eq!((slide.bands(), slide.sample_kind()), (shown, SampleKind::U16));
        let refused = slide.read(Window::new(0, 0, 4, 4));
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
}

#[test]
fn palettes_expand_to_rgb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    for (n_colors, options) in [(256_u16, &[][..]), (16, &["NBITS=4"]), (2, &["NBITS=1"])] {
        let idxs = picture(1).mapv(u16::from) % n_colors;
        let color = |idx: u16| [idx % 200 + 3, (idx * 3) % 251, 255 - idx];
        write_with_gdal(&path, &idxs, options, |dataset| {
            let mut colors = ColorTable::new(PaletteInterpretation::Rgba);
            for idx in 0..n_colors {
                let [r, g, b] = color(idx).map(u16::cast_signed);
                colors.set_color_entry(idx, &ColorEntry::rgba(r, g, b, 255));
            }
            dataset.rasterband(1).unwrap().set_color_table(&colors);
        });
        let expected = Array3::from_shape_fn((HEIGHT, WIDTH, 3), |(y, x, c)| color(idxs[(y, x, 0)])[c] as u8);
        check_reader(&compare(&path), &expected);
    }
}

#[test]
fn overviews_are_levels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    write_with_gdal(&path, &picture(3).mapv(u16::from), &["TILED=YES"], |dataset| {
        dataset.set_metadata_item("TIFFTAG_IMAGEDESCRIPTION", "a slide", "").unwrap();
    });
    let options = gdal::DatasetOptions {
        open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE,
        ..gdal::DatasetOptions::default()
    };
    let mut dataset = Dataset::open_ex(&path, options).unwrap();
    dataset.build_overviews("AVERAGE", &[4, 2], &[]).unwrap();
    dataset.close().unwrap();
    let slide = compare(&path);
    let sizes: Vec<Size> = slide.levels().iter().map(|level| level.size).collect();
    assert_eq!(sizes, [Size::new(331, 203), Size::new(166, 102), Size::new(83, 51)]);
    assert_eq!(slide.description(), Some("a slide"));
    check_reader(&slide, &picture(3));
}

#[test]
fn formats_that_are_not_tiff_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let tiff = folder.path().join("slide.tiff");
    write_with_gdal(&tiff, &picture(3).mapv(u16::from), &[], |_| {});
    for (driver, name) in [("PNG", "slide.png"), ("HFA", "slide.img"), ("BMP", "slide.bmp")] {
        let path = folder.path().join(name);
        let dataset = Dataset::open(&tiff).unwrap();
        let driver = DriverManager::get_driver_by_name(driver).unwrap();
        dataset.create_copy(&driver, &path, &RasterCreationOptions::default()).unwrap().close().unwrap();
        let slide = GdalSlide::open(&path).unwrap();
        check_reader(&slide, &picture(3));
        let memory = MemorySlide::new(&path, picture(3), None).unwrap();
        let window = Window::new(300, 190, 64, 64);
        assert_eq!(slide.read(window).unwrap(), memory.read(window).unwrap());
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    let missing = GdalSlide::open(&path).unwrap_err();
    assert!(matches!(&missing, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));

    std::fs::write(&path, "no image").unwrap();
    let foreign = GdalSlide::open(&path).unwrap_err();
    assert!(matches!(&foreign, Error::Format { .. }), "{foreign}");

    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    driver.create_with_band_type::<f32, _>(&path, 30, 20, 1).unwrap().close().unwrap();
    let floats = GdalSlide::open(&path).unwrap_err();
    assert!(matches!(&floats, Error::Unsupported { feature, .. } if feature.contains("Float32")), "{floats}");

    write_with_gdal(&path, &picture(4).mapv(u16::from), &[], |dataset| {
        dataset.rasterband(1).unwrap().set_color_interpretation(ColorInterpretation::CyanBand).unwrap();
    });
    let inks = GdalSlide::open(&path).unwrap_err();
    assert!(matches!(&inks, Error::Unsupported { feature, .. } if feature.contains("Cyan")), "{inks}");
    std::fs::remove_file(folder.path().join("slide.tiff.aux.xml")).unwrap_or_default();

    write_with_gdal(&path, &picture(3).mapv(u16::from), &["COMPRESS=LZW", "TILED=YES"], |_| {});
    let bytes = std::fs::read(&path).unwrap();
    let damaged: Vec<u8> =
        bytes.iter().enumerate().map(|(i, &b)| if i > bytes.len() / 2 { 255 } else { b }).collect();
    std::fs::write(&path, damaged).unwrap();
    let slide = GdalSlide::open(&path).unwrap();
    let cut = slide.read(slide.size().window()).unwrap_err();
    assert!(matches!(&cut, Error::Format { .. }), "{cut}");

    for error in [missing, foreign, floats, inks, cut] {
        assert_eq!(error.path(), path);
        assert!(error.to_string().contains("slide.tiff"), "{error}");
    }
}

#[test]
fn gdal_prints_nothing() {
    let test = "what_cannot_be_read_is_an_error_that_names_the_file";
    let this = std::env::current_exe().unwrap();
    let ran = hubmap_test_support::run(this, ["--exact", test, "--nocapture"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
    assert!(!ran.stdout.contains("ERROR") && !ran.stdout.contains("Warning"), "{}", ran.stdout);
}
