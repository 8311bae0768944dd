use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burn::tensor::Device;
use hubmap_models::{
    EncoderKind, SavedAs, SegModel, SegModelConfig, WeightsError, WeightsFile, WeightsFormat,
    WeightsMismatch, WeightsNaming, guess_config, load_encoder_weights, load_weights, save_encoder_weights,
    save_weights, save_weights_as,
};
use hubmap_test_support::{fixture, json, npy};
use proptest::prelude::*;

use crate::models::{BIG_UNET, TRAINED, UNET, from_recipe, from_tensor, to_tensor};
use crate::pth::{self, Flavour};
use crate::recipe::{self, Tensors};

const TINY: &str = "tiny_unet_regnety_002";
const CLASSIFIER: &str = "timm_regnety_016_classifier";

/// A folder for files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// What a loaded network holds, by SMP's names.
fn state(model: &SegModel, config: SegModelConfig) -> BTreeMap<String, Vec<f32>> {
    let folder = Folder::new();
    let path = folder.path("state.safetensors");
    save_weights(model, &config, &path).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let tensors = file.tensors().iter().filter(|tensor| !tensor.is_batch_counter());
    tensors.map(|tensor| (tensor.smp_name.clone(), file.read(tensor).unwrap())).collect()
}

fn expected_state(tensors: &Tensors) -> BTreeMap<String, Vec<f32>> {
    tensors.iter().map(|(name, (_, values))| (name.clone(), values.clone())).collect()
}

fn renamed(tensors: &Tensors, name: impl Fn(&str) -> String) -> Tensors {
    tensors.iter().map(|(key, value)| (name(key), value.clone())).collect()
}

#[test]
fn every_layout_of_a_network_loads_to_identical_weights() {
    let tensors = recipe::tensors(TINY);
    let expected = expected_state(&tensors);
    let folder = Folder::new();
    let old = |key: &str| key.replacen("encoder.model.", "encoder.", 1);
    let checkpoint = Flavour { is_checkpoint: true, is_cuda: true };
    for (naming, prefix, renamed) in [
        (WeightsNaming::Smp, "", tensors.clone()),
        (WeightsNaming::Smp, "module.", renamed(&tensors, |key| format!("module.{key}"))),
        (WeightsNaming::OldSmp, "", renamed(&tensors, old)),
        (WeightsNaming::OldSmp, "module.", renamed(&tensors, |key| format!("module.{}", old(key)))),
    ] {
        let safetensors = folder.path("weights.safetensors");
        let bare = folder.path("bare.pth");
        // The name does not count.
        let wrapped = folder.path("checkpoint.safetensors");
        recipe::write(&safetensors, &renamed);
        pth::write(&bare, &renamed, Flavour::default());
        pth::write(&wrapped, &renamed, checkpoint);
        for (path, format, key) in [
            (safetensors, WeightsFormat::Safetensors, None),
            (bare, WeightsFormat::TorchLegacy, None),
            (wrapped, WeightsFormat::TorchLegacy, Some("model_state")),
        ] {
            let what = format!("{naming}, `{prefix}`, {}", path.display());
            let file = WeightsFile::open(&path).unwrap();
            let layout = file.layout();
            assert_eq!(file.format(), format, "{what}");
            assert_eq!((layout.naming, layout.prefix.as_str()), (naming, prefix), "{what}");
            assert_eq!(layout.checkpoint_key.as_deref(), key, "{what}");
            assert_eq!(file.n_tensors_beside(), usize::from(key.is_some()), "{what}");
            assert_eq!(guess_config(&path).unwrap(), UNET, "{what}");
            let model = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap();
            assert!(state(&model, UNET) == expected, "{what}: other weights");
        }
    }
}

