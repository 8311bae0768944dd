use std::path::Path;

use hubmap_models::WeightsFile;
use hubmap_test_support::{Ran, files_under, fixture, run};
use serde_json::Value;

use crate::models::TRAINED;
use crate::outputs::{check_geojson, check_outputs_agree, executable};
use crate::pth::{self, Flavour};
use crate::recipe;

fn hubmap(name: &str, args: &[&str]) -> Ran {
    let ran = run(executable(name), args);
    assert_eq!(ran.code, 0, "{name}: {ran:?}");
    ran
}

#[test]
fn executables_take_slides_to_a_scored_submission() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    let (slides, input, out) = (path("HUBMAP"), path("input"), path("results"));
    let small = path("small.toml");
    let config = format!(
        "[model]\nencoder = \"regnety_002\"\n\
         [data_gen]\nscale = 8\ntile_px = 64\nfolds = \"drawn\"\nn_drawn_folds = 2\n\
         [data_gen.background]\nkeep_probability = 1.0\n\
         [data]\nsplits_dir = \"{input}/SPLITS\"\nfolds = [\"0\", \"1\"]\ncrop_px = 32\n\
         train = [\"train_{{fold}}_88\", \"grid_{{fold}}_88\"]\nvalid = [\"val_{{fold}}_88\"]\n\
         [train]\nepochs = 2\nbatch_size = 2\nvalid_every = 1\n\
         [infer]\nscale = 8\nblock = 64\ncontext = 32\n"
    );
    std::fs::write(&small, config).unwrap();

    let args = ["slides", "--out", &slides, "--count", "2", "--size", "1100x900", "--layout", "all"];
    hubmap("hubmap-demo", &args);
    hubmap("hubmap-data-gen", &["--input", &slides, "--output", &input, "--config", &small]);
    let trained = hubmap("hubmap-train", &["--config", &small, "--out", &path("output")]);
    let run_dir = trained.stdout.trim().to_owned();
    let checkpoints = files_under(Path::new(&run_dir));
    assert!(checkpoints.contains(&"config.toml".to_owned()), "{checkpoints:?}");
    for fold in ["fold_0/models/e", "fold_1/models/e", "fold_0/history.csv", "fold_1/history.csv"] {
        assert_eq!(checkpoints.iter().filter(|f| f.starts_with(fold)).count(), 1, "{fold}: {checkpoints:?}");
    }

    start_from_files(&path("runs"), &small, &path(""));

    let test = format!("{slides}/test");
    let args = ["--model", &run_dir, "--slides", &test, "--out", &out, "--threshold", "0.3", "--json"];
    let inferred = hubmap("hubmap-infer", &args);
    let summary: Value = serde_json::from_str(&inferred.stdout).unwrap();
    assert_eq!(summary["n_models"], 2);
    assert_eq!(summary["settings"]["block"], 64, "the run's own settings apply");
    check_outputs_agree(Path::new(&out), "2ec3f1bb9", 0.3);
    let n_objects = check_geojson(&Path::new(&out).join("predicts/objects/2ec3f1bb9.geojson"));
    assert_eq!(n_objects as u64, summary["slides"][0]["objects"].as_u64().unwrap());

    let (pred, truth) = (format!("{out}/submission__0.3.csv"), format!("{slides}/truth.csv"));
    let scored =
        hubmap("hubmap-evaluate", &["--pred", &pred, "--truth", &truth, "--slides", &test, "--json"]);
    let from_masks =
        hubmap("hubmap-evaluate", &["--pred", &out, "--truth", &truth, "--slides", &test, "--json"]);
    let dice = |ran: &Ran| serde_json::from_str::<Value>(&ran.stdout).unwrap()["mean_dice"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&dice(&scored)));
    assert!((dice(&scored) - dice(&from_masks)).abs() < 1e-12, "table and masks are one prediction");
}

/// Training starts from a checkpoint of PyTorch, whole or its encoder, and says which setting names a wrong one.
fn start_from_files(out: &str, config: &str, folder: &str) {
    let network = format!("{folder}network.pth");
    let checkpoint = Flavour { is_checkpoint: true, is_cuda: true };
    pth::write(Path::new(&network), &recipe::tensors("tiny_unet_regnety_002"), checkpoint);
    for (key, other) in [("start_weights", "start_encoder"), ("start_encoder", "start_weights")] {
        let start = format!("train.{key}={network}");
        let args =
            ["--config", config, "--out", out, "--fold", "0", "--set", &start, "--set", "train.epochs=1"];
        hubmap("hubmap-train", &args);
        let mut both = args.to_vec();
        let second = format!("train.{other}={network}");
        both.extend(["--set", &second]);
        run(executable("hubmap-train"), both).assert_error(2, &["start_weights", "start_encoder"]);
    }
    let start = format!("train.start_encoder={config}");
    let args = ["--config", config, "--out", out, "--fold", "0", "--set", &start];
    run(executable("hubmap-train"), args).assert_error(65, &["train.start_encoder", "small.toml"]);
}

#[test]
fn a_checkpoint_of_pytorch_predicts_as_its_safetensors() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    let weights = fixture(TRAINED);
    let file = WeightsFile::open(&weights).unwrap();
    let tensors = file.tensors().iter().filter(|tensor| !tensor.is_batch_counter());
    let tensors =
        tensors.map(|t| (format!("module.{}", t.smp_name), (t.shape.clone(), file.read(t).unwrap())));
    let checkpoint = Flavour { is_checkpoint: true, is_cuda: true };
    pth::write(Path::new(&path("network.pth")), &tensors.collect(), checkpoint);

    let slide = fixture("numerics/14_e2e/slide.tiff").display().to_string();
    let predict = |model: &str, out: &str| {
        let settings = ["--set", "infer.block=256", "--set", "infer.context=32", "--tta", "none"];
        let args = ["--model", model, "--slides", &slide, "--out", out, "--write", "npy"];
        hubmap("hubmap-infer", &[&args[..], &settings].concat());
        std::fs::read(format!("{out}/predicts/raw/slide.npy")).unwrap()
    };
    let (safetensors, pth) = (path("safetensors"), path("pth"));
    let expected = predict(&weights.display().to_string(), &safetensors);
    assert!(predict(&path("network.pth"), &pth) == expected, "other probabilities");
}
