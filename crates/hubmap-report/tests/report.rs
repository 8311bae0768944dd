//! Pages about folders as training and inference leave them.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::cell::Cell;
use std::path::{Path, PathBuf};

use half::f16;
use hubmap_infer::{
    Ensemble, NpyWriter, OutputKind, OutputPlan, PostprocessConfig, Progress, RowSink, SlideInput, run_slides,
};
use hubmap_io::{Mask, Polygon, RemoteOptions, Rle, Size, write_mask_tiff};
use hubmap_report::{ReportError, ReportJob, ReportSummary, write_report};
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use serde_json::{Value, json};

const SIZE: Size = Size::new(600, 400);
/// What a browser must not take for anything but letters.
const HOSTILE: &str = "<img src=x onerror=alert(1)>&\"'";

fn square(x: f64, y: f64, side: f64) -> Polygon {
    Polygon::new(vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]])
}

fn mask(squares: &[(f64, f64, f64)]) -> Mask {
    let mut mask = Mask::new(SIZE);
    for &(x, y, side) in squares {
        mask.fill_polygon(&square(x, y, side));
    }
    mask
}

/// One pair that agrees well, one that does not, a false positive; the last of the truth is missed.
fn predicted() -> Mask {
    mask(&[(100.0, 50.0, 100.0), (300.0, 60.0, 80.0), (450.0, 250.0, 60.0)])
}

fn truth() -> Mask {
    mask(&[(102.0, 52.0, 100.0), (310.0, 75.0, 90.0), (50.0, 250.0, 90.0)])
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn summary(id: &str, slide: &Path) -> Value {
    let seconds = json!({"tissue": 0.5, "read": 2.0, "reduce": 0.0, "wait": 0.1, "infer": 30.0, "merge": 0.2,
        "journal": 0.0, "write": 1.0});
    json!({"id": id, "path": slide, "width": SIZE.width, "height": SIZE.height, "microns_per_px": 0.5, "n_blocks": 10,
        "n_skipped": 4, "n_replayed": 0, "objects": 3, "positive_pixels": 1, "seconds": seconds, "total_seconds": 30.0,
        "blocks_per_second": 0.3})
}

/// A folder with `run/`, `results/`, `slides/` and `truth.csv`, about slides of these ids.
fn place(folder: &Path, ids: &[&str]) {
    let slides = folder.join("slides");
    std::fs::create_dir_all(&slides).unwrap();
    let mut summaries = Vec::new();
    let mut table = vec!["id,encoding".to_owned()];
    for id in ids {
        let path = slides.join(format!("{id}.tiff"));
        write_slide(&path, &SyntheticSlide::new(SlideSpec::new(SIZE, 3)).unwrap(), FileFormat::default())
            .unwrap();
        let masks = folder.join("results/predicts/masks");
        std::fs::create_dir_all(&masks).unwrap();
        write_mask_tiff(&masks.join(format!("{id}.tiff")), &predicted(), 8).unwrap();
        summaries.push(summary(id, &path));
        table.push(format!("\"{}\",{}", id.replace('"', "\"\""), Rle::encode(&truth())));
    }
    write(&folder.join("truth.csv"), &table.join("\n"));
    let failed = json!([{"id": "lost", "path": "lost.tiff", "error": format!("cannot open: {HOSTILE}")}]);
    let summary = json!({"settings": {"threshold": 0.5}, "model": "abc", "n_models": 2, "outputs": ["mask"],
        "slides": summaries, "failed": failed, "total_seconds": 31.0});
    write(&folder.join("results/summary.json"), &summary.to_string());
    write(
        &folder.join("run/config.toml"),
        &format!("# {HOSTILE}\n[data]\nfolds = [\"{}\"]\n", "<b>fold</b>"),
    );
    let header = "epoch,rate,train_loss,train_dice,valid_dice,valid_dice_ema,seconds,data_wait\n";
    let rows = "0,0.001,1.5,0.3,,,2.5,0.01\n1,0.002,1.0,0.5,0.8,0.9,3.5,0.02\n";
    write(&folder.join("run/fold_0/history.csv"), &format!("{header}{rows}"));
    write(&folder.join("run/fold_0/models/e1_t2_ema_0.9000.safetensors"), "weights");
}

/// What inference writes besides masks.
fn place_more(folder: &Path, id: &str) {
    let predicts = folder.join("results/predicts");
    let rows = "number,uuid,area_px,mean_probability\n1,,10000,0.91\n2,,6400,0.62\n3,,3600,0.55\n";
    write(&predicts.join(format!("objects/{id}.csv")), rows);
    std::fs::create_dir_all(predicts.join("probabilities")).unwrap();
    write_mask_tiff(&predicts.join(format!("probabilities/{id}.tiff")), &predicted(), 8).unwrap();
    write(&predicts.join(format!("tissue/{id}.png")), "a picture");
    let record = json!({"identity": {"version": 1, "settings": "0123456789abcdef", "model": "abc"},
        "inputs": {"files": [{"n_bytes": 123_456, "modified": [86_400, 0]}], "microns_per_px": null}, "outputs": [],
        "summary": summary(id, &folder.join("slides").join(format!("{id}.tiff")))});
    write(&predicts.join(format!("done/{id}.json")), &record.to_string());
    let path = predicts.join(format!("raw/{id}.npy"));
    let map = predicted().to_array().mapv(|set| f16::from_f32(if set == 0 { 0.1 } else { 0.7 }));
    let mut writer = NpyWriter::create(&path, SIZE).unwrap();
    writer.write_rows(0, &map).unwrap();
    writer.finish().unwrap().commit().unwrap();
}

fn job(folder: &Path, inputs: &[&str]) -> ReportJob {
    let inputs = inputs.iter().map(|name| folder.join(name)).collect();
    ReportJob { inputs, slides: None, remote: RemoteOptions::default(), truth: None, hausdorff: false }
}

fn page(job: &ReportJob) -> (String, ReportSummary) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let summary = write_report(job, &path, &()).unwrap();
    (std::fs::read_to_string(path).unwrap(), summary)
}