#[test]
fn encoders_of_timm_and_of_networks_load_to_identical_weights() {
    let folder = Folder::new();
    let classifier = recipe::tensors(CLASSIFIER);
    let encoder: Tensors =
        classifier.clone().into_iter().filter(|(key, _)| !key.starts_with("head.")).collect();
    assert_eq!(classifier.len(), encoder.len() + 2);
    let expected = expected_state(&renamed(&encoder, |key| format!("encoder.model.{key}")));

    let fresh = BIG_UNET.init_seeded(3, &Device::flex());
    let mut untouched = state(&fresh, BIG_UNET);
    untouched.retain(|key, _| !key.starts_with("encoder."));
    let check = |path: &Path| {
        let model = load_encoder_weights(fresh.clone(), &BIG_UNET, path).unwrap();
        let mut found = state(&model, BIG_UNET);
        let rest = found.split_off("encoder.n");
        let decoder = found.extract_if(.., |key, _| !key.starts_with("encoder.")).chain(rest).collect();
        assert!(found == expected, "{}: other encoder", path.display());
        assert!(untouched == decoder, "{}: decoder changed", path.display());
    };
    let path = folder.path("timm.safetensors");
    recipe::write(&path, &encoder);
    check(&path);
    // The release of timm, and what the original's TRAIN.INIT_ENCODER expects.
    for is_checkpoint in [false, true] {
        let path = folder.path("classifier.pth");
        pth::write(&path, &classifier, Flavour { is_checkpoint, is_cuda: false });
        assert!(WeightsFile::open(&path).unwrap().layout().has_classifier);
        check(&path);
    }
    // A whole network of another decoder.
    let path = folder.path("network.safetensors");
    let mut network = renamed(&encoder, |key| format!("module.encoder.{key}"));
    network.insert("module.decoder.blocks.x_0_0.conv1.0.weight".into(), (vec![1], vec![0.0]));
    network.insert("module.segmentation_head.0.bias".into(), (vec![1], vec![0.0]));
    recipe::write(&path, &network);
    check(&path);

    // And back to timm.
    let path = folder.path("saved.safetensors");
    let model = load_encoder_weights(fresh.clone(), &BIG_UNET, &folder.path("timm.safetensors")).unwrap();
    save_encoder_weights(&model, &BIG_UNET, &path, SavedAs::F32).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    assert_eq!((file.layout().naming, file.layout().has_classifier), (WeightsNaming::Timm, false));
    check(&path);
}

#[test]
fn an_encoder_is_no_network_and_another_encoder_is_refused() {
    let folder = Folder::new();
    let path = folder.path("classifier.pth");
    pth::write(&path, &recipe::tensors(CLASSIFIER), Flavour::default());
    for error in [
        load_weights(BIG_UNET.init(&Device::flex()), &BIG_UNET, &path).unwrap_err(),
        guess_config(&path).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(matches!(error, WeightsError::EncoderOnly { .. }), "{message}");
        for part in ["classifier.pth", "encoder alone (regnety_016 with classifier", "train.start_encoder"] {
            assert!(message.contains(part), "{message}");
        }
    }
    let error = load_encoder_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap_err().to_string();
    for part in
        ["the encoder regnety_002, but of the encoder regnety_016", "missing", "misshapen", "unexpected"]
    {
        assert!(error.contains(part), "{error}");
    }
    // A decoder without its encoder.
    let path = folder.path("decoder.safetensors");
    let mut tensors = recipe::tensors(TINY);
    tensors.retain(|key, _| key.starts_with("decoder."));
    recipe::write(&path, &tensors);
    let error = load_encoder_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap_err().to_string();
    assert!(error.contains("missing (encoder.model.s1.b1"), "{error}");
}

#[test]
fn saved_weights_load_again_bit_for_bit() {
    let folder = Folder::new();
    let path = folder.path("saved.safetensors");
    let model = from_recipe(TINY, UNET);
    save_weights(&model, &UNET, &path).unwrap();

    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let keys = json("models/keys.json");
    let mut expected: Vec<&str> =
        keys[TINY].as_array().unwrap().iter().map(|k| k[0].as_str().unwrap()).collect();
    let mut found = file.names();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "PyTorch's strict loading needs exactly these names");

    let again = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap();
    let x = to_tensor(&npy("models/input_a.npy"), &Device::flex());
    assert_eq!(from_tensor(model.forward(x.clone())), from_tensor(again.forward(x)));
}

#[test]
fn halves_are_rounded_to_the_nearest() {
    let folder = Folder::new();
    let model = from_recipe(TINY, UNET);
    for (saved_as, name, precision) in [(SavedAs::F16, "f16", 11), (SavedAs::Bf16, "bf16", 8)] {
        let path = folder.path(name);
        save_weights_as(&model, &UNET, &path, saved_as).unwrap();
        let file = WeightsFile::open(&path).unwrap();
        let mut tensors = file.tensors().iter().filter(|tensor| !tensor.is_batch_counter());
        assert!(tensors.all(|tensor| tensor.element_type.to_string() == name));
        let again = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap();
        let (exact, rounded) = (state(&model, UNET), state(&again, UNET));
        assert!(exact != rounded);
        for (key, values) in &exact {
            for (&exact, &rounded) in values.iter().zip(&rounded[key]) {
                // Half a unit in the last place; subnormals of f16 have an absolute one.
                let tolerance = exact.abs() * 0.5_f32.powi(precision) + 0.5_f32.powi(25);
                assert!((exact - rounded).abs() <= tolerance, "{name} {key}: {exact} became {rounded}");
            }
        }
    }
}

