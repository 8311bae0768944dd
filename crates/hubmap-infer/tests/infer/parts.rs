//! One run in several parts, which jobs of a cluster do at the same time, and their joining.

use std::path::Path;

use hubmap_files::{FolderLock, PendingFile};
use hubmap_infer::{OutputKind, OutputPlan, PredictConfig, SlideInput, Summary, join_parts, predict_slides};
use hubmap_io::Size;
use hubmap_test_support::files_under;
use ndarray::{Array4, s};

use crate::files::{disc_pixels, plan, write_slide};
use crate::pipeline::{predictor, small_config};

const IDS: [&str; 5] = ["e", "b", "d", "a", "c"];

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        for (i, slide) in place.slides().iter().enumerate() {
            let discs = [(40 + 10 * i as i64, 50, 20), (100, 30 + 9 * i as i64, 9)];
            write_slide(slide.location.path(), &disc_pixels(Size::new(150, 120), &discs), Some(0.5));
        }
        place
    }

    fn slides(&self) -> Vec<SlideInput> {
        let path = |id: &str| self.folder.path().join(format!("{id}.tiff"));
        IDS.iter()
            .map(|id| SlideInput { id: (*id).to_owned(), location: path(id).into(), microns_per_px: None })
            .collect()
    }

    fn plan(&self, out: &str) -> OutputPlan {
        OutputPlan { order: vec!["c".into(), "b".into()], ..plan(&self.folder.path().join(out)) }
    }

    fn part(&self, out: &str, name: &str) -> OutputPlan {
        OutputPlan { part: Some(name.to_owned()), ..self.plan(out) }
    }
}

fn predict(slides: &[SlideInput], plan: &OutputPlan, config: PredictConfig) -> anyhow::Result<Summary> {
    let model = |tiles: &Array4<f32>| {
        Ok(tiles.slice(s![.., ..1, .., ..]).mapv(|red| if red > 0.0 { 3.0 } else { -3.0 }))
    };
    predict_slides(&mut [predictor(config, model)], "model", slides, plan, &())
}

/// Files with their bytes, but those that say how long things took, and locks.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files =
        files_under(folder).into_iter().filter(|file| !file.contains(".json") && !file.contains("lock"));
    files.map(|file| (file.clone(), std::fs::read(folder.join(&file)).unwrap())).collect()
}

