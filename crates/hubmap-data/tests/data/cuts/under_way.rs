use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hubmap_data::config::{DataGenConfig, FoldSource};
use hubmap_data::cuts::{Manifest, Progress, SlideReport, generate};
use hubmap_data::sampler::BackgroundRule;

use super::naive::truths;
use super::{LAYOUTS, config, generated, tree, write_competition};

/// Steps of a slide: its mask and its windows.
fn n_steps(slide: &SlideReport) -> usize {
    1 + slide.tiles.iter().map(|tiles| tiles.n_kept + tiles.n_skipped).sum::<usize>()
}

fn on_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

/// Notes what it is told, and stops after some steps or when splits are written.
#[derive(Default)]
struct Listener {
    expected: Mutex<Vec<u64>>,
    n_done: AtomicUsize,
    stop_after: Option<usize>,
    stops_at_splits: bool,
    is_stopped: AtomicBool,
}

impl Progress for Listener {
    fn begin(&self, task: &str, _n_steps: u64) {
        if self.stops_at_splits && task == "splits" {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
    }

    fn expect(&self, n_steps: u64) {
        self.expected.lock().unwrap().push(n_steps);
    }

    fn advance(&self) {
        let n_done = self.n_done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.stop_after == Some(n_done) {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

#[test]
fn nothing_vouches_for_outputs_while_they_change() {
    let (folder, _) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    // Another mask, on which all tiles depend, and another rule, after which more tiles stay.
    let table = fs::read_to_string(input.join("train.csv")).unwrap();
    let encoding = truths()[0].encoding();
    let (first_runs, _) = encoding.trim_end().rsplit_once(' ').unwrap().0.rsplit_once(' ').unwrap();
    fs::write(input.join("train.csv"), table.replace(&encoding, first_runs)).unwrap();
    let rule = BackgroundRule { keep_probability: 1.0, ..config().background };
    let changed = DataGenConfig { background: rule, ..config() };
    let stops = Listener { stop_after: Some(4), ..Listener::default() };
    on_one_thread(|| generate(&input, &output, &changed, &stops)).unwrap_err();

    // Mask and three tiles are there: whoever believed the old record would take the rest of the old ones for new.
    let state = output.join(".data-gen");
    let record = fs::read(state.join("slides/aa11/record.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert!(record["record"]["mask"].is_null(), "{record}");
    assert_eq!(record["record"]["cuts"], serde_json::json!({}));
    let (mut n_noted, mut n_images) = (0, 0);
    for cuts in ["glomi_x33_8", "grid_x33_8"] {
        let journal = fs::read_to_string(state.join(format!("slides/aa11/{cuts}.journal"))).unwrap();
        n_noted += journal.lines().filter(|line| line.contains("kept")).count();
        n_images += tree(&output.join(format!("CUTS/{cuts}/imgs/aa11"))).len();
    }
    assert_eq!((n_noted, n_images), (3, 3), "no tile of before stands among those of now");
    assert!(!output.join("SPLITS/manifest.json").exists() && !state.join("splits.json").exists());

    generate(&input, &output, &changed, &()).unwrap();
    let fresh = folder.path().join("fresh");
    generate(&input, &fresh, &changed, &()).unwrap();
    assert!(tree(&output) == tree(&fresh));
}

/// Takes a slide's record away when cutting begins, and puts a folder in its place, which no file replaces.
struct BlockRecord<'a>(&'a Path);

impl Progress for BlockRecord<'_> {
    fn begin(&self, task: &str, _n_steps: u64) {
        if task == "cutting" {
            fs::remove_file(self.0).unwrap();
            fs::create_dir_all(self.0.join("in the way")).unwrap();
        }
    }

    fn advance(&self) {}
}

#[test]
fn what_a_record_vouched_for_is_in_a_journal_before_the_record_changes() {
    let (folder, first) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    fs::remove_file(output.join("CUTS/glomi_x33_8/imgs/aa11/000001.png")).unwrap();
    let record = output.join(".data-gen/slides/aa11/record.json");
    let error = generate(&input, &output, &config(), &BlockRecord(&record)).unwrap_err();
    assert!(format!("{error:#}").contains("record.json"), "{error:#}");
    fs::remove_dir_all(&record).unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    let n_glomi = |report: &SlideReport| (report.tiles[0].n_kept, report.tiles[0].n_up_to_date);
    assert_eq!(n_glomi(&first.slides[0]), (4, 0));
    assert_eq!(n_glomi(&report.slides[0]), (4, 3), "three tiles are not cut again");
}

#[test]
fn splits_vouch_for_nothing_while_they_are_written() {
    let (folder, _) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let drawn = DataGenConfig { folds: FoldSource::Drawn, ..config() };
    let stops = Listener { stops_at_splits: true, ..Listener::default() };
    let error = generate(&input, &output, &drawn, &stops).unwrap_err();
    assert!(error.to_string().contains("cancelled while writing splits"), "{error}");
    assert!(Manifest::read(&output.join("SPLITS")).unwrap().is_none());
    // The folds of before are wanted again: what is left of them may be anything.
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert!(!report.are_splits_up_to_date);
    let manifest = Manifest::read(&output.join("SPLITS")).unwrap().unwrap();
    assert_eq!(manifest.folds.len(), 2);
}

#[test]
fn progress_is_told_how_much_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    let listener = Listener::default();
    let report = on_one_thread(|| generate(&input, &output, &config(), &listener)).unwrap();
    let n_steps: Vec<usize> = report.slides.iter().map(n_steps).collect();
    let n_splits = 2 * 2;
    assert_eq!(listener.n_done.into_inner(), n_steps.iter().sum::<usize>() + n_splits);
    let expected = listener.expected.into_inner().unwrap();
    // Slides that are not open yet are taken to be as large as those that are.
    assert_eq!(expected.first(), Some(&(3 * n_steps[0] as u64)));
    assert_eq!(expected.last(), Some(&(n_steps.iter().sum::<usize>() as u64)));
}

#[test]
fn a_slide_that_is_broken_within_fails_alone_and_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    // The directory, which comes after the pixels, stays as it is.
    let path = input.join("train/aa11.tiff");
    let mut bytes = fs::read(&path).unwrap();
    let directory = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    bytes[8..directory].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let listener = Listener::default();
    let report = on_one_thread(|| generate(&input, &output, &config(), &listener)).unwrap();
    let failed = &report.failures;
    assert!(
        failed.len() == 1 && failed[0].slide == "aa11" && failed[0].error.contains("aa11.tiff"),
        "{report}"
    );
    assert_eq!(report.slides.iter().map(|slide| slide.slide.as_str()).collect::<Vec<_>>(), ["bb22", "cc33"]);
    // Its mask and the first of its tiles: with a thousand tiles, the others would fail for hours.
    let n_of_others = report.slides.iter().map(n_steps).sum::<usize>();
    assert_eq!(listener.n_done.into_inner(), n_of_others + 2);
    let record = fs::read_to_string(output.join(".data-gen/slides/aa11/record.json")).unwrap();
    assert!(record.contains(r#""cuts":{}"#), "{record}");
}

#[test]
fn an_output_that_cannot_be_written_ends_the_run_and_blames_no_slide() {
    for blocked in ["CUTS", "bigmasks/aa11.tiff", "CUTS/glomi_x33_8/imgs/aa11/000000.png"] {
        let (folder, _) = generated(&config());
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        let path = output.join(blocked);
        if blocked == "CUTS" {
            fs::remove_dir_all(&path).unwrap();
            fs::write(&path, "a file").unwrap();
        } else {
            fs::remove_file(&path).unwrap();
            fs::create_dir_all(path.join("in the way")).unwrap();
        }
        let error = generate(&input, &output, &config(), &()).unwrap_err();
        assert!(format!("{error:#}").contains(blocked), "{error:#}");
        assert!(Manifest::read(&output.join("SPLITS")).unwrap().is_none(), "{blocked}");
        // Out of the way, all is as it was.
        if blocked == "CUTS" {
            fs::remove_file(&path).unwrap();
        } else {
            fs::remove_dir_all(&path).unwrap();
        }
        assert!(generate(&input, &output, &config(), &()).unwrap().failures.is_empty());
    }
}

#[test]
fn failures_are_listed_by_slide_and_nothing_vouches_for_folds_that_may_lack_one() {
    let (folder, _) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let failed = || {
        let report = generate(&input, &output, &config(), &()).unwrap();
        report.failures.into_iter().map(|failure| failure.slide).collect::<Vec<_>>()
    };
    // A record that cannot be read; all else is as it was.
    let record = output.join(".data-gen/slides/cc33/record.json");
    fs::remove_file(&record).unwrap();
    fs::create_dir(&record).unwrap();
    assert_eq!(failed(), ["cc33"]);
    assert!(Manifest::read(&output.join("SPLITS")).unwrap().is_none());
    // This one is found out later, when it is opened.
    fs::write(input.join("train/aa11.tiff"), "not a tiff").unwrap();
    assert_eq!(failed(), ["aa11", "cc33"]);
}

/// Puts a folder in the place of a record when the first step is done.
struct BlockRecordLater<'a>(&'a Path);

impl Progress for BlockRecordLater<'_> {
    fn begin(&self, _task: &str, _n_steps: u64) {}

    fn advance(&self) {
        if self.0.is_file() {
            fs::remove_file(self.0).unwrap();
            fs::create_dir_all(self.0.join("in the way")).unwrap();
        }
    }
}

#[test]
fn a_slide_whose_record_cannot_be_written_ends_the_run_and_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    let record = output.join(".data-gen/slides/aa11/record.json");
    let blocks = BlockRecordLater(&record);
    let error = on_one_thread(|| generate(&input, &output, &config(), &blocks)).unwrap_err();
    assert!(format!("{error:#}").contains("record.json"), "{error:#}");
    fs::remove_dir_all(&record).unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert_eq!(1 + report.slides[0].n_up_to_date(), n_steps(&report.slides[0]), "no tile is cut twice");
}

/// Panics at the first step.
struct Panics;

impl Progress for Panics {
    fn begin(&self, _task: &str, _n_steps: u64) {}

    fn advance(&self) {
        panic!("a slip of an observer");
    }
}

/// Without the care that is taken, this test does not end.
#[test]
fn a_panic_in_one_thread_ends_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let work = || pool.install(|| generate(&input, &output, &config(), &Panics));
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
    // The folder is free again.
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert!(report.failures.is_empty() && report.slides.len() == 3, "{report}");
}
