//! Names begin with `tch`, so that one filter runs what needs LibTorch.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use hubmap_data::Normalization;
use hubmap_infer::{Merge, Network, PredictConfig, Predictor, SegmentTiles, Tta};
use hubmap_models::{Attention, DecoderKind, SegModel, SegModelConfig};
use hubmap_train::{Ema, OptimizerConfig, adamw};
use ndarray::Array3;

use crate::models::UNET;

const OPTIMIZER: OptimizerConfig =
    OptimizerConfig { weight_decay: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };

/// Rounding alone, another order of sums say, may let a ReLU switch, and then gradients differ by as much as this: changing
/// the image by a millionth does that on Flex. Otherwise they are within `1e-5`.
const SWITCHED_RELU: f64 = 1e-2;

/// Every operation takes part.
const EVERYTHING: SegModelConfig =
    SegModelConfig { decoder: DecoderKind::UnetPlusPlus, attention: Attention::ScSe, ..UNET };

fn image(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..2 * 3 * 64 * 64_usize)
        .map(|i| (i * 2_654_435_761 % 1000) as f32 / 500.0 - 1.0 + if i % 64 < 24 { 1.0 } else { 0.0 })
        .collect();
    Tensor::from_data(TensorData::new(values, [2, 3, 64, 64]), device)
}

/// The numbers of a module's tensors one after the other, or of their gradients; a tensor without one gives nothing.
struct Flat<'a> {
    gradients: Option<&'a GradientsParams>,
    values: Vec<f32>,
    n_tensors: usize,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.gradients {
            Some(gradients) => gradients.get::<D>(param.id),
            None => Some(param.val()),
        };
        if let Some(tensor) = tensor {
            self.values.extend(tensor.into_data().iter::<f32>());
            self.n_tensors += 1;
        }
    }
}

/// The weights of all convolutions: clones of a module share running statistics.
struct Kernels(Vec<f32>);

