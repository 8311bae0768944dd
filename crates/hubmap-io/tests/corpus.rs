//! Real TIFF files: every page decodes as the reference libraries decode it, or is refused for a stated reason.
//!
//! Needs `HUBMAP_CORPUS`, a folder with `tiff/manifest.json` and `wsi/manifest.json`.
#![expect(clippy::unwrap_used, reason = "a manifest that is not as described must fail the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hubmap_io::{Error, PageInfo, RasterReader as _, RawSamples, TiffFile, TiffSlide, Window};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Share of the valid pages of at most 8 bits per sample that must decode.
const MIN_DECODED: f64 = 0.98;

/// How far the mean of a channel may be from the reference where the codec is lossy.
const MEAN_TOLERANCE: f64 = 2.0;

/// How far a pixel may be from the reference where the codec is lossy.
const PIXEL_TOLERANCE: f64 = 2.0;

/// A file that takes longer hangs; the time itself says little on a machine that is shared.
const MAX_TIME: Duration = Duration::from_mins(2);

fn corpus() -> PathBuf {
    let folder = std::env::var_os("HUBMAP_CORPUS").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.is_dir());
    folder.unwrap_or_else(|| panic!("HUBMAP_CORPUS must name the folder of the corpus"))
}

/// The files of a manifest: path and entry.
fn files(part: &str) -> Vec<(PathBuf, Value)> {
    let folder = corpus().join(part);
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let entries = manifest["files"].as_array().unwrap();
    entries.iter().map(|entry| (folder.join(entry["file"].as_str().unwrap()), entry.clone())).collect()
}

/// What is wrong with decoded samples, compared with the manifest.
fn mismatch(samples: &RawSamples, page: &Value) -> Option<String> {
    let expected = &page["expected"];
    let shape = [samples.size.height as usize, samples.size.width as usize, samples.bands];
    let expected_shape: Vec<usize> =
        expected["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    if shape[..] != expected_shape[..] {
        return Some(format!("shape {shape:?}, expected {expected_shape:?}"));
    }
    if page["lossy_codec"] == true {
        return lossy_mismatch(samples, expected);
    }
    let hash = hex(&Sha256::digest(samples.bytes.as_slice().unwrap()));
    (expected["sha256"] != hash.as_str()).then(|| format!("other pixels, {}", expected["dtype"]))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn lossy_mismatch(samples: &RawSamples, expected: &Value) -> Option<String> {
    if samples.sample_len != 1 {
        return None;
    }
    for band in 0..samples.bands {
        let plane = samples.bytes.slice(ndarray::s![.., .., band]);
        let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / plane.len() as f64;
        let wanted = expected["mean_per_channel"][band].as_f64().unwrap();
        if (mean - wanted).abs() > MEAN_TOLERANCE {
            return Some(format!("mean of band {band} is {mean:.2}, expected {wanted:.2}"));
        }
    }
    for probe in expected["probe"].as_array().unwrap() {
        let [y, x] = [0, 1].map(|i| probe[i].as_u64().unwrap() as usize);
        for band in 0..samples.bands {
            let (value, wanted) = (f64::from(samples.bytes[(y, x, band)]), probe[2][band].as_f64().unwrap());
            if (value - wanted).abs() > PIXEL_TOLERANCE {
                return Some(format!("band {band} at {x}, {y} is {value}, expected {wanted}"));
            }
        }
    }
    None
}

/// Pages decoded and refused, by codec and depth.
#[derive(Default)]
struct Counts {
    decoded: usize,
    unsupported: usize,
    /// Those that the `tiff` crate decodes, with all of its codecs.
    decoded_by_tiff: usize,
}

/// Whether the `tiff` crate gives samples of a page, be they right or wrong.
fn tiff_decodes(path: &Path, page_idx: usize) -> bool {
    let decode = || {
        let file = std::io::BufReader::new(std::fs::File::open(path).ok()?);
        let mut decoder = tiff::decoder::Decoder::new(file).ok()?;
        decoder.seek_to_image(page_idx).ok()?;
        decoder.read_image().ok()
    };
    std::panic::catch_unwind(decode).is_ok_and(|samples| samples.is_some())
}

fn read_page(file: &TiffFile, name: &str) -> Result<RawSamples, Error> {
    let idx = file.pages().iter().position(|page| page.name == name);
    let idx = idx.unwrap_or_else(|| panic!("{}: no page {name}", file.path().display()));
    file.read_page(idx)
}

/// Whether a reference reader refused the page.
fn is_disputed(page: &Value) -> bool {
    page["rasterio_error"].is_string() || page["tifffile_error"].is_string()
}

fn depth(page: &PageInfo) -> &'static str {
    match page.bits {
        1 => "1 bit",
        2..=8 => "2-8 bits",
        9..=16 => "9-16 bits",
        _ => "wider",
    }
}

