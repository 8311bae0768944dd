//! Scores: against numbers from `scipy` (`tests/fixtures/evaluate`), and of what `predict_slides` leaves.

use std::path::{Path, PathBuf};

use hubmap_infer::{
    EvaluateJob, Evaluation, Interrupted, Progress, Unpredicted, evaluate, markdown_tables, sweep_figure,
    write_scores_csv, write_sweep_csv,
};
use hubmap_test_support::{fixture, json};
use ndarray::Array3;
use serde_json::Value;

use crate::files::{predicted_folder, write_slide};

fn job(predictions: &Path, truth: &Path, slides: &Path) -> EvaluateJob {
    let path = Path::to_path_buf;
    EvaluateJob {
        predictions: path(predictions),
        truth: path(truth),
        slides: slides.into(),
        unpredicted: Unpredicted::Refuse,
        hausdorff: false,
        sweep: false,
    }
}

/// Slides of the sizes of the fixture; they hold no more than that.
fn fixture_slides(expected: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (id, slide) in expected["slides"].as_object().unwrap() {
        let side = |key: &str| slide[key].as_u64().unwrap() as usize;
        let pixels = Array3::zeros((side("height"), side("width"), 3));
        write_slide(&folder.path().join(format!("{id}.tiff")), &pixels, slide["um_per_px"].as_f64());
    }
    folder
}

fn fixture_evaluation() -> (Value, Evaluation) {
    let expected = json("evaluate/expected.json");
    let slides = fixture_slides(&expected);
    // Probabilities and table of one folder, as inference leaves them.
    let out = tempfile::tempdir().unwrap();
    let raw = out.path().join("predicts/raw");
    std::fs::create_dir_all(&raw).unwrap();
    std::fs::copy(fixture("evaluate/submission__0.5.csv"), out.path().join("submission__0.5.csv")).unwrap();
    for id in expected["slides"].as_object().unwrap().keys() {
        std::fs::copy(fixture(&format!("evaluate/raw/{id}.npy")), raw.join(format!("{id}.npy"))).unwrap();
    }
    let job = EvaluateJob {
        hausdorff: true,
        sweep: true,
        ..job(out.path(), &fixture("evaluate/truth.csv"), slides.path())
    };
    let evaluation = evaluate(&job, &()).unwrap();
    (expected, evaluation)
}

#[track_caller]
fn assert_close(ours: impl Into<Option<f64>>, expected: &Value) {
    let (ours, expected) = (ours.into(), expected.as_f64());
    match (ours, expected) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} for {b}"),
        _ => assert_eq!(ours, expected),
    }
}

