use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use hubmap_models::{
    Attention, DecoderKind, EncoderKind, FreshWeights, SegModel, SegModelConfig, crop_to, guess_config,
    load_encoder_weights, load_weights, pad_to_multiple, regnet_spec,
};
use hubmap_test_support::{fixture, json, npy};
use ndarray::Array4;
use serde_json::Value;

use crate::recipe;

pub(crate) const UNET: SegModelConfig = SegModelConfig {
    encoder: EncoderKind::RegNetY002,
    decoder: DecoderKind::Unet,
    attention: Attention::None,
};
pub(crate) const UNETPP: SegModelConfig = SegModelConfig {
    encoder: EncoderKind::RegNetY002,
    decoder: DecoderKind::UnetPlusPlus,
    attention: Attention::ScSe,
};
pub(crate) const BIG_UNET: SegModelConfig = SegModelConfig {
    encoder: EncoderKind::RegNetY016,
    decoder: DecoderKind::Unet,
    attention: Attention::None,
};
/// The networks whose weights come from a formula, under the names of their fixtures.
pub(crate) const RECIPES: [(&str, SegModelConfig); 7] = [
    ("tiny_unet_regnety_002", UNET),
    ("tiny_unetpp_regnety_002_scse", UNETPP),
    ("unet_regnety_016", BIG_UNET),
    ("unet_regnetx_032", SegModelConfig { encoder: EncoderKind::RegNetX032, ..BIG_UNET }),
    ("unetpp_regnety_016", SegModelConfig { decoder: DecoderKind::UnetPlusPlus, ..BIG_UNET }),
    ("unet_regnety_016_scse", SegModelConfig { attention: Attention::ScSe, ..BIG_UNET }),
    (
        "unetpp_regnety_016_scse",
        SegModelConfig { decoder: DecoderKind::UnetPlusPlus, attention: Attention::ScSe, ..BIG_UNET },
    ),
];
pub(crate) const TRAINED: &str = "models/tiny_trained_unet_regnety_002.f16.safetensors";

pub(crate) fn to_tensor(array: &Array4<f32>, device: &Device) -> Tensor<4> {
    let (n, c, h, w) = array.dim();
    let values = array.as_standard_layout().iter().copied().collect();
    Tensor::from_data(TensorData::new(values, [n, c, h, w]), device)
}

pub(crate) fn from_tensor(tensor: Tensor<4>) -> Array4<f32> {
    let dims: [usize; 4] = tensor.dims();
    Array4::from_shape_vec(dims, tensor.into_data().iter::<f32>().collect()).unwrap()
}

/// The network with the formula's weights, through a file.
pub(crate) fn from_recipe(name: &str, config: SegModelConfig) -> SegModel {
    from_recipe_on(name, config, &Device::flex())
}

/// The same on another device.
pub(crate) fn from_recipe_on(name: &str, config: SegModelConfig, device: &Device) -> SegModel {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.safetensors");
    recipe::write(&path, &recipe::tensors(name));
    assert_eq!(guess_config(&path).unwrap(), config);
    load_weights(config.init(device), &config, &path).unwrap()
}

/// The largest difference, and the range of the expected values.
pub(crate) fn largest_error(found: &Array4<f32>, expected: &Array4<f32>) -> (f32, f32) {
    let range =
        expected.iter().fold(f32::MIN, |m, &v| m.max(v)) - expected.iter().fold(f32::MAX, |m, &v| m.min(v));
    // Not `f32::max`, which would pass over a NaN.
    let worst =
        (found - expected).iter().fold(0.0_f32, |m, v| if v.abs() > m || v.is_nan() { v.abs() } else { m });
    (worst, range)
}

