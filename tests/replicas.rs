use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hubmap_data::Batch;
use hubmap_models::SegModel;
use hubmap_train::{
    Division, Ema, LossConfig, OptimizerConfig, Precision, Replicas, adamw, images_tensor, masks_tensor,
    train_step,
};
use ndarray::Array4;

use crate::models::UNET;

const OPTIMIZER: OptimizerConfig =
    OptimizerConfig { weight_decay: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
const RATE: f64 = 1e-3;
const SIDE: usize = 64;

/// A batch of bright discs of different sizes on noise.
fn batch(n: usize, seed: usize) -> Batch {
    let inside = |i: usize, y: usize, x: usize| {
        let radius = 8 + (i * 5 + seed) % 17;
        y.abs_diff(SIDE / 2).pow(2) + x.abs_diff(SIDE / 2).pow(2) < radius * radius
    };
    let images = Array4::from_shape_fn((n, 3, SIDE, SIDE), |(i, c, y, x)| {
        let noise =
            ((i * 7 + c * 31 + y * 131 + x * 37 + seed * 11) * 2_654_435_761 % 1000) as f32 / 500.0 - 1.0;
        noise + if inside(i, y, x) { 1.5 } else { 0.0 }
    });
    let masks =
        Array4::from_shape_fn((n, 1, SIDE, SIDE), |(i, _, y, x)| f32::from(u8::from(inside(i, y, x))));
    Batch { images, masks, names: (0..n).map(|i| i.to_string()).collect() }
}

/// All parameters and running statistics.
fn numbers(model: &SegModel) -> Vec<f32> {
    struct Numbers(Vec<f32>);
    impl ModuleVisitor for Numbers {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut numbers = Numbers(Vec::new());
    model.valid().visit(&mut numbers);
    numbers.0
}

fn flat(gradients: &GradientsParams, model: &SegModel) -> Vec<f32> {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.extend(gradient.into_data().iter::<f32>());
            }
        }
    }
    let mut flat = Flat(gradients, Vec::new());
    model.visit(&mut flat);
    flat.1
}

fn replicas(
    devices: &[Device],
    batch_size: usize,
    micro_batch_size: usize,
    precision: Precision,
) -> Replicas {
    let division = Division::new(batch_size, micro_batch_size, devices.len()).unwrap();
    Replicas::start(devices, division, LossConfig::BCE_DICE, precision).unwrap()
}

/// Five steps; the losses, the model and its average.
fn train(replicas: &Replicas, device: &Device) -> (Vec<f64>, SegModel, Ema<SegModel>) {
    let device = device.clone().autodiff();
    let mut model = UNET.init_seeded(3, &device);
    let mut optimizer = adamw(&OPTIMIZER, &model);
    let mut ema = Ema::new(&model, 0.9);
    let mut losses = Vec::new();
    for step in 0..5 {
        let outcome = replicas.gradients(&model, &batch(4, step), 1.0).unwrap();
        losses.push(outcome.loss);
        model = optimizer.step(RATE, model, outcome.gradients);
        ema.update(&model);
    }
    (losses, model, ema)
}

#[test]
fn two_devices_equal_one_with_two_passes() {
    let flex = Device::flex();
    let (losses, one, average) = train(&replicas(std::slice::from_ref(&flex), 4, 2, Precision::F32), &flex);
    let (both_losses, both, both_average) =
        train(&replicas(&[flex.clone(), flex.clone()], 4, 0, Precision::F32), &flex);
    // The same passes, added up in the same order: equal to the bit.
    assert_eq!(losses, both_losses);
    let params = |model: &SegModel| {
        struct Params(Vec<f32>);
        impl ModuleVisitor for Params {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if param.is_require_grad() {
                    self.0.extend(param.val().into_data().iter::<f32>());
                }
            }
        }
        let mut params = Params(Vec::new());
        model.visit(&mut params);
        params.0
    };
    assert!(params(&one).len() > 3_000_000);
    assert_eq!(params(&one), params(&both));
    // But one device sees both halves in its running statistics, and the first of two only its own.
    assert_ne!(numbers(&one), numbers(&both));
    assert_ne!(numbers(average.model()), numbers(both_average.model()));
    // More passes than one make other statistics of each pass, and other weights.
    let (_, whole, _) = train(&replicas(std::slice::from_ref(&flex), 4, 0, Precision::F32), &flex);
    assert_ne!(params(&one), params(&whole));
}