/// The other tests write these files themselves; here it is seen that they are what inference writes.
#[test]
fn what_inference_writes_of_a_slide_is_read() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a"]);
    place_more(dir.path(), "a");
    let slide = SlideInput {
        id: "a".to_owned(),
        location: dir.path().join("slides/a.tiff").into(),
        microns_per_px: Some(0.25),
    };
    let runs = ["results", "same"].map(|name| dir.path().join(name));
    let maps = runs.each_ref().map(|run| run.join("predicts/raw/a.npy"));
    std::fs::create_dir_all(maps[1].parent().unwrap()).unwrap();
    std::fs::copy(&maps[0], &maps[1]).unwrap();
    let ensemble = Ensemble::new(runs.to_vec(), None).unwrap();
    let spec = ensemble.run_spec(0.5, PostprocessConfig::OFF);
    let plan = OutputPlan {
        folder: dir.path().join("real"),
        kinds: OutputKind::ALL.to_vec(),
        order: Vec::new(),
        reuse_finished: true,
        part: None,
        scratch: None,
    };
    let run = run_slides(&mut [ensemble], &spec, &[slide], &plan, &()).unwrap();
    assert_eq!((run.slides.len(), run.slides[0].objects), (1, 3));
    let record: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("real/predicts/done/a.json")).unwrap())
            .unwrap();
    let (html, summary) = page(&job(dir.path(), &["real"]));
    assert_eq!((summary.n_slides, summary.failed.len()), (1, 0));
    let settings = record["identity"]["settings"].as_str().unwrap();
    let made_by = run.slides[0].made_by.as_ref().unwrap().to_string();
    for part in
        [format!("title=\"{settings}\"").as_str(), "<b>3 objects</b>", "0.250\u{202f}µm per pixel", &made_by]
    {
        assert!(html.contains(part), "{part} is not in {html}");
    }
}

