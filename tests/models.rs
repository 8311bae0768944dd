use burn::tensor::{Device, Tensor, TensorData};
use hubmap_models::{
    Attention, DecoderKind, EncoderKind, SegModel, SegModelConfig, WeightsError, guess_config, load_weights,
    save_weights,
};
use hubmap_test_support::{fixture, npy};
use ndarray::Array4;

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
pub(crate) const TRAINED: &str = "models/tiny_trained_unet_regnety_002.f16.safetensors";

pub(crate) fn to_tensor(array: &Array4<f32>, device: &Device) -> Tensor<4> {
    let (n, c, h, w) = array.dim();
    let values = array.as_standard_layout().iter().copied().collect();
    Tensor::from_data(TensorData::new(values, [n, c, h, w]), device)
}

fn from_tensor(tensor: Tensor<4>) -> Array4<f32> {
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

/// Logits for inputs a and b differ from PyTorch's by at most `1e-4` of the logits' range.
fn check_logits(name: &str, model: &SegModel) {
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
fn tiny_unet_matches_pytorch() {
    check_logits("tiny_unet_regnety_002", &from_recipe("tiny_unet_regnety_002", UNET));
}

#[test]
fn tiny_unetplusplus_with_scse_matches_pytorch() {
    let name = "tiny_unetpp_regnety_002_scse";
    check_logits(name, &from_recipe(name, UNETPP));
}

#[test]
fn trained_f16_unet_matches_pytorch() {
    let path = fixture(TRAINED);
    let model = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap();
    check_logits("tiny_trained_unet_regnety_002", &model);
}

#[test]
fn saved_weights_load_again_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.safetensors");
    let model = from_recipe("tiny_unet_regnety_002", UNET);
    save_weights(&model, &UNET, &path).unwrap();

    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let keys = hubmap_test_support::json("models/keys.json");
    let mut expected: Vec<&str> =
        keys["tiny_unet_regnety_002"].as_array().unwrap().iter().map(|k| k[0].as_str().unwrap()).collect();
    let mut found = file.names();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "PyTorch's strict loading needs exactly these names");

    let again = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap();
    let x = to_tensor(&npy("models/input_a.npy"), &Device::flex());
    assert_eq!(from_tensor(model.forward(x.clone())), from_tensor(again.forward(x)));
}

#[test]
fn older_names_and_ddp_prefix_load() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.safetensors");
    let name = "tiny_unet_regnety_002";
    let renamed = recipe::tensors(name)
        .into_iter()
        .map(|(key, value)| (format!("module.{}", key.replace("encoder.model.", "encoder.")), value))
        .collect();
    recipe::write(&path, &renamed);
    let model = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap();
    check_logits(name, &model);
}

#[test]
fn weights_of_another_network_are_refused_with_the_lists() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.safetensors");
    let mut tensors = recipe::tensors("tiny_unet_regnety_002");
    tensors.remove("segmentation_head.0.bias");
    tensors.insert("extra.weight".into(), (vec![1], vec![0.0]));
    tensors.get_mut("encoder.model.stem.bn.bias").unwrap().0 = vec![16];
    tensors.get_mut("encoder.model.stem.bn.bias").unwrap().1.truncate(16);
    recipe::write(&path, &tensors);
    let error = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap_err();
    let message = error.to_string();
    let WeightsError::Mismatch { missing, unexpected, misshapen, .. } = error else {
        panic!("expected a mismatch: {message}")
    };
    assert_eq!(missing, ["segmentation_head.0.bias"]);
    assert_eq!(unexpected, ["extra.weight"]);
    assert_eq!(misshapen[0].name, "encoder.model.stem.bn.bias");
    for part in ["other.safetensors", "unet-regnety_002", "1 missing", "[16], not [32]"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn files_that_are_no_weights_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    assert!(matches!(guess_config(&path), Err(WeightsError::Io { .. })));
    std::fs::write(&path, b"not weights").unwrap();
    assert!(matches!(guess_config(&path), Err(WeightsError::Format { .. })));
    let full = std::fs::read(fixture(TRAINED)).unwrap();
    std::fs::write(&path, &full[..full.len() / 2]).unwrap();
    assert!(matches!(guess_config(&path), Err(WeightsError::Format { .. })));
}

#[test]
fn input_sizes_are_checked() {
    assert!(SegModel::check_input(64, 96).is_ok());
    let error = SegModel::check_input(65, 0).unwrap_err();
    assert_eq!((error.good_height, error.good_width), (96, 32));
}

#[test]
fn every_encoder_and_decoder_runs_forward() {
    for &encoder in EncoderKind::ALL {
        for &decoder in DecoderKind::ALL {
            let config = SegModelConfig { encoder, decoder, attention: Attention::None };
            let logits = config.init(&Device::flex()).forward(Tensor::zeros([1, 3, 32, 64], &Device::flex()));
            assert_eq!(logits.dims(), [1, 1, 32, 64], "{config}");
        }
    }
}

#[test]
fn one_seed_gives_one_model() {
    let device = Device::flex();
    let params = |seed| from_tensor(UNET.init_seeded(seed, &device).encoder.stem.conv.weight.val());
    assert_eq!(params(1), params(1));
    assert_ne!(params(1), params(2));
}
