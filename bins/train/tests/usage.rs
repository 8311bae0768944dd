//! What a user sees who gets something wrong: one clear sentence, an exit code, and no run folder.

use hubmap_test_support::{Ran, check_command_line, files_under, run};
use tempfile::TempDir;

fn train(place: &TempDir, more: &[&str]) -> Ran {
    let out = place.path().join("output").display().to_string();
    let splits = format!("data.splits_dir={}", place.path().join("SPLITS").display());
    let mut args = vec!["--out", &out, "--set", &splits];
    args.extend(more);
    run(env!("CARGO_BIN_EXE_hubmap-train"), args)
}

#[test]
fn a_misspelt_key_names_the_right_one() {
    let place = tempfile::tempdir().unwrap();
    train(&place, &["--set", "train.epohcs=3"]).assert_error(2, &["train.epohcs", "train.epochs"]);
    train(&place, &["--set", "trian.epochs=3"]).assert_error(2, &["trian", "train"]);
    assert!(files_under(place.path()).is_empty());
}

#[test]
fn impossible_values_are_named() {
    let place = tempfile::tempdir().unwrap();
    train(&place, &["--set", "train.epochs=0"]).assert_error(2, &["train.epochs"]);
    train(&place, &["--set", "train.epochs=many"]).assert_error(2, &["[train]", "many"]);
    train(&place, &["--set", "data.crop_px=100"]).assert_error(2, &["data.crop_px", "128"]);
    train(&place, &["--set", "model.encoder=resnet"]).assert_error(2, &["[model]", "resnet", "regnety_002"]);
    train(&place, &["--set", "train.ema.decay=1.5"]).assert_error(2, &["train.ema.decay"]);
    assert!(files_under(place.path()).is_empty());
}

#[test]
fn missing_tiles_are_named() {
    let place = tempfile::tempdir().unwrap();
    train(&place, &[]).assert_error(1, &["SPLITS"]);
    assert!(files_under(place.path()).is_empty());
}

#[test]
fn a_missing_config_is_named() {
    let place = tempfile::tempdir().unwrap();
    train(&place, &["--config", "no_such.toml"]).assert_error(2, &["no_such.toml"]);
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-train"), true, true);
}
