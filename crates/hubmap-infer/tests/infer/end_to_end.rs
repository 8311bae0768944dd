//! A slide through a trained network, against the reference implementation (fixture 14).

use burn::tensor::Device;
use half::f16;
use hubmap_infer::{
    ArchitectureFlags, ModelFolder, NpyReader, PredictConfig, Predictor, Tta, positive_pixels, set_dice,
};
use hubmap_io::{Mask, Rle};
use hubmap_test_support::{fixture, json};
use ndarray::Array2;

const WEIGHTS: &str = "models/tiny_trained_unet_regnety_002.f16.safetensors";

fn trained(config: PredictConfig) -> Predictor {
    let folder = ModelFolder::open(&fixture(WEIGHTS), ArchitectureFlags::default()).unwrap();
    folder.predictor(config, &Device::flex()).unwrap()
}

/// Settings of the fixture.
fn fixture_config() -> PredictConfig {
    let index = json("numerics/14_e2e/index.json");
    let number = |key: &str| index[key].as_u64().unwrap() as u32;
    PredictConfig {
        scale: number("scale"),
        block: number("block"),
        context: number("pad"),
        ..PredictConfig::original()
    }
}

fn predict(config: PredictConfig) -> Array2<f16> {
    let slide = hubmap_io::open(&fixture("numerics/14_e2e/slide.tiff")).unwrap();
    trained(config).predict_map(slide.as_ref()).unwrap().probabilities
}

#[test]
fn probabilities_and_masks_match_the_reference() {
    let index = json("numerics/14_e2e/index.json");
    assert_eq!(index["runs"].as_object().unwrap().len(), 3);
    for (name, tta) in [("none", Tta::None), ("d4", Tta::D4), ("kaggle", Tta::Kaggle)] {
        let ours = predict(PredictConfig { tta, batch: 3, ..fixture_config() });
        let path = fixture(&format!("numerics/14_e2e/prob_{name}_f16.npy"));
        let mut reader = NpyReader::open(&path).unwrap();
        let expected = reader.read_rows(0, reader.size().height).unwrap();
        assert_eq!(ours.dim(), expected.dim());
        let differences = ours.iter().zip(&expected).map(|(a, b)| (a.to_f64() - b.to_f64()).abs());
        let (sum, max) = differences.fold((0.0, 0.0_f64), |(sum, max), d| (sum + d, max.max(d)));
        let mean = sum / ours.len() as f64;

        let mask = Mask::from_array(positive_pixels(&ours, 0.5).view());
        let text = std::fs::read_to_string(fixture(&format!("numerics/14_e2e/rle_{name}.txt"))).unwrap();
        let dice = set_dice(&Rle::encode(&mask), &Rle::parse(&text).unwrap());
        println!("{name}: mean |dp| {mean:.2e}, max {max:.2e}, Dice {dice:.6}, {} px", mask.count_ones());
        assert!(mean <= 2e-3, "{name}: mean difference {mean}");
        assert!(dice >= 0.9995, "{name}: Dice {dice}");
    }
}

#[test]
fn the_batch_does_not_change_a_network_s_map() {
    let one = predict(PredictConfig { tta: Tta::None, batch: 1, ..fixture_config() });
    let four = predict(PredictConfig { tta: Tta::None, batch: 4, ..fixture_config() });
    let worst = one.iter().zip(&four).map(|(a, b)| (a.to_f32() - b.to_f32()).abs()).fold(0.0, f32::max);
    println!("largest difference between batch 1 and 4: {worst}");
    assert!(worst <= 1e-3, "{worst}");
}