#[test]
fn everything_is_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a"]);
    place_more(dir.path(), "a");
    let job = ReportJob {
        truth: Some(dir.path().join("truth.csv")),
        hausdorff: true,
        ..job(dir.path(), &["run", "results"])
    };
    let (html, summary) = page(&job);
    assert_eq!((summary.n_slides, summary.failed.len(), summary.n_bytes), (1, 0, html.len()));
    // 98² and 70 × 65 shared pixels.
    let (sum, shared) = (10_000 + 6400 + 3600 + 10_000 + 8100 + 8100, 9604 + 70 * 65);
    let dice = 2.0 * f64::from(shared) / f64::from(sum);
    assert!((summary.mean_dice.unwrap() - dice).abs() < 1e-12);
    for part in [
        format!("<b>{dice:.4}</b>").as_str(),
        // Of three objects each, one matches: 4550 of 9950 px are less than half.
        "F1 of objects</dt><dd><b>0.3333</b>",
        "HD95 µm",
        "Dice over the threshold",
        "The best mean Dice, ",
        "data-layer=\"truth\"",
        // These records have no word of it.
        "not noted, by an earlier version",
        "data-layer=\"probability\"",
        "data-layer=\"tissue\"",
        "image/png;base64,YSBwaWN0dXJl",
        "Best matches",
        "False positives",
        "Misses",
        "IoU 0.92 · probability 0.91",
        "Sizes of objects",
        "Certainty of objects",
        "Validation Dice",
        "Learning rate",
        "fold 0".replace('0', "&lt;b&gt;fold&lt;/b&gt;").as_str(),
        "epoch 2",
        "Time by stage of prediction",
        "123\u{202f}456",
        "1970-01-02 00:00",
        "0123456789ab</code>",
        "e1_t2_ema_0.9000.safetensors",
        "not made with the checkpoints of this run",
        "lost",
    ] {
        assert!(html.contains(part), "{part:?} is not on the page");
    }
    assert!(!html.contains("Worst matches") && !html.contains("Least certain"));
    // The slide, the map, and the crops of the match, two false positives and two misses.
    assert_eq!(html.matches("data:image/jpeg;base64,").count(), 7);
    // No scale of a length that is not there, and three squares of predicted objects on the slide.
    let outlines = html.split("id=\"predicted-0\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(outlines.starts_with("M1000 500l0 1000 1000 0 0-1000z"), "{outlines}");
    assert_eq!(outlines.matches('z').count(), 3);
    assert!(html.contains("50\u{202f}µm</text>"));
    assert_eq!(page(&job).0, html, "the same folders give the same page");
}

#[test]
fn what_is_missing_is_said_with_what_would_bring_it() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a"]);
    let (html, summary) = page(&job(dir.path(), &["results"]));
    assert_eq!(summary.mean_dice, None);
    for part in [
        "No truth was named",
        "--truth train.csv",
        "No run folder was named",
        "For the certainty of objects",
        "For a map of probabilities",
    ] {
        assert!(html.contains(part), "{part:?} is not on the page");
    }
    for part in [
        "data-layer=\"truth\"",
        "data-layer=\"tissue\"",
        "Best matches",
        "Most certain",
        "Validation Dice",
        "Dice over",
    ] {
        assert!(!html.contains(part), "{part:?} is on the page");
    }
    let (html, summary) = page(&job(dir.path(), &["run"]));
    assert_eq!((summary.n_slides, summary.mean_dice), (0, None));
    assert!(html.contains("hubmap-infer --model RUN") && html.contains("Validation Dice"));
    assert!(!html.contains("Sizes of objects") && !html.contains("data:image/jpeg"));
    // A truth without probabilities.
    let job = ReportJob { truth: Some(dir.path().join("truth.csv")), ..job(dir.path(), &["results"]) };
    let (html, _) = page(&job);
    assert!(
        html.contains("Thresholds can be compared where there are probabilities") && html.contains("Misses")
    );
}

#[test]
fn names_are_letters_whatever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(format!("a {} b", HOSTILE.replace('/', "")));
    std::fs::create_dir(&folder).unwrap();
    place(&folder, &[HOSTILE]);
    let job = ReportJob { truth: Some(folder.join("truth.csv")), ..job(&folder, &["run", "results"]) };
    let (html, summary) = page(&job);
    assert!(summary.failed.is_empty());
    assert!(html.contains("<h3>&lt;img src=x onerror=alert(1)&gt;&amp;"), "the slide");
    assert!(html.contains("cannot open: &lt;img"), "an error");
    assert!(html.contains("# &lt;img"), "the settings");
    for element in ["<img", "<b>fold"] {
        assert!(!html.contains(element), "{element}");
    }
    // Attributes end at no quote of a name.
    assert!(!html.contains("alert(1)>&\""));
    assert_eq!(html.matches("<script").count(), 1);
}

#[test]
fn nothing_is_asked_of_any_other_place() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a"]);
    let (html, _) = page(&job(dir.path(), &["run", "results"]));
    assert!(html.contains("default-src &#39;none&#39;") || html.contains("default-src 'none'"));
    for (before, _) in html.match_indices("://").map(|(at, found)| (&html[..at], found)) {
        assert!(html[before.len()..].starts_with("://www.w3.org/2000/svg\""), "an address in the page");
    }
    assert!(!html.contains("@import") && !html.contains("url("));
}

