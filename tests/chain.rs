use std::path::{Path, PathBuf};

use hubmap_infer::NpyReader;
use hubmap_io::{Mask, Rle, read_annotations, read_mask};
use hubmap_test_support::{Ran, files_under, run};
use serde_json::Value;

/// An executable of this workspace, beside the tests; `cargo test --workspace` builds them all.
pub(super) fn executable(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built: run cargo test --workspace", path.display());
    path
}

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

/// The table, the mask TIFF, the probabilities and the outlines of a slide say the same.
pub(super) fn check_outputs_agree(out: &Path, id: &str, threshold: f32) {
    let mask = read_mask(&out.join(format!("predicts/masks/{id}.tiff"))).unwrap();
    let table = std::fs::read_to_string(out.join(format!("submission__{threshold}.csv"))).unwrap();
    let line = table.lines().find_map(|line| line.strip_prefix(&format!("{id},"))).unwrap();
    assert_eq!(table.lines().next(), Some("id,predicted"));
    assert_eq!(Rle::parse(line).unwrap().decode(mask.size()).unwrap(), mask, "run lengths and mask TIFF");

    let mut drawn = Mask::new(mask.size());
    for feature in read_annotations(&out.join(format!("predicts/objects/{id}.geojson"))).unwrap() {
        feature.polygons.iter().for_each(|polygon| drawn.fill_polygon(polygon));
    }
    assert_eq!(drawn, mask, "outlines and mask TIFF");

    let mut npy = NpyReader::open(&out.join(format!("predicts/raw/{id}.npy"))).unwrap();
    assert_eq!(npy.size(), mask.size());
    let threshold = half::f16::from_f32(threshold);
    let probabilities = npy.read_rows(0, mask.size().height).unwrap();
    let n_positive = probabilities.iter().filter(|&&p| p > threshold).count() as u64;
    assert_eq!(n_positive, mask.count_ones(), "probabilities and mask TIFF");

    let overlay = std::fs::read(out.join(format!("predicts/overlays/{id}.png"))).unwrap();
    assert!(overlay.starts_with(b"\x89PNG"), "the overlay is a PNG");
}

/// What QuPath asks of GeoJSON: closed rings of finite numbers, no `MultiPolygon` of one polygon.
pub(super) fn check_geojson(path: &Path) -> usize {
    let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(json["type"], "FeatureCollection");
    let features = json["features"].as_array().unwrap();
    for feature in features {
        assert_eq!(feature["type"], "Feature");
        assert!(feature["properties"]["classification"]["name"].is_string(), "{feature}");
        let polygons: Vec<&Value> = match feature["geometry"]["type"].as_str() {
            Some("Polygon") => vec![&feature["geometry"]["coordinates"]],
            Some("MultiPolygon") => {
                let polygons = feature["geometry"]["coordinates"].as_array().unwrap();
                assert!(polygons.len() > 1, "a MultiPolygon of one polygon");
                polygons.iter().collect()
            }
            other => panic!("geometry {other:?}"),
        };
        for ring in polygons.iter().flat_map(|polygon| polygon.as_array().unwrap()) {
            let ring = ring.as_array().unwrap();
            assert!(ring.len() >= 4 && ring.first() == ring.last(), "ring is not closed: {ring:?}");
            assert!(ring.iter().flat_map(|p| p.as_array().unwrap()).all(|v| v.as_f64().unwrap().is_finite()));
        }
    }
    features.len()
}
