use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use hubmap_cli::{Config, ConfigArgs};
use hubmap_models::{SegModel, save_weights};
use hubmap_test_support::{files_under, run};
use hubmap_train::{Observer, RunDir, RunPlace, RunSettings, Silent, StepReport, train_run};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use tempfile::TempDir;

use crate::models::UNET;
use crate::outputs::executable;

/// Tiles of two slides, and a config that trains a network on them within seconds.
struct Tiles {
    place: TempDir,
}

impl Tiles {
    fn new() -> Self {
        let tiles = Self { place: tempfile::tempdir().unwrap() };
        let (slides, input) = (tiles.path("HUBMAP"), tiles.path("input"));
        let config = format!(
            "[model]\nencoder = \"regnety_002\"\n\
             [data_gen]\nscale = 8\ntile_px = 64\nfolds = \"drawn\"\nn_drawn_folds = 2\n\
             [data]\nsplits_dir = \"{}/SPLITS\"\nfolds = [\"0\", \"1\"]\ncrop_px = 32\n\
             train = [\"train_{{fold}}_88\", \"grid_{{fold}}_88\"]\nvalid = [\"val_{{fold}}_88\"]\n\
             [train]\nepochs = 4\nbatch_size = 2\nvalid_every = 2\nfreeze_encoder = 0.4\n",
            input.display()
        );
        std::fs::write(tiles.path("small.toml"), config).unwrap();
        let args = ["slides", "--count", "2", "--size", "1100x900", "--out"];
        let made = run(executable("hubmap-demo"), args.iter().map(Path::new).chain([slides.as_path()]));
        assert_eq!(made.code, 0, "{made:?}");
        let config = tiles.path("small.toml");
        let args =
            [Path::new("--config"), &config, Path::new("--input"), &slides, Path::new("--output"), &input];
        let made = run(executable("hubmap-data-gen"), args);
        assert_eq!(made.code, 0, "{made:?}");
        tiles
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn settings(&self) -> RunSettings {
        let args = ConfigArgs { config: vec![self.path("small.toml")], set: Vec::new() };
        let config = Config::load(&args).unwrap();
        RunSettings {
            model: config.section("model").unwrap(),
            data: config.section("data").unwrap(),
            data_gen: config.section("data_gen").unwrap(),
            train: config.section("train").unwrap(),
            resolved_toml: config.to_toml(),
        }
    }

    /// Begins a run under `out`, or goes on with the one that is there.
    fn train(&self, out: &Path) -> Child {
        let mut command = Command::new(executable("hubmap-train"));
        command.args(["--quiet", "--threads", "1"]).stdout(Stdio::null()).stderr(Stdio::inherit());
        match run_in(out) {
            Some(begun) => command.arg("--resume").arg(begun),
            None => command.arg("--config").arg(self.path("small.toml")).arg("--out").arg(out),
        };
        command.spawn().unwrap()
    }
}

/// The run folder under `out`, if there is one.
fn run_in(out: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(out).ok()?.map(|entry| entry.unwrap());
    let mut runs = entries.filter(|e| !e.file_name().to_str().unwrap().starts_with('.')).map(|e| e.path());
    let run = runs.next();
    assert!(runs.next().is_none(), "two runs in {}", out.display());
    run
}

/// What a fold came to.
struct Fold {
    /// How training went, to the bit, but for wall time.
    progress: toml::Table,
    /// The last weights, as a file of weights.
    model: Vec<u8>,
    /// Their moving average.
    average: Vec<u8>,
    best: Vec<u8>,
}

fn assert_same(found: &[Fold], expected: &[Fold], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.progress, expected.progress, "{what}");
        assert!(found.model == expected.model, "{what} ends with other weights");
        assert!(found.average == expected.average, "{what} ends with another average");
        assert!(found.best == expected.best, "{what} ends with another best checkpoint");
    }
}