#[test]
fn a_slide_that_cannot_be_read_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a", "b", "c"]);
    std::fs::remove_file(dir.path().join("results/predicts/masks/b.tiff")).unwrap();
    std::fs::remove_file(dir.path().join("slides/c.tiff")).unwrap();
    let job = ReportJob { truth: Some(dir.path().join("truth.csv")), ..job(dir.path(), &["results"]) };
    let (html, summary) = page(&job);
    assert_eq!(summary.failed, ["b"]);
    assert!(html.contains("no mask of b in"), "the reason");
    assert!(
        html.contains("The slide&#39;s file is not there") || html.contains("The slide's file is not there")
    );
    assert_eq!(html.matches("id=\"predicted-").count(), 2);
    // Where it was named, it is found.
    std::fs::create_dir(dir.path().join("moved")).unwrap();
    std::fs::copy(dir.path().join("slides/a.tiff"), dir.path().join("moved/c.tiff")).unwrap();
    let (html, _) = page(&ReportJob { slides: Some(dir.path().join("moved").into()), ..job });
    assert!(!html.contains("file is not there"));
}

#[test]
fn a_slide_at_an_address_that_is_not_read_has_no_picture_and_fails_nothing() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a", "b"]);
    let path = dir.path().join("results/summary.json");
    let mut summary: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    summary["slides"][0]["path"] = "az://container/a.tiff".into();
    write(&path, &summary.to_string());
    let (html, report) = page(&job(dir.path(), &["results"]));
    assert_eq!((report.n_slides, report.failed.len()), (2, 0));
    assert_eq!(html.matches("file is not there").count(), 1);
    assert!(html.contains("az://container/a.tiff"));
}

#[test]
fn predictions_that_all_failed_have_a_page() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &[]);
    let (html, summary) = page(&job(dir.path(), &["results"]));
    assert_eq!(summary.n_slides, 0);
    assert!(
        html.contains("<b>lost</b> was not predicted") && html.contains("There are no predicted objects")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn folders_need_no_unicode_names() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(std::ffi::OsStr::from_bytes(b"r\xe9sultats"));
    std::fs::create_dir(&folder).unwrap();
    place(dir.path(), &["a"]);
    std::fs::rename(dir.path().join("results"), folder.join("results")).unwrap();
    std::fs::rename(dir.path().join("run"), folder.join("run")).unwrap();
    let (html, _) = page(&job(&folder, &["run", "results"]));
    assert!(html.contains("r\u{fffd}sultats"));
}

#[test]
fn errors_say_what_is_wrong_and_leave_no_page() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a", "b"]);
    let out = dir.path().join("report.html");
    let refused = |job: &ReportJob| {
        let error = write_report(job, &out, &()).unwrap_err();
        assert!(!out.exists());
        error
    };
    write(&dir.path().join("truth.csv"), "id,encoding\nb,1 1\nc,1 1\n");
    let truth: Option<PathBuf> = Some(dir.path().join("truth.csv"));
    let error = refused(&ReportJob { truth: truth.clone(), ..job(dir.path(), &["results"]) });
    assert!(matches!(&error, ReportError::MissingTruth { ids, .. } if *ids == ["a"]), "{error}");
    assert!(error.to_string().contains("truth.csv: a"), "{error}");
    let error = refused(&ReportJob { truth, ..job(dir.path(), &["run"]) });
    assert!(matches!(error, ReportError::TruthWithoutPredictions) && error.is_usage());
    let error =
        write_report(&job(dir.path(), &["run"]), &dir.path().join("no/report.html"), &()).unwrap_err();
    assert!(matches!(error, ReportError::Write { .. }) && error.to_string().contains("report.html"));
    write(&dir.path().join("results/summary.json"), "{");
    let error = refused(&job(dir.path(), &["results"]));
    assert!(error.to_string().contains("summary.json") && !error.is_usage(), "{error}");
}

/// Stops when it is asked for the n-th time.
struct Stop(Cell<usize>);

impl Progress for Stop {
    fn interrupted(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }
}

#[test]
fn an_interrupted_page_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &["a", "b"]);
    let out = dir.path().join("report.html");
    for n in 1..4 {
        let job = ReportJob { truth: Some(dir.path().join("truth.csv")), ..job(dir.path(), &["results"]) };
        let error = write_report(&job, &out, &Stop(Cell::new(n))).unwrap_err();
        assert!(matches!(error, ReportError::Interrupted) && !out.exists(), "{n}: {error}");
    }
}