#[test]
fn gradients_of_passes_are_averaged_and_not_summed() {
    let flex = Device::flex();
    let model = UNET.init_seeded(3, &flex.clone().autodiff());
    let half = batch(2, 0);
    let twice = |part: &Array4<f32>| ndarray::concatenate![ndarray::Axis(0), part.view(), part.view()];
    let both =
        Batch { images: twice(&half.images), masks: twice(&half.masks), names: vec![String::new(); 4] };
    let gradients = |batch: &Batch| {
        let replicas = replicas(std::slice::from_ref(&flex), batch.len(), 2, Precision::F32);
        let outcome = replicas.gradients(&model, batch, 1.0).unwrap();
        (outcome.loss, flat(&outcome.gradients, &model))
    };
    assert!(gradients(&half) == gradients(&both), "twice the same pass is that pass");
}

#[test]
fn one_pass_on_one_device_is_a_plain_step() {
    let flex = Device::flex();
    let (losses, found, _) = train(&replicas(std::slice::from_ref(&flex), 4, 4, Precision::F32), &flex);
    let device = flex.autodiff();
    let mut model = UNET.init_seeded(3, &device);
    let mut optimizer = adamw(&OPTIMIZER, &model);
    for (step, loss) in losses.into_iter().enumerate() {
        let batch = batch(4, step);
        let (images, masks) = (images_tensor(&batch, &device), masks_tensor(&batch, &device));
        let bce_dice = &LossConfig::BCE_DICE;
        let (stepped, output) =
            train_step(model, &mut optimizer, RATE, SegModel::forward, images, &masks, bce_dice);
        model = stepped;
        assert!((output.loss - loss).abs() < 1e-12);
    }
    assert_eq!(numbers(&found), numbers(&model));
}

#[test]
fn fewer_bits_give_nearly_the_same_gradients() {
    let flex = Device::flex();
    let model = UNET.init_seeded(3, &flex.clone().autodiff());
    let gradients = |precision, scale| {
        let outcome = replicas(std::slice::from_ref(&flex), 4, 2, precision)
            .gradients(&model, &batch(4, 0), scale)
            .unwrap();
        (outcome.loss, flat(&outcome.gradients, &model))
    };
    let (loss, exact) = gradients(Precision::F32, 1.0);
    let norm = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    // Rounding grows from layer to layer through a network with random weights: near the head it is a hundredth.
    // Flex adds up in `f16` where that is asked for, which LibTorch does not.
    for (precision, scale, tolerance, head_tolerance) in [
        (Precision::F32, 1024.0, 1e-6, 1e-6),
        (Precision::Bf16, 1.0, 0.4, 0.02),
        (Precision::F16, 65_536.0, 0.2, 0.1),
    ] {
        let (found_loss, found) = gradients(precision, scale);
        assert!((found_loss - loss).abs() < tolerance * loss, "{precision:?}: {found_loss}, not {loss}");
        assert_eq!(found.len(), exact.len());
        let error: Vec<f32> = found.iter().zip(&exact).map(|(f, e)| f - e).collect();
        let relative = norm(&error) / norm(&exact);
        println!("{precision:?}: gradients off by {relative:.4}");
        assert!(relative < tolerance, "{precision:?}: off by {relative}");
        let head = exact.len() - 145..exact.len();
        let relative_head = norm(&error[head.clone()]) / norm(&exact[head]);
        assert!(relative_head < head_tolerance, "{precision:?}: the head is off by {relative_head}");
        // Other numbers, but for those of a scale that is a power of 2.
        assert_eq!(relative > 1e-4, precision != Precision::F32);
    }
}