impl ModuleVisitor for Kernels {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 4 {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
}

fn kernels(module: &impl Module) -> Vec<f32> {
    let mut kernels = Kernels(Vec::new());
    module.visit(&mut kernels);
    kernels.0
}

fn flat(module: &impl Module, gradients: Option<&GradientsParams>) -> (Vec<f32>, usize) {
    let mut flat = Flat { gradients, values: Vec::new(), n_tensors: 0 };
    module.visit(&mut flat);
    (flat.values, flat.n_tensors)
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    assert!(!found.is_empty(), "{what}: nothing to compare");
    let norm =
        |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let error = norm(&mut found.iter().zip(expected).map(|(f, e)| f - e));
    let relative = error / norm(&mut expected.iter().copied());
    assert!(relative < tolerance, "{what}: off by {relative:.2e}");
}

/// What one step back leaves: gradients of the image and of the weights, and how many weights have one.
struct Back {
    image: Vec<f32>,
    weights: Vec<f32>,
    n_weights: usize,
    statistics: Vec<f32>,
}

fn back(model: &SegModel, device: &Device, loss: impl Fn(&SegModel, Tensor<4>) -> Tensor<1>) -> Back {
    let image = image(device).require_grad();
    let mut found = loss(model, image.clone()).backward();
    let on_image = image.grad_remove(&mut found).unwrap();
    let gradients = GradientsParams::from_grads(found, model);
    let (weights, n_weights) = flat(model, Some(&gradients));
    // Only a copy without autodiff has the newest running statistics.
    let (statistics, _) = flat(&model.valid(), None);
    Back { image: on_image.into_data().iter::<f32>().collect(), weights, n_weights, statistics }
}

type Loss = fn(&SegModel, Tensor<4>) -> Tensor<1>;

fn logits(model: &SegModel, image: Tensor<4>) -> Tensor<1> {
    let logits = model.forward(image);
    logits.clone().mul(logits).mean()
}

/// Several maps leave one graph, and not all of them count.
fn features(model: &SegModel, image: Tensor<4>) -> Tensor<1> {
    let [_, f1, f2, _, f4, _] = model.encoder.forward(image);
    f1.mean().add(f2.clone().mul(f2).mean()).add(f4.mean())
}

/// Maps leave LibTorch's graph, pass through an operation of Burn's and enter another.
fn in_two_graphs(model: &SegModel, image: Tensor<4>) -> Tensor<1> {
    let features = model.encoder.forward(image).map(|maps| maps.mul_scalar(1.5));
    let maps = model.decoder.forward(features);
    maps.clone().mul(maps).mean()
}

#[test]
fn tch_gradients_go_through_whatever_a_network_is_part_of() {
    let losses: [(&str, Loss); 3] =
        [("logits", logits), ("features", features), ("two graphs", in_two_graphs)];
    for (name, loss) in losses {
        let flex = Device::flex().autodiff();
        let expected = back(&EVERYTHING.init_seeded(5, &flex), &flex, loss);
        for spec in crate::tch_devices() {
            let device = spec.device().autodiff();
            let found = back(&EVERYTHING.init_seeded(5, &device), &device, loss);
            assert_eq!(found.n_weights, expected.n_weights, "{spec}, {name}");
            assert_close(&format!("{spec}, {name}, image"), &found.image, &expected.image, SWITCHED_RELU);
            assert_close(
                &format!("{spec}, {name}, weights"),
                &found.weights,
                &expected.weights,
                SWITCHED_RELU,
            );
            assert_close(
                &format!("{spec}, {name}, statistics"),
                &found.statistics,
                &expected.statistics,
                1e-4,
            );
        }
    }
}

#[test]
fn tch_frozen_encoders_get_no_gradient() {
    let frozen = |device: &Device| {
        let mut model = UNET.init_seeded(5, device);
        model.encoder = model.encoder.freeze();
        model
    };
    let flex = Device::flex().autodiff();
    let expected = back(&frozen(&flex), &flex, logits);
    for spec in crate::tch_devices() {
        let device = spec.device().autodiff();
        let found = back(&frozen(&device), &device, logits);
        let (_, n_all) = flat(&frozen(&device), None);
        assert!(found.n_weights == expected.n_weights && found.n_weights < n_all / 2);
        assert_close(&format!("{spec}, image"), &found.image, &expected.image, SWITCHED_RELU);
        assert_close(&format!("{spec}, weights"), &found.weights, &expected.weights, SWITCHED_RELU);
        assert_close(&format!("{spec}, statistics"), &found.statistics, &expected.statistics, 1e-4);
    }
}

#[test]
fn tch_updates_leave_what_others_hold_alone() {
    for spec in crate::tch_devices() {
        let device = spec.device().autodiff();
        let mut model = UNET.init_seeded(5, &device);
        let mut optimizer = adamw(&OPTIMIZER, &model);
        let mut ema = Ema::new(&model, 0.9);
        for step in 0..3 {
            // A graph that is still to be walked back over holds the weights too.
            let late = logits(&model, image(&device));
            let gradients = GradientsParams::from_grads(logits(&model, image(&device)).backward(), &model);
            let before = model.clone();
            let values = kernels(&before);
            model = optimizer.step(1e-3, model, gradients);
            let average = ema.model().clone();
            let averaged = kernels(&average);
            ema.update(&model);
            assert!(kernels(&model) != values && kernels(ema.model()) != averaged, "{spec}, step {step}");
            assert!(kernels(&before) == values, "{spec}, step {step}: the model before");
            assert!(kernels(&average) == averaged, "{spec}, step {step}: the average before");
            let gradients = GradientsParams::from_grads(late.backward(), &before);
            assert!(flat(&before, Some(&gradients)).1 > 0);
        }
    }
}

#[test]
fn tch_views_are_made_on_the_device() {
    // Trimmed tiles come in several shapes.
    let tiles: Vec<Array3<f32>> = [(64, 64), (64, 96), (64, 96), (64, 96), (32, 64)]
        .into_iter()
        .enumerate()
        .map(|(i, (h, w))| {
            Array3::from_shape_fn((3, h, w), |(c, y, x)| {
                ((i * 7 + c * 31 + y * 131 + x * 37) % 101) as f32 / 40.0 - 1.2
            })
        })
        .collect();
    let networks = |device: &Device| -> Vec<Box<dyn SegmentTiles>> {
        let network = |seed| Network::new(UNET.init_seeded(seed, device)).unwrap();
        vec![Box::new(network(1)), Box::new(network(2))]
    };
    for (merge, tta, batch) in
        [(Merge::Logits, Tta::D4, 2), (Merge::Probabilities, Tta::Kaggle, 1), (Merge::Logits, Tta::None, 8)]
    {
        let config = PredictConfig { merge, tta, batch, ..PredictConfig::original() };
        let predict = |device: &Device| {
            let predictor = Predictor::new(networks(device), Normalization::KIDNEY, config.clone()).unwrap();
            predictor.probabilities(&tiles).unwrap()
        };
        let expected = predict(&Device::flex());
        for spec in crate::tch_devices() {
            let device = spec.device();
            let input = tiles[0].clone().insert_axis(ndarray::Axis(0));
            let sums = networks(&device)[0].summed_over_views(&input, tta.views()).unwrap();
            assert_eq!(sums.unwrap().dim(), (1, 1, 64, 64));
            for (found, expected) in predict(&device).iter().zip(&expected) {
                assert_eq!(found.dim(), expected.dim());
                let worst = found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-5, "{spec}, {merge:?}, {tta:?}: off by {worst}");
            }
        }
    }
}
