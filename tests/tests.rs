//! Tests that cross crates. One binary, so that Burn is linked once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

/// The devices of LibTorch: the CPU, and a CUDA device where there is one. There, run with `NVIDIA_TF32_OVERRIDE=0`:
/// products of ten bits are not within the tolerances.
#[cfg(feature = "tch")]
fn tch_devices() -> Vec<hubmap_cli::DeviceSpec> {
    let devices: Vec<hubmap_cli::DeviceSpec> =
        ["tch:cpu", "tch:cuda:0"].iter().filter_map(|name| name.parse().ok()).collect();
    assert!(!devices.is_empty());
    devices
}

/// Weights from a formula, the same bit for bit as the Python side made them.
mod recipe;

/// PyTorch checkpoints, written for tests.
mod pth;

/// Networks against PyTorch and segmentation_models.pytorch.
mod models;

/// The inference forms against PyTorch and against the training form.
mod inference;

/// Files of weights in every format and naming.
mod weights;

/// Losses, schedule, optimiser, averaging and training steps against PyTorch.
mod train;

/// Steps over several devices, passes and precisions.
mod replicas;

/// Networks in LibTorch's own graph.
#[cfg(feature = "tch")]
mod libtorch;

/// Runs that are killed or interrupted, and go on.
mod resume;

/// The executables, and what their outputs must fulfil.
mod outputs;

/// Inference that is killed.
mod kills;

/// Runs averaged.
mod ensemble;

/// The executables one after the other.
mod chain;
