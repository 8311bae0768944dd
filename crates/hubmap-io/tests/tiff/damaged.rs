use std::path::Path;

use hubmap_io::{Error, RasterReader as _, TiffFile, TiffSlide, Window};
use hubmap_test_support::{fixture, json};
use ndarray::Array3;

use crate::{FOLDER, handmade, one_strip, scratch_file};

/// Opens and reads a damaged file every way there is; whatever comes back must be pixels or an error with the
/// name of the file.
fn probe(path: &Path) -> Result<(), Error> {
    let named = |error: Error| {
        assert_eq!(error.path(), path);
        assert!(!matches!(error, Error::Usage { .. }), "a damaged file is not the caller's fault: {error}");
        error
    };
    let read_pages = || {
        let file = TiffFile::open(path).map_err(named)?;
        for idx in 0..file.pages().len().min(8) {
            let size = file.pages()[idx].size;
            if size.area() < 1 << 22 {
                file.read_page(idx).map_err(named)?;
            }
        }
        Ok(())
    };
    let read_slide = || {
        let slide = TiffSlide::open(path).map_err(named)?;
        slide.read(Window::new(-10, -10, 400, 300)).map_err(named)?;
        Ok(())
    };
    let (pages, slide) = (read_pages(), read_slide());
    pages.and(slide)
}

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let index = json(&format!("{FOLDER}/index.json"));
    let names =
        index["files"].as_array().unwrap().iter().map(|file| file["file"].as_str().unwrap().to_owned());
    names.map(|name| (name.clone(), std::fs::read(fixture(&format!("{FOLDER}/{name}"))).unwrap())).collect()
}

#[test]
fn truncated_files_are_errors_that_say_so() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in fixtures() {
        for len in [0, 1, 7, 8, 16, 100, bytes.len() / 3, bytes.len() / 2, bytes.len() * 9 / 10] {
            let error = probe(&scratch_file(&folder, &bytes[..len])).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{name} cut to {len}: {error}");
            let text = error.to_string();
            assert!(text.contains("truncated") || text.contains("not a TIFF"), "{name} cut to {len}: {text}");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for (_, bytes) in fixtures() {
        for round in 0..24_usize {
            let mut damaged = bytes.clone();
            // Damage the header and directories more than pixels: near the start and near the end.
            for i in 0..12_usize {
                let spread = (round * 12 + i).wrapping_mul(2_654_435_761) >> 3;
                let span = damaged.len();
                let at = match i % 3 {
                    0 => spread % span,
                    1 => spread % 600.min(span),
                    _ => span - 1 - spread % 1500.min(span),
                };
                damaged[at] ^= 1 << (spread % 8);
            }
            let _ = probe(&scratch_file(&folder, &damaged));
        }
    }
}

#[test]
fn hostile_files_are_told_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let gray = |width: u32, height: u32, codec: u32, offset: u32, n_bytes: u32| {
        vec![
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, 8),
            (259, 3, 1, codec),
            (262, 3, 1, 1),
            (273, 4, 1, offset),
            (277, 3, 1, 1),
            (278, 4, 1, height),
            (279, 4, 1, n_bytes),
        ]
    };
    let check = |bytes: &[u8], expected: &str| {
        let path = scratch_file(&folder, bytes);
        let slide = TiffSlide::open(&path);
        let result = slide.and_then(|slide| slide.read(Window::new(0, 0, 10_000, 10_000)));
        let text = result.unwrap_err().to_string();
        assert!(text.contains("damaged.tiff") && text.contains(expected), "{text:?} lacks {expected:?}");
    };
    check(&handmade(&gray(4, 4, 1, 8, 16), 8, &[]), "leads back");
    check(&handmade(&gray(4, 4, 1, 8, 16), 5000, &[]), "truncated: the directory of page 1");
    check(&handmade(&gray(40, 40, 1, 8, 1600), 0, &[]), "truncated: strip 0 of page 0 ends at byte 1608");
    check(&handmade(&gray(0, 4, 1, 8, 16), 0, &[]), "0x4");
    check(&handmade(&gray(9000, 9000, 5, 8, 16), 0, &[]), "cannot hold");
    check(&handmade(&gray(9000, 9000, 8, 8, 16), 0, &[]), "cannot hold");
    check(&handmade(&gray(4, 4, 6, 8, 16), 0, &[]), "old JPEG with 0 tables under tag 519");
    check(&handmade(&gray(4, 4, 8, 8, 16), 0, &[]), "strip 0 of page 0: Deflate");
    check(&handmade(&gray(4, 4, 32773, 8, 1), 0, &[]), "decodes to");
    let mut tiled = gray(4, 4, 1, 8, 16);
    tiled.extend([(322, 4, 1, 0), (323, 4, 1, 16), (324, 4, 1, 8), (325, 4, 1, 16)]);
    check(&handmade(&tiled, 0, &[]), "chunks of 0x16");
    let mut many = gray(65_535, 65_535, 1, 8, 16);
    many[7].3 = 1;
    check(&handmade(&many, 0, &[]), "has 1 strip offsets, expected 65535");
    let mut wide = gray(4, 4, 1, 8, 16);
    wide[2].3 = 64;
    check(&handmade(&wide, 0, &[]), "BitsPerSample (tag 258) = 64");
    check(&handmade(&[(256, 4, u32::MAX, 8)], 0, &[]), "");
    check(b"GIF89a, not a TIFF at all", "not a TIFF file");
}

#[test]
fn sides_beyond_memory_are_no_reason_to_allocate() {
    let folder = tempfile::tempdir().unwrap();
    let read = |size: (u32, u32), (bits, bands), place: (u32, u32), window: Window| {
        let mut tags = one_strip(size, bits, 1, bands);
        tags.extend([(273, 4, 1, place.0), (279, 4, 1, place.1)]);
        let file = TiffFile::open(&scratch_file(&folder, &handmade(&tags, 0, &[])))?;
        file.read_page_window(0, window)
    };
    let side = u32::MAX;
    let corner = Window::new(i64::from(side) - 3, 0, 3, 1);
    let pixels = read((side, 1), (8, 4096), (0, 0), corner).unwrap();
    assert_eq!(pixels.bytes, Array3::<u8>::zeros((1, 3, 4096)));
    let corner = Window::new(0, i64::from(side) - 3, 3, 3);
    let error = read((side, side), (64, 4096), (8, 16), corner).unwrap_err();
    assert!(matches!(error, Error::Format { .. }) && error.to_string().contains("chunks of"), "{error}");
}