#[test]
fn a_failing_device_is_an_error_that_names_it() {
    let flex = Device::flex();
    let model = UNET.init_seeded(3, &flex.clone().autodiff());
    let both = replicas(&[flex.clone(), flex], 4, 0, Precision::F32);
    // No multiple of 32 pixels: the network panics.
    let mut odd = batch(4, 0);
    odd.images = Array4::zeros((4, 3, 40, 40));
    odd.masks = Array4::zeros((4, 1, 40, 40));
    let message = format!("{:#}", both.gradients(&model, &odd, 1.0).unwrap_err());
    assert!(message.contains("Flex") && message.contains("failed"), "{message}");
    // The threads have survived.
    assert!(both.gradients(&model, &batch(4, 0), 1.0).unwrap().loss > 0.0);
    let message = both.gradients(&model, &batch(3, 0), 1.0).unwrap_err().to_string();
    assert!(message.contains("a batch of 3 samples"), "{message}");
}

#[test]
fn batches_are_divided_evenly_or_not_at_all() {
    let division = |batch, micro, devices| Division::new(batch, micro, devices);
    let parts = |n_devices, n_passes, pass_size| Division { n_devices, n_passes, pass_size };
    assert_eq!(division(16, 0, 1).unwrap(), parts(1, 1, 16));
    assert_eq!(division(64, 16, 4).unwrap(), parts(4, 1, 16));
    assert_eq!(division(64, 16, 1).unwrap(), parts(1, 4, 16));
    assert_eq!(division(16, 99, 2).unwrap(), parts(2, 1, 8));
    let message = division(16, 0, 3).unwrap_err().to_string();
    assert!(message.contains("train.batch_size is 16") && message.ends_with("try 18"), "{message}");
    let message = division(16, 6, 1).unwrap_err().to_string();
    assert!(message.contains("train.micro_batch_size is 6") && message.ends_with("try 4"), "{message}");
    assert!(division(16, 0, 0).is_err());
}

#[cfg(feature = "tch")]
mod tch {
    use hubmap_models::{Attention, DecoderKind, SegModelConfig};

    use super::*;

    /// A single ReLU that rounding switches makes them differ by up to a hundredth.
    #[test]
    fn gradients_are_those_of_flex_in_every_precision() {
        // With attention and dense skips, every operation takes part.
        let everything =
            SegModelConfig { decoder: DecoderKind::UnetPlusPlus, attention: Attention::ScSe, ..UNET };
        let gradients = |config: SegModelConfig, device: &Device, precision| {
            let model = config.init_seeded(3, &device.clone().autodiff());
            let replicas = replicas(std::slice::from_ref(device), 4, 2, precision);
            let outcome = replicas.gradients(&model, &batch(4, 0), 1.0).unwrap();
            (outcome.loss, flat(&outcome.gradients, &model))
        };
        let norm = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        for config in [UNET, everything] {
            let (loss, exact) = gradients(config, &Device::flex(), Precision::F32);
            for device in crate::tch_devices() {
                for (precision, tolerance) in [(Precision::F32, 1e-2), (Precision::Bf16, 0.5)] {
                    let (found_loss, found) = gradients(config, &device.device(), precision);
                    let error: Vec<f32> = found.iter().zip(&exact).map(|(f, e)| f - e).collect();
                    let relative = norm(&error) / norm(&exact);
                    println!(
                        "{device} {precision:?}: loss {found_loss} of {loss}, gradients off by {relative:.2e}"
                    );
                    assert_eq!(found.len(), exact.len());
                    assert!(relative < tolerance && (found_loss - loss).abs() < tolerance * loss);
                }
            }
        }
    }

    #[test]
    fn two_devices_equal_one_with_two_passes_on_tch() {
        for spec in crate::tch_devices() {
            let device = spec.device();
            let (losses, ..) = train(&replicas(std::slice::from_ref(&device), 4, 2, Precision::F32), &device);
            let (both_losses, ..) =
                train(&replicas(&[device.clone(), device.clone()], 4, 0, Precision::F32), &device);
            for (a, b) in losses.iter().zip(&both_losses) {
                assert!((a - b).abs() < 1e-3, "{spec}: {losses:?} and {both_losses:?}");
            }
        }
    }
}
