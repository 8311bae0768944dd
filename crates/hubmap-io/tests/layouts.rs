//! Layouts and codecs that readers disagree about: samples as the reference library of each file gives them.
//!
//! `tests/fixtures/tiff_layouts/make.py` makes the files and says what is special about each.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use hubmap_io::{Error, RasterReader as _, RawSamples, TiffFile, TiffSlide, Window};
use hubmap_test_support::{fixture, json};
use ndarray::s;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const FOLDER: &str = "tiff_layouts";

/// Files in the folder; one more or less must be noticed.
const N_FILES: usize = 41;

fn open(name: &str) -> TiffFile {
    TiffFile::open(&fixture(&format!("{FOLDER}/{name}"))).unwrap()
}

fn hash(samples: &RawSamples) -> String {
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap());
    Sha256::digest(samples.bytes.as_slice().unwrap()).iter().flat_map(|&byte| digits(byte)).collect()
}

/// Whether a file needs a feature that this build lacks.
fn is_left_out(name: &str) -> bool {
    cfg!(not(feature = "jpeg2000")) && (name.starts_with("jpeg2000") || name.starts_with("aperio"))
}

#[test]
fn every_layout_reads_as_the_reference_libraries_do() {
    let index = json(&format!("{FOLDER}/index.json"));
    let files = index.as_array().unwrap();
    assert_eq!(files.len(), N_FILES);
    for entry in files {
        let name = entry["file"].as_str().unwrap();
        let result = open(name).read_page(0);
        if is_left_out(name) {
            let Err(error @ Error::Unsupported { .. }) = result else { panic!("{name}: {result:?}") };
            assert!(error.to_string().contains("the feature `jpeg2000` of hubmap-io"), "{error}");
            continue;
        }
        let samples = result.unwrap();
        let shape = [samples.size.height as usize, samples.size.width as usize, samples.bands];
        assert_eq!(entry["shape"], serde_json::json!(shape), "{name}");
        assert_eq!(entry["sha256"], hash(&samples), "{name}, as {}", entry["reader"]);
    }
}

#[test]
fn windows_are_cut_from_the_whole_page() {
    let index = json(&format!("{FOLDER}/index.json"));
    for name in index.as_array().unwrap().iter().map(|entry| entry["file"].as_str().unwrap()) {
        if is_left_out(name) {
            continue;
        }
        let file = open(name);
        let whole = file.read_page(0).unwrap();
        let pixel_len = whole.bands * whole.sample_len;
        for window in [Window::new(3, 5, 9, 1), Window::new(30, 15, 15, 22), Window::new(16, 16, 1, 16)] {
            let (x, y, width, height) =
                (window.x as usize, window.y as usize, window.width as usize, window.height as usize);
            let part = file.read_page_window(0, window).unwrap();
            let cut = whole.bytes.slice(s![y..y + height, x..x + width, ..]);
            assert_eq!(part.bytes.dim(), (height, width, pixel_len), "{name}");
            assert!(part.bytes == cut, "{name} at {window}");
        }
    }
}

#[test]
fn pictures_of_other_codecs_are_slides() {
    let expected = open("webp_lossless.tif").read_page(0).unwrap().bytes;
    for name in ["lzma.tif", "jpeg_lossless_rgb.tif", "one_bits_value.tif"] {
        let slide = TiffSlide::open(&fixture(&format!("{FOLDER}/{name}"))).unwrap();
        assert_eq!(slide.read(slide.size().window()).unwrap(), expected, "{name}");
    }
}

/// The bytes of all files.
fn contents() -> &'static [Vec<u8>] {
    static CONTENTS: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| {
        let index = json(&format!("{FOLDER}/index.json"));
        let names = index.as_array().unwrap().iter().map(|entry| entry["file"].as_str().unwrap());
        names.map(|name| std::fs::read(fixture(&format!("{FOLDER}/{name}"))).unwrap()).collect()
    });
    &CONTENTS
}

proptest! {
    #[test]
    fn damaged_files_give_samples_or_an_error_that_names_them(
        file in 0..N_FILES,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = contents()[file].clone();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.tif");
        std::fs::write(&path, bytes).unwrap();
        let check = |error: &Error| assert!(error.path() == path, "{error}");
        if let Ok(file) = TiffFile::open(&path).inspect_err(check) {
            let _ = file.read_page(0).inspect_err(check);
        }
        if let Ok(slide) = TiffSlide::open(&path).inspect_err(check) {
            let _ = slide.read(Window::new(-3, 7, 50, 20)).inspect_err(check);
        }
    }
}
