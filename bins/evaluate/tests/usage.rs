//! Scores, and what a user sees who gets something wrong.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use hubmap_io::{Rle, Size, write_mask_tiff};
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, check_command_line, fixture, json, run};

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
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["slide", "Dice", "precision", "recall", "F1", "predicted", "true", "matched"]);
    // Five of fifteen pixels in common: no match.
    assert_eq!(lines[1], ["a", "0.5000", "0.0000", "0.0000", "0.0000", "1", "1", "0"]);
    assert_eq!(lines[2][..3], ["mean", "0.5000", "–"]);
    assert_eq!(lines[3][..2], ["pooled", "0.5000"]);
}

#[test]
fn everything_on_leaves_tables_and_a_plot() {
    let expected = json("evaluate/expected.json");
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for folder in ["slides", "out/predicts/raw", "out/predicts/masks"] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    let table = std::fs::read_to_string(fixture("evaluate/submission__0.5.csv")).unwrap();
    for (id, rle) in table.lines().skip(1).map(|line| line.split_once(',').unwrap()) {
        let side = |key: &str| expected["slides"][id][key].as_u64().unwrap() as u32;
        let size = Size::new(side("width"), side("height"));
        let slide = SyntheticSlide::new(SlideSpec::new(size, 1)).unwrap();
        write_slide(&path(&format!("slides/{id}.tiff")), &slide, FileFormat::default()).unwrap();
        let mask = Rle::parse(rle).unwrap().decode(size).unwrap();
        write_mask_tiff(&path(&format!("out/predicts/masks/{id}.tiff")), &mask, 8).unwrap();
        let npy = format!("{id}.npy");
        std::fs::copy(fixture(&format!("evaluate/raw/{npy}")), path("out/predicts/raw").join(npy)).unwrap();
    }
    let text = |name: &str| path(name).display().to_string();
    let truth = fixture("evaluate/truth.csv").display().to_string();
    let (out, slides) = (text("out"), text("slides"));
    let files = ["scores.csv", "scores.md", "sweep.png"].map(text);
    let args = ["--pred", &out, "--truth", &truth, "--slides", &slides, "--hausdorff", "--sweep"];
    let more = ["--csv", &files[0], "--markdown", &files[1], "--plot", &files[2]];
    let ran = run(env!("CARGO_BIN_EXE_hubmap-evaluate"), args.into_iter().chain(more));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stdout.lines().next().unwrap().ends_with("HD95 µm"), "{ran:?}");
    let best = expected["sweep"]["best_threshold"].as_f64().unwrap();
    assert!(ran.stdout.contains(&format!("best threshold {best:.2}: mean Dice 0.")), "{ran:?}");

    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let dice = expected["slides"]["a"]["dice"].as_f64().unwrap();
    assert!(read("scores.csv").lines().nth(1).unwrap().starts_with(&format!("a,{dice},")));
    assert_eq!(read("scores_sweep.csv").lines().count(), 20);
    assert!(read("scores.md").starts_with("| slide | Dice |"));
    assert!(std::fs::read(path("sweep.png")).unwrap().starts_with(b"\x89PNG"));

    let nowhere = text("nowhere/a.csv");
    let ran = run(env!("CARGO_BIN_EXE_hubmap-evaluate"), args.into_iter().chain(["--csv", &nowhere]));
    ran.assert_error(2, &["no such file or folder", "nowhere"]);
    let args = ["--pred", &out, "--truth", &truth, "--slides", &slides, "--plot", &files[2]];
    assert_eq!(run(env!("CARGO_BIN_EXE_hubmap-evaluate"), args).code, 2);
}

#[test]
fn flags_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), "id,predicted\na,6 10\n");
    for flag in [["--device", "flex"], ["--set", "infer.threshold=0.4"], ["--config", "a.toml"]] {
        let ran = evaluate(dir.path(), &flag);
        assert!(ran.code == 2 && ran.stderr.contains(flag[0]), "{ran:?}");
    }
}

#[test]
fn wrong_tables_are_named() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), "id,predicted\nb,6 10\n");
    evaluate(dir.path(), &[]).assert_error(65, &["truth.csv", "b"]);
    std::fs::write(dir.path().join("pred.csv"), "id,predicted\na,6 10 9\n").unwrap();
    evaluate(dir.path(), &[]).assert_error(65, &["pred.csv"]);
    std::fs::write(dir.path().join("pred.csv"), "id,predicted\na,1199 10\n").unwrap();
    evaluate(dir.path(), &[]).assert_error(65, &["a", "40x30"]);
    std::fs::rename(dir.path().join("pred.csv"), dir.path().join("pred_.csv")).unwrap();
    evaluate(dir.path(), &[]).assert_error(2, &["pred.csv; did you mean", "pred_.csv?"]);
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-evaluate"), false, false);
}
