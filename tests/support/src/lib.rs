//! Fixture paths and readers shared by the tests of all crates.
#![expect(clippy::panic, reason = "a test without its fixture must fail, not be skipped")]

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::{Array, Dimension};
use ndarray_npy::{ReadNpyExt, ReadableElement};

/// Absolute path of a file or folder under `tests/fixtures`, which must exist.
pub fn fixture(relative: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(relative);
    assert!(path.exists(), "fixture {} is missing", path.display());
    path
}

/// A `.npy` fixture.
pub fn npy<T: ReadableElement, D: Dimension>(relative: &str) -> Array<T, D> {
    let path = fixture(relative);
    let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Array::read_npy(file).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A `.json` fixture.
pub fn json(relative: &str) -> serde_json::Value {
    let path = fixture(relative);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
