//! Tests of the crate as a whole.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at its first surprise")]

// Parity of every operation on pixels with OpenCV and albumentations.
mod augment;
// Parity of the validation transform and of reductions with albumentations and OpenCV.
mod val_transform;
// Order, determinism, errors and shutdown of the loader.
mod loader;
// Tiles, masks and splits against a computation on whole images.
mod cuts;
// From a synthetic competition folder to batches, with the settings of the base config.
mod synthetic;
// The same tiles and batches from files and straight from slides.
mod sources;
// No slide on both sides, from whatever folders.
mod folds;

/// A transform of the base config.
fn base_transform(name: &str, crop_px: u32) -> hubmap_data::augment::Transform {
    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    let data: hubmap_data::config::DataConfig = base["data"].clone().try_into().unwrap();
    data.transforms.resolve(name, crop_px).unwrap()
}
