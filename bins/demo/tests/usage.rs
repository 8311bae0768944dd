//! Folders of synthetic slides, and what a user sees who gets something wrong.

use hubmap_test_support::{check_command_line, files_under, run};

#[test]
fn slides_are_laid_out_as_the_competitions() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("HUBMAP").display().to_string();
    let args = ["slides", "--out", &out, "--count", "2", "--size", "320x256", "--layout", "pages-lzw"];
    let ran = run(env!("CARGO_BIN_EXE_hubmap-demo"), args);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        files_under(&place.path().join("HUBMAP")),
        [
            "HuBMAP-20-dataset_information.csv",
            "sample_submission.csv",
            "test/2ec3f1bb9-anatomical-structure.json",
            "test/2ec3f1bb9.tiff",
            "train.csv",
            "train/0486052bb-anatomical-structure.json",
            "train/0486052bb.json",
            "train/0486052bb.tiff",
            "train/e79de561c-anatomical-structure.json",
            "train/e79de561c.json",
            "train/e79de561c.tiff",
            "truth.csv",
        ]
    );
}

#[test]
fn wrong_sizes_and_layouts_are_named() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("HUBMAP").display().to_string();
    let ran = run(env!("CARGO_BIN_EXE_hubmap-demo"), ["slides", "--out", &out, "--size", "320"]);
    assert!(ran.code == 2 && ran.stderr.contains("4096x4096"), "{ran:?}");
    let ran = run(env!("CARGO_BIN_EXE_hubmap-demo"), ["slides", "--out", &out, "--layout", "round"]);
    ran.assert_error(2, &["--layout", "round", "tiled"]);
    let args = ["slides", "--out", &out, "--stain-variation", "none"];
    run(env!("CARGO_BIN_EXE_hubmap-demo"), args).assert_error(2, &["--stain-variation", "0 to 100"]);
    let args = ["slides", "--out", &out, "--stain-variation", "7"];
    run(env!("CARGO_BIN_EXE_hubmap-demo"), args).assert_error(1, &["stain_variation 7", "0 to 1"]);
    assert!(files_under(place.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_first_sigterm_stops_with_the_code_for_running_again() {
    use std::process::{Command, Stdio};
    let place = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_hubmap-demo"))
        .arg("--out")
        .arg(place.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Cutting begins when the slides are there.
    while !place.path().join("input/bigmasks").exists() {
        assert!(demo.try_wait().unwrap().is_none(), "the demo ended early");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").arg(demo.id().to_string()).status().unwrap().success());
    let output = demo.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    let unfinished: Vec<_> =
        files_under(place.path()).into_iter().filter(|f| f.contains(".unfinished")).collect();
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-demo"), true, true);
}
