//! Tests of the crate as a whole.

// Parity of the validation transform with albumentations.
mod val_transform;
// Order, determinism, errors and shutdown of the loader.
mod loader;