/// How far a fold is, as its state says.
fn progress(fold_dir: &Path) -> toml::Table {
    let bytes = std::fs::read(fold_dir.join("last.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    header.metadata().as_ref().unwrap()["progress"].parse().unwrap()
}

fn results(out: &Path) -> Vec<Fold> {
    let run = run_in(out).unwrap();
    let fold = |fold: &str| {
        let bytes = std::fs::read(run.join(fold).join("last.safetensors")).unwrap();
        let mut progress = progress(&run.join(fold));
        for row in progress["history"].as_array_mut().unwrap() {
            for time in ["seconds", "data_wait"] {
                row.as_table_mut().unwrap().remove(time).unwrap();
            }
        }
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let weights = |part: &str| {
            let bytes = Bytes::from_bytes_vec(tensors.tensor(part).unwrap().data().to_vec());
            let model = UNET.init(&Device::flex()).load_record(ModuleRecord::from_bytes(bytes).unwrap());
            in_a_file(&model)
        };
        let best: Vec<PathBuf> =
            std::fs::read_dir(run.join(fold).join("models")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(best.len(), 1, "{best:?}");
        let best = std::fs::read(&best[0]).unwrap();
        Fold { progress, model: weights("model"), average: weights("ema"), best }
    };
    ["fold_0", "fold_1"].into_iter().map(fold).collect()
}

/// Nothing half-written is left in the run folder.
fn assert_finished(out: &Path) {
    let files = files_under(&run_in(out).unwrap());
    assert!(files.iter().all(|file| !file.contains(".unfinished-")), "{files:?}");
}

fn in_a_file(model: &SegModel) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("w.safetensors");
    save_weights(model, &UNET, &path).unwrap();
    std::fs::read(path).unwrap()
}

fn wait_at_most(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Interrupts after a number of steps.
struct After {
    n_steps: usize,
    n_done: Cell<usize>,
}

impl Observer for After {
    fn step(&self, _report: StepReport) {
        self.n_done.set(self.n_done.get() + 1);
    }

    fn interrupted(&self) -> bool {
        self.n_done.get() == self.n_steps
    }
}

#[test]
fn a_run_that_is_interrupted_in_any_step_goes_on_in_the_next() {
    let tiles = Tiles::new();
    let (settings, devices) = (tiles.settings(), [Device::flex()]);
    let train = |out: &Path, observer: &dyn Observer| {
        let begun = run_in(out).map(|run| RunDir::open(&run).unwrap());
        let place = begun.as_ref().map_or(RunPlace::NewUnder(out), RunPlace::Resumed);
        train_run(&settings, None, place, &devices, observer)
    };
    let whole = tiles.path("whole");
    let report = train(&whole, &Silent).unwrap();
    assert!(report.folds.iter().all(|(_, _, fold)| fold.history.len() == 4));
    let curves = std::fs::read(report.run.path().join("curves.png")).unwrap();
    assert!(curves.starts_with(b"\x89PNG") && curves.len() > 10_000, "{} bytes", curves.len());
    let expected = results(&whole);
    let (mut n_inside, mut n_ends) = (0, 0);
    for n_steps in [1, 2, 4, 5, 7] {
        let out = tiles.path(&format!("after_{n_steps}"));
        let error = train(&out, &After { n_steps, n_done: Cell::new(0) }).unwrap_err();
        assert!(format!("{error:#}").contains("interrupted in epoch"), "{error:#}");
        let progress = progress(&run_in(&out).unwrap().join("fold_0"));
        let n_in_epoch = progress["epoch"]["n_steps"].as_integer().unwrap();
        *(if n_in_epoch > 0 { &mut n_inside } else { &mut n_ends }) += 1;
        train(&out, &Silent).unwrap();
        assert_same(&results(&out), &expected, &format!("the run interrupted after {n_steps} steps"));
    }
    assert!(n_inside >= 3, "{n_inside} inside epochs, {n_ends} at ends: epochs of more steps are wanted");
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_leaves_the_state_before() {
    let tiles = Tiles::new();
    let (settings, devices) = (tiles.settings(), [Device::flex()]);
    let (whole, out) = (tiles.path("whole"), tiles.path("out"));
    let train =
        |place: RunPlace<'_>, observer: &dyn Observer| train_run(&settings, None, place, &devices, observer);
    train(RunPlace::NewUnder(&whole), &Silent).unwrap();
    train(RunPlace::NewUnder(&out), &After { n_steps: 4, n_done: Cell::new(0) }).unwrap_err();
    let run = run_in(&out).unwrap();
    let state = std::fs::read(run.join("fold_0/last.safetensors")).unwrap();
    // No file may have more than 2^20 bytes, in blocks of 512: less than any state, and what is beyond is an error as on
    // a full disk, because the signal is ignored.
    let limited = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited]).arg(executable("hubmap-train")).args(["--quiet", "--resume"]).arg(&run);
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot write") && message.contains(".safetensors"), "{message}");
    assert!(
        std::fs::read(run.join("fold_0/last.safetensors")).unwrap() == state,
        "the state before is whole"
    );
    assert_finished(&out);
    train(RunPlace::Resumed(&RunDir::open(&run).unwrap()), &Silent).unwrap();
    assert_same(&results(&out), &results(&whole), "the run on the full disk");
}

#[test]
fn killed_and_interrupted_runs_end_as_if_nothing_had_happened() {
    let tiles = Tiles::new();
    let (whole, start) = (tiles.path("whole"), Instant::now());
    assert!(tiles.train(&whole).wait().unwrap().success());
    let time = start.elapsed();
    let expected = results(&whole);
    assert_eq!(expected.len(), 2);

    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut n_kills, mut n_runs) = (0, 0);
    while n_kills < 10 {
        let out = tiles.path(&format!("killed_{n_runs}"));
        loop {
            let mut child = tiles.train(&out);
            let moment = time.mul_f64(rng.random_range(0.05..0.6));
            if let Some(status) = wait_at_most(&mut child, moment) {
                assert!(status.success(), "resuming failed: {status}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            n_kills += 1;
        }
        assert_same(&results(&out), &expected, &format!("run {n_runs}"));
        assert_finished(&out);
        n_runs += 1;
    }
    println!("{n_kills} kills in {n_runs} runs of {:.1} s", time.as_secs_f64());

    // Asked to stop, a run finishes its step and says that it can go on.
    let out = tiles.path("interrupted");
    let mut child = tiles.train(&out);
    while run_in(&out).is_none_or(|run| !run.join("fold_0/last.safetensors").exists()) {
        std::thread::sleep(Duration::from_millis(5));
        assert!(child.try_wait().unwrap().is_none());
    }
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(tiles.train(&out).wait().unwrap().success());
    assert_same(&results(&out), &expected, "the interrupted run");
    assert_finished(&out);
}

#[test]
fn folds_of_jobs_of_their_own_are_those_of_one_process() {
    let tiles = Tiles::new();
    let whole = tiles.path("whole");
    assert!(tiles.train(&whole).wait().unwrap().success());
    let expected = results(&whole);

    let job = |fold: &str, run: &Path| {
        let mut command = Command::new(executable("hubmap-train"));
        command
            .args(["--quiet", "--threads", "1", "--fold", fold])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        command.arg("--config").arg(tiles.path("small.toml")).arg("--run").arg(run).spawn().unwrap()
    };
    let collect = |runs: &[PathBuf], out: &Path| {
        let words = [Path::new("collect"), Path::new("--out"), out];
        run(executable("hubmap-train"), words.into_iter().chain(runs.iter().map(PathBuf::as_path)))
    };
    let runs = [tiles.path("folds/0"), tiles.path("folds/1")];
    let joined = tiles.path("joined");

    // One is killed when it has done an epoch; the same command goes on.
    let mut killed = job("0", &runs[0]);
    while !runs[0].join("fold_0/last.safetensors").exists() {
        assert!(killed.try_wait().unwrap().is_none(), "the job ended before its state was there");
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let progress = progress(&runs[0].join("fold_0"));
    collect(&runs[..1], &joined.join("run"))
        .assert_error(1, &["fold 0 (`0`) has", "of 4 epochs", "fold 1 (`1`) is in none"]);
    assert!(!joined.exists(), "{progress}");
    assert!(job("0", &runs[0]).wait().unwrap().success());
    assert!(job("1", &runs[1]).wait().unwrap().success());
    let made = collect(&runs, &joined.join("run"));
    assert_eq!(made.code, 0, "{made:?}");
    assert_same(&results(&joined), &expected, "folds of two folders");
    assert!(joined.join("run/curves.png").exists());
    // Once more, and then with a fold that is there twice.
    assert_eq!(collect(&runs, &joined.join("run")).code, 0);
    let twice = [runs[0].clone(), runs[1].clone(), joined.join("run")];
    collect(&twice, &tiles.path("twice")).assert_error(1, &["fold 0 (`0`) is in", "and in"]);

    // Weights that somebody cut off.
    let models = std::fs::read_dir(runs[1].join("fold_1/models")).unwrap();
    let weights = models.map(|entry| entry.unwrap().path()).next().unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    let name = weights.file_name().unwrap().to_str().unwrap();
    collect(&runs, &tiles.path("damaged")).assert_error(1, &["fold 1 (`1`): ", name]);
    assert!(!tiles.path("damaged").exists());
    std::fs::write(&weights, bytes).unwrap();

    // Both in one folder, at the same time.
    let shared = tiles.path("shared");
    let mut jobs = ["0", "1"].map(|fold| job(fold, &shared.join("run")));
    assert!(jobs.each_mut().iter_mut().all(|job| job.wait().unwrap().success()));
    assert_same(&results(&shared), &expected, "folds of one folder");
    let other = run(
        executable("hubmap-train"),
        [
            "--config".as_ref(),
            tiles.path("small.toml").as_os_str(),
            "--run".as_ref(),
            shared.join("run").as_os_str(),
            "--set".as_ref(),
            "train.epochs=5".as_ref(),
        ],
    );
    other.assert_error(1, &["other settings", "config.toml"]);
}