#[test]
fn scores_are_those_of_scipy() {
    let (expected, evaluation) = fixture_evaluation();
    assert_eq!(evaluation.slides.len(), 5);
    for slide in &evaluation.slides {
        let expected = &expected["slides"][&slide.id];
        assert_close(slide.dice, &expected["dice"]);
        assert_eq!(slide.shared_pixels, expected["shared_pixels"], "{}", slide.id);
        let objects = slide.objects;
        assert_eq!(
            [objects.predicted, objects.truth, objects.matched].to_vec(),
            list(&expected["objects"]),
            "{}",
            slide.id
        );
        assert_close(objects.precision, &expected["precision"]);
        assert_close(objects.recall, &expected["recall"]);
        assert_close(objects.f1, &expected["f1"]);
        let distance = slide.hausdorff_95.unwrap();
        assert_close(distance.px, &expected["hausdorff_95_px"]);
        assert_close(distance.um, &expected["hausdorff_95_um"]);
    }
    assert_close(evaluation.mean_dice, &expected["mean_dice"]);
    assert_close(evaluation.pooled.dice, &expected["pooled"]["dice"]);
    assert_close(evaluation.pooled.objects.f1, &expected["pooled"]["f1"]);
    assert_close(evaluation.pooled.objects.precision, &expected["pooled"]["precision"]);

    let sweep = evaluation.sweep.unwrap();
    let floats =
        |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
    let same = |ours: &[f64], expected: &Value| {
        let expected = floats(expected);
        assert_eq!(ours.len(), expected.len());
        assert!(ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{ours:?} for {expected:?}");
    };
    same(&sweep.thresholds, &expected["sweep"]["thresholds"]);
    same(&sweep.mean_dice, &expected["sweep"]["mean_dice"]);
    same(&sweep.pooled_dice, &expected["sweep"]["pooled_dice"]);
    for slide in &sweep.slides {
        same(&slide.dice, &expected["sweep"]["slides"][&slide.id]);
    }
    assert_close(sweep.best().0, &expected["sweep"]["best_threshold"]);
}

fn list(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
}

#[test]
fn tables_and_the_plot_say_what_the_scores_are() {
    let (_, evaluation) = fixture_evaluation();
    let sweep = evaluation.sweep.as_ref().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (scores_csv, sweep_csv) = (folder.path().join("scores.csv"), folder.path().join("sweep.csv"));
    write_scores_csv(&scores_csv, &evaluation).unwrap();
    write_sweep_csv(&sweep_csv, sweep).unwrap();

    let mut scores = csv::Reader::from_path(&scores_csv).unwrap();
    let headers = scores.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = scores.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), evaluation.slides.len());
    for (row, slide) in rows.iter().zip(&evaluation.slides) {
        let cell = |name: &str| &row[headers.iter().position(|header| header == name).unwrap()];
        assert_eq!(cell("id"), slide.id);
        assert_eq!(cell("dice").parse::<f64>().unwrap().to_bits(), slide.dice.to_bits());
        assert_eq!(cell("truth_pixels"), slide.truth_pixels.to_string());
        assert_eq!(cell("matched_objects"), slide.objects.matched.to_string());
        assert_eq!(cell("recall").parse().ok(), slide.objects.recall);
        assert_eq!(cell("hausdorff_95_um").parse().ok(), slide.hausdorff_95.unwrap().um);
    }
    let text = std::fs::read_to_string(&sweep_csv).unwrap();
    assert_eq!(text.lines().count(), 20);
    let line = format!("0.5,{},{},{}", sweep.mean_dice[9], sweep.pooled_dice[9], sweep.slides[0].dice[9]);
    assert!(text.lines().any(|l| l.starts_with(&line)), "{line} is not in {text}");

    let markdown = markdown_tables(&evaluation);
    let (threshold, dice) = sweep.best();
    for part in [
        format!("| pooled | {:.4} |", evaluation.pooled.dice),
        format!("| mean | {:.4} | – |", evaluation.mean_dice),
        format!("Best threshold {threshold:.2}, mean Dice {dice:.4}"),
        format!("| 0.50 | {:.4} |", sweep.mean_dice[9]),
    ] {
        assert!(markdown.contains(&part), "{part:?} is not in {markdown}");
    }

    let figure = sweep_figure(sweep);
    let best = figure.panels[0].series.iter().find(|series| series.name.starts_with("best")).unwrap();
    assert_eq!(best.points, [(threshold, dice)]);
    assert_eq!(figure.panels[0].series.len(), 3 + sweep.slides.len());
    assert!(
        write_scores_csv(&folder.path().join("none/a.csv"), &evaluation)
            .unwrap_err()
            .to_string()
            .contains("a.csv")
    );
}

#[test]
fn masks_annotations_and_tables_are_all_truths() {
    let expected = json("evaluate/expected.json");
    let slides = fixture_slides(&expected);
    let submission = fixture("evaluate/submission__0.5.csv");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::create_dir(path("masks")).unwrap();
    for (id, rle) in hubmap_infer::read_rle_table(&fixture("evaluate/truth.csv")).unwrap() {
        let size = hubmap_io::open(&slides.path().join(format!("{id}.tiff"))).unwrap().size();
        let mask = rle.decode(size).unwrap();
        hubmap_io::write_mask_tiff(&path(&format!("masks/{id}.tiff")), &mask, 1).unwrap();
        let outlines = hubmap_io::trace_polygons(&mask).into_iter();
        let features: Vec<_> = outlines.map(|p| hubmap_io::Feature::new("glomerulus", p)).collect();
        // Beside the slides, as in the competition.
        hubmap_io::write_annotations(&slides.path().join(format!("{id}.json")), &features).unwrap();
    }
    std::fs::write(slides.path().join("a-anatomical-structure.json"), "{}").unwrap();
    for truth in [path("masks"), slides.path().to_owned()] {
        let evaluation = evaluate(&job(&submission, &truth, slides.path()), &()).unwrap();
        assert_close(evaluation.mean_dice, &expected["mean_dice"]);
    }
    std::fs::create_dir(path("other")).unwrap();
    let message =
        || format!("{:#}", evaluate(&job(&submission, &path("other"), slides.path()), &()).unwrap_err());
    assert!(message().contains("neither mask TIFFs nor <id>.json"), "{}", message());
    for threshold in ["0.3", "0.5"] {
        std::fs::copy(&submission, path(&format!("other/submission__{threshold}.csv"))).unwrap();
    }
    assert!(message().contains("several thresholds") && message().contains("__0.3.csv"), "{}", message());
}

