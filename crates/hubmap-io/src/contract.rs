//! What every [`RasterReader`] must do, as a suite of checks for the tests of readers.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a check that fails ends the test that called it")]

use ndarray::{Array3, Axis, s};

use crate::{
    Error, LevelUse, RasterReader, ReadOptions, SampleKind, ScaleOptions, Size, Window, area_downscale,
};

/// Checks a reader of an 8-bit slide whose full-resolution pixels are `truth`, `[height, width, bands]`.
///
/// The picture should be larger than a tile of the file and no multiple of it.
///
/// # Panics
///
/// If the reader breaks a promise; the message says which.
pub fn check_reader(reader: &dyn RasterReader, truth: &Array3<u8>) {
    let (height, width, bands) = truth.dim();
    assert_eq!(reader.size(), Size::new(width as u32, height as u32), "size");
    assert_eq!((reader.bands(), reader.sample_kind()), (bands, SampleKind::U8), "samples");
    check_windows(reader, truth);
    check_bands(reader, truth);
    check_arrays(reader);
    check_levels(reader, truth);
    check_reduction(reader);
    check_refusals(reader);
    check_threads(reader);
}

/// What a boundless read of `window` has to give.
///
/// # Panics
///
/// Never, for windows that fit into memory.
pub fn pad_then_crop(picture: &Array3<u8>, window: Window, fill: u8) -> Array3<u8> {
    let (height, width, bands) = picture.dim();
    let inside = |at: i64, len: usize| usize::try_from(at).ok().filter(|&at| at < len);
    Array3::from_shape_fn((window.height as usize, window.width as usize, bands), |(row, column, band)| {
        let y = inside(window.y.saturating_add(row as i64), height);
        let x = inside(window.x.saturating_add(column as i64), width);
        y.zip(x).map_or(fill, |(y, x)| picture[(y, x, band)])
    })
}

/// Windows inside, across every border, around the slide, and nowhere near it.
fn windows(size: Size) -> Vec<Window> {
    let (w, h) = (i64::from(size.width), i64::from(size.height));
    let (wide, high) = (size.width.div_ceil(3), size.height.div_ceil(3));
    vec![
        size.window(),
        Window::new(0, 0, 1, 1),
        Window::new(w - 1, h - 1, 1, 1),
        Window::new(w / 3, h / 3, wide, high),
        Window::new(-7, h / 4, wide, high),
        Window::new(w - 5, h / 2, wide, high),
        Window::new(w / 2, -9, wide, high),
        Window::new(w / 5, h - 3, wide, high),
        Window::new(-3, -2, size.width + 8, size.height + 5),
        Window::new(w, 0, 4, 4),
        Window::new(0, -5, 9, 5),
        Window::new(i64::MAX - 3, i64::MIN + 3, 5, 6),
    ]
}

fn check_windows(reader: &dyn RasterReader, truth: &Array3<u8>) {
    for window in windows(reader.size()) {
        let pixels = reader.read(window).unwrap();
        assert!(pixels == pad_then_crop(truth, window, 0), "pixels of {window}");
        let white = ReadOptions { fill: 255, ..ReadOptions::default() };
        let pixels = reader.read_array(window, &white).unwrap();
        assert!(pixels == pad_then_crop(truth, window, 255), "pixels of {window} with white around");
        let wide = reader.read_u16(window, &ReadOptions::default()).unwrap();
        assert!(wide == pad_then_crop(truth, window, 0).mapv(u16::from), "16-bit pixels of {window}");
    }
}

fn check_bands(reader: &dyn RasterReader, truth: &Array3<u8>) {
    let n_bands = reader.bands();
    let reversed: Vec<usize> = (0..n_bands).rev().collect();
    let twice = [0, n_bands - 1, 0];
    let single = [n_bands - 1];
    for bands in [&single[..], &reversed, &twice] {
        for window in windows(reader.size()) {
            let options = ReadOptions { bands: Some(bands), ..ReadOptions::default() };
            let pixels = reader.read_array(window, &options).unwrap();
            let expected = pad_then_crop(truth, window, 0).select(Axis(2), bands);
            assert!(pixels == expected, "bands {bands:?} of {window}");
        }
    }
}

fn check_arrays(reader: &dyn RasterReader) {
    let n_bands = reader.bands();
    for window in windows(reader.size()) {
        let pixels = reader.read(window).unwrap();
        let (height, width, _) = pixels.dim();
        let mut dirty = Array3::from_elem(pixels.dim(), 77);
        reader.read_into(window, dirty.view_mut()).unwrap();
        assert!(dirty == pixels, "{window} into an array that was full");
        // A part of a larger array, and an array with its bands first.
        let mut canvas = Array3::from_elem((height + 4, width + 6, n_bands), 78);
        reader.read_into(window, canvas.slice_mut(s![1..=height, 5..width + 5, ..])).unwrap();
        assert!(canvas.slice(s![1..=height, 5..width + 5, ..]) == pixels, "{window} into a part");
        let around = canvas
            .indexed_iter()
            .filter(|((y, x, _), _)| !(1..=height).contains(y) || !(5..width + 5).contains(x));
        assert!(around.into_iter().all(|(_, &value)| value == 78), "{window} wrote beside its part");
        let mut planes = Array3::from_elem((n_bands, height, width), 79);
        reader.read_into(window, planes.view_mut().permuted_axes([1, 2, 0])).unwrap();
        assert!(planes.view().permuted_axes([1, 2, 0]) == pixels, "{window} with bands first");
    }
}