/// A summary of a tensor against the fixture's: shape, mean, deviation, extremes and eight probes.
///
/// Means and deviations may be off by `1e-5` of the deviation, single values by `1e-4` of the range.
fn check_summary(what: &str, found: &Array4<f32>, expected: &Value) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let (min, max, std) = (number("min"), number("max"), number("std"));
    let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
    assert_eq!(found.shape(), shape, "{what}");
    let values: Vec<f64> = found.iter().map(|&v| f64::from(v)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    let close = |name: &str, found: f64, expected: f64, tolerance: f64| {
        assert!((found - expected).abs() <= tolerance, "{what}: {name} is {found}, not {expected}");
    };
    close("mean", mean, number("mean"), 1e-5 * std);
    close("deviation", variance.sqrt(), std, 1e-5 * std);
    let tolerance = 1e-4 * (max - min);
    close("minimum", values.iter().copied().fold(f64::MAX, f64::min), min, tolerance);
    close("maximum", values.iter().copied().fold(f64::MIN, f64::max), max, tolerance);
    let indices: Vec<usize> = serde_json::from_value(expected["flat_index"].clone()).unwrap();
    let probes: Vec<f64> = serde_json::from_value(expected["value"].clone()).unwrap();
    assert_eq!((indices.len(), probes.len()), (8, 8), "{what}");
    for (idx, probe) in indices.into_iter().zip(probes) {
        close(&format!("element {idx}"), values[idx], probe, tolerance);
    }
}

/// Features of every encoder stage for inputs a and b are PyTorch's.
fn check_encoder(name: &str, model: &SegModel) {
    let expected = json("models/expected.json");
    for input in ["a", "b"] {
        let x: Array4<f32> = npy(&format!("models/input_{input}.npy"));
        let stages = expected["models"][name]["inputs"][input]["encoder_features"].as_array().unwrap();
        assert_eq!(stages.len(), 6);
        let features = model.encoder.forward(to_tensor(&x, &Device::flex()));
        for (stage, (feature, expected)) in features.into_iter().zip(stages).enumerate() {
            check_summary(&format!("{name} {input}, stage {stage}"), &from_tensor(feature), expected);
        }
    }
}

/// A network with the formula's weights: logits, and the features of every encoder stage.
fn check_recipe(name: &str, config: SegModelConfig) {
    let model = from_recipe(name, config);
    check_encoder(name, &model);
    check_logits(name, &model);
}

/// Logits for inputs a and b differ from PyTorch's by at most `1e-4` of the logits' range.
pub(crate) fn check_logits(name: &str, model: &SegModel) {
    for input in ["a", "b"] {
        let x: Array4<f32> = npy(&format!("models/input_{input}.npy"));
        let expected: Array4<f32> = npy(&format!("models/logits_{name}_{input}.npy"));
        let logits = from_tensor(model.forward(to_tensor(&x, &Device::flex())));
        assert_eq!(logits.dim(), expected.dim());
        let (worst, range) = largest_error(&logits, &expected);
        assert!(worst <= 1e-4 * range, "{name} {input}: off by {worst}, range {range}");
    }
}

#[test]
fn networks_match_pytorch() {
    for (name, config) in RECIPES {
        check_recipe(name, config);
    }
}

#[test]
fn trained_f16_unet_matches_pytorch() {
    let path = fixture(TRAINED);
    let model = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap();
    check_encoder("tiny_trained_unet_regnety_002", &model);
    check_logits("tiny_trained_unet_regnety_002", &model);
}

#[test]
fn input_sizes_are_checked() {
    assert!(SegModel::check_input(64, 96).is_ok());
    let error = SegModel::check_input(65, 0).unwrap_err();
    assert_eq!((error.good_height, error.good_width), (96, 32));
}

#[test]
fn images_of_any_size_are_padded_and_cropped_back() {
    let device = Device::flex();
    let model = from_recipe("tiny_unet_regnety_002", UNET);
    let image = to_tensor(&npy("models/input_a.npy"), &device);
    let whole = from_tensor(model.forward(image.clone()));
    assert_eq!(from_tensor(model.forward_padded(image.clone())), whole, "64 x 64 fits as it is");

    let part = crop_to(image.clone(), 40, 33);
    let logits = from_tensor(model.forward_padded(part.clone()));
    assert_eq!(logits.dim(), (1, 1, 40, 33));
    let padded = pad_to_multiple(part.clone());
    assert_eq!(padded.dims(), [1, 3, 64, 64]);
    assert_eq!(from_tensor(crop_to(padded.clone(), 40, 33)), from_tensor(part));
    assert!(from_tensor(padded).slice(ndarray::s![.., .., 40.., ..]).iter().all(|v| v.abs() == 0.0));
    let [edge, unpadded] = [&logits, &whole].map(|logits| logits[[0, 0, 39, 32]]);
    assert!((edge - unpadded).abs() > 1e-3, "the edge sees the padding");
    assert_eq!(pad_to_multiple(Tensor::zeros([1, 3, 32, 31], &device)).dims(), [1, 3, 32, 32]);
}

