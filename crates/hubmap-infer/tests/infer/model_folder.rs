//! Run folders and weights files, good and broken.

use std::path::Path;

use burn::tensor::Device;
use hubmap_infer::{ArchitectureFlags, ModelFolder, PredictConfig, Tta};
use hubmap_models::{DecoderKind, EncoderKind};
use hubmap_test_support::fixture;

const WEIGHTS: &str = "models/tiny_trained_unet_regnety_002.f16.safetensors";
const CONFIG: &str = "
[model]
encoder = \"regnety_002\"
decoder = \"unet\"
attention = \"none\"
[train]
epochs = 3
[infer]
tta = \"kaggle\"
block = 128
context = 32
";

fn write_run(run: &Path, checkpoints: &[&str]) {
    std::fs::write(run.join("config.toml"), CONFIG).unwrap();
    for checkpoint in checkpoints {
        let path = run.join(checkpoint);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(fixture(WEIGHTS), path).unwrap();
    }
}

fn open_error(path: &Path, flags: ArchitectureFlags) -> String {
    format!("{:#}", ModelFolder::open(path, flags).unwrap_err())
}

#[test]
fn the_last_checkpoint_of_each_fold_is_taken() {
    let run = tempfile::tempdir().unwrap();
    write_run(
        run.path(),
        &[
            "fold_0/models/e2_t50_ema_0.9500.safetensors",
            "fold_0/models/e10_t50_raw_0.9000.safetensors",
            "fold_0/models/e10_t50_ema_0.9100.safetensors",
            "fold_0/models/notes.safetensors",
            "fold_10/models/e0_t50_raw_0.1000.safetensors",
            "fold_2/models/e4_t50_raw_0.5000.safetensors",
            // Contents decide about the format, not the name.
            "fold_2/models/e5_t50_raw_0.4000.pth",
        ],
    );
    let folder = ModelFolder::open(run.path(), ArchitectureFlags::default()).unwrap();
    let found: Vec<_> = folder
        .checkpoints
        .iter()
        .map(|c| (c.fold_idx.unwrap(), c.path.file_name().unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            (0, "e10_t50_ema_0.9100.safetensors"),
            (2, "e5_t50_raw_0.4000.pth"),
            (10, "e0_t50_raw_0.1000.safetensors")
        ]
    );
    let config = folder.predict_config(&toml::Table::new()).unwrap();
    let expected = PredictConfig { tta: Tta::Kaggle, block: 128, context: 32, ..PredictConfig::original() };
    assert_eq!(config, expected);
    assert_eq!(folder.load(&Device::flex()).unwrap().len(), 3);
}

#[test]
fn a_bare_weights_file_is_recognised() {
    let folder = ModelFolder::open(&fixture(WEIGHTS), ArchitectureFlags::default()).unwrap();
    assert_eq!(folder.model.encoder, EncoderKind::RegNetY002);
    assert_eq!(folder.checkpoints.len(), 1);
}

#[test]
fn broken_run_folders_are_explained() {
    let run = tempfile::tempdir().unwrap();
    let no_flags = ArchitectureFlags::default();
    assert!(open_error(&run.path().join("nowhere"), no_flags).contains("nowhere"));
    assert!(open_error(run.path(), no_flags).contains("not a run folder"));
    write_run(run.path(), &[]);
    assert!(open_error(run.path(), no_flags).contains("no folds"));
    write_run(run.path(), &["fold_0/models/e1_t2_raw_0.5000.safetensors", "fold_1/models/other.txt"]);
    let message = open_error(run.path(), no_flags);
    assert!(message.contains("no checkpoint in") && message.contains("fold_1"), "{message}");
    std::fs::remove_dir_all(run.path().join("fold_1")).unwrap();
    let other = ArchitectureFlags { decoder: Some(DecoderKind::UnetPlusPlus), ..no_flags };
    let message = open_error(run.path(), other);
    assert!(message.contains("unetplusplus") && message.contains("the flags ask for"), "{message}");
    std::fs::write(run.path().join("config.toml"), "[model]\nencoder = \"vgg\"").unwrap();
    let message = open_error(run.path(), no_flags);
    assert!(message.contains("config.toml") && message.contains("[model]"), "{message}");
}

#[test]
fn weights_of_another_network_are_refused_with_a_list() {
    let flags = ArchitectureFlags { encoder: Some(EncoderKind::RegNetY004), ..ArchitectureFlags::default() };
    let folder = ModelFolder::open(&fixture(WEIGHTS), flags).unwrap();
    let message = format!("{:#}", folder.load(&Device::flex()).unwrap_err());
    assert!(message.contains("these are not weights of") && message.contains("misshapen"), "{message}");
}
