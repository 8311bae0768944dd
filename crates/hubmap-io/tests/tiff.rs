//! Reading and writing TIFF files: every fixture, every layout and codec, hostile input, threads.

#![expect(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "helpers of tests fail like tests")]

use std::path::{Path, PathBuf};

use hubmap_io::{
    Compression, Error, Layout, RasterReader as _, Size, TiffFile, TiffSlide, TiffSpec, TiffWriter, Window,
    write_mask,
};
use hubmap_test_support::{fixture, json, npy};
use ndarray::{Array3, ArrayView3, Axis};
use sha2::{Digest as _, Sha256};

const FOLDER: &str = "numerics/11_tiff";

/// Files in the folder of fixtures; one more or less must be noticed.
const N_FIXTURES: usize = 26;

/// A stored `[bands, height, width]` picture as `[height, width, bands]`.
fn picture(name: &str) -> Array3<u8> {
    let picture: Array3<u8> = npy(&format!("{FOLDER}/{name}"));
    picture.permuted_axes([1, 2, 0]).as_standard_layout().into_owned()
}

/// What a boundless read of `window` has to give.
fn pad_then_crop(picture: ArrayView3<'_, u8>, window: Window) -> Array3<u8> {
    let (height, width, bands) = picture.dim();
    Array3::from_shape_fn((window.height as usize, window.width as usize, bands), |(row, column, band)| {
        let y = usize::try_from(window.y + row as i64).ok().filter(|&y| y < height);
        let x = usize::try_from(window.x + column as i64).ok().filter(|&x| x < width);
        y.zip(x).map_or(0, |(y, x)| picture[(y, x, band)])
    })
}

/// The windows of the index as `Window`s with the hash of their `[bands, height, width]` pixels.
fn windows() -> Vec<(Window, String)> {
    let index = json(&format!("{FOLDER}/index.json"));
    let windows = index["windows_on_rgb_chw"].as_array().unwrap();
    let parse = |entry: &serde_json::Value| {
        let [y, x, h, w] = [0, 1, 2, 3].map(|i| entry["yxhw"][i].as_i64().unwrap());
        let hash = entry["sha256_chw"].as_str().unwrap().to_owned();
        (Window::new(x, y, u32::try_from(w).unwrap(), u32::try_from(h).unwrap()), hash)
    };
    windows.iter().map(parse).collect()
}

fn hash_of_bands_first(pixels: &Array3<u8>) -> String {
    let bytes: Vec<u8> = pixels.view().permuted_axes([2, 0, 1]).iter().copied().collect();
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Largest and mean absolute difference.
fn difference(a: &Array3<u8>, b: &Array3<u8>) -> (u8, f64) {
    assert_eq!(a.dim(), b.dim());
    let worst = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    (worst, sum / a.len().max(1) as f64)
}

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
fn write(path: &Path, spec: TiffSpec, picture: &Array3<u8>) {
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
        assert!(matches!(error, Error::Usage { .. }), "{error}");
        assert!(error.to_string().contains("tiled_none.tiff"), "{error}");
    }
    assert!(slide.read(Window::new(i64::MAX, i64::MIN, 3, 3)).unwrap().iter().all(|&pixel| pixel == 0));
    let mut small = Array3::zeros((2, 2, 3));
    assert!(matches!(slide.read_into(Window::new(0, 0, 3, 3), small.view_mut()), Err(Error::Usage { .. })));
}

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

