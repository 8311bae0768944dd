//! What a user sees who gets something wrong: one clear sentence, an exit code, and no half-written files.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, check_command_line, files_under, fixture, run};
use tempfile::TempDir;

const WEIGHTS: &str = "models/tiny_trained_unet_regnety_002.f16.safetensors";

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn slide(&self, name: &str) -> PathBuf {
        self.slide_of(name, Size::new(300, 200))
    }

    fn slide_of(&self, name: &str, size: Size) -> PathBuf {
        let slide = SyntheticSlide::new(SlideSpec::new(size, 1)).unwrap();
        let path = self.path(name);
        write_slide(&path, &slide, FileFormat::default()).unwrap();
        path
    }

    fn infer(&self, model: &Path, slides: &Path, more: &[&str]) -> Ran {
        let (model, slides, out) = (model.display(), slides.display(), self.path("out"));
        let mut args: Vec<String> = [
            "--model",
            &model.to_string(),
            "--slides",
            &slides.to_string(),
            "--out",
            &out.display().to_string(),
            "--set",
            "infer.block=128",
            "--set",
            "infer.context=0",
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(more.iter().map(|&a| a.to_owned()));
        run(env!("CARGO_BIN_EXE_hubmap-infer"), args)
    }

    fn outputs(&self) -> Vec<String> {
        files_under(&self.path("out"))
    }
}

#[test]
fn a_wrong_slide_path_is_named() {
    let place = Place::new();
    let ran = place.infer(&fixture(WEIGHTS), &place.path("nowhere.tiff"), &[]);
    ran.assert_error(2, &["no such file or folder", "nowhere.tiff"]);
    assert!(place.outputs().is_empty());
}

#[test]
fn an_empty_folder_is_named() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    let ran = place.infer(&fixture(WEIGHTS), &place.path("empty"), &[]);
    ran.assert_error(2, &["empty", ".tiff"]);
    assert!(place.outputs().is_empty());
}

#[test]
fn a_wrong_model_path_is_named() {
    let place = Place::new();
    let slide = place.slide("a.tiff");
    place.infer(&place.path("no_model"), &slide, &[]).assert_error(2, &["no_model"]);
    assert!(place.outputs().is_empty());
}

#[test]
fn a_fold_without_its_weights_is_named() {
    let place = Place::new();
    let slide = place.slide("a.tiff");
    let models = place.path("run/fold_0/models");
    std::fs::create_dir_all(&models).unwrap();
    std::fs::write(
        place.path("run/config.toml"),
        "[model]\nencoder = \"regnety_002\"\ndecoder = \"unet\"\nattention = \"none\"",
    )
    .unwrap();
    let ran = place.infer(&place.path("run"), &slide, &[]);
    ran.assert_error(65, &["fold_0/models", "checkpoint"]);
    assert!(place.outputs().is_empty());
}

#[test]
fn slides_that_vanish_meanwhile_are_reported_and_the_others_are_whole() {
    let place = Place::new();
    std::fs::create_dir(place.path("slides")).unwrap();
    let first = place.slide_of("slides/a.tiff", Size::new(1400, 1000));
    let second = place.slide("slides/b.tiff");
    place.slide("slides/c.tiff");
    let journal = place.path("out/predicts/under_way/a.blocks");
    let ran = std::thread::scope(|scope| {
        // The first slide is open by the time that its journal is there; the others are not.
        scope.spawn(|| {
            while !journal.exists() && !place.path("out/summary.json").exists() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            std::fs::remove_file(&first).unwrap();
            std::fs::remove_file(&second).unwrap();
        });
        place.infer(&fixture(WEIGHTS), &place.path("slides"), &["--set", "infer.block=64", "--json"])
    });
    assert!(ran.code == 3 && ["a.tiff", "b.tiff"].iter().all(|name| ran.stderr.contains(name)), "{ran:?}");
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let failed = summary["failed"].as_array().unwrap();
    assert_eq!(failed.iter().map(|slide| slide["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    let outputs = place.outputs();
    let whole = |id: &str| outputs.contains(&format!("predicts/done/{id}.json"));
    assert_eq!(["a", "b", "c"].map(whole), [false, false, true]);
    let is_left = |file: &&String| file.contains("/a.") || file.contains("/b.");
    let left: Vec<_> = outputs.iter().filter(is_left).collect();
    assert!(left.iter().all(|file| **file == "predicts/under_way/a.blocks"), "{left:?}");
}

#[test]
fn weights_of_another_network_are_refused() {
    let place = Place::new();
    let slide = place.slide("a.tiff");
    let ran = place.infer(&fixture(WEIGHTS), &slide, &["--encoder", "regnety_016"]);
    ran.assert_error(65, &["tiny_trained_unet_regnety_002", "unet-regnety_016", "missing", "misshapen"]);
    assert!(place.outputs().is_empty());
}

#[test]
fn a_truncated_slide_is_reported_and_the_rest_goes_on() {
    let place = Place::new();
    std::fs::create_dir(place.path("slides")).unwrap();
    place.slide("slides/good.tiff");
    let broken = place.slide("slides/broken.tiff");
    let bytes = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();

    let alone = place.infer(&fixture(WEIGHTS), &broken, &["--tta", "none"]);
    assert_eq!(alone.code, 65, "{alone:?}");
    assert!(alone.stderr.contains("broken.tiff"), "{alone:?}");
    assert!(!place.outputs().iter().any(|f| f.contains("broken")), "{:?}", place.outputs());

    let ran = place.infer(&fixture(WEIGHTS), &place.path("slides"), &["--tta", "none", "--json"]);
    ran.assert_error(3, &["broken.tiff"]);
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["failed"][0]["id"], "broken");
    assert_eq!(summary["failed"][0]["kind"], "input");
    assert_eq!(summary["slides"][0]["id"], "good");
    assert_eq!(
        place.outputs(),
        [
            "predicts/.lock",
            "predicts/done/good.json",
            "predicts/masks/good.tiff",
            "predicts/objects/good.geojson",
            "predicts/overlays/good.png",
            "predicts/raw/good.npy",
            "predicts/rle/good.csv",
            "submission__0.5.csv",
            "summary.json"
        ]
    );
}

#[test]
fn a_misspelt_key_names_the_right_one() {
    let place = Place::new();
    let slide = place.slide("a.tiff");
    let ran = place.infer(&fixture(WEIGHTS), &slide, &["--set", "infer.treshold=0.4"]);
    ran.assert_error(2, &["infer.treshold", "infer.threshold"]);
    std::fs::write(place.path("mine.toml"), "[infer]\nblok = 3\n").unwrap();
    let ran =
        place.infer(&fixture(WEIGHTS), &slide, &["--config", &place.path("mine.toml").display().to_string()]);
    ran.assert_error(2, &["mine.toml", "infer.blok", "infer.block"]);
    let ran = place.infer(&fixture(WEIGHTS), &slide, &["--set", "infer.block=100"]);
    ran.assert_error(2, &["infer.block", "multiple of 32"]);
    assert!(place.outputs().is_empty());
}

#[test]
fn an_unknown_device_is_refused_with_those_that_exist() {
    let place = Place::new();
    let ran = place.infer(&fixture(WEIGHTS), &place.path("a.tiff"), &["--device", "abacus"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("abacus") && ran.stderr.contains("flex"), "{ran:?}");
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-infer"), true, true);
}
