//! What a user sees who gets something wrong: one clear sentence, an exit code, and no half-written files.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use hubmap_io::Size;
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec, write_competition};
use hubmap_test_support::{Ran, check_command_line, files_under, run};

fn data_gen(input: &Path, output: &Path, more: &[&str]) -> Ran {
    let (input, output) = (input.display().to_string(), output.display().to_string());
    let mut args = vec!["--input", &input, "--output", &output];
    args.extend(["--set", "data_gen.tile_px=64", "--set", "data_gen.folds=drawn"]);
    args.extend(["--set", "data_gen.n_drawn_folds=2"]);
    args.extend(more);
    run(env!("CARGO_BIN_EXE_hubmap-data-gen"), args)
}

fn competition(folder: &Path) {
    let slide = SlideSpec { scale: 0.3, ..SlideSpec::new(Size::new(600, 500), 3) };
    let formats = vec![FileFormat::default()];
    write_competition(folder, &CompetitionSpec { n_train: 2, n_test: 0, slide, formats }, &|_, _| {})
        .unwrap();
}

#[test]
fn wrong_and_empty_folders_are_named() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("input");
    data_gen(&place.path().join("nowhere"), &output, &[])
        .assert_error(2, &["no such file or folder", "nowhere"]);
    std::fs::create_dir(place.path().join("empty")).unwrap();
    data_gen(&place.path().join("empty"), &output, &[]).assert_error(65, &["empty"]);
    assert!(files_under(&output).is_empty());
}

#[test]
fn a_truncated_slide_is_reported_and_leaves_no_splits() {
    let place = tempfile::tempdir().unwrap();
    let (input, output) = (place.path().join("HUBMAP"), place.path().join("input"));
    competition(&input);
    let slide = std::fs::read_dir(input.join("train"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "tiff"))
        .unwrap();
    let bytes = std::fs::read(&slide).unwrap();
    std::fs::write(&slide, &bytes[..bytes.len() / 2]).unwrap();
    let ran = data_gen(&input, &output, &["--json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let name = slide.file_name().unwrap().to_str().unwrap();
    assert!(ran.stderr.contains(name), "{ran:?}");
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["failures"].as_array().map(Vec::len), Some(1));
    assert_eq!(summary["failures"][0]["kind"], "input");
    assert!(!files_under(&output).iter().any(|f| f.starts_with("SPLITS")), "splits would lack a slide");

    for entry in std::fs::read_dir(input.join("train")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "tiff") {
            std::fs::write(path, "no slide any more").unwrap();
        }
    }
    let ran = data_gen(&input, &output, &["--json"]);
    assert!(ran.code == 65 && ran.stderr.contains("2 of 2 inputs failed"), "{ran:?}");
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["failures"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_misspelt_key_names_the_right_one() {
    let place = tempfile::tempdir().unwrap();
    let ran = data_gen(place.path(), &place.path().join("out"), &["--set", "data_gen.tile=64"]);
    ran.assert_error(2, &["data_gen.tile", "data_gen.tile_px"]);
    let ran = data_gen(place.path(), &place.path().join("out"), &["--set", "data_gen.epochs=3"]);
    ran.assert_error(2, &["unknown key `data_gen.epochs`; did you mean `train.epochs`?"]);
    let ran = data_gen(place.path(), &place.path().join("out"), &["--set", "data_gen.objects_in=cotrex"]);
    ran.assert_error(
        2,
        &["data_gen.objects_in", "did you mean `cortex`?", "(from --set data_gen.objects_in=cotrex)"],
    );
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-data-gen"), true, false);
}