fn check_levels(reader: &dyn RasterReader, truth: &Array3<u8>) {
    let levels = reader.levels();
    assert_eq!((levels[0].size, levels[0].downsample), (reader.size(), 1.0), "the first level");
    assert!(levels.windows(2).all(|pair| pair[0].size.area() > pair[1].size.area()), "levels shrink");
    for (idx, level) in levels.iter().enumerate() {
        let options = ReadOptions { level: idx, ..ReadOptions::default() };
        let whole = reader.read_array(level.size.window(), &options).unwrap();
        let window = Window::new(-2, 3, level.size.width + 3, level.size.height);
        let part = reader.read_array(window, &options).unwrap();
        assert!(part == pad_then_crop(&whole, window, 0), "{window} of level {idx}");
        let mean =
            |pixels: &Array3<u8>| pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / pixels.len() as f64;
        assert!((mean(&whole) - mean(truth)).abs() < 32.0, "level {idx} is another picture");
    }
    for image in reader.associated_images() {
        let pixels = reader.read_associated(&image.name).unwrap();
        let (height, width, _) = pixels.dim();
        assert_eq!(Size::new(width as u32, height as u32), image.size, "{}", image.name);
    }
}

fn check_reduction(reader: &dyn RasterReader) {
    let Size { width, height } = reader.size();
    let windows = [
        reader.size().window(),
        Window::new(-6, -12, width.next_multiple_of(12) + 12, height.next_multiple_of(12) + 12),
        Window::new(1, 2, width / 2, height / 2),
    ];
    for window in windows {
        for factor in [1, 2, 3, 4, 12] {
            if window.width < factor || window.height < factor {
                continue;
            }
            for fill in [0, 255] {
                let read = ReadOptions { fill, ..ReadOptions::default() };
                let pixels = reader.read_array(window, &read).unwrap();
                let options = ScaleOptions { fill, ..ScaleOptions::default() };
                let reduced = reader.read_scaled(window, factor, &options).unwrap();
                assert!(reduced == area_downscale(pixels.view(), factor), "{window} reduced by {factor}");
                let any = ScaleOptions { levels: LevelUse::Any, ..options };
                let quick = reader.read_scaled(window, factor, &any).unwrap();
                assert_eq!(quick.dim(), reduced.dim(), "{window} reduced by {factor} from any level");
            }
        }
    }
}

fn check_refusals(reader: &dyn RasterReader) {
    let bands = reader.bands();
    let refused = |result: crate::Result<Array3<u8>>, what: &str| match result {
        Err(error @ Error::Usage { .. }) => assert_eq!(error.path(), reader.path(), "{what}"),
        other => panic!("{what}: {other:?}"),
    };
    let plain = ReadOptions::default();
    let window = Window::new(0, 0, 4, 4);
    refused(reader.read(Window::new(0, 0, 0, 4)), "no columns");
    refused(reader.read(Window::new(0, 0, 4, 0)), "no rows");
    refused(reader.read_array(window, &ReadOptions { level: reader.levels().len(), ..plain }), "no level");
    refused(reader.read_array(window, &ReadOptions { bands: Some(&[bands]), ..plain }), "no band");
    refused(reader.read_array(window, &ReadOptions { bands: Some(&[]), ..plain }), "no bands");
    refused(
        reader.read_array(Window::new(-9, 0, 4, 4), &ReadOptions { fill: 256, ..plain }),
        "too bright a fill",
    );
    match reader.read(Window::new(0, 0, u32::MAX, u32::MAX)) {
        Err(error @ Error::Memory { .. }) => {
            assert_eq!(error.path(), reader.path(), "a window beyond memory");
        }
        other => panic!("a window beyond memory: {other:?}"),
    }
    let scale = ScaleOptions::default();
    refused(reader.read_scaled(window, 0, &scale), "factor 0");
    refused(reader.read_scaled(window, 5, &scale), "a window smaller than the factor");
    refused(reader.read_associated("no such image"), "no such image");
    for shape in [(4, 5, bands), (5, 4, bands), (4, 4, bands + 1)] {
        let mut out = Array3::zeros(shape);
        refused(reader.read_into(window, out.view_mut()).map(|()| out), "an array of another shape");
    }
}

fn check_threads(reader: &dyn RasterReader) {
    let windows = windows(reader.size());
    let alone: Vec<Array3<u8>> = windows.iter().map(|&window| reader.read(window).unwrap()).collect();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let (windows, alone) = (&windows, &alone);
            scope.spawn(move || {
                for i in 0..3 * windows.len() {
                    let i = (start * 5 + i * 7) % windows.len();
                    assert!(reader.read(windows[i]).unwrap() == alone[i], "{} beside others", windows[i]);
                }
            });
        }
    });
}
