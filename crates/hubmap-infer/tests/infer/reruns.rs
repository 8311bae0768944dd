//! Runs into a folder that earlier runs have filled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use hubmap_data::Fault;
use hubmap_files::FolderLock;
use hubmap_infer::{
    Interrupted, Maker, OutputKind, OutputPlan, PostprocessConfig, PredictConfig, Predictor, Progress,
    SlideInput, Summary, predict_slides, read_rle_table,
};
use hubmap_io::Size;
use ndarray::{Array4, s};

use crate::files::{disc_pixels, files_below, plan, write_slide};
use crate::pipeline::{predictor, small_config};

/// A folder with slides `a`, `b` and `c`, and how often the model was called.
struct Place {
    folder: tempfile::TempDir,
    n_calls: Arc<AtomicUsize>,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), n_calls: Arc::default() };
        for (id, x) in [("a", 30), ("b", 60), ("c", 90)] {
            write_slide(
                place.slide(id).location.path(),
                &disc_pixels(Size::new(150, 130), &[(x, 60, 25)]),
                Some(0.5),
            );
        }
        place
    }

    fn slide(&self, id: &str) -> SlideInput {
        SlideInput {
            id: id.to_owned(),
            location: self.folder.path().join(format!("{id}.tiff")).into(),
            microns_per_px: None,
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn plan(&self) -> OutputPlan {
        plan(&self.out())
    }

    fn predictor(&self, config: PredictConfig) -> Predictor {
        let n_calls = Arc::clone(&self.n_calls);
        predictor(config, move |tiles: &Array4<f32>| {
            n_calls.fetch_add(1, Ordering::Relaxed);
            Ok(tiles.slice(s![.., ..1, .., ..]).mapv(|red| if red > 0.0 { 3.0 } else { -3.0 }))
        })
    }

    /// Predicts slides, and returns those that were predicted anew.
    fn run_with(&self, ids: &[&str], config: PredictConfig, model: &str, plan: &OutputPlan) -> Vec<String> {
        let slides: Vec<_> = ids.iter().map(|id| self.slide(id)).collect();
        let before = self.n_calls.load(Ordering::Relaxed);
        let summary = predict_slides(&mut [self.predictor(config)], model, &slides, plan, &()).unwrap();
        assert!(summary.failed.is_empty());
        let order: Vec<_> = summary.slides.iter().map(|slide| slide.id.as_str()).collect();
        assert_eq!(order, ids);
        let anew: Vec<_> =
            summary.slides.iter().filter(|slide| !slide.reused).map(|s| s.id.clone()).collect();
        let was_used = self.n_calls.load(Ordering::Relaxed) > before;
        assert_eq!(was_used, !anew.is_empty(), "the model is called for slides that are predicted anew");
        anew
    }

    fn run(&self, ids: &[&str]) -> Vec<String> {
        self.run_with(ids, small_config(), "model", &self.plan())
    }
}

/// Every file below a folder but the run's own, with its content and time of change.
fn state(folder: &Path) -> Vec<(String, Vec<u8>, SystemTime)> {
    let files = files_below(folder).into_iter().filter(|file| file.contains('/') && file != "predicts/.lock");
    let state = files.map(|file| {
        let path = folder.join(&file);
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        (file, std::fs::read(path).unwrap(), modified)
    });
    state.collect()
}

#[test]
fn finished_slides_are_left_as_they_are() {
    let place = Place::new();
    assert_eq!(place.run(&["a", "b", "c"]), ["a", "b", "c"]);
    let before = state(&place.out());
    let submission = place.plan().submission(0.5);
    let table = std::fs::read(&submission).unwrap();
    std::fs::remove_file(&submission).unwrap();
    assert!(place.run(&["a", "b", "c"]).is_empty());
    assert!(state(&place.out()) == before);
    assert_eq!(std::fs::read(&submission).unwrap(), table, "the table comes back without a model");
}

#[test]
fn a_file_that_is_gone_or_cut_makes_its_slide_run_again() {
    let place = Place::new();
    place.run(&["a", "b"]);
    let before = state(&place.out());
    for kind in OutputKind::ALL {
        std::fs::remove_file(place.plan().path(kind, "b")).unwrap();
        assert_eq!(place.run(&["a", "b"]), ["b"], "{kind:?}");
        let path = place.plan().path(kind, "a");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(place.run(&["a", "b"]), ["a"], "{kind:?}");
    }
    let contents = |state: Vec<(String, Vec<u8>, SystemTime)>| {
        let files = state.into_iter().filter(|(file, ..)| !file.contains("done/"));
        files.map(|(file, bytes, _)| (file, bytes)).collect::<Vec<_>>()
    };
    assert!(contents(state(&place.out())) == contents(before));
}

#[test]
fn other_settings_models_and_inputs_make_slides_run_again() {
    let place = Place::new();
    let run =
        |config: PredictConfig, model: &str| place.run_with(&["a", "b"], config, model, &place.plan()).len();
    assert_eq!(run(small_config(), "model"), 2);
    // What results do not depend on.
    assert_eq!(run(PredictConfig { batch: 3, read_threads: 1, read_ahead: 2, ..small_config() }, "model"), 0);
    assert_eq!(run(PredictConfig { context: 32, ..small_config() }, "model"), 2);
    assert_eq!(run(PredictConfig { context: 32, threshold: 0.25, ..small_config() }, "model"), 2);
    let postprocess = PostprocessConfig { min_area_px: 3, ..PostprocessConfig::OFF };
    let config = PredictConfig { postprocess, ..small_config() };
    assert_eq!(run(config.clone(), "model"), 2);
    assert_eq!(run(config.clone(), "another"), 2);
    assert_eq!(run(config.clone(), "another"), 0);
    write_slide(
        place.slide("b").location.path(),
        &disc_pixels(Size::new(151, 130), &[(60, 60, 20)]),
        Some(0.5),
    );
    assert_eq!(place.run_with(&["a", "b"], config.clone(), "another", &place.plan()), ["b"]);
    let anew = OutputPlan { reuse_finished: false, ..place.plan() };
    assert_eq!(place.run_with(&["a", "b"], config, "another", &anew), ["a", "b"]);
}

#[test]
fn more_kinds_of_files_make_slides_run_again_and_fewer_do_not() {
    let place = Place::new();
    let kinds = |kinds: &[OutputKind]| OutputPlan { kinds: kinds.to_vec(), ..place.plan() };
    let run = |plan: OutputPlan| place.run_with(&["a"], small_config(), "model", &plan).len();
    assert_eq!(run(kinds(&[OutputKind::Mask])), 1);
    assert_eq!(run(kinds(&[OutputKind::Mask, OutputKind::Npy])), 1);
    assert_eq!(run(kinds(&[OutputKind::Mask])), 0);
    assert_eq!(run(kinds(&[OutputKind::Rle])), 1);
}

#[test]
fn the_submission_holds_the_slides_of_earlier_runs() {
    let place = Place::new();
    let plan = OutputPlan { order: vec!["c".into(), "b".into()], ..place.plan() };
    let run = |ids: &[&str], model: &str| place.run_with(ids, small_config(), model, &plan);
    let ids = || {
        let text = std::fs::read_to_string(plan.submission(0.5)).unwrap();
        text.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    run(&["a"], "model");
    run(&["b"], "model");
    assert_eq!(ids(), ["b", "a"]);
    run(&["c"], "model");
    assert_eq!(ids(), ["c", "b", "a"]);
    // Without its file, a slide of another run is left out.
    std::fs::remove_file(plan.path(OutputKind::Rle, "b")).unwrap();
    run(&["c"], "model");
    assert_eq!(ids(), ["c", "a"]);
    // Slides of another model do not mix with these.
    run(&["b"], "another");
    assert_eq!(ids(), ["b"]);
    // Nor does a slide that fails now.
    run(&["a"], "another");
    std::fs::write(place.slide("a").location.path(), "damaged").unwrap();
    let slides = [place.slide("a")];
    let mut predictors = [place.predictor(small_config())];
    let summary = predict_slides(&mut predictors, "another", &slides, &plan, &()).unwrap();
    assert_eq!((summary.slides.len(), summary.failed.len()), (0, 1));
    assert_eq!(summary.failed[0].kind, Fault::Input);
    assert_eq!(ids(), ["b"]);
}

#[test]
fn a_slide_that_lost_its_files_has_no_record() {
    let place = Place::new();
    place.run(&["a", "b"]);
    // A folder cannot be replaced by a file, so that the last of the slide's files does not get its name.
    let blocked = place.plan().path(OutputKind::Overlay, "a");
    std::fs::remove_file(&blocked).unwrap();
    std::fs::create_dir_all(blocked.join("occupied")).unwrap();
    let slides = ["a", "b"].map(|id| place.slide(id));
    let mut predictors = [place.predictor(small_config())];
    let summary = predict_slides(&mut predictors, "model", &slides, &place.plan(), &()).unwrap();
    assert_eq!((summary.slides.len(), summary.failed.len()), (1, 1));
    assert!(summary.failed[0].error.contains("a.png"), "{}", summary.failed[0].error);
    assert_eq!(summary.failed[0].kind, Fault::Disk);
    assert!(!files_below(&place.out()).iter().any(|file| file.contains("/a.")), "not even the record");
}

#[test]
fn a_damaged_record_makes_its_slide_run_again() {
    let place = Place::new();
    place.run(&["a"]);
    let record = place.out().join("predicts/done/a.json");
    let text = std::fs::read_to_string(&record).unwrap();
    for damaged in ["", "{}", &text[..text.len() / 2]] {
        std::fs::write(&record, damaged).unwrap();
        assert_eq!(place.run(&["a"]), ["a"]);
        assert!(place.run(&["a"]).is_empty());
    }
}

#[test]
fn who_predicted_is_noted_and_is_no_reason_to_predict_again() {
    let place = Place::new();
    let slides = [place.slide("a")];
    let run = |device: &str| {
        let mut predictors = [place.predictor(small_config()).on_device(device)];
        let mut summary = predict_slides(&mut predictors, "model", &slides, &place.plan(), &()).unwrap();
        summary.slides.remove(0)
    };
    let maker = Maker {
        device: Some("tch:cuda:0".to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        n_threads: rayon::current_num_threads(),
    };
    let first = run("tch:cuda:0");
    assert_eq!((first.reused, first.made_by.as_ref()), (false, Some(&maker)));
    let second = run("flex");
    assert_eq!((second.reused, second.made_by.as_ref()), (true, Some(&maker)));
    let path = place.out().join("predicts/done/a.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(record["summary"]["made_by"]["device"], "tch:cuda:0");
    // As earlier versions wrote it.
    record["summary"].as_object_mut().unwrap().remove("made_by");
    std::fs::write(&path, record.to_string()).unwrap();
    let third = run("flex");
    assert_eq!((third.reused, third.made_by), (true, None));
}

#[test]
fn several_predictors_share_the_slides() {
    let place = Place::new();
    let slides: Vec<_> = ["c", "a", "b"].map(|id| place.slide(id)).to_vec();
    let run = |n_predictors: usize, folder: &str| -> Summary {
        let plan = plan(&place.folder.path().join(folder));
        let mut predictors: Vec<_> = (0..n_predictors).map(|_| place.predictor(small_config())).collect();
        predict_slides(&mut predictors, "model", &slides, &plan, &()).unwrap()
    };
    let (one, three) = (run(1, "one"), run(3, "three"));
    let ids = |summary: &Summary| summary.slides.iter().map(|slide| slide.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&one), ids(&three)), (ids(&one), vec!["c".to_owned(), "a".into(), "b".into()]));
    let files = |folder: &str| {
        let folder = place.folder.path().join(folder);
        let names = files_below(&folder).into_iter().filter(|file| !file.contains(".json"));
        names.map(|file| (std::fs::read(folder.join(&file)).unwrap(), file)).collect::<Vec<_>>()
    };
    assert!(files("one") == files("three"));

    let mut unlike =
        [place.predictor(small_config()), place.predictor(PredictConfig { batch: 2, ..small_config() })];
    let error = predict_slides(&mut unlike, "model", &slides, &place.plan(), &()).unwrap_err();
    assert!(error.to_string().contains("same settings"));
    assert!(predict_slides(&mut [], "model", &slides, &place.plan(), &()).is_err());
}

/// Stops after some blocks, whatever the slide.
struct StopAfter(AtomicUsize);

impl Progress for StopAfter {
    fn blocks_done(&self, n_blocks: usize) {
        self.0.fetch_sub(n_blocks, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn an_interrupt_leaves_whole_slides_only() {
    let place = Place::new();
    let slides = ["a", "b"].map(|id| place.slide(id));
    // Each slide has four blocks.
    let stop = StopAfter(AtomicUsize::new(6));
    let mut predictors = [place.predictor(small_config())];
    let error = predict_slides(&mut predictors, "model", &slides, &place.plan(), &stop).unwrap_err();
    assert!(error.is::<Interrupted>());
    let files = files_below(&place.out());
    assert_eq!(files.len(), OutputKind::ALL.len() + 2, "{files:?}");
    assert!(files.iter().all(|file| *file == "predicts/.lock" || file.contains("/a.")), "{files:?}");
    assert_eq!(place.run(&["a", "b"]), ["b"]);
    assert_eq!(read_rle_table(&place.plan().submission(0.5)).unwrap().len(), 2);
}

#[test]
fn an_interrupted_slide_goes_on_where_it_was() {
    let place = Place::new();
    let slides = [place.slide("a")];
    let run = |stop: usize, plan: &OutputPlan| {
        let stop = StopAfter(AtomicUsize::new(stop));
        predict_slides(&mut [place.predictor(small_config())], "model", &slides, plan, &stop)
    };
    let state = place.out().join("predicts/under_way/a.blocks");
    assert!(run(2, &place.plan()).unwrap_err().is::<Interrupted>());
    assert!(state.exists());
    let summary = run(99, &place.plan()).unwrap();
    assert_eq!((summary.slides[0].n_blocks, summary.slides[0].n_replayed), (4, 2));
    assert!(!state.exists());
    // Who wants everything anew, or no journal, gets that.
    assert!(run(2, &OutputPlan { reuse_finished: false, ..place.plan() }).unwrap_err().is::<Interrupted>());
    assert!(state.exists());
    let summary = run(99, &OutputPlan { reuse_finished: false, ..place.plan() }).unwrap();
    assert_eq!(summary.slides[0].n_replayed, 0);
    let config = PredictConfig { journal: false, ..small_config() };
    let stop = StopAfter(AtomicUsize::new(2));
    let plan = OutputPlan { reuse_finished: false, ..place.plan() };
    predict_slides(&mut [place.predictor(config)], "model", &slides, &plan, &stop).unwrap_err();
    assert!(!state.exists());
}

#[test]
fn a_folder_that_another_run_writes_to_is_refused() {
    let place = Place::new();
    place.run(&["a"]);
    let lock = FolderLock::take(&place.out().join("predicts/.lock")).unwrap().unwrap();
    if !lock.is_effective {
        return;
    }
    let mut predictors = [place.predictor(small_config())];
    let slides = [place.slide("a")];
    let error = predict_slides(&mut predictors, "model", &slides, &place.plan(), &()).unwrap_err();
    assert!(error.to_string().contains("another run is writing"), "{error}");
    drop(lock);
    assert!(place.run(&["a"]).is_empty());
}

#[test]
fn a_slide_that_changes_or_vanishes_while_it_is_predicted_fails_alone() {
    let place = Place::new();
    for vanishes in [false, true] {
        let path = place.slide("b").location.path().to_owned();
        let victim = path.clone();
        let n_calls = AtomicUsize::new(0);
        let meddling = predictor(small_config(), move |tiles: &Array4<f32>| {
            // The sixth block is the second of the second slide.
            if n_calls.fetch_add(1, Ordering::Relaxed) == 5 {
                if vanishes {
                    std::fs::remove_file(&victim)?;
                } else {
                    std::fs::OpenOptions::new().append(true).open(&victim)?.set_len(1 << 20)?;
                }
            }
            Ok(tiles.slice(s![.., ..1, .., ..]).to_owned())
        });
        let slides = ["a", "b", "c"].map(|id| place.slide(id));
        let plan = OutputPlan { reuse_finished: false, ..place.plan() };
        let summary = predict_slides(&mut [meddling], "meddling", &slides, &plan, &()).unwrap();
        let done: Vec<_> = summary.slides.iter().map(|slide| slide.id.as_str()).collect();
        assert_eq!(done, ["a", "c"]);
        let error = &summary.failed[0].error;
        assert!(error.contains("b.tiff") && (vanishes || error.contains("has changed")), "{error}");
        assert!(!files_below(&place.out()).iter().any(|file| file.contains("/b.")));
        assert!(path.exists() != vanishes);
    }
}
