//! Scores, and what a user sees who gets something wrong.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, run};

fn evaluate(folder: &Path, more: &[&str]) -> Ran {
    let path = |name: &str| folder.join(name).display().to_string();
    let (pred, truth, slides) = (path("pred.csv"), path("truth.csv"), path("slides"));
    let mut args = vec!["--pred", &pred, "--truth", &truth, "--slides", &slides];
    args.extend(more);
    run(env!("CARGO_BIN_EXE_hubmap-evaluate"), args)
}

/// A slide of 40×30 px with a truth of ten pixels and a prediction that shares five of them.
fn place(folder: &Path, pred: &str) {
    std::fs::create_dir(folder.join("slides")).unwrap();
    let slide = SyntheticSlide::new(SlideSpec::new(Size::new(40, 30), 1)).unwrap();
    write_slide(&folder.join("slides/a.tiff"), &slide, FileFormat::default()).unwrap();
    std::fs::write(folder.join("truth.csv"), "id,encoding\na,1 10\n").unwrap();
    std::fs::write(folder.join("pred.csv"), pred).unwrap();
}

#[test]
fn dice_is_right() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), "id,predicted\na,6 10\n");
    let ran = evaluate(dir.path(), &["--json"]);
    let scores: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, scores["mean_dice"].as_f64()), (0, Some(0.5)));
    let ran = evaluate(dir.path(), &[]);
    assert!(ran.stdout.contains("0.5000"), "{ran:?}");
}

#[test]
fn wrong_tables_are_named() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), "id,predicted\nb,6 10\n");
    evaluate(dir.path(), &[]).assert_error(1, &["truth.csv", "b"]);
    std::fs::write(dir.path().join("pred.csv"), "id,predicted\na,6 10 9\n").unwrap();
    evaluate(dir.path(), &[]).assert_error(1, &["pred.csv"]);
    std::fs::write(dir.path().join("pred.csv"), "id,predicted\na,1199 10\n").unwrap();
    evaluate(dir.path(), &[]).assert_error(1, &["a", "40x30"]);
    std::fs::remove_file(dir.path().join("pred.csv")).unwrap();
    evaluate(dir.path(), &[]).assert_error(1, &["pred.csv"]);
}