#[test]
fn weights_of_another_network_are_refused_with_the_lists() {
    let folder = Folder::new();
    let path = folder.path("other.safetensors");
    let mut tensors = recipe::tensors(TINY);
    tensors.remove("segmentation_head.0.bias");
    tensors.insert("extra.weight".into(), (vec![1], vec![0.0]));
    let bias = tensors.get_mut("encoder.model.stem.bn.bias").unwrap();
    bias.0 = vec![16];
    bias.1.truncate(16);
    recipe::write(&path, &tensors);
    let error = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap_err();
    let message = error.to_string();
    let WeightsError::Mismatch(mismatch) = error else { panic!("expected a mismatch: {message}") };
    let WeightsMismatch { missing, unexpected, misshapen, .. } = *mismatch;
    assert_eq!(missing, ["segmentation_head.0.bias"]);
    assert_eq!(unexpected, ["extra.weight"]);
    assert_eq!(misshapen[0].name, "encoder.model.stem.bn.bias");
    for part in ["other.safetensors", "unet-regnety_002: 1 missing", "[16], not [32]"] {
        assert!(message.contains(part), "{message}");
    }

    let path = fixture(TRAINED);
    let wanted = SegModelConfig { encoder: EncoderKind::RegNetX002, ..UNET };
    let message = load_weights(wanted.init(&Device::flex()), &wanted, &path).unwrap_err().to_string();
    assert!(message.contains("not weights of unet-regnetx_002, but of unet-regnety_002"), "{message}");
    assert!(message.contains("52 unexpected (") && message.contains(", …)"), "{message}");
    assert_eq!(message.matches("encoder.model.").count(), 10, "{message}");
}

#[test]
fn integers_are_no_weights() {
    let folder = Folder::new();
    let path = folder.path("integers.safetensors");
    let names = recipe::tensors(TINY);
    let zeros = vec![0_u8; 16 << 20];
    let views = names.iter().map(|(name, (shape, values))| {
        let data = &zeros[..8 * values.len()];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::I64, shape.clone(), data);
        (name.clone(), view.unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let message = load_weights(UNET.init(&Device::flex()), &UNET, &path).unwrap_err().to_string();
    assert!(message.contains("is i64; weights must be f32, f16, bf16 or f64"), "{message}");
}

#[test]
fn files_that_are_no_weights_are_refused_with_the_reason() {
    let folder = Folder::new();
    let path = folder.path("x.pth");
    assert!(matches!(guess_config(&path), Err(WeightsError::Io { .. })));
    assert!(matches!(guess_config(folder.0.path()), Err(WeightsError::Io { .. })));

    let full = std::fs::read(fixture(TRAINED)).unwrap();
    let zip = std::fs::read(fixture("models/pth_small/torch2.9_zip.pth")).unwrap();
    let legacy = std::fs::read(fixture("models/pth_small/torch1.7_legacy.pth")).unwrap();
    // pickle.dumps(Namespace(model_state={})) and {"f": os.system}, of which nothing is executed.
    let namespace = b"\x80\x02cargparse\nNamespace\n)\x81}X\x0b\x00\x00\x00model_state}sb.";
    let text = "epoch,loss\n1,0.5\n".repeat(10);
    let cases: [(&[u8], &str); 12] = [
        (b"", "the file is empty"),
        (b"not weights", "too short"),
        (text.as_bytes(), "neither safetensors nor a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><head></head><body>Sign in</body></html>", "web page"),
        (b"\x89HDF\r\n\x1a\n", "Keras"),
        (&full[..full.len() / 2], "truncated"),
        (&full[..100], "damaged header"),
        (&zip[..zip.len() / 2], "truncated?"),
        (&legacy[..legacy.len() / 2], "PyTorch"),
        (namespace, "found argparse.Namespace"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "no tensors"),
    ];
    for (bytes, reason) in cases {
        std::fs::write(&path, bytes).unwrap();
        let error = guess_config(&path).unwrap_err();
        assert!(matches!(error, WeightsError::Format { .. }), "{reason}: {error}");
        let message = error.to_string();
        assert!(message.contains("x.pth: not a readable file of weights: "), "{message}");
        assert!(message.contains(reason), "`{reason}` is not in: {message}");
    }
    // Half of a legacy file may still have its whole pickle, but then not the tensors.
    let error =
        load_weights(UNET.init(&Device::flex()), &UNET, &fixture("models/pth_small/torch1.7_zip.pth"));
    assert!(matches!(error, Err(WeightsError::Mismatch(_))));
}

/// The files of `pth_small`.
fn small_checkpoints() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixture("models/pth_small")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pth"));
    paths.sort();
    assert_eq!(paths.len(), 14);
    paths
}

/// Name, type, shape and values of every tensor.
fn contents(file: &WeightsFile) -> BTreeMap<String, (String, Vec<usize>, Vec<f64>)> {
    let tensors = file.tensors().iter();
    tensors
        .map(|t| {
            let values = file.read_f64(t).unwrap();
            (t.smp_name.clone(), (t.element_type.to_string(), t.shape.clone(), values))
        })
        .collect()
}

#[test]
fn every_flavour_of_torch_save_is_read_to_the_bit() {
    let expected = json("models/pth_small/expected.json");
    let names = BTreeMap::from([
        ("float16", "f16"),
        ("float32", "f32"),
        ("float64", "f64"),
        ("int64", "i64"),
        ("bool", "bool"),
    ]);
    let number = |value: &serde_json::Value| {
        value.as_f64().unwrap_or_else(|| f64::from(u8::from(value.as_bool().unwrap())))
    };
    let expected: BTreeMap<_, _> = expected["model_state"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, tensor)| {
            let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone()).unwrap();
            let values = tensor["data"].as_array().unwrap().iter().map(number).collect();
            let dtype = names[tensor["dtype"].as_str().unwrap()].to_owned();
            let name =
                name.strip_prefix("encoder.").map_or(name.clone(), |rest| format!("encoder.model.{rest}"));
            (name, (dtype, shape, values))
        })
        .collect();
    assert_eq!(expected.len(), 14);
    for path in small_checkpoints() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = WeightsFile::open(&path).unwrap();
        let is_legacy = name.contains("legacy");
        let format = if is_legacy { WeightsFormat::TorchLegacy } else { WeightsFormat::TorchZip };
        assert_eq!(file.format(), format, "{name}");
        let layout = file.layout();
        assert_eq!(layout.naming, WeightsNaming::OldSmp, "{name}");
        assert_eq!(layout.prefix == "module.", name.contains("ddp"), "{name}");
        assert_eq!(layout.checkpoint_key.is_none(), name.contains("bare"), "{name}");
        assert_eq!(file.n_tensors_beside() > 0, !name.contains("bare"), "{name}");
        assert_eq!(contents(&file), expected, "{name}");
    }
}

