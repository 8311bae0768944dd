//! Real slides through the executables. `HUBMAP_CORPUS=<folder>` says where they are; without it the tests fail.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod histology;
mod outputs;

use std::path::{Path, PathBuf};

use hubmap_test_support::{fixture, run};

pub(crate) fn corpus(relative: &str) -> PathBuf {
    let root = std::env::var_os("HUBMAP_CORPUS").unwrap_or_else(|| panic!("HUBMAP_CORPUS is not set"));
    let path = Path::new(&root).join(relative);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

#[test]
fn an_aperio_slide_goes_all_the_way() {
    let slide = corpus("wsi/libvips/test-suite__images__CMU-1-Small-Region.svs");
    let weights = fixture("models/tiny_trained_unet_regnety_002.f16.safetensors");
    let place = tempfile::tempdir().unwrap();
    let args = [
        "--model".as_ref(),
        weights.as_os_str(),
        "--slides".as_ref(),
        slide.as_os_str(),
        "--out".as_ref(),
        place.path().as_os_str(),
        "--set".as_ref(),
        "infer.block=256".as_ref(),
        "--set".as_ref(),
        "infer.context=64".as_ref(),
        "--json".as_ref(),
    ];
    let ran = run(outputs::executable("hubmap-infer"), args);
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let slide = &summary["slides"][0];
    assert_eq!((slide["width"].as_u64(), slide["height"].as_u64()), (Some(2220), Some(2967)));
    let microns = slide["microns_per_px"].as_f64().unwrap();
    assert!((microns - 0.499).abs() < 1e-3, "{microns}");

    let id = "test-suite__images__CMU-1-Small-Region";
    outputs::check_outputs_agree(place.path(), id, 0.5);
    let n_objects = outputs::check_geojson(&place.path().join(format!("predicts/objects/{id}.geojson")));
    assert_eq!(n_objects as u64, slide["objects"].as_u64().unwrap());
}
