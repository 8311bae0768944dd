//! Fixture paths and readers shared by the tests of all crates.
#![expect(clippy::panic, reason = "a test without its fixture must fail, not be skipped")]

mod command_line;
mod web_server;

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array, Dimension};
use ndarray_npy::{ReadNpyExt, ReadableElement};

pub use command_line::check_command_line;
pub use web_server::WebServer;

/// Absolute path of a file or folder under `tests/fixtures`.
///
/// # Panics
///
/// It does not exist.
pub fn fixture(relative: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(relative);
    assert!(path.exists(), "fixture {} is missing", path.display());
    path
}

/// A `.npy` fixture.
///
/// # Panics
///
/// It is missing, or not an array of this type and number of axes.
pub fn npy<T: ReadableElement, D: Dimension>(relative: &str) -> Array<T, D> {
    let path = fixture(relative);
    let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Array::read_npy(file).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A `.json` fixture.
///
/// # Panics
///
/// It is missing or not JSON.
pub fn json(relative: &str) -> serde_json::Value {
    let path = fixture(relative);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// How an executable ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// Runs an executable to its end.
///
/// # Panics
///
/// It cannot be started.
pub fn run<A: AsRef<OsStr>>(executable: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Ran {
    let executable = executable.as_ref();
    let output = Command::new(executable)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", Path::new(executable).display()));
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    /// Asserts that the run ended with `code` and one line `error: …`, or object with `--json`, that contains all of
    /// `parts`.
    ///
    /// # Panics
    ///
    /// It did not.
    #[track_caller]
    pub fn assert_error(&self, code: i32, parts: &[&str]) {
        let is_error = |line: &&str| line.starts_with("error: ") || line.contains("\"level\":\"ERROR\"");
        let errors: Vec<&str> = self.stderr.lines().filter(is_error).collect();
        assert_eq!((self.code, errors.len()), (code, 1), "{self:?}");
        for part in parts {
            assert!(errors[0].contains(part), "{part:?} is not in {:?}", errors[0]);
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// Every file under a folder, relative to it, sorted; empty if there is no such folder.
///
/// # Panics
///
/// A folder cannot be read.
pub fn files_under(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        if !current.exists() {
            continue;
        }
        let entries = std::fs::read_dir(&current).unwrap_or_else(|e| panic!("{}: {e}", current.display()));
        for entry in entries {
            let path = entry.unwrap_or_else(|e| panic!("{}: {e}", current.display())).path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap_or(&path).display().to_string());
            }
        }
    }
    files.sort();
    files
}
