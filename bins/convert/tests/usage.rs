//! `hubmap-convert` as a person runs it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;

use hubmap_io::{Mask, RasterReader as _, Rle, Size, TiffSlide, Window, read_mask, write_mask_tiff};
use hubmap_test_support::{Ran, check_command_line, files_under, fixture, json, run};
use serde_json::Value;

fn convert(args: &[&str]) -> Ran {
    run(env!("CARGO_BIN_EXE_hubmap-convert"), args)
}

fn report(path: &Path) -> Value {
    let ran = convert(&["inspect", path.to_str().unwrap(), "--sha256", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn inspect_says_what_the_fixtures_hold() {
    let index = json("numerics/11_tiff/index.json");
    for entry in index["files"].as_array().unwrap() {
        let name = entry["file"].as_str().unwrap();
        let report = report(&fixture(&format!("numerics/11_tiff/{name}")));
        let page = &report["pages"][0];
        assert_eq!(page["ifd"], "0", "{name}");
        assert_eq!(page["dtype"], "uint8", "{name}");
        assert_eq!(page["sha256"].as_str().unwrap().len(), 64, "{name}");
        assert_eq!(page["probe"].as_array().unwrap().len(), 4, "{name}");
        let slide = &report["slide"];
        assert_eq!((&slide["width"], &slide["height"]), (&page["width"], &page["height"]), "{name}");
        assert_eq!(slide["levels"][0]["downsample"], 1.0, "{name}");
    }
}

#[test]
fn tiles_of_jpeg_2000_are_read_by_every_build() {
    for name in ["aperio_33005.tif", "aperio_33003.tif"] {
        let report = report(&fixture(&format!("tiff_layouts/{name}")));
        assert!(report["slide"].is_object() && report["pages"][0]["sha256"].is_string(), "{report}");
    }
}

#[test]
fn inspect_hashes_samples_as_numpy_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.tiff");
    let mut mask = Mask::new(Size::new(3, 2));
    mask.set(1, 0, true);
    write_mask_tiff(&path, &mask, 8).unwrap();
    let report = report(&path);
    // hashlib.sha256(bytes([0, 255, 0, 0, 0, 0])).hexdigest()
    let expected = "db3910c5c2e24eb9402190beb6de2cdb303690b4e14328317441ccedf9e1da50";
    let pixels = &report["pages"][0];
    assert_eq!(pixels["mean_per_channel"][0], 42.5);
    assert_eq!((&pixels["min"], &pixels["max"]), (&Value::from(0.0), &Value::from(255.0)));
    assert_eq!(pixels["sha256"], expected);
    let text = convert(&["inspect", path.to_str().unwrap()]);
    assert!(text.stdout.contains("slide      3x2, 1 x uint8"), "{text:?}");
}

#[test]
fn a_slide_becomes_a_pyramid_with_the_same_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let input = fixture("numerics/14_e2e/slide.tiff");
    let slide = TiffSlide::open(&input).unwrap();
    for name in ["copy.tiff", "copy.ome.tiff"] {
        let output = folder.path().join(name);
        let args = ["slide", input.to_str().unwrap(), output.to_str().unwrap(), "--tile", "128", "-q"];
        let ran = convert(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        let copy = TiffSlide::open(&output).unwrap();
        let window = slide.size().window();
        assert!(copy.read(window).unwrap() == slide.read(window).unwrap(), "{name}");
        assert_eq!(
            copy.levels()[1].size,
            Size::new(slide.size().width.div_ceil(2), slide.size().height.div_ceil(2))
        );
        let mpp = |slide: &TiffSlide| slide.microns_per_px().map(|mpp| (mpp * 1e6).round());
        assert_eq!(mpp(&copy), mpp(&slide), "{name}");
    }
    let same = ["slide", input.to_str().unwrap(), input.to_str().unwrap()];
    convert(&same).assert_error(2, &["is the slide to read"]);
    let bad = folder.path().join("bad.tiff");
    let args = ["slide", input.to_str().unwrap(), bad.to_str().unwrap(), "--tile", "100"];
    convert(&args).assert_error(1, &["bad.tiff", "tile"]);
    assert_eq!(files_under(folder.path()), ["copy.ome.tiff", "copy.tiff"]);
}

#[test]
fn run_lengths_become_masks_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let table = "id,predicted\na,1 3 10 2\nb,\n";
    std::fs::write(path("in.csv"), table).unwrap();
    let ran = convert(&["rle", &path("in.csv"), "--size", "7x5", "--out", &path("masks"), "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let mask = read_mask(Path::new(&path("masks/a.tiff"))).unwrap();
    assert_eq!(Rle::encode(&mask).to_string(), "1 3 10 2");
    let ran = convert(&["rle", &path("masks"), "--out", &path("out.csv")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(std::fs::read_to_string(path("out.csv")).unwrap(), table);
    // Sizes of slides in a folder.
    let ran = convert(&["rle", &path("in.csv"), "--slides", &path("masks"), "--out", &path("again")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let again = TiffSlide::open(Path::new(&path("again/a.tiff"))).unwrap();
    assert_eq!(again.read(Window::new(0, 0, 1, 4)).unwrap().into_raw_vec_and_offset().0, [255, 255, 255, 0]);

    convert(&["rle", &path("in.csv"), "--out", &path("x")]).assert_error(2, &["--slides or --size"]);
    convert(&["rle", &path("in.csv"), "--size", "2x2", "--out", &path("x")])
        .assert_error(65, &["in.csv", "id a"]);
    convert(&["rle", &path("masks"), "--out", &path("x.txt")]).assert_error(2, &["x.txt", ".csv"]);
    convert(&["rle", &path("nowhere"), "--out", &path("x.csv")]).assert_error(2, &["nowhere"]);
}

#[test]
fn wrong_files_end_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.tiff");
    std::fs::write(&text, "this is no TIFF file").unwrap();
    convert(&["inspect", text.to_str().unwrap()]).assert_error(65, &["text.tiff", "not a TIFF file"]);
    convert(&["inspect", "nowhere.tiff"]).assert_error(2, &["nowhere.tiff", "no such file"]);
    let bytes = std::fs::read(fixture("numerics/14_e2e/slide.tiff")).unwrap();
    std::fs::write(&text, &bytes[..bytes.len() / 2]).unwrap();
    let ran = convert(&["inspect", text.to_str().unwrap(), "--sha256", "--json"]);
    assert!([65, 3].contains(&ran.code) && !ran.stderr.contains("panicked"), "{ran:?}");
}

const WEIGHTS: &str = "models/tiny_trained_unet_regnety_002.f16.safetensors";

#[test]
fn weights_says_what_is_in_a_file() {
    let weights = fixture(WEIGHTS);
    let ran = convert(&["weights", weights.to_str().unwrap(), "--json", "--stats"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let expected = json("models/expected.json");
    let expected = &expected["models"]["tiny_trained_unet_regnety_002"];
    assert_eq!(report["n_parameters"], expected["n_params"]);
    assert_eq!(report["n_tensors"], expected["n_keys"]);
    assert_eq!(
        report["network"],
        serde_json::json!({ "encoder": "regnety_002", "decoder": "unet", "attention": "none" })
    );
    assert_eq!((&report["format"], &report["n_tensors_beside"]), (&"safetensors".into(), &0.into()));
    let stem =
        report["tensors"].as_array().unwrap().iter().find(|t| t["name"] == "encoder.model.stem.conv.weight");
    let stem = stem.unwrap();
    assert_eq!((&stem["dtype"], &stem["shape"]), (&"f16".into(), &serde_json::json!([32, 3, 3, 3])));
    let number = |key: &str| stem["stats"][key].as_f64().unwrap();
    assert!(number("min") < number("mean") && number("mean") < number("max"), "{stem}");

    let text = convert(&["weights", weights.to_str().unwrap()]);
    for line in ["network    unet-regnety_002", "parameters 5259101", "encoder.model.stem.conv.weight"] {
        assert!(text.stdout.contains(line), "{text:?}");
    }
    let checkpoint = fixture("models/pth_small/torch2.9_ddp_cuda_zip.pth");
    let text = convert(&["weights", checkpoint.to_str().unwrap(), "--stats"]);
    assert_eq!(text.code, 0, "{text:?}");
    for part in [
        "PyTorch checkpoint (zip)",
        "network    unknown",
        "under model_state, prefix module.",
        "beside ",
        "module.segmentation_head.0.bias",
        "f64",
        "no values",
    ] {
        assert!(text.stdout.contains(part), "`{part}` is not in {text:?}");
    }
}

#[test]
fn weights_become_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let weights = fixture(WEIGHTS);
    let weights = weights.to_str().unwrap();
    let ran = convert(&["weights", weights, &path("f32.safetensors"), "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["written"]["network"], "unet-regnety_002");
    // f16 numbers are f32 numbers too, so the way back loses nothing.
    let ran =
        convert(&["weights", &path("f32.safetensors"), &path("f16.safetensors"), "--dtype", "f16", "-q"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let values = |path: &str| {
        let ran = convert(&["weights", path, "--json", "--stats"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let tensors = report["tensors"].as_array().unwrap().clone();
        let dtype = tensors[0]["dtype"].as_str().unwrap().to_owned();
        let is_counter = |t: &Value| t["name"].as_str().unwrap().ends_with("num_batches_tracked");
        let stats =
            tensors.into_iter().filter(|t| !is_counter(t)).map(|t| (t["name"].clone(), t["stats"].clone()));
        (dtype, stats.collect::<Vec<_>>())
    };
    let (original, f32, f16) =
        (values(weights), values(&path("f32.safetensors")), values(&path("f16.safetensors")));
    assert_eq!((f32.0.as_str(), f16.0.as_str()), ("f32", "f16"));
    assert_eq!(f32.1, original.1);
    assert_eq!(f16.1, original.1);

    let same = path("f32.safetensors");
    convert(&["weights", &same, &same]).assert_error(2, &["is the file to read"]);
    let other = ["weights", weights, &path("x"), "--attention", "scse"];
    convert(&other).assert_error(65, &["unet-regnety_002-scse, but of unet-regnety_002", "missing"]);
    let small = fixture("models/pth_small/torch1.7_zip.pth");
    convert(&["weights", small.to_str().unwrap(), &path("x")])
        .assert_error(65, &["cannot tell which network"]);
    convert(&["weights", "nowhere.pth"]).assert_error(2, &["nowhere.pth", "no such file"]);
    convert(&["weights", &path("")]).assert_error(1, &["cannot read"]);
    let text = path("notes.pth");
    std::fs::write(&text, "these are notes about weights, and no weights; they are not read as such")
        .unwrap();
    convert(&["weights", &text])
        .assert_error(65, &["notes.pth", "neither safetensors nor a PyTorch checkpoint"]);
    convert(&["weights", weights, &path("nowhere/x.safetensors")])
        .assert_error(2, &["nowhere", "no such file or folder"]);
    assert_eq!(files_under(folder.path()), ["f16.safetensors", "f32.safetensors", "notes.pth"]);
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-convert"), false, false);
}
