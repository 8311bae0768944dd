use burn::tensor::Device;
use hubmap_models::{
    Attention, BurnModel, CpuModel, DecoderKind, EncoderKind, ForwardError, InferenceModel, SegModelConfig,
};
use hubmap_test_support::npy;
use ndarray::Array4;
use proptest::prelude::*;

use crate::models::{RECIPES, UNET, from_recipe, largest_error, to_tensor};

/// Both inference forms give PyTorch's logits within `1e-4` of their range.
fn check(name: &str, config: SegModelConfig) {
    let model = from_recipe(name, config);
    let cpu = CpuModel::new(&model).unwrap();
    let burn = BurnModel::new(model);
    for input in ["a", "b"] {
        let images: Array4<f32> = npy(&format!("models/input_{input}.npy"));
        let expected: Array4<f32> = npy(&format!("models/logits_{name}_{input}.npy"));
        let (n, _, h, w) = images.dim();
        let values = images.as_slice().unwrap();
        for (form, logits) in [("cpu", cpu.forward(values, n, h, w)), ("burn", burn.forward(values, n, h, w))]
        {
            let logits = Array4::from_shape_vec((n, 1, h, w), logits.unwrap()).unwrap();
            let (error, range) = largest_error(&logits, &expected);
            assert!(error <= 1e-4 * range, "{name} {input} {form}: off by {error}, range {range}");
        }
    }
}

#[test]
fn both_forms_match_pytorch() {
    for (name, config) in RECIPES {
        check(name, config);
    }
}

/// Numbers between -1 and 1 without a pattern.
fn noise(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % 2001).map(|v| v as f32 / 1000.0 - 1.0).collect()
}

/// Fresh weights leave the residual branches silent; these do not.
fn with_loud_residuals(config: SegModelConfig) -> hubmap_models::SegModel {
    struct Louder;
    impl burn::module::ModuleMapper for Louder {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<burn::tensor::Tensor<D>>,
        ) -> burn::module::Param<burn::tensor::Tensor<D>> {
            param.map(|values| if D == 1 { values.add_scalar(0.3) } else { values })
        }
    }
    burn::module::Module::map(config.init_seeded(5, &Device::flex()), &mut Louder)
}

#[test]
fn networks_give_the_training_forms_logits() {
    let (height, width) = (64, 96);
    let images = noise(3 * height * width);
    let mut worst = 0.0_f32;
    // A narrow and a wide network of both families; the numbers of the others differ, not their layers.
    for encoder in
        [EncoderKind::RegNetX002, EncoderKind::RegNetX032, EncoderKind::RegNetY002, EncoderKind::RegNetY016]
    {
        for &decoder in DecoderKind::ALL {
            for &attention in Attention::ALL {
                let config = SegModelConfig { encoder, decoder, attention };
                let model = with_loud_residuals(config);
                let array = Array4::from_shape_vec((1, 3, height, width), images.clone()).unwrap();
                let expected = model.forward(to_tensor(&array, &Device::flex())).into_data();
                let expected: Vec<f32> = expected.iter::<f32>().collect();
                let logits = CpuModel::new(&model).unwrap().forward(&images, 1, height, width).unwrap();
                let shape = (1, 1, height, width);
                let (error, range) = largest_error(
                    &Array4::from_shape_vec(shape, logits).unwrap(),
                    &Array4::from_shape_vec(shape, expected).unwrap(),
                );
                assert!(error <= 1e-4 * range, "{config}: off by {error}, range {range}");
                worst = worst.max(error / range);
            }
        }
    }
    println!("within {worst:.1e} of the range");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// A tile's logits depend neither on the tiles beside it nor on the number of threads, to the bit.
    #[test]
    fn batches_and_threads_change_nothing(count in 1usize..4, rows in 1usize..4, columns in 1usize..4, threads in 1usize..5) {
        let (height, width) = (32 * rows, 32 * columns);
        let model = CpuModel::new(&with_loud_residuals(UNET)).unwrap();
        let images = noise(count * 3 * height * width);
        let one_by_one: Vec<f32> = images
            .chunks(3 * height * width)
            .flat_map(|image| model.forward(image, 1, height, width).unwrap())
            .collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let batch = pool.install(|| model.forward(&images, count, height, width)).unwrap();
        prop_assert_eq!(one_by_one, batch);
    }
}

#[test]
fn the_device_chooses_the_form_and_sizes_are_checked() {
    let model = InferenceModel::new(UNET.init(&Device::flex())).unwrap();
    assert!(matches!(model, InferenceModel::Cpu(_)));
    assert!(matches!(model.forward(&[0.0; 3 * 32 * 32], 1, 32, 33), Err(ForwardError::Size(_))));
    let error = model.forward(&[0.0; 3 * 32 * 32], 2, 32, 32).unwrap_err();
    assert!(error.to_string().contains("3072 numbers do not make 2 images"), "{error}");
}

/// Names begin with `tch`, so that one filter runs what needs LibTorch.
#[cfg(feature = "tch")]
mod tch {
    use hubmap_models::SegModel;

    use super::*;
    use crate::models::from_recipe_on;

    fn check(name: &str, config: SegModelConfig, device: &hubmap_cli::DeviceSpec) {
        let device = device.device();
        let model: SegModel = from_recipe_on(name, config, &device);
        let training = |images: &Array4<f32>| {
            let logits = model.forward(to_tensor(images, &device)).into_data();
            logits.iter::<f32>().collect::<Vec<f32>>()
        };
        let inference = InferenceModel::new(model.clone()).unwrap();
        assert!(matches!(inference, InferenceModel::Burn(_)));
        for input in ["a", "b"] {
            let images: Array4<f32> = npy(&format!("models/input_{input}.npy"));
            let expected: Array4<f32> = npy(&format!("models/logits_{name}_{input}.npy"));
            let (n, _, h, w) = images.dim();
            let folded = inference.forward(images.as_slice().unwrap(), n, h, w).unwrap();
            for logits in [training(&images), folded] {
                let logits = Array4::from_shape_vec((n, 1, h, w), logits).unwrap();
                let (error, range) = largest_error(&logits, &expected);
                assert!(error <= 1e-4 * range, "{name} {input}: off by {error}, range {range}");
            }
        }
    }

    #[test]
    fn networks_match_pytorch() {
        for device in crate::tch_devices() {
            println!("on {device}");
            for (name, config) in RECIPES {
                check(name, config, &device);
            }
        }
    }
}