fn scratch_file(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("damaged.tiff");
    std::fs::write(&path, bytes).unwrap();
    path
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

/// A little-endian classic file of one directory; `entries` are tag, type, count, value.
fn handmade(entries: &[(u16, u16, u32, u32)], next: u32, tail: &[u8]) -> Vec<u8> {
    let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
    bytes.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(next.to_le_bytes());
    bytes.extend(tail);
    bytes
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

/// Tags of a page of one strip, without its place.
fn one_strip(size: (u32, u32), bits: u32, photometric: u32, bands: u32) -> Vec<(u16, u16, u32, u32)> {
    vec![
        (256, 4, 1, size.0),
        (257, 4, 1, size.1),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (277, 3, 1, bands),
        (278, 4, 1, size.1),
    ]
}

/// A file of one strip of `pixels` and, behind them, the values of one more tag: its number, type and bytes.
fn strip_file(
    mut tags: Vec<(u16, u16, u32, u32)>,
    pixels: &[u8],
    extra: Option<(u16, u16, &[u8])>,
) -> Vec<u8> {
    let n_tags = tags.len() + 2 + usize::from(extra.is_some());
    let start = (8 + 2 + 12 * n_tags + 4) as u32;
    tags.extend([(273, 4, 1, start), (279, 4, 1, pixels.len() as u32)]);
    let mut tail = pixels.to_vec();
    if let Some((tag, kind, bytes)) = extra {
        let value_len = if kind == 3 { 2 } else { 8 };
        tags.push((tag, kind, bytes.len() as u32 / value_len, start + pixels.len() as u32));
        tail.extend(bytes);
    }
    handmade(&tags, 0, &tail)
}

#[test]
fn every_kind_of_pixel_is_shown_as_it_looks() {
    let folder = tempfile::tempdir().unwrap();
    let check = |what: &str, bytes: &[u8], expected: &[u8]| {
        let slide = TiffSlide::open(&scratch_file(&folder, bytes)).unwrap();
        let pixels = slide.read(slide.size().window()).unwrap();
        assert_eq!(pixels.as_slice().unwrap(), expected, "{what}");
    };
    let inverted = strip_file(one_strip((3, 1), 8, 0, 1), &[0, 10, 255], None);
    check("white is zero", &inverted, &[255, 245, 0]);
    let inverted = strip_file(one_strip((4, 1), 1, 0, 1), &[0b1010_0000], None);
    check("white is zero, 1 bit", &inverted, &[0, 1, 0, 1]);
    let nibbles = strip_file(one_strip((4, 1), 4, 1, 1), &[0x0F, 0x81], None);
    check("4 bits", &nibbles, &[0, 255, 136, 17]);
    let mut reversed = one_strip((4, 2), 1, 1, 1);
    reversed.push((266, 3, 1, 2));
    check(
        "lowest bit first",
        &strip_file(reversed, &[0b0000_0001, 0b0000_1100], None),
        &[1, 0, 0, 0, 0, 0, 1, 1],
    );

    let map: Vec<u8> = (0..48_u16).flat_map(|i| (i * 5 * 256 + 77).to_le_bytes()).collect();
    let palette = strip_file(one_strip((3, 1), 4, 3, 1), &[0x1F, 0x20], Some((320, 3, &map)));
    check("palette", &palette, &[5, 85, 165, 75, 155, 235, 10, 90, 170]);

    let mut ink = one_strip((3, 1), 8, 5, 4);
    ink.remove(2);
    let depths = [8, 0, 8, 0, 8, 0, 8, 0];
    let pixels = [0, 0, 0, 0, 255, 0, 100, 0, 0, 51, 0, 128];
    let cmyk = strip_file(ink, &pixels, Some((258, 3, &depths)));
    check("CMYK", &cmyk, &[255, 255, 255, 0, 255, 155, 127, 101, 127]);

    // Two columns and two rows share their chroma, and the blocks stick out of 3 x 3 pixels.
    let mut chroma = one_strip((3, 3), 8, 6, 3);
    chroma.remove(2);
    chroma.push((530, 3, 2, 2 | 2 << 16));
    let blocks =
        [10, 20, 30, 40, 128, 128, 50, 0, 60, 0, 128, 128, 70, 80, 0, 0, 128, 128, 76, 0, 0, 0, 85, 255];
    let ycbcr = strip_file(chroma, &blocks, Some((258, 3, &depths[..6])));
    let gray = [10, 20, 50, 30, 40, 60, 70, 80].map(|level| [level; 3]);
    check("YCbCr", &ycbcr, &[gray.as_flattened(), &[254, 0, 0]].concat());
    let raw =
        TiffFile::open(&scratch_file(&folder, &ycbcr)).unwrap().read_page_window(0, Window::new(1, 1, 2, 2));
    assert_eq!(raw.unwrap().bytes.as_slice().unwrap(), [40, 40, 40, 60, 60, 60, 80, 80, 80, 254, 0, 0]);
}

#[test]
fn wide_samples_come_in_the_byte_order_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let samples = |bytes: &[u8]| {
        let raw = TiffFile::open(&scratch_file(&folder, bytes)).unwrap().read_page(0).unwrap();
        assert_eq!((raw.bands, raw.sample_len), (1, 2));
        raw.bytes
            .as_slice()
            .unwrap()
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| u16::from_ne_bytes(bytes))
            .collect::<Vec<_>>()
    };
    let little = strip_file(one_strip((2, 1), 16, 1, 1), &[0x34, 0x12, 0xCD, 0xAB], None);
    assert_eq!(samples(&little), [0x1234, 0xABCD]);
    let mut big = b"MM\0\x2a\0\0\0\x08\0\x08".to_vec();
    let start = 10 + 12 * 8 + 4;
    for (tag, value) in
        [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, start), (277, 1), (279, 4_u16)]
    {
        big.extend([tag, 3_u16, 0, 1, value, 0].iter().flat_map(|word: &u16| word.to_be_bytes()));
    }
    big.extend([0, 0, 0, 0, 0x12, 0x34, 0xAB, 0xCD]);
    assert_eq!(samples(&big), [0x1234, 0xABCD]);
}