#[test]
fn valid_pages_decode_as_the_reference_libraries_decode_them() {
    let mut counts: BTreeMap<(String, &str), Counts> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut refused = Vec::new();
    let mut disputed = Vec::new();
    for (path, entry) in files("tiff").into_iter().chain(files("wsi")) {
        if entry["class"] != "valid" {
            continue;
        }
        let file = match TiffFile::open(&path) {
            Ok(file) => file,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        for page in entry["pages"].as_array().unwrap().iter().filter(|page| page["expected"].is_object()) {
            let name = page["ifd"].as_str().unwrap();
            let result = read_page(&file, name);
            let info = file.pages().iter().find(|info| info.name == name).unwrap();
            let count = counts.entry((info.compression_name().to_owned(), depth(info))).or_default();
            // The rival reaches the pages of the chain only; those below them count as not decoded.
            let is_read = name.parse().is_ok_and(|page_idx| tiff_decodes(&path, page_idx));
            count.decoded_by_tiff += usize::from(is_read);
            match result {
                Ok(samples) => {
                    count.decoded += 1;
                    if let Some(problem) = mismatch(&samples, page) {
                        problems.push(format!("{} page {name}: {problem}", path.display()));
                    }
                }
                Err(error @ Error::Unsupported { .. }) => {
                    count.unsupported += 1;
                    refused.push(error.to_string());
                }
                // Damaged pages of which one reference reader makes something and the other nothing.
                Err(error @ Error::Format { .. }) if is_disputed(page) => disputed.push(error.to_string()),
                Err(error) => problems.push(error.to_string()),
            }
        }
    }
    println!("{:>18} {:>10} {:>6} {:>10} {:>8}", "codec", "samples", "pages", "tiff crate", "ours");
    for ((codec, depth), count) in &counts {
        let n_pages = count.decoded + count.unsupported;
        println!("{codec:>18} {depth:>10} {n_pages:>6} {:>10} {:>8}", count.decoded_by_tiff, count.decoded);
    }
    let small =
        || counts.iter().filter(|((_, depth), _)| depth.starts_with(['1', '2'])).map(|(_, count)| count);
    let decoded: usize = small().map(|count| count.decoded).sum();
    let all: usize = decoded + small().map(|count| count.unsupported).sum::<usize>();
    let by_tiff: usize = small().map(|count| count.decoded_by_tiff).sum();
    println!("of {all} pages of at most 8 bits {decoded} decode, {by_tiff} with the tiff crate");
    println!("refused:\n{}\ndamaged:\n{}", refused.join("\n"), disputed.join("\n"));
    assert!(disputed.len() < 3, "{disputed:?}");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(decoded as f64 >= MIN_DECODED * all as f64, "only {decoded} of {all} pages decode");
}

#[test]
fn other_files_give_pixels_or_a_typed_error() {
    let mut n_files = 0;
    for (path, entry) in files("tiff").into_iter().chain(files("wsi")) {
        n_files += 1;
        let start = Instant::now();
        probe(&path, &entry);
        let elapsed = start.elapsed();
        assert!(elapsed < MAX_TIME, "{} took {elapsed:?}", path.display());
    }
    assert!(n_files > 400, "only {n_files} files");
}

/// Reads everything there is to read in a file that may be damaged.
fn probe(path: &Path, entry: &Value) {
    let check = |error: &Error| {
        let is_named = error.path() == path;
        assert!(is_named && !error.to_string().is_empty(), "{error}");
    };
    match TiffFile::open(path) {
        Err(error) => check(&error),
        Ok(file) => {
            for (idx, page) in file.pages().iter().enumerate() {
                let Ok(samples) = file.read_page(idx).inspect_err(check) else { continue };
                let pages = entry["pages"].as_array();
                let known = pages.into_iter().flatten().find(|p| p["ifd"] == page.name.as_str());
                let known = known.filter(|p| p["expected"].is_object() && entry["class"] == "suspect");
                if let Some(problem) = known.and_then(|page| mismatch(&samples, page)) {
                    panic!("{} page {}: {problem}", path.display(), page.name);
                }
            }
        }
    }
    let slide = TiffSlide::open(path).inspect_err(check);
    if let Ok(slide) = slide {
        let _ = slide.read(Window::new(-16, -16, 256, 256)).inspect_err(check);
        let (width, height) = (i64::from(slide.size().width), i64::from(slide.size().height));
        let _ = slide.read(Window::new(width - 100, height - 100, 256, 256)).inspect_err(check);
    }
}
