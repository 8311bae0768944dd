//! A page from folders, and what a user sees who gets something wrong.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use hubmap_io::{Rle, Size, write_mask_tiff};
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, check_command_line, files_under, fixture, json, run};

fn report(folder: &Path, args: &[&str]) -> Ran {
    let path = |arg: &&str| match arg.strip_prefix('@') {
        Some(name) => folder.join(name).display().to_string(),
        None => (*arg).to_owned(),
    };
    run(env!("CARGO_BIN_EXE_hubmap-report"), args.iter().map(path).collect::<Vec<_>>())
}

/// The slides of the fixtures of `hubmap-evaluate`, their masks and their probabilities.
fn place(folder: &Path) {
    let expected = json("evaluate/expected.json");
    for name in ["slides", "out/predicts/raw", "out/predicts/masks", "empty"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    let table = std::fs::read_to_string(fixture("evaluate/submission__0.5.csv")).unwrap();
    for (id, rle) in table.lines().skip(1).map(|line| line.split_once(',').unwrap()) {
        let side = |key: &str| expected["slides"][id][key].as_u64().unwrap() as u32;
        let size = Size::new(side("width"), side("height"));
        let slide = SyntheticSlide::new(SlideSpec::new(size, 1)).unwrap();
        write_slide(&folder.join(format!("slides/{id}.tiff")), &slide, FileFormat::default()).unwrap();
        let mask = Rle::parse(rle).unwrap().decode(size).unwrap();
        write_mask_tiff(&folder.join(format!("out/predicts/masks/{id}.tiff")), &mask, 8).unwrap();
        let npy = format!("{id}.npy");
        std::fs::copy(fixture(&format!("evaluate/raw/{npy}")), folder.join("out/predicts/raw").join(npy))
            .unwrap();
    }
    std::fs::copy(fixture("evaluate/submission__0.5.csv"), folder.join("out/submission__0.5.csv")).unwrap();
    std::fs::copy(fixture("evaluate/truth.csv"), folder.join("truth.csv")).unwrap();
}

#[test]
fn the_page_has_the_scores_of_evaluate() {
    let expected = json("evaluate/expected.json");
    let dir = tempfile::tempdir().unwrap();
    place(dir.path());
    let args = [
        "@out",
        "--slides",
        "@slides",
        "--truth",
        "@truth.csv",
        "--hausdorff",
        "--out",
        "@page.html",
        "--json",
    ];
    let ran = report(dir.path(), &args);
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let slides = expected["slides"].as_object().unwrap();
    let mean =
        slides.values().map(|slide| slide["dice"].as_f64().unwrap()).sum::<f64>() / slides.len() as f64;
    assert_eq!(summary["slides"], slides.len());
    assert!((summary["mean_dice"].as_f64().unwrap() - mean).abs() < 1e-12);

    let html = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    for (id, slide) in slides {
        let dice = slide["dice"].as_f64().unwrap();
        let objects = slide["objects"].as_array().unwrap();
        let row = format!("<th scope=\"row\">{id}</th><td>{dice:.4}</td>");
        assert!(html.contains(&row), "{row}");
        let n_objects = format!("<b>{} object{}</b>", objects[0], if objects[0] == 1 { "" } else { "s" });
        assert!(html.contains(&n_objects), "{id} {n_objects}");
    }
    let best = expected["sweep"]["best_threshold"].as_f64().unwrap();
    assert!(html.contains(&format!("is at threshold <b>{best:.2}</b>")));
    assert!(html.contains("No run folder was named"));
    assert_eq!(html.matches("class=\"slide\"").count(), slides.len());
}

#[test]
fn wrong_folders_are_named_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path());
    let before = files_under(dir.path());
    let out = ["--out", "@page.html"];
    let refused = |args: &[&str], code, parts: &[&str]| {
        report(dir.path(), &[args, &out].concat()).assert_error(code, parts);
        assert_eq!(files_under(dir.path()), before, "{args:?}");
    };
    refused(&["@empty"], 2, &["empty", "config.toml", "summary.json"]);
    refused(&["@nowhere"], 2, &["nowhere"]);
    refused(&["@truth.csv"], 2, &["truth.csv"]);
    refused(&["@out", "--slides", "@empty"], 65, &["empty", ".tiff"]);
    refused(&["@out", "--slides", "@slides", "--truth", "@nowhere.csv"], 65, &["nowhere.csv"]);
    let ran = report(dir.path(), &["@out", "--out", "@no/page.html"]);
    ran.assert_error(2, &["no such file or folder"]);
    assert_eq!(report(dir.path(), &[]).code, 2);
    let ran = report(dir.path(), &["@out", "--hausdorff", "--out", "@page.html"]);
    assert!(ran.code == 2 && ran.stderr.contains("--truth"), "{ran:?}");
}

#[test]
fn slides_that_the_truth_lacks_are_named() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path());
    std::fs::write(dir.path().join("truth.csv"), "id,encoding\nb,1 1\n").unwrap();
    let ran =
        report(dir.path(), &["@out", "--slides", "@slides", "--truth", "@truth.csv", "--out", "@page.html"]);
    ran.assert_error(65, &["not in the truth", "truth.csv", "a"]);
}

#[test]
fn a_slide_that_cannot_be_read_is_told_by_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path());
    std::fs::write(dir.path().join("out/predicts/masks/a.tiff"), "no TIFF").unwrap();
    let ran = report(dir.path(), &["@out", "--slides", "@slides", "--out", "@page.html"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("slide a could not be read"), "{ran:?}");
    assert!(std::fs::read_to_string(dir.path().join("page.html")).unwrap().contains("a.tiff"));
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-report"), false, false);
}
