//! `hubmap-merge` as a person runs it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, check_command_line, fixture, run};

/// Slides of the sizes of the fixture of the ensemble, and a list of them.
fn place_slides(folder: &Path) {
    std::fs::create_dir(folder.join("slides")).unwrap();
    for (id, size) in [("a", Size::new(90, 70)), ("b", Size::new(33, 41))] {
        let slide = SyntheticSlide::new(SlideSpec::new(size, 1)).unwrap();
        write_slide(&folder.join(format!("slides/{id}.tiff")), &slide, FileFormat::default()).unwrap();
    }
    std::fs::write(folder.join("slides.csv"), "path\nslides/b.tiff\nslides/a.tiff\n").unwrap();
}

fn merge(folder: &Path, more: &[&str]) -> Ran {
    let (list, out) = (folder.join("slides.csv"), folder.join("out"));
    let words = ["--manifest".as_ref(), list.as_os_str(), "--out".as_ref(), out.as_os_str()];
    run(env!("CARGO_BIN_EXE_hubmap-merge"), words.into_iter().chain(more.iter().map(AsRef::as_ref)))
}

/// What a job of `hubmap-ensemble` leaves.
fn job(folder: &Path, part: &str, ids: &[&str]) {
    use hubmap_infer::{Ensemble, OutputKind, OutputPlan, PostprocessConfig, SlideInput, run_slides};
    let slides: Vec<_> = ids
        .iter()
        .map(|id| SlideInput {
            id: (*id).to_owned(),
            location: folder.join(format!("slides/{id}.tiff")).into(),
            microns_per_px: None,
        })
        .collect();
    let runs = [0, 1, 2].map(|i| fixture(&format!("ensemble/run_{i}"))).to_vec();
    let ensemble = Ensemble::new(runs, None).unwrap();
    let spec = ensemble.run_spec(0.5, PostprocessConfig::OFF);
    let plan = OutputPlan {
        folder: folder.join("out"),
        kinds: vec![OutputKind::Rle, OutputKind::Geojson],
        order: Vec::new(),
        reuse_finished: true,
        part: Some(part.to_owned()),
        scratch: None,
    };
    let summary = run_slides(&mut [ensemble], &spec, &slides, &plan, &()).unwrap();
    assert!(summary.failed.is_empty());
}

#[test]
fn parts_become_the_table_of_all() {
    let dir = tempfile::tempdir().unwrap();
    place_slides(dir.path());
    std::fs::create_dir(dir.path().join("out")).unwrap();
    merge(dir.path(), &[]).assert_error(1, &["2 of 2 slides", "b, a"]);
    job(dir.path(), "0-of-2", &["a"]);
    merge(dir.path(), &[]).assert_error(1, &["1 of 2 slides", ": b;"]);
    assert!(!dir.path().join("out/summary.json").exists());
    job(dir.path(), "1-of-2", &["b"]);

    let sample = dir.path().join("sample.csv");
    std::fs::write(&sample, "id,predicted\na,\nb,\n").unwrap();
    let ran = merge(dir.path(), &["--json", "--sample-submission", &sample.display().to_string()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let ids: Vec<_> = summary["slides"].as_array().unwrap().iter().map(|slide| slide["id"].clone()).collect();
    assert_eq!(ids, ["b", "a"]);
    let table = std::fs::read(dir.path().join("out/submission__0.5.csv")).unwrap();
    assert!(table == std::fs::read(fixture("ensemble/mean__0.5.csv")).unwrap());
}

#[test]
fn wrong_lists_are_named() {
    let dir = tempfile::tempdir().unwrap();
    place_slides(dir.path());
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::write(dir.path().join("slides.csv"), "id,path\na,x.tiff\na,y.tiff\n").unwrap();
    merge(dir.path(), &[]).assert_error(2, &["slides.csv", "line 3", "the id a"]);
    std::fs::remove_dir(dir.path().join("out")).unwrap();
    merge(dir.path(), &[]).assert_error(2, &["out"]);
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-merge"), false, false);
}
