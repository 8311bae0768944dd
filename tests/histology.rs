//! Training on real tiles: too few to learn from, enough to see that all of them can be learnt.

use std::fs;
use std::path::Path;

use hubmap_data::tile_file::{read_image, read_mask, write_image, write_mask};
use hubmap_test_support::run;
use serde_json::json;

use crate::corpus;
use crate::outputs::executable;

/// Share of the tile that the structure covers, at least.
const MIN_FRACTION: f64 = 0.03;
const N_VALID: usize = 3;

const CONFIG: &str = r#"
[model]
encoder = "regnety_002"
[data]
folds = ["all"]
train = ["train_{fold}_33"]
valid = ["val_{fold}_33"]
crop_px = 256
train_transform = "val"
preload_train = true
[train]
epochs = 40
batch_size = 4
valid_batch_size = 1
valid_every = 40
[train.schedule]
start = 1e-3
peak = 2e-3
end = 1e-4
"#;

/// Tiles with whole glomeruli of five laboratories in four stains, each as a slide of its own, laid out as training
/// takes them; returns how many train.
fn lay_out(splits: &Path) -> usize {
    let manifest = corpus("histology/manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let tiles = manifest["files"].as_array().unwrap().iter().filter(|file| {
        let image = file["image"].as_str().unwrap();
        let is_whole = image.contains("_capsule_") || image.starts_with("hubmap_red16/");
        is_whole && file["mask_fraction"].as_f64().is_some_and(|fraction| fraction >= MIN_FRACTION)
    });
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for (place, file) in tiles.enumerate() {
        let id = format!("tile{place}");
        let sides = if place < N_VALID { &mut valid } else { &mut train };
        let side = if place < N_VALID { "val" } else { "train" };
        let folder = |kind: &str| splits.join("glomi_split/all").join(side).join(kind).join(&id);
        for kind in ["imgs", "masks"] {
            fs::create_dir_all(folder(kind)).unwrap();
        }
        let path = |key: &str| corpus("histology").join(file[key].as_str().unwrap());
        write_image(&folder("imgs").join("000000.png"), &read_image(&path("image")).unwrap()).unwrap();
        write_mask(&folder("masks").join("000000.png"), &read_mask(&path("mask")).unwrap()).unwrap();
        sides.push(id);
    }
    let n_train = train.len();
    let fold = json!({ "name": "all", "by": "slides", "train": train, "valid": valid });
    let manifest = json!({ "scale": 3, "tile_px": 256, "folds": [fold] });
    fs::write(splits.join("manifest.json"), manifest.to_string()).unwrap();
    n_train
}

#[test]
fn real_tiles_are_learnt_by_heart() {
    let place = tempfile::tempdir().unwrap();
    let (splits, config) = (place.path().join("SPLITS"), place.path().join("overfit.toml"));
    let n_train = lay_out(&splits);
    assert!(n_train >= 8, "{n_train} tiles to train on");
    fs::write(&config, CONFIG).unwrap();
    let set = format!("data.splits_dir={}", splits.display());
    let (out, config) = (place.path().join("output"), config.display().to_string());
    let out = out.display().to_string();
    let trained =
        run(executable("hubmap-train"), ["--config", &config, "--set", &set, "--out", &out, "--json"]);
    assert_eq!(trained.code, 0, "{trained:?}");
    let summary: serde_json::Value = serde_json::from_str(&trained.stdout).unwrap();
    let history = Path::new(summary["run"].as_str().unwrap()).join("fold_0/history.csv");
    let history = fs::read_to_string(history).unwrap();
    let dice = |row: &str| row.split(',').nth(3).unwrap().parse::<f64>().unwrap();
    let rows: Vec<f64> = history.lines().skip(1).map(dice).collect();
    println!("training Dice by epoch: {rows:.3?}");
    assert_eq!(rows.len(), 40);
    assert!(rows[39] >= 0.9, "training Dice ends at {}", rows[39]);
    assert!(rows[0] < 0.6, "the first epoch cannot have learnt them: {}", rows[0]);
}