#[test]
fn encoders_and_decoders_run_forward() {
    // Small ones of both families, and the one whose first stage is narrower than a group.
    let encoders = [
        EncoderKind::RegNetX002,
        EncoderKind::RegNetX008,
        EncoderKind::RegNetX080,
        EncoderKind::RegNetY004,
        EncoderKind::RegNetY032,
    ];
    for encoder in encoders {
        for &decoder in DecoderKind::ALL {
            let config = SegModelConfig { encoder, decoder, attention: Attention::None };
            let logits = config.init(&Device::flex()).forward(Tensor::zeros([1, 3, 32, 64], &Device::flex()));
            assert_eq!(logits.dims(), [1, 1, 32, 64], "{config}");
        }
    }
}

/// Names, as timm has them, and shapes of an encoder's float tensors.
#[derive(Default)]
struct TimmShapes {
    path: Vec<String>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for TimmShapes {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut path = self.path.clone();
        // `s1.blocks.0` is timm's `s1.b1`.
        if path[1] == "blocks" {
            let block: usize = path.remove(2).parse().unwrap();
            path[1] = format!("b{}", block + 1);
        }
        self.shapes.insert(path.join("."), param.lazy_shape().dims::<D>().to_vec());
    }
}

/// An encoder has timm's tensors, and with the formula's weights timm's features, where the fixture has them.
fn check_encoder_of_timm(kind: EncoderKind, expected: &Value) -> bool {
    let device = Device::flex();
    let mut found = TimmShapes::default();
    regnet_spec(kind).init(&mut FreshWeights::new(0, &device)).visit(&mut found);
    let shapes = found.shapes;
    let lines: Vec<String> = shapes
        .iter()
        .map(|(name, shape)| {
            let extents: Vec<String> = shape.iter().map(ToString::to_string).collect();
            format!("{name} {}\n", extents.join("x"))
        })
        .collect();
    let n_elements: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
    assert_eq!(n_elements, expected["n_elements"], "{kind}");
    assert_eq!(shapes.len(), expected["n_tensors"], "{kind}");
    let hash = recipe::fnv1a64(lines.iter().map(String::as_str));
    assert_eq!(format!("{hash:016x}"), expected["fnv1a64"], "{kind}: {lines:?}");

    let Some(features) = expected["encoder_features"].as_array() else { return false };
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let values = recipe::values(kind.name(), &name, &shape);
        (name, (shape, values))
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("timm.safetensors");
    recipe::write(&path, &tensors.collect());
    let config = SegModelConfig { encoder: kind, ..UNET };
    let model = load_encoder_weights(config.init(&device), &config, &path).unwrap();
    let found = model.encoder.forward(to_tensor(&npy("models/input_a.npy"), &device));
    assert_eq!(features.len(), 6, "{kind}");
    for (stage, (found, expected)) in found.into_iter().zip(features).enumerate() {
        check_summary(&format!("{kind}, stage {stage}"), &from_tensor(found), expected);
    }
    true
}

#[test]
fn every_encoder_is_that_of_timm() {
    let expected = json("models/timm_regnets.json");
    let encoders = EncoderKind::ALL.iter();
    let n = encoders.filter(|kind| check_encoder_of_timm(**kind, &expected["encoders"][kind.name()])).count();
    assert!(n >= 11, "features of {n} encoders only");
}

#[test]
fn one_seed_gives_one_model() {
    let device = Device::flex();
    let params = |seed| from_tensor(UNET.init_seeded(seed, &device).encoder.stem.conv.weight.val());
    assert_eq!(params(1), params(1));
    assert_ne!(params(1), params(2));
}
