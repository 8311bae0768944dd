use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubmap_data::config::{DataGenConfig, FoldSource};
use hubmap_data::cuts::{DataGenReport, Manifest, Progress, SlideReport, generate};
use hubmap_data::sampler::BackgroundRule;

use super::naive::truths;
use super::{LAYOUTS, config, generated, names_in, tree, write_competition};

/// Number, time of change and length of every file and folder below a folder: what a write would alter.
#[cfg(unix)]
fn snapshot(dir: &Path) -> BTreeMap<String, (u64, i64, i64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let state = |name: String| {
        let meta = fs::metadata(dir.join(&name)).unwrap();
        (name, (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
    };
    tree(dir).into_keys().map(state).collect()
}

/// Files (no folders) that are new, gone or written anew, by the folder that `group` makes of their name.
#[cfg(unix)]
fn changed(
    before: &BTreeMap<String, (u64, i64, i64, u64)>,
    after: &BTreeMap<String, (u64, i64, i64, u64)>,
) -> BTreeSet<String> {
    let names = before.keys().chain(after.keys()).filter(|name| !name.ends_with('/'));
    let changed = names.filter(|name| before.get(*name) != after.get(*name));
    // CUTS/grid_x33_8/imgs/aa11/000001.png to CUTS/grid_x33_8/aa11; the rest by its first folder.
    let group = |name: &String| match name.split('/').collect::<Vec<_>>().as_slice() {
        ["CUTS", kind, _, slide, _] => format!("{kind} {slide}"),
        ["bigmasks", file] => format!("mask {file}"),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    };
    changed.map(group).collect()
}

#[cfg(unix)]
#[test]
fn a_second_run_writes_nothing_and_a_change_redoes_only_what_it_touches() {
    let (folder, first) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    assert_eq!(first.slides.iter().map(SlideReport::n_up_to_date).sum::<usize>(), 0);
    assert!(!first.are_splits_up_to_date);
    let mut state = snapshot(&output);
    let mut run = |config: &DataGenConfig| {
        let report = generate(&input, &output, config, &()).unwrap();
        assert!(report.failures.is_empty(), "{report}");
        assert!(report.slides.is_sorted_by_key(|slide| slide.slide.clone()), "{report}");
        let after = snapshot(&output);
        let groups = changed(&state, &after);
        state = after;
        (groups.into_iter().collect::<Vec<_>>(), report)
    };
    let all_state = snapshot(&output);
    let (groups, second) = run(&config());
    assert!(groups.is_empty(), "{groups:?}");
    assert_eq!(snapshot(&output), all_state, "not even folders are touched");
    assert!(second.are_splits_up_to_date);
    for (before, after) in first.slides.iter().zip(&second.slides) {
        let n_windows = after.tiles.iter().map(|tiles| tiles.n_kept + tiles.n_skipped).sum::<usize>();
        assert_eq!(after.n_up_to_date(), n_windows);
        assert_eq!(
            (before.size, before.n_objects, before.n_positive_px),
            (after.size, after.n_objects, after.n_positive_px)
        );
        assert!(
            before
                .tiles
                .iter()
                .zip(&after.tiles)
                .all(|(a, b)| (a.n_kept, a.n_skipped) == (b.n_kept, b.n_skipped))
        );
    }

    // Settings.
    let folds = DataGenConfig { folds: FoldSource::Drawn, ..config() };
    assert_eq!(run(&folds).0, [".data-gen", "SPLITS"]);
    let rule = BackgroundRule { keep_probability: 1.0, ..config().background };
    let background = DataGenConfig { background: rule, ..config() };
    assert_eq!(
        run(&background).0,
        [".data-gen", "SPLITS", "grid_x33_8 aa11", "grid_x33_8 bb22", "grid_x33_8 cc33"]
    );
    let (_, seed) = run(&DataGenConfig { seed: 99, ..background.clone() });
    assert!(seed.slides.iter().all(|slide| slide.tiles[0].n_up_to_date == slide.tiles[0].n_kept));
    assert!(seed.slides.iter().all(|slide| slide.tiles[1].n_up_to_date == 0));

    // Inputs.
    run(&background);
    let objects = input.join("train/aa11.json");
    fs::write(&objects, truths()[0].geojson().replacen("40.0", "41.0", 1)).unwrap();
    assert_eq!(run(&background).0, [".data-gen", "SPLITS", "glomi_x33_8 aa11"]);
    let slide = fs::File::options().write(true).open(input.join("train/bb22.tiff")).unwrap();
    slide
        .set_modified(slide.metadata().unwrap().modified().unwrap() + std::time::Duration::from_nanos(1))
        .unwrap();
    let whole = [".data-gen", "SPLITS", "glomi_x33_8 bb22", "grid_x33_8 bb22", "mask bb22.tiff"];
    assert_eq!(run(&background).0, whole);
    let table = fs::read_to_string(input.join("train.csv")).unwrap();
    let encoding = truths()[2].encoding();
    let (first_runs, _) = encoding.trim_end().rsplit_once(' ').unwrap().0.rsplit_once(' ').unwrap();
    fs::write(input.join("train.csv"), table.replace(&encoding, first_runs)).unwrap();
    // No objects on this slide.
    assert_eq!(run(&background).0, [".data-gen", "SPLITS", "grid_x33_8 cc33", "mask cc33.tiff"]);
    assert!(run(&background).0.is_empty());

    // Without a table the outlines are the mask, which then depends on them.
    fs::remove_file(input.join("train.csv")).unwrap();
    run(&background);
    assert!(run(&background).0.is_empty());
    fs::write(&objects, truths()[0].geojson().replacen("40.0", "42.0", 1)).unwrap();
    let whole = [".data-gen", "SPLITS", "glomi_x33_8 aa11", "grid_x33_8 aa11", "mask aa11.tiff"];
    assert_eq!(run(&background).0, whole);
}

#[test]
fn slides_that_are_gone_leave_nothing_and_new_ones_join() {
    let (folder, _) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let reference = tree(&output);
    let table = fs::read_to_string(input.join("train.csv")).unwrap();
    let rows = table.lines().filter(|row| !row.starts_with("cc33")).collect::<Vec<_>>().join("\n");
    fs::write(input.join("train.csv"), rows).unwrap();
    fs::rename(input.join("train/cc33.tiff"), folder.path().join("cc33.tiff")).unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert_eq!(report.removed, ["cc33"]);
    assert!(report.to_string().contains("no longer in the input: cc33"), "{report}");
    assert!(tree(&output).keys().all(|name| !name.contains("cc33")));
    assert!(
        Manifest::read(&output.join("SPLITS")).unwrap().unwrap().folds.iter().all(|f| f.train.len() == 1)
    );

    fs::rename(folder.path().join("cc33.tiff"), input.join("train/cc33.tiff")).unwrap();
    fs::write(input.join("train.csv"), table).unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert_eq!(report.slides.iter().filter(|slide| slide.n_up_to_date() == 0).count(), 1);
    assert_eq!(tree(&output), reference);
}

/// Asks to stop after some tiles, and counts the tiles that were cut.
struct StopAfter {
    n_steps: usize,
    done: AtomicUsize,
}

impl StopAfter {
    const fn new(n_steps: usize) -> Self {
        Self { n_steps, done: AtomicUsize::new(0) }
    }
}

impl Progress for StopAfter {
    fn begin(&self, _task: &str, _n_steps: u64) {}

    fn expect(&self, _n_steps: u64) {}

    fn advance(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.n_steps
    }
}

#[test]
fn a_stopped_run_goes_on_with_the_next_tile() {
    let reference = generated(&config());
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    // Times are part of the records.
    for FileTime { name, modified } in times(&reference.0.path().join("in")) {
        fs::File::options().write(true).open(input.join(name)).unwrap().set_modified(modified).unwrap();
    }
    let pool = rayon_pool(1);
    let n_steps = |report: &DataGenReport| {
        let windows = |slide: &SlideReport| {
            slide.tiles.iter().map(|tiles| tiles.n_kept + tiles.n_skipped).sum::<usize>()
        };
        report.slides.iter().map(windows).sum::<usize>()
    };
    let n_all = n_steps(&reference.1);
    let (mut n_runs, mut n_cut) = (0, 0);
    let report = loop {
        let progress = StopAfter::new(17);
        n_runs += 1;
        match pool.install(|| generate(&input, &output, &config(), &progress)) {
            Ok(report) => break report,
            Err(error) => {
                assert!(error.to_string().contains("cancelled"), "{error:#}");
                assert!(!output.join("SPLITS/manifest.json").exists());
                n_cut += progress.done.into_inner();
                assert!(n_cut <= n_all + 3, "{n_cut} tiles and masks cut in {n_runs} runs, of {n_all}");
            }
        }
    };
    assert!(n_runs >= 4, "{n_runs} runs");
    assert!(report.slides.iter().all(|slide| slide.n_up_to_date() > 0));
    assert_eq!(tree(&output), tree(&reference.0.path().join("out")));
}

/// A file and when it changed.
struct FileTime {
    name: String,
    modified: std::time::SystemTime,
}

fn times(dir: &Path) -> Vec<FileTime> {
    let files = tree(dir).into_keys().filter(|name| !name.ends_with('/'));
    files
        .map(|name| FileTime { modified: fs::metadata(dir.join(&name)).unwrap().modified().unwrap(), name })
        .collect()
}

fn rayon_pool(n_threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap()
}

#[test]
fn output_does_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    write_competition(&input, &truths(), &LAYOUTS);
    let on_threads = |n_threads: usize| {
        let output = folder.path().join(n_threads.to_string());
        rayon_pool(n_threads).install(|| generate(&input, &output, &config(), &())).unwrap();
        tree(&output)
    };
    let one = on_threads(1);
    assert!(one.keys().all(|name| !name.contains("unfinished") && !name.contains("journal")));
    assert!(on_threads(2) == one && on_threads(4) == one);
}

#[test]
fn lost_damaged_and_foreign_files_are_put_right() {
    let (folder, _) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let reference = tree(&output);
    let put_right = |what: &str, n_cut: usize| {
        let report = generate(&input, &output, &config(), &()).unwrap();
        assert!(report.failures.is_empty());
        let n_windows = |slide: &SlideReport| {
            slide.tiles.iter().map(|tiles| tiles.n_kept + tiles.n_skipped - tiles.n_up_to_date).sum::<usize>()
        };
        assert_eq!(report.slides.iter().map(n_windows).sum::<usize>(), n_cut, "{what}");
        assert_eq!(tree(&output), reference, "{what}");
    };
    fs::remove_file(output.join("CUTS/glomi_x33_8/imgs/aa11/000002.png")).unwrap();
    put_right("a lost image", 1);
    fs::write(output.join("CUTS/glomi_x33_8/masks/aa11/000001.png"), "short").unwrap();
    put_right("a damaged mask", 1);
    for part in ["imgs", "masks"] {
        fs::remove_file(output.join(format!("CUTS/glomi_x33_8/{part}/aa11/000003.png"))).unwrap();
    }
    put_right("a lost tile", 1);
    fs::write(output.join("bigmasks/bb22.tiff"), "").unwrap();
    put_right("an empty mask of a slide", 0);
    fs::remove_dir_all(output.join("SPLITS/grid_split/aa/val")).unwrap();
    put_right("a lost side", 0);
    fs::remove_file(output.join("SPLITS/manifest.json")).unwrap();
    put_right("a lost manifest", 0);
    let n_windows = reference.keys().filter(|name| name.starts_with("CUTS/glomi_x33_8/imgs/aa11/0")).count();
    assert_eq!(n_windows, 4);
    let grid = truths()[0].grid_corners().len();
    fs::write(output.join(".data-gen/slides/aa11/record.json"), "{").unwrap();
    put_right("a damaged record", n_windows + grid);
    let record = output.join(".data-gen/slides/aa11/record.json");
    let of_another_version =
        fs::read_to_string(&record).unwrap().replacen(r#""version":1"#, r#""version":2"#, 1);
    fs::write(&record, of_another_version).unwrap();
    put_right("a record of another version", n_windows + grid);
    for foreign in [
        "CUTS/glomi_x33_8/imgs/aa11/000099.png",
        "CUTS/grid_x33_8/masks/bb22/.unfinished-a1b2c3.png",
        "CUTS/grid_x33_8/imgs/bb22/.ipynb_checkpoints/000001-checkpoint.png",
        "bigmasks/.unfinished-a1b2c3.tiff",
        ".data-gen/.unfinished-a1b2c3.json",
        ".data-gen/slides/aa11/.unfinished-a1b2c3.json",
        ".data-gen/slides/aa11/grid_x33_8.journal",
        "SPLITS/.unfinished-a1b2c3.json",
        "SPLITS/.glomi_split.partial/aa/train/imgs/aa11/000000.png",
        "SPLITS/.glomi_split.old/aa/train/imgs/aa11/000000.png",
        "SPLITS/glomi_split/old/train/imgs/aa11/000000.png",
    ] {
        fs::create_dir_all(output.join(foreign).parent().unwrap()).unwrap();
        fs::write(output.join(foreign), "foreign").unwrap();
    }
    put_right("foreign files", 0);
    // Not ours, and no slide.
    fs::write(output.join(".data-gen/slides/.DS_Store"), "of a file browser").unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert!(report.failures.is_empty() && report.removed.is_empty() && report.are_splits_up_to_date);
}

#[test]
fn a_journal_of_other_settings_is_not_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    generate(&input, &output, &config(), &StopAfter::new(40)).unwrap_err();
    let rule = BackgroundRule { keep_probability: 1.0, dark_tile_mean: 255.0, ..config().background };
    let keep_all = DataGenConfig { background: rule, ..config() };
    generate(&input, &output, &keep_all, &()).unwrap();
    for truth in truths() {
        let names = names_in(&output.join(format!("CUTS/grid_x33_8/imgs/{}", truth.id)));
        assert_eq!(names.len(), truth.grid_corners().len());
    }
}

#[test]
fn tiles_of_another_scale_stand_beside_and_splits_follow_the_last_run() {
    let (folder, _) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let smaller = DataGenConfig { scale: 2, ..config() };
    generate(&input, &output, &smaller, &()).unwrap();
    assert!(output.join("CUTS/glomi_x22_8/imgs/aa11/000000.png").exists());
    assert_eq!(Manifest::read(&output.join("SPLITS")).unwrap().unwrap().scale, 2);
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert_eq!(report.slides.iter().map(|slide| slide.tiles[0].n_up_to_date).sum::<usize>(), 5);
    assert!(!report.are_splits_up_to_date);
    let of_scale_3 = tree(&output.join("CUTS/grid_x33_8/imgs/bb22"));
    assert_eq!(tree(&output.join("SPLITS/grid_split/bb/val/imgs/bb22")), of_scale_3);
}

/// Starts a second run in the middle of the first.
struct Twice<'a> {
    input: &'a Path,
    output: &'a Path,
    refused: std::sync::Mutex<String>,
}

impl Progress for Twice<'_> {
    fn begin(&self, _task: &str, _n_steps: u64) {}

    fn expect(&self, _n_steps: u64) {}

    fn advance(&self) {
        let error = generate(self.input, self.output, &config(), &()).unwrap_err();
        *self.refused.lock().unwrap() = error.to_string();
    }
}

#[test]
fn a_second_run_at_the_same_time_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    let twice = Twice { input: &input, output: &output, refused: std::sync::Mutex::default() };
    let report = generate(&input, &output, &config(), &twice).unwrap();
    assert!(report.failures.is_empty());
    let refused = twice.refused.into_inner().unwrap();
    assert!(refused.contains("another hubmap-data-gen is writing to this folder"), "{refused}");
    assert!(refused.contains(output.to_str().unwrap()), "{refused}");
}
