//! What belongs to a slide: levels, channels, the images beside it, samples of 16 bits, reduced reads.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use hubmap_io::{
    Compression, Error, LevelUse, PyramidSpec, PyramidWriter, RasterReader as _, ReadOptions, Reduction,
    SampleKind, ScaleOptions, Size, TiffSlide, Window, area_downscale,
};
use hubmap_test_support::fixture;
use ndarray::{Array3, Axis, concatenate, s};

fn open(name: &str) -> TiffSlide {
    TiffSlide::open(&fixture(&format!("slides/{name}"))).unwrap()
}

/// The pixels that `make.py` gives the picture `k`.
fn picture(height: usize, width: usize, bands: usize, k: usize) -> Array3<u8> {
    Array3::from_shape_fn((height, width, bands), |(y, x, c)| {
        ((y * 7 + x * 13 + c * 50 + k * 31 + y * x / 91) % 251) as u8
    })
}

fn level(slide: &TiffSlide, level: usize) -> Array3<u8> {
    let window = slide.levels()[level].size.window();
    slide.read_array(window, &ReadOptions { level, ..ReadOptions::default() }).unwrap()
}

#[test]
fn an_aperio_slide_has_its_levels_and_the_images_beside_it() {
    let slide = open("aperio.svs");
    assert_eq!((slide.vendor(), slide.microns_per_px()), ("aperio", Some(0.499)));
    assert!(slide.description().unwrap().contains("AppMag = 20"));
    let levels = slide.levels();
    assert_eq!(levels.len(), 2);
    assert_eq!((levels[1].size, levels[1].downsample, levels[1].is_exact), (Size::new(75, 50), 4.0, false));
    assert!(level(&slide, 0) == picture(200, 300, 3, 0));
    assert!(level(&slide, 1) == picture(50, 75, 3, 2));
    let beside = [("thumbnail", (50, 75), 1), ("label", (30, 40), 3), ("macro", (20, 60), 4)];
    let names: Vec<_> = slide.associated_images().into_iter().map(|image| image.name).collect();
    assert_eq!(names, beside.map(|(name, ..)| name));
    for (name, (height, width), k) in beside {
        assert!(slide.read_associated(name).unwrap() == picture(height, width, 3, k), "{name}");
    }
}

#[test]
fn channels_of_an_ome_slide_are_bands_of_its_first_section() {
    let slide = open("channels.ome.tif");
    assert_eq!((slide.vendor(), slide.bands(), slide.size()), ("ome-tiff", 2, Size::new(160, 120)));
    assert_eq!(slide.microns_per_px(), Some(0.325));
    let planes = |height, width, k: usize| {
        let [first, second] = [0, 10].map(|channel| picture(height, width, 1, channel + k));
        concatenate(Axis(2), &[first.view(), second.view()]).unwrap()
    };
    assert!(level(&slide, 0) == planes(120, 160, 0));
    assert_eq!(slide.levels().len(), 2);
    assert!(level(&slide, 1) == planes(60, 80, 100));
    let second = ReadOptions { bands: Some(&[1]), ..ReadOptions::default() };
    let window = Window::new(70, 50, 40, 30);
    let expected = planes(120, 160, 0).slice(s![50..80, 70..110, 1..]).to_owned();
    assert!(slide.read_array(window, &second).unwrap() == expected);
    assert!(slide.read_associated("macro").unwrap() == picture(40, 50, 1, 200));
    assert_eq!(slide.associated_images().len(), 1);
}

#[test]
fn bands_in_pages_have_levels_in_pages() {
    let slide = open("pages.tif");
    assert_eq!((slide.bands(), slide.levels().len()), (3, 2));
    assert!(level(&slide, 0) == picture(90, 130, 3, 0));
    assert!(level(&slide, 1) == picture(45, 65, 3, 1));
}

#[test]
fn samples_of_16_bits_are_read_as_they_are() {
    let slide = open("wide.tif");
    assert_eq!((slide.sample_kind(), slide.bands()), (SampleKind::U16, 3));
    let expected = picture(70, 90, 4, 5).mapv(|value| u16::from(value) * 257 + 3);
    let window = Window::new(-2, 10, 60, 75);
    let pixels = slide.read_u16(window, &ReadOptions { fill: 65_000, ..ReadOptions::default() }).unwrap();
    assert!(pixels.slice(s![..60, 2.., ..]) == expected.slice(s![10..70, ..58, ..3]));
    assert!(pixels.slice(s![.., ..2, ..]).iter().chain(pixels.slice(s![60.., .., ..])).all(|&v| v == 65_000));
    let green = ReadOptions { bands: Some(&[1]), ..ReadOptions::default() };
    let pixels = slide.read_u16(Window::new(5, 6, 7, 8), &green).unwrap();
    assert!(pixels == expected.slice(s![6..14, 5..12, 1..2]));
    let error = slide.read(window).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("BitsPerSample (tag 258) = 16"), "{error}");
}

#[test]
fn levels_of_our_writer_are_known_to_be_exact() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pyramid.tiff");
    let pixels = picture(333, 419, 3, 6);
    let size = Size::new(419, 333);
    let exact = |reduction, compression| {
        let predictor = false;
        let spec = PyramidSpec { tile: 64, reduction, compression, predictor, ..PyramidSpec::rgb(size) };
        let writer = PyramidWriter::create(&path, spec).unwrap();
        writer.write_block(0, 0, &pixels).unwrap();
        writer.finish().unwrap();
        let slide = TiffSlide::open(&path).unwrap();
        for window in
            [Window::new(0, 0, 418, 332), Window::new(66, 20, 100, 102), Window::new(-2, 20, 100, 102)]
        {
            let reduced = slide.read_scaled(window, 2, &ScaleOptions::default()).unwrap();
            assert!(reduced == area_downscale(slide.read(window).unwrap().view(), 2), "{window}");
        }
        slide.levels().iter().map(|level| level.is_exact).collect::<Vec<_>>()
    };
    assert_eq!(exact(Reduction::Mean, Compression::Zstd), [true, true, false, false]);
    assert_eq!(exact(Reduction::Nearest, Compression::Zstd), [true, false, false, false]);
    assert_eq!(exact(Reduction::Mean, Compression::Jpeg { quality: 90 }), [true, false, false, false]);
}

#[test]
fn reduced_reads_start_from_a_level_only_if_they_may() {
    let slide = open("aperio.svs");
    let window = Window::new(-8, 16, 128, 96);
    let exact = slide.read_scaled(window, 8, &ScaleOptions::default()).unwrap();
    assert!(exact == area_downscale(slide.read(window).unwrap().view(), 8));
    let any = ScaleOptions { levels: LevelUse::Any, ..ScaleOptions::default() };
    let quick = slide.read_scaled(window, 8, &any).unwrap();
    let at_level = ReadOptions { level: 1, ..ReadOptions::default() };
    let copy = slide.read_array(Window::new(-2, 4, 32, 24), &at_level).unwrap();
    assert!(quick == area_downscale(copy.view(), 2));
    // Windows that do not lie on the level's pixels, and factors that its downsample does not divide.
    for (window, factor) in [(Window::new(-7, 16, 128, 96), 8), (window, 6), (Window::new(0, 0, 130, 96), 8)]
    {
        let reduced = slide.read_scaled(window, factor, &any).unwrap();
        assert!(
            reduced == area_downscale(slide.read(window).unwrap().view(), factor),
            "{window} by {factor}"
        );
    }
}
