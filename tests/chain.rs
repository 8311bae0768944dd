use std::path::Path;

use hubmap_test_support::{Ran, files_under, run};
use serde_json::Value;

use crate::outputs::{check_geojson, check_outputs_agree, executable};

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