#[test]
fn parts_leave_what_one_run_leaves() {
    let place = Place::new();
    let slides = place.slides();
    let whole = predict(&slides, &place.plan("whole"), small_config()).unwrap();
    for (name, part) in [("0-of-2", &slides[..2]), ("1-of-2", &slides[2..])] {
        predict(part, &place.part("out", name), small_config()).unwrap();
    }
    let out = place.folder.path().join("out");
    let files = files_under(&out);
    assert!(!files.iter().any(|file| file.contains("submission") || file == "summary.json"), "{files:?}");
    assert!(files.contains(&"predicts/parts/1-of-2.json".to_owned()), "{files:?}");

    let joined = join_parts(&slides, &place.plan("out")).unwrap();
    assert!(contents(&out) == contents(&place.folder.path().join("whole")));
    let facts = |summary: &Summary| {
        let slides: Vec<_> = summary.slides.iter().map(|slide| (slide.id.clone(), slide.objects)).collect();
        (slides, summary.settings.clone(), summary.outputs.clone(), summary.n_models, summary.model.clone())
    };
    assert_eq!(facts(&joined), facts(&whole));
    let text = std::fs::read_to_string(out.join("summary.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["slides"].as_array().unwrap().len(),
        5
    );
    assert!(!out.join("predicts/locks").exists());
}

#[test]
fn sets_that_are_not_whole_are_refused_by_name() {
    let place = Place::new();
    let slides = place.slides();
    let refused = |slides: &[SlideInput]| {
        let files = || {
            let files = files_under(&place.folder.path().join("out"));
            files.into_iter().filter(|file| !file.contains("lock")).collect::<Vec<_>>()
        };
        let before = files();
        let error = join_parts(slides, &place.plan("out")).unwrap_err().to_string();
        assert_eq!(files(), before, "nothing is written");
        error
    };
    let error = refused(&slides);
    assert!(error.contains("5 of 5 slides") && error.contains("e, b, d, a, c"), "{error}");
    predict(&slides[..3], &place.part("out", "0-of-2"), small_config()).unwrap();
    assert!(refused(&slides).contains("2 of 5 slides are not finished"));

    let other = PredictConfig { threshold: 0.25, ..small_config() };
    predict(&slides[3..], &place.part("out", "1-of-2"), other).unwrap();
    let error = refused(&slides);
    assert!(error.contains("other settings") && error.contains("than e: a, c"), "{error}");

    predict(&slides[3..], &place.part("out", "1-of-2"), small_config()).unwrap();
    let mask = place.plan("out").path(OutputKind::Mask, "d");
    std::fs::remove_file(&mask).unwrap();
    let error = refused(&slides);
    assert!(error.contains("files of d are gone"), "{error}");
    predict(&slides[..3], &place.part("out", "0-of-2"), small_config()).unwrap();
    join_parts(&slides, &place.plan("out")).unwrap();
}

#[test]
fn parts_share_a_folder_but_not_a_slide_and_keep_runs_of_all_out() {
    let place = Place::new();
    let slides = place.slides();
    let out = place.folder.path().join("out");
    predict(&slides[..1], &place.part("out", "0-of-2"), small_config()).unwrap();

    // Another part is at work.
    let lock = FolderLock::take_shared(&out.join("predicts/.lock")).unwrap().unwrap();
    let slide_lock = FolderLock::take(&out.join("predicts/locks/b")).unwrap().unwrap();
    assert!(lock.is_effective, "this test needs a file system with locks");
    // It has files under way, as does this part from a time when it was killed.
    let under_way = |id: &str| PendingFile::create(&place.plan("out").path(OutputKind::Mask, id)).unwrap();
    let (theirs, ours) = (under_way("b"), under_way("d"));
    let (theirs_at, ours_at) = (theirs.temporary_path().to_owned(), ours.temporary_path().to_owned());
    std::mem::forget(ours);
    let tissue = out.join("predicts/tissue/d.png");
    std::fs::create_dir_all(tissue.parent().unwrap()).unwrap();
    let tissue = PendingFile::create(&tissue).unwrap();
    let tissue_at = tissue.temporary_path().to_owned();
    std::mem::forget(tissue);
    let summary = predict(&slides[2..4], &place.part("out", "1-of-2"), small_config()).unwrap();
    assert_eq!((summary.slides.len(), summary.failed.len()), (2, 0));
    assert!(theirs_at.exists() && !ours_at.exists() && !tissue_at.exists());
    // A division into other parts may come to the same slide.
    let summary = predict(&slides[1..3], &place.part("out", "0-of-3"), small_config()).unwrap();
    assert_eq!((summary.slides.len(), summary.failed.len()), (1, 1));
    assert!(summary.failed[0].id == "b" && summary.failed[0].error.contains("another job"), "{summary:?}");
    assert!(theirs_at.exists(), "what another job is writing is not what a killed one left");

    for error in [
        predict(&slides, &place.plan("out"), small_config()).unwrap_err(),
        join_parts(&slides[..1], &place.plan("out")).unwrap_err(),
    ] {
        assert!(error.to_string().contains("another run is writing"), "{error:#}");
    }
    drop((lock, slide_lock, theirs));
    predict(&slides, &place.plan("out"), small_config()).unwrap();
    assert!(!out.join("predicts/locks").exists());
}

#[test]
fn slides_are_read_from_copies_that_do_not_stay() {
    let place = Place::new();
    let slides = place.slides();
    let scratch = place.folder.path().join("scratch");
    predict(&slides, &place.plan("whole"), small_config()).unwrap();
    let plan = OutputPlan { scratch: Some(scratch.clone()), ..place.plan("out") };
    predict(&slides, &plan, small_config()).unwrap();
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
    assert!(contents(&place.folder.path().join("out")) == contents(&place.folder.path().join("whole")));

    // Nobody can write there.
    let file = place.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let plan = OutputPlan { scratch: Some(file.join("scratch")), reuse_finished: false, ..place.plan("out") };
    let summary = predict(&slides[..1], &plan, small_config()).unwrap();
    assert!(summary.failed[0].error.contains("e.tiff to"), "{summary:?}");
}

#[test]
fn a_resolution_of_the_list_counts() {
    let place = Place::new();
    let slide = |microns_per_px| SlideInput { microns_per_px, ..place.slides()[0].clone() };
    let predict =
        |slide: SlideInput| predict(&[slide], &place.plan("out"), small_config()).unwrap().slides[0].clone();
    assert_eq!(predict(slide(None)).microns_per_px, Some(0.5));
    let stated = predict(slide(Some(2.0)));
    assert_eq!((stated.microns_per_px, stated.reused), (Some(2.0), false));
    assert!(predict(slide(Some(2.0))).reused);
    let outlines = std::fs::read_to_string(place.plan("out").path(OutputKind::Geojson, "e")).unwrap();
    let outlines: serde_json::Value = serde_json::from_str(&outlines).unwrap();
    let measured = &outlines["features"][0]["properties"]["measurements"];
    let areas = ["Area px^2", "Area µm^2"].map(|name| measured[name].as_f64().unwrap());
    assert!((areas[1] - 4.0 * areas[0]).abs() < 1e-6, "{areas:?}");
}
