//! Weights and their file from a formula: splitmix64 over (model, key, element).
//!
//! `shared parity` networks carry no download: PyTorch was given the same numbers when the expected
//! logits were made.

use std::collections::BTreeMap;
use std::path::Path;

use hubmap_test_support::json;
use safetensors::tensor::{Dtype, TensorView};

const SEED: u64 = 20_210_512;
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// FNV-1a hash of the parts one after the other.
pub(crate) fn fnv1a64<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(str::bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
}

/// The hash of `model/key`, mixed with the seed.
fn state(model: &str, key: &str) -> u64 {
    fnv1a64([model, "/", key]) ^ SEED.wrapping_mul(GAMMA)
}

/// Uniform in [0, 1), the `i`-th number of a stream.
fn unit(state: u64, i: u64) -> f64 {
    let mut z = state.wrapping_add((i + 1).wrapping_mul(GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f64 / f64::from(1 << 24)
}

/// Gain of the head's weight and centre of its bias, which keep the logits near zero.
fn head(model: &str) -> (f64, f64) {
    match model {
        "unet_regnety_016" => (0.54, -4.51),
        "unet_regnetx_032" => (0.36, 3.98),
        "unetpp_regnety_016" => (1.21, -2.46),
        "unet_regnety_016_scse" => (0.34, -2.85),
        "unetpp_regnety_016_scse" => (1.60, -3.23),
        "tiny_unet_regnety_002" => (1.97, -6.55),
        "tiny_unetpp_regnety_002_scse" => (1.02, 2.07),
        other => panic!("no head constants for {other}"),
    }
}

/// Range of the values of one tensor.
fn bounds(model: &str, key: &str, shape: &[usize]) -> (f64, f64) {
    let (_, leaf) = key.rsplit_once('.').unwrap();
    let batch_norm = key.contains(".bn.") || key.contains(".conv1.1.") || key.contains(".conv2.1.");
    let closes_residual = key.contains(".conv3.bn.");
    match (leaf, batch_norm) {
        ("running_mean", _) => (-0.2, 0.2),
        ("running_var", _) => (0.4, 1.6),
        ("bias", true) => (-0.3, 0.3),
        ("weight", true) if closes_residual && model.contains("regnetx") => (0.1, 0.3),
        ("weight", true) if closes_residual => (0.2, 0.5),
        ("weight", true) => (0.6, 1.4),
        ("bias", false) if key == "segmentation_head.0.bias" => {
            let centre = head(model).1;
            (centre - 0.01, centre + 0.01)
        }
        ("bias", false) => (-0.1, 0.1),
        // The classifier of timm.
        _ if shape.len() == 2 => {
            let bound = (3.0 / shape[1] as f64).sqrt();
            (-bound, bound)
        }
        _ => {
            let gain = match key {
                "segmentation_head.0.weight" => head(model).0,
                _ if key.contains(".attention.") => 0.2,
                _ => 1.0,
            };
            let bound = gain * (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
            (-bound, bound)
        }
    }
}

/// Tensors by name: shape, and values in C order.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Every float tensor of `model`, in SMP's naming of today, or in timm's for the classifier.
pub(crate) fn tensors(model: &str) -> Tensors {
    let keys = json("models/keys.json");
    let keys = keys[model].as_array().unwrap_or_else(|| panic!("keys.json has no {model}"));
    keys.iter()
        .map(|entry| {
            let key = entry[0].as_str().unwrap();
            let shape: Vec<usize> =
                entry[1].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
            (key, shape)
        })
        .filter(|(key, _)| !key.ends_with("num_batches_tracked"))
        .map(|(key, shape)| (key.to_owned(), (shape.clone(), values(model, key, &shape))))
        .collect()
}

/// The values of one float tensor of `model`, C order.
pub(crate) fn values(model: &str, key: &str, shape: &[usize]) -> Vec<f32> {
    let (low, high) = bounds(model, key, shape);
    let state = state(model, key);
    let n = shape.iter().product::<usize>() as u64;
    (0..n).map(|i| (low + (high - low) * unit(state, i)) as f32).collect()
}

/// Writes f32 tensors as a safetensors file.
pub(crate) fn write(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, data)| {
        (name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), data).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}