#[test]
fn a_changed_byte_in_a_zip_is_noticed() {
    let path = fixture("models/pth_small/torch2.9_zip.pth");
    let mut bytes = std::fs::read(path).unwrap();
    // The first weights are 432 bytes of floating point numbers; 0.8128418 is the first.
    let first = 0.812_841_83_f32.to_le_bytes();
    let at = bytes.windows(4).position(|window| window == first).unwrap();
    bytes[at] ^= 1;
    let folder = Folder::new();
    let path = folder.path("changed.pth");
    std::fs::write(&path, bytes).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let error = file.read(file.get("encoder.model.stem.conv.weight").unwrap()).unwrap_err();
    assert!(matches!(error, WeightsError::Format { .. }), "{error}");
    assert!(error.to_string().contains("encoder.stem.conv.weight"), "{error}");
}

/// Opens a damaged file and reads all of it; how it ends does not matter.
fn read_whatever(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.path("damaged");
    std::fs::write(&path, bytes).unwrap();
    if let Ok(file) = WeightsFile::open(&path) {
        let _maybe = file.guess_config();
        for tensor in file.tensors() {
            if let Ok(values) = file.read_f64(tensor) {
                assert_eq!(values.len(), tensor.n_elements());
            }
        }
    }
}

/// A safetensors file with two tensors.
fn small_safetensors() -> Vec<u8> {
    let data = [1, 2, 3, 4, 5, 6, 7, 8];
    let view = |shape| safetensors::tensor::TensorView::new(safetensors::Dtype::F16, shape, &data).unwrap();
    let views = [("encoder.model.stem.bn.bias", view(vec![4])), ("x", view(vec![2, 2]))];
    safetensors::serialize(views, None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        which in 0..15_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        moved in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..64_usize)),
    ) {
        static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
            let checkpoints = small_checkpoints().into_iter().map(|path| std::fs::read(path).unwrap());
            checkpoints.chain([small_safetensors()]).collect()
        });
        let mut bytes = WHOLE[which].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some((from, to, length)) = moved {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let length = length.min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + length, to);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_whatever(&bytes);
    }
}

#[test]
fn deep_and_repeating_pickles_are_refused() {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    let deep = [&b"]".repeat(1_000_000), &b"a".repeat(999_999)[..]].concat();
    let mut repeating = b"]q\x00".to_vec();
    for _ in 0..200 {
        repeating.extend(*b"h\x00h\x00\x86q\x00");
    }
    let mut long = b"X".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    for pickle in [deep, repeating, long] {
        read_whatever(&[&magic[..], b"\x80\x02", &pickle, b"."].concat());
    }
}
