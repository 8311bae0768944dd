use std::path::Path;

use half::f16;
use hubmap_io::{Mask, Rle, Size};
use hubmap_test_support::run;
use ndarray::Array3;
use ndarray_npy::ReadNpyExt;

use crate::outputs::executable;

/// The networks of the winning ensemble, as configs.
const MEMBERS: [&str; 4] = [
    include_str!("../configs/ensemble_1_unet_regnety_016.toml"),
    include_str!("../configs/ensemble_2_unet_regnetx_032.toml"),
    include_str!("../configs/ensemble_3_unetplusplus_regnety_016.toml"),
    include_str!("../configs/ensemble_4_unet_regnety_016_scse.toml"),
];

fn hubmap(name: &str, args: &[&str]) -> String {
    let ran = run(executable(name), args);
    assert_eq!(ran.code, 0, "{name}: {ran:?}");
    ran.stdout
}

/// Probabilities `[1, height, width]` of a map in half precision.
fn probabilities(path: &Path) -> Array3<f32> {
    // The reader does not know half precision by name: read the bits.
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(3).position(|word| word == b"<f2").unwrap();
    bytes[at + 1] = b'u';
    Array3::<u16>::read_npy(bytes.as_slice()).unwrap().mapv(|bits| f16::from_bits(bits).to_f32())
}

#[test]
fn four_architectures_over_two_folds_work_from_configs_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    let (slides, input, small) = (path("HUBMAP"), path("input"), path("small.toml"));
    let config = format!(
        "[data_gen]\nscale = 8\ntile_px = 64\nfolds = \"drawn\"\nn_drawn_folds = 2\n\
         [data]\nsplits_dir = \"{input}/SPLITS\"\nfolds = [\"0\", \"1\"]\ncrop_px = 32\n\
         train = [\"train_{{fold}}_88\"]\nvalid = [\"val_{{fold}}_88\"]\n\
         [train]\nepochs = 1\nbatch_size = 2\n\
         [infer]\nscale = 8\nblock = 64\ncontext = 0\ntta = \"none\"\n"
    );
    std::fs::write(&small, config).unwrap();
    hubmap("hubmap-demo", &["slides", "--out", &slides, "--count", "2", "--size", "1100x900"]);
    hubmap("hubmap-data-gen", &["--input", &slides, "--output", &input, "--config", &small]);
    let test = format!("{slides}/test");
    let mut runs = Vec::new();
    for (place, member) in MEMBERS.into_iter().enumerate() {
        let (network, out) = (path(&format!("network_{place}.toml")), path(&format!("predicted_{place}")));
        std::fs::write(&network, member).unwrap();
        let trained = hubmap(
            "hubmap-train",
            &["--config", &small, "--config", &network, "--out", &path("output"), "-q"],
        );
        let args =
            ["--model", trained.trim(), "--slides", &test, "--out", &out, "--write", "npy", "-q", "--json"];
        let summary: serde_json::Value = serde_json::from_str(&hubmap("hubmap-infer", &args)).unwrap();
        assert_eq!(summary["n_models"], 2);
        runs.push(out);
    }
    let out = path("ensemble");
    let mut args = vec!["--slides", &test, "--out", &out, "--threshold", "0.4", "-q", "--runs"];
    args.extend(runs.iter().map(String::as_str));
    hubmap("hubmap-ensemble", &args);

    // The mean as numpy takes it of half-precision maps: in single precision, rounded once.
    let map_of = |run: &String| Path::new(run).join("predicts/raw/2ec3f1bb9.npy");
    let maps: Vec<_> = runs.iter().map(|run| probabilities(&map_of(run))).collect();
    assert!(maps.windows(2).all(|pair| pair[0] != pair[1]), "the members differ");
    let sum = maps.iter().skip(1).fold(maps[0].clone(), |sum, map| sum + map);
    let mean = sum.mapv(|sum| f16::from_f32(sum / 4.0));
    assert_eq!(probabilities(&map_of(&out)), mean.mapv(f16::to_f32));
    let (_, height, width) = mean.dim();
    let mut mask = Mask::new(Size::new(width as u32, height as u32));
    for ((_, y, x), probability) in mean.indexed_iter() {
        mask.set(x as u32, y as u32, *probability > f16::from_f32(0.4));
    }
    let submission = std::fs::read_to_string(format!("{out}/submission__0.4.csv")).unwrap();
    assert_eq!(submission, format!("id,predicted\n2ec3f1bb9,{}\n", Rle::encode(&mask)));
}
