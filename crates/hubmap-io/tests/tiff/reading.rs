use hubmap_io::{Error, RasterReader as _, Size, TiffSlide, Window};
use hubmap_test_support::{fixture, json};
use ndarray::Array3;

use crate::{FOLDER, N_FIXTURES, difference, hash_of_bands_first, pad_then_crop, picture, windows};

#[test]
fn every_fixture_reads_as_the_reference_libraries_do() {
    let index = json(&format!("{FOLDER}/index.json"));
    let files = index["files"].as_array().unwrap();
    assert_eq!(files.len(), N_FIXTURES);
    let on_disk = std::fs::read_dir(fixture(FOLDER)).unwrap();
    let is_tiff = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|e| e == "tiff");
    assert_eq!(on_disk.filter(|entry| is_tiff(entry.as_ref().unwrap())).count(), N_FIXTURES);

    for file in files {
        let name = file["file"].as_str().unwrap();
        let tolerance = u8::try_from(file["tolerance"].as_u64().unwrap()).unwrap();
        let expected = picture(file["expected"].as_str().unwrap());
        let slide = hubmap_io::open(&fixture(&format!("{FOLDER}/{name}"))).unwrap();
        let (height, width, bands) = expected.dim();
        assert_eq!(slide.size(), Size::new(width as u32, height as u32), "{name}");
        assert_eq!(slide.bands(), bands, "{name}");
        // Decoders differ in how they upsample chroma: one of the two stored decodings must match closely.
        let turbo = file["expected_turbo"].as_str().map(picture);
        for (window, hash) in windows() {
            let pixels = slide.read(window).unwrap();
            let cut = |picture: &Array3<u8>| pad_then_crop(picture.view(), window);
            let candidates = [Some(cut(&expected)), turbo.as_ref().map(cut)];
            let differences = candidates.iter().flatten().map(|candidate| difference(&pixels, candidate));
            let (worst, mean) = differences.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            if turbo.is_some() {
                assert!(worst <= 20 && mean <= 1.0, "{name} at {window}: worst {worst}, mean {mean}");
            } else {
                assert!(worst <= tolerance, "{name} at {window}: differs by {worst}");
            }
            if tolerance == 0 && bands == 3 {
                assert_eq!(hash_of_bands_first(&pixels), hash, "{name} at {window}");
            }
            let mut reused = Array3::from_elem(pixels.dim(), 77);
            slide.read_into(window, reused.view_mut()).unwrap();
            assert_eq!(reused, pixels, "{name} at {window} into an array");
        }
    }
}

#[test]
fn four_threads_read_one_slide() {
    for name in
        ["tiled_lzw_pred2.tiff", "jpeg_ycbcr420_tables.tiff", "pages3_tiled_lzw.tiff", "strips_none.tiff"]
    {
        let slide = TiffSlide::open(&fixture(&format!("{FOLDER}/{name}"))).unwrap();
        let whole = slide.read(slide.size().window()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_i64 {
                let (slide, whole) = (&slide, &whole);
                scope.spawn(move || {
                    for i in 0..50_i64 {
                        let x = (i * 37 + thread * 101) % 330 - 20;
                        let y = (i * 53 + thread * 71) % 250 - 20;
                        let window = Window::new(x, y, 90, 70);
                        assert_eq!(
                            slide.read(window).unwrap(),
                            pad_then_crop(whole.view(), window),
                            "{name}"
                        );
                    }
                });
            }
        });
    }
}

#[test]
fn empty_and_absurd_windows_are_refused() {
    let slide = TiffSlide::open(&fixture(&format!("{FOLDER}/tiled_none.tiff"))).unwrap();
    let absurd = [
        Window::new(0, 0, 0, 5),
        Window::new(0, 0, 5, 0),
        Window::new(i64::MIN, i64::MAX, u32::MAX, u32::MAX),
        Window::new(-5, -5, u32::MAX, u32::MAX),
    ];
    for window in absurd {
        let error = slide.read(window).unwrap_err();
        let is_empty = window.width == 0 || window.height == 0;
        let is_right = if is_empty {
            matches!(error, Error::Usage { .. })
        } else {
            matches!(error, Error::Memory { .. })
        };
        assert!(is_right, "{error}");
        assert!(error.to_string().contains("tiled_none.tiff"), "{error}");
    }
    assert!(slide.read(Window::new(i64::MAX, i64::MIN, 3, 3)).unwrap().iter().all(|&pixel| pixel == 0));
    let mut small = Array3::zeros((2, 2, 3));
    assert!(matches!(slide.read_into(Window::new(0, 0, 3, 3), small.view_mut()), Err(Error::Usage { .. })));
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = TiffSlide::open(&folder.path().join("none.tiff")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().contains("none.tiff"), "{missing}");
    assert!(TiffSlide::open(folder.path()).is_err());
}