#[test]
fn the_first_page_that_is_no_copy_or_mask_is_the_slide() {
    let folder = tempfile::tempdir().unwrap();
    let page = |subfile: u32, side: u32| {
        let mut tags = one_strip((side, 1), 8, 1, 1);
        tags.extend([(254, 4, 1, subfile), (273, 4, 1, 8), (279, 4, 1, side)]);
        tags
    };
    let directory_len = 2 + 12 * 10 + 4;
    let mut tail = handmade(&page(4, 3), 8 + 2 * directory_len, &[])[8..].to_vec();
    tail.extend(&handmade(&page(0, 4), 0, &[])[8..]);
    let bytes = handmade(&page(1, 2), 8 + directory_len, &tail);
    let slide = TiffSlide::open(&scratch_file(&folder, &bytes)).unwrap();
    assert_eq!(slide.size(), Size::new(4, 1));
    assert_eq!(slide.info().name, "2");
}

#[test]
fn old_jpeg_pages_of_one_whole_stream_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let picture = Array3::from_shape_fn((32, 48, 3), |(y, x, band)| (y * 3 + x * 2 + band * 20) as u8);
    let path = folder.path().join("new.tiff");
    let spec = TiffSpec {
        layout: Layout::Strips { rows: 32, planar: false },
        compression: Compression::Jpeg { quality: 90 },
        predictor: false,
        ..TiffSpec::rgb(Size::new(48, 32))
    };
    write(&path, spec, &picture);
    let expected = TiffSlide::open(&path).unwrap().read(Window::new(0, 0, 48, 32)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let start = bytes.windows(3).position(|bytes| bytes == [0xFF, 0xD8, 0xFF]).unwrap();
    let end = bytes.windows(2).rposition(|bytes| bytes == [0xFF, 0xD9]).unwrap() + 2;
    let mut old = one_strip((48, 32), 8, 6, 3);
    old[3].3 = 6;
    old.remove(2);
    old.push((513, 4, 1, 8 + 2 + 12 * 10 + 4));
    let depths = [8, 0, 8, 0, 8, 0];
    let whole = strip_file(old.clone(), &bytes[start..end], Some((258, 3, &depths)));
    let slide = TiffSlide::open(&scratch_file(&folder, &whole)).unwrap();
    assert_eq!(slide.read(slide.size().window()).unwrap(), expected);
    old.pop();
    old.push((513, 4, 1, 1 << 20));
    // A tag that leads nowhere does not matter where the chunk is a stream itself.
    let astray = strip_file(old.clone(), &bytes[start..end], Some((258, 3, &depths)));
    let slide = TiffSlide::open(&scratch_file(&folder, &astray)).unwrap();
    assert_eq!(slide.read(slide.size().window()).unwrap(), expected);
    let parted = strip_file(old, &bytes[start + 2..end], Some((258, 3, &depths)));
    let error = TiffSlide::open(&scratch_file(&folder, &parted)).unwrap_err();
    assert!(matches!(error, Error::Format { .. }) && error.to_string().contains("tag 519"), "{error}");
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = TiffSlide::open(&folder.path().join("none.tiff")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().contains("none.tiff"), "{missing}");
    assert!(TiffSlide::open(folder.path()).is_err());
}

#[test]
fn pages_are_described() {
    let file = TiffFile::open(&fixture(&format!("{FOLDER}/pyramid_tiled_deflate.tiff"))).unwrap();
    assert_eq!(file.pages().len(), 2);
    let (first, second) = (&file.pages()[0], &file.pages()[1]);
    assert_eq!((first.size, first.chunk, first.is_tiled), (Size::new(310, 230), Size::new(64, 64), true));
    assert_eq!((first.compression_name(), first.photometric_name()), ("Deflate", "RGB"));
    assert!(!first.is_reduced() && second.is_reduced());
    let samples = file.read_page(0).unwrap();
    assert_eq!((samples.bands, samples.sample_len), (3, 1));
    assert_eq!(samples.bytes, picture("rgb_chw.npy"));
    let error = file.read_page_window(0, Window::new(300, 0, 20, 20)).unwrap_err();
    assert!(matches!(error, Error::Usage { .. }), "{error}");
}
