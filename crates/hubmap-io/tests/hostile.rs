//! Files made to do harm: no panic, an error that names the file, and little memory.
//!
//! Needs `HUBMAP_CORPUS`, a folder with `tiff/manifest.json`.

use std::path::{Path, PathBuf};

use hubmap_io::{Error, RasterReader as _, TiffFile, TiffSlide, Window};
use peak_alloc::PeakAlloc;
use serde_json::Value;

/// Counts every allocation of this process, which is why the file has one test.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most memory that reading one of the files may take, in megabytes.
const MAX_MEMORY_MB: f32 = 300.0;

/// Files of the class in the corpus.
const MIN_FILES: usize = 78;

#[test]
fn hostile_files_take_little_memory() {
    let corpus = std::env::var_os("HUBMAP_CORPUS").map(PathBuf::from);
    let folder =
        corpus.unwrap_or_else(|| panic!("HUBMAP_CORPUS must name the folder of the corpus")).join("tiff");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap().iter().filter(|entry| entry["class"] == "hostile");
    let mut most = (0.0, String::new());
    let mut n_files = 0;
    for entry in files {
        let name = entry["file"].as_str().unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage_as_mb();
        read_all(&folder.join(name));
        let used = MEMORY.peak_usage_as_mb() - before;
        assert!(used < MAX_MEMORY_MB, "{name} took {used} MB");
        if used > most.0 {
            most = (used, name.to_owned());
        }
        n_files += 1;
    }
    println!("{n_files} files, at most {:.1} MB: {}", most.0, most.1);
    assert!(n_files >= MIN_FILES, "only {n_files} files");
}

/// Reads every page, and the slide that the file may be.
fn read_all(path: &Path) {
    let check = |error: &Error| assert!(error.path() == path && !error.to_string().is_empty(), "{error}");
    match TiffFile::open(path) {
        Err(error) => check(&error),
        Ok(file) => {
            for idx in 0..file.pages().len() {
                let _ = file.read_page(idx).inspect_err(check);
            }
        }
    }
    if let Ok(slide) = TiffSlide::open(path).inspect_err(check) {
        let _ = slide.read(Window::new(-16, -16, 256, 256)).inspect_err(check);
    }
}