#[test]
fn a_sweep_needs_probabilities_of_every_slide_and_its_size() {
    let (folder, _) = predicted_folder();
    let (out, slides) = (folder.path().join("out"), folder.path().join("slides"));
    let submission = out.join("submission__0.5.csv");
    let sweep = |predictions: &Path| EvaluateJob { sweep: true, ..job(predictions, &submission, &slides) };
    let message = |predictions: &Path| format!("{:#}", evaluate(&sweep(predictions), &()).unwrap_err());
    assert!(message(&submission).contains("2 slides without probabilities"));
    let (a, b) = (out.join("predicts/raw/a.npy"), out.join("predicts/raw/b.npy"));
    let bytes = std::fs::read(&a).unwrap();
    std::fs::copy(&b, &a).unwrap();
    assert!(message(&out).contains("slide a") && message(&out).contains("70x65"), "{}", message(&out));
    std::fs::write(&a, bytes).unwrap();
    let found = evaluate(&sweep(&out), &()).unwrap().sweep.unwrap();
    assert!((found.mean_dice[9] - 1.0).abs() < 1e-12);
    std::fs::remove_file(&b).unwrap();
    let text = message(&out);
    assert!(text.contains("1 slide without probabilities") && text.ends_with(": b"), "{text}");
}

#[test]
fn an_interrupted_evaluation_ends() {
    struct Stopped;
    impl Progress for Stopped {
        fn interrupted(&self) -> bool {
            true
        }
    }
    let (folder, _) = predicted_folder();
    let submission = folder.path().join("out/submission__0.5.csv");
    let job = job(&submission, &submission, &folder.path().join("slides"));
    assert!(evaluate(&job, &Stopped).unwrap_err().is::<Interrupted>());
}

#[test]
fn predictions_score_one_against_themselves() {
    let (folder, _) = predicted_folder();
    let (out, slides) = (folder.path().join("out"), folder.path().join("slides"));
    let submission = out.join("submission__0.5.csv");
    for predictions in
        [submission.clone(), out.clone(), out.join("predicts/masks"), out.join("predicts/objects")]
    {
        let evaluation = evaluate(&job(&predictions, &submission, &slides), &()).unwrap();
        assert_eq!(evaluation.slides.len(), 2);
        assert!((evaluation.mean_dice - 1.0).abs() < 1e-12);
    }
}

#[test]
fn ids_that_do_not_match_are_listed() {
    let (folder, _) = predicted_folder();
    let slides = folder.path().join("slides");
    let submission = folder.path().join("out/submission__0.5.csv");
    let table = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let message = |predictions: &Path, truth: &Path, unpredicted| {
        let job = EvaluateJob { unpredicted, ..job(predictions, truth, &slides) };
        format!("{:#}", evaluate(&job, &()).unwrap_err())
    };
    let truth = table("truth.csv", "id,encoding\na,\n");
    let text = message(&submission, &truth, Unpredicted::Skip);
    assert!(text.contains("1 slide predicted but not in") && text.ends_with(": b"), "{text}");
    let truth = table("truth.csv", "id,encoding\na,1 4\nb,\nc,\n");
    let text = message(&submission, &truth, Unpredicted::Refuse);
    assert!(text.contains("but not predicted: c"), "{text}");
    let extra = table("extra.csv", "id,predicted\na,1 2\nc,\n");
    let text = message(&extra, &truth, Unpredicted::Skip);
    assert!(text.contains("not a slide in") && text.ends_with(": c"), "{text}");
    let long = table("long.csv", "id,predicted\na,4550 2\n");
    let text = message(&long, &truth, Unpredicted::Skip);
    assert!(text.contains("id a of") && text.contains("70x65"), "{text}");

    let one = table("one.csv", "id,predicted\na,3 4\n");
    let job = EvaluateJob { unpredicted: Unpredicted::Skip, ..job(&one, &truth, &slides) };
    let evaluation = evaluate(&job, &()).unwrap();
    assert!((evaluation.mean_dice - 0.5).abs() < 1e-12);
    assert_eq!(evaluation.slides[0].shared_pixels, 2);
}
