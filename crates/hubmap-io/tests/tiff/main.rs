//! Reading and writing TIFF files.

#![expect(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "helpers of tests fail like tests")]

/// Windows of every fixture, on and off the slide, from many threads.
mod reading;

/// What we write reads back, in every layout and codec.
mod writing;

/// Cut, flipped and hostile files are errors that say what is wrong.
mod damaged;

/// Kinds of pixels and pages.
mod pages;

use std::path::PathBuf;

use hubmap_io::Window;
use hubmap_test_support::{json, npy};
use ndarray::{Array3, ArrayView3};
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

fn scratch_file(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("damaged.tiff");
    std::fs::write(&path, bytes).unwrap();
    path
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
