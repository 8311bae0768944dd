//! A run that is killed at any moment, and run again, ends with the same folder as one that was left alone.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hubmap_data::cuts::Manifest;
use hubmap_data::tile_file::{read_image, read_mask};
use hubmap_io::Size;
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec, write_competition};
use hubmap_test_support::files_under;

const N_KILLS: u32 = 20;

fn command(input: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubmap-data-gen"));
    command.arg("--input").arg(input).arg("--output").arg(output);
    command.args(["--set", "data_gen.tile_px=64", "--set", "data_gen.folds=drawn"]);
    command.args(["--set", "data_gen.n_drawn_folds=2", "--threads", "2", "--quiet"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run_through(input: &Path, output: &Path) {
    assert!(command(input, output).status().unwrap().success());
}

/// All files below a folder, relative to it.
fn files(dir: &Path) -> Vec<PathBuf> {
    files_under(dir).into_iter().map(PathBuf::from).collect()
}

/// Content of every file, and the first name of the file that it is a link to.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, PathBuf)> {
    let mut first_names = BTreeMap::new();
    let entry = |file: PathBuf| {
        let path = dir.join(&file);
        let inode = fs::metadata(&path).unwrap().ino();
        let first = first_names.entry(inode).or_insert_with(|| file.clone()).clone();
        (file, (fs::read(path).unwrap(), first))
    };
    files(dir).into_iter().map(entry).collect()
}

/// Whether every file under its final name is whole, by the means of whoever will read it.
fn check_whole(output: &Path) {
    for file in files(output) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let path = output.join(&file);
        // Files under way, tiles of folds under way, and journals, whose last line may be cut short.
        let is_under_way = file.iter().any(|part| part.to_str().unwrap().starts_with(".unfinished-"));
        if is_under_way || name == "lock" || name.ends_with(".journal") {
            continue;
        }
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("png") if file.iter().any(|part| part == "imgs") => drop(read_image(&path).unwrap()),
            Some("png") => drop(read_mask(&path).unwrap()),
            Some("tiff") => drop(hubmap_io::read_mask(&path).unwrap()),
            Some("json") => {
                drop(serde_json::from_slice::<serde_json::Value>(&fs::read(&path).unwrap()).unwrap());
            }
            _ => unreachable!("{} is nothing that data generation writes", file.display()),
        }
    }
    // Folds that the manifest names have a mask for every image.
    if let Some(manifest) = Manifest::read(&output.join("SPLITS")).unwrap() {
        for fold in manifest.folds {
            for split in ["glomi_split", "grid_split"] {
                for side in ["train", "val"] {
                    let dir = output.join("SPLITS").join(split).join(&fold.name).join(side);
                    assert_eq!(files(&dir.join("imgs")), files(&dir.join("masks")));
                }
            }
        }
    }
}

/// Numbers from 0 to 1 that spread evenly in any stretch of them (van der Corput).
fn spread(mut n: u32) -> f64 {
    let (mut value, mut digit) = (0.0, 0.5);
    while n > 0 {
        value += digit * f64::from(n % 2);
        digit /= 2.0;
        n /= 2;
    }
    value
}

#[test]
fn killed_twenty_times_and_run_again_gives_the_folder_of_an_uninterrupted_run() {
    let place = tempfile::tempdir().unwrap();
    let (input, alone, killed) =
        (place.path().join("HUBMAP"), place.path().join("alone"), place.path().join("killed"));
    let slide = SlideSpec { scale: 0.2, ..SlideSpec::new(Size::new(1500, 1300), 3) };
    let formats = FileFormat::all();
    write_competition(&input, &CompetitionSpec { n_train: 5, n_test: 0, slide, formats }, &|_, _| {})
        .unwrap();

    run_through(&input, &alone);
    let reference = tree(&alone);
    // Times from a second run, without what only a first start of the executable costs.
    fs::remove_dir_all(&alone).unwrap();
    let started = Instant::now();
    run_through(&input, &alone);
    let whole_run = started.elapsed();
    assert!(tree(&alone) == reference, "a run depends on nothing but its input");

    let mut n_in_the_middle = 0;
    for n in 0..N_KILLS {
        // Every other series starts from nothing, so that early and late moments are met alike.
        if n % 4 == 0 && killed.exists() {
            fs::remove_dir_all(&killed).unwrap();
        }
        let mut child = command(&input, &killed).spawn().unwrap();
        std::thread::sleep(whole_run.mul_f64(spread(n + 1)));
        let has_ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(&killed);
        let has_begun = killed.join("CUTS").exists();
        n_in_the_middle += u32::from(!has_ended && has_begun);
        if n % 4 == 3 {
            run_through(&input, &killed);
            let after = tree(&killed);
            let differing =
                after.keys().chain(reference.keys()).find(|name| after.get(*name) != reference.get(*name));
            assert_eq!(differing, None, "after kill {n}");
        }
    }
    assert!(n_in_the_middle >= N_KILLS / 4, "only {n_in_the_middle} kills hit a run at work");
    let manifest = Path::new("SPLITS/manifest.json");
    assert!(reference.contains_key(manifest) && Duration::ZERO < whole_run);
}
