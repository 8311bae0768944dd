//! `hubmap-ensemble` as a person runs it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::{Path, PathBuf};

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, check_command_line, files_under, fixture, run};
use serde_json::Value;

/// Slides of the sizes of the fixture.
fn place_slides(folder: &Path) {
    std::fs::create_dir(folder.join("slides")).unwrap();
    for (id, size) in [("a", Size::new(90, 70)), ("b", Size::new(33, 41))] {
        let slide = SyntheticSlide::new(SlideSpec::new(size, 1)).unwrap();
        write_slide(&folder.join(format!("slides/{id}.tiff")), &slide, FileFormat::default()).unwrap();
    }
}

fn ensemble(folder: &Path, runs: &[&Path], more: &[&str]) -> Ran {
    let text = |path: &Path| path.display().to_string();
    let (slides, out) = (text(&folder.join("slides")), text(&folder.join("out")));
    let runs: Vec<String> = runs.iter().map(|run| text(run)).collect();
    let mut args = vec!["--slides", &slides, "--out", &out, "--runs"];
    args.extend(runs.iter().map(String::as_str));
    args.extend(more);
    run(env!("CARGO_BIN_EXE_hubmap-ensemble"), args)
}

#[test]
fn tables_are_those_of_numpy_and_all_files_are_there() {
    let dir = tempfile::tempdir().unwrap();
    place_slides(dir.path());
    let runs = [0, 1, 2].map(|i| fixture(&format!("ensemble/run_{i}")));
    let runs = runs.each_ref().map(PathBuf::as_path);
    let sample = dir.path().join("sample.csv");
    std::fs::write(&sample, "id,predicted\nb,\na,\n").unwrap();
    let sample = sample.display().to_string();
    let ran = ensemble(dir.path(), &runs, &["--json", "--sample-submission", &sample]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends: Vec<_> =
        lines.iter().filter(|line| line["step"] == "b" && line["done"] == line["total"]).collect();
    assert_eq!(
        (ends.len(), &ends[0]["unit"], &ends[0]["level"]),
        (1, &"blocks".into(), &"INFO".into()),
        "{ran:?}"
    );
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["message"].is_string()), "{ran:?}");
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((summary["n_models"].as_u64(), summary["slides"].as_array().unwrap().len()), (Some(3), 2));
    let files = files_under(&dir.path().join("out"));
    for file in ["masks/a.tiff", "raw/b.npy", "objects/a.geojson", "overlays/b.png"] {
        assert!(files.contains(&format!("predicts/{file}")), "{file} is not in {files:?}");
    }
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let table = read(&dir.path().join("out/submission__0.5.csv"));
    let expected = read(&fixture("ensemble/mean__0.5.csv"));
    let (ours, expected): (Vec<_>, Vec<_>) = (table.lines().collect(), expected.lines().collect());
    assert_eq!(ours, [expected[0], expected[2], expected[1]]);

    let weighted = ["--weights", "1,0.5,2.25", "--threshold", "0.3", "--write", "rle", "-q"];
    let ran = ensemble(dir.path(), &runs, &weighted);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let table = read(&dir.path().join("out/submission__0.3.csv"));
    assert!(table == read(&fixture("ensemble/weighted__0.3.csv")));
}

#[test]
fn a_broken_slide_is_reported_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    place_slides(dir.path());
    std::fs::write(dir.path().join("slides/broken.tiff"), "this is no slide").unwrap();
    let runs = [0, 1].map(|i| fixture(&format!("ensemble/run_{i}")));
    let ran = ensemble(dir.path(), &runs.each_ref().map(PathBuf::as_path), &["--json", "--write", "rle"]);
    ran.assert_error(3, &["broken.tiff"]);
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&summary["failed"][0]["id"], summary["slides"].as_array().unwrap().len()),
        (&"broken".into(), 2)
    );
}

#[test]
fn wrong_usage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    place_slides(dir.path());
    let runs = [0, 1].map(|i| fixture(&format!("ensemble/run_{i}")));
    let [a, b] = runs.each_ref().map(PathBuf::as_path);
    ensemble(dir.path(), &[a], &[]).assert_error(2, &["two runs or more"]);
    ensemble(dir.path(), &[a, b], &["--weights", "1"]).assert_error(2, &["1 weights for 2 runs"]);
    ensemble(dir.path(), &[a, dir.path()], &[]).assert_error(2, &["neither predicts/raw"]);
    ensemble(dir.path(), &[a, b], &["--threshold", "2"]).assert_error(2, &["infer.threshold"]);
    assert_eq!(ensemble(dir.path(), &[a, b], &["--weights", "x,1"]).code, 2);
    let ran = ensemble(dir.path(), &[a, b], &["--write", "rle,maks"]);
    assert!(ran.code == 2 && ran.stderr.contains("a similar value exists: 'mask'"), "{ran:?}");
    ensemble(dir.path(), &[a, &fixture("ensemble").join("runn_1")], &[])
        .assert_error(2, &["no such file or folder", "ensemble/run_1?"]);
    assert_eq!(ensemble(dir.path(), &[a, b], &["--device", "flex"]).code, 2);

    let partial = dir.path().join("partial");
    std::fs::create_dir_all(partial.join("predicts/raw")).unwrap();
    std::fs::copy(a.join("predicts/raw/a.npy"), partial.join("predicts/raw/a.npy")).unwrap();
    ensemble(dir.path(), &[a, &partial], &[]).assert_error(65, &["partial lacks b"]);
    let out = dir.path().join("out");
    std::fs::create_dir_all(out.join("predicts/raw")).unwrap();
    ensemble(dir.path(), &[a, &out], &[]).assert_error(2, &["is one of the runs"]);
    assert_eq!(files_under(&out), Vec::<String>::new());
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-ensemble"), true, false);
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_build_that_reads_no_addresses_says_which_does() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").display().to_string();
    let (a, b) = (fixture("ensemble/run_0"), fixture("ensemble/run_1"));
    let list = dir.path().join("list.csv");
    std::fs::write(&list, "path\na.tiff\ngs://bucket/b.tiff\n").unwrap();
    for (flag, value) in [("--slides", "s3://bucket/a.tiff"), ("--manifest", list.to_str().unwrap())] {
        let args = ["--runs", a.to_str().unwrap(), b.to_str().unwrap(), "--out", &out, flag, value];
        let ran = run(env!("CARGO_BIN_EXE_hubmap-ensemble"), args);
        ran.assert_error(2, &["://bucket/", "cargo build --release --features remote"]);
    }
    assert_eq!(files_under(&dir.path().join("out")), Vec::<String>::new());
}
