//! Tests of the crate as a whole.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at its first surprise")]

// Parity of colours, blur and warps with OpenCV.
mod augment;
// Parity of the validation transform with albumentations.
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
