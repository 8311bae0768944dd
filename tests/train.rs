use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use hubmap_models::{BatchNorm, SegModel, load_weights, save_weights};
use hubmap_test_support::{fixture, json, npy};
use hubmap_train::{
    DiceMeter, Ema, LossConfig, LossTerm, LossTerms, OptimizerConfig, Schedule, adamw, ema_of_count,
    train_step,
};
use ndarray::{Array2, Array4};
use serde_json::Value;

use crate::models::{TRAINED, UNET, to_tensor};

const BOTH: LossConfig = LossConfig::BCE_DICE;
const RECIPE: OptimizerConfig =
    OptimizerConfig { weight_decay: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
const SCHEDULE: Schedule =
    Schedule { start: 2e-5, peak: 8e-4, end: 3e-5, warmup: 0.2, one_epoch_late: false };

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn usizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "{what}[{i}] is {f}, not {e}");
    }
}

/// The term of this name.
fn term_of(loss: LossTerms, name: &str) -> Tensor<1> {
    loss.terms.into_iter().find(|(term, _)| term.name() == name).unwrap().1
}

#[test]
fn every_other_loss_matches_pytorch() {
    let device = Device::flex().autodiff();
    let fixture = json("losses/losses.json");
    let setting = |key: &str| fixture["settings"][key].as_f64().unwrap();
    let config = LossConfig {
        bce: 0.0,
        dice: 0.0,
        soft_bce: 1.0,
        focal: 0.5,
        lovasz: 2.0,
        edge_bce: 0.25,
        smoothing: setting("smoothing"),
        focal_gamma: setting("focal_gamma"),
        edge_px: setting("edge_px") as usize,
        edge_weight: setting("edge_weight"),
        hardest: 1.0,
    };
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let shape: [usize; 4] = usizes(&case["shape"]).try_into().unwrap();
        let target = tensor(floats(&case["target"]), shape, &device);
        let mut sum = 0.0;
        for term in [LossTerm::SoftBce, LossTerm::Focal, LossTerm::Lovasz, LossTerm::EdgeBce] {
            let what = format!("{} {}", case["name"], term.name());
            let logits = tensor(floats(&case["logits"]), shape, &device).require_grad();
            let loss = LossTerms::new(&logits, &target, &config);
            let total = loss.total.clone().into_scalar::<f32>();
            let loss = term_of(loss, term.name());
            let expected = &case[term.name()];
            let value = expected["value"].as_f64().unwrap();
            sum += value * config.weight(term);
            assert_close(&[loss.clone().into_scalar()], &[value as f32], 2e-6 * value.max(1.0) as f32, &what);
            let grads = values(logits.grad(&loss.backward()).unwrap());
            let expected = floats(&expected["grad"]);
            let largest = expected.iter().fold(0.0, |max: f32, g| max.max(g.abs()));
            assert_close(&grads, &expected, 2e-6 * largest.max(0.1), &what);
            if term == LossTerm::EdgeBce {
                assert_close(&[total], &[sum as f32], 1e-5 * sum.max(1.0) as f32, "weighted sum");
            }
        }
    }
}

#[test]
fn loss_and_gradient_match_pytorch() {
    let device = Device::flex().autodiff();
    let cases = json("numerics/01_loss.json");
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let shape: [usize; 4] = usizes(&case["shape"]).try_into().unwrap();
        let target = tensor(floats(&case["target"]), shape, &device);
        for (term, grad) in [("bce", "grad_bce"), ("dice", "grad_dice"), ("total", "grad_total")] {
            let logits = tensor(floats(&case["logits"]), shape, &device).require_grad();
            let loss = LossTerms::new(&logits, &target, &BOTH);
            let loss = if term == "total" { loss.total } else { term_of(loss, term) };
            let expected = case["f32"][term].as_f64().unwrap() as f32;
            let tolerance = 1e-6 * expected.abs().max(1.0);
            assert_close(
                &[loss.clone().into_scalar::<f32>()],
                &[expected],
                tolerance,
                &format!("{name} {term}"),
            );
            let grads = loss.backward();
            let found = logits.grad(&grads).map_or_else(|| vec![0.0; shape.iter().product()], values);
            assert_close(&found, &floats(&case["f32"][grad]), 1e-6, &format!("{name} {grad}"));
        }
    }
}

#[test]
fn schedule_matches_the_original() {
    let fixture = json("numerics/02_lr_schedule.json");
    let late = Schedule { one_epoch_late: true, ..SCHEDULE };
    let runs = fixture["epochs"].as_object().unwrap();
    assert_eq!(runs.len(), 6);
    for (n_epochs, run) in runs {
        let n_epochs: usize = n_epochs.parse().unwrap();
        for (schedule, key) in [(SCHEDULE, "nominal"), (late, "effective")] {
            let expected = run[key].as_array().unwrap();
            assert_eq!(expected.len(), n_epochs);
            for (epoch, expected) in expected.iter().enumerate() {
                let rate = schedule.rate(epoch, n_epochs);
                assert!(
                    (rate - expected.as_f64().unwrap()).abs() <= 1e-12,
                    "{key} {epoch}/{n_epochs}: {rate}"
                );
            }
        }
    }
    let dense =
        fixture["dense"]["pos"].as_array().unwrap().iter().zip(fixture["dense"]["lr"].as_array().unwrap());
    for (position, expected) in dense {
        let rate = SCHEDULE.at(position.as_f64().unwrap());
        assert!((rate - expected.as_f64().unwrap()).abs() <= 1e-12);
    }
}

/// The small network of the optimiser fixture.
#[derive(Module, Debug)]
struct SmallNet {
    conv: Conv2d,
    bn: BatchNorm,
    head: Conv2d,
}

/// The fixture's name of a tensor of [`SmallNet`], by field.
const SMALL_NAMES: [&str; 7] =
    ["0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "3.weight", "3.bias"];

impl SmallNet {
    fn new(device: &Device) -> Self {
        let pad = PaddingConfig2d::Explicit(1, 1, 1, 1);
        Self {
            conv: Conv2dConfig::new([3, 4], [3, 3]).with_padding(pad).with_bias(false).init(device),
            bn: BatchNorm::new(4, 1.0, device),
            head: Conv2dConfig::new([4, 1], [1, 1]).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.head.forward(relu(self.bn.forward(self.conv.forward(x))))
    }

    /// Values in the order of [`SMALL_NAMES`].
    fn state(&self) -> Vec<Vec<f32>> {
        vec![
            values(self.conv.weight.val()),
            values(self.bn.weight.val()),
            values(self.bn.bias.val()),
            values(self.bn.running_mean.value()),
            values(self.bn.running_var.value()),
            values(self.head.weight.val()),
            values(self.head.bias.as_ref().unwrap().val()),
        ]
    }
}

/// Replaces every float tensor by the next of a list, in the order of the module's fields.
struct Replace(std::vec::IntoIter<Vec<f32>>);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let new = self.0.next().unwrap();
        param.map(|old| tensor(new, old.dims(), &old.device()).set_require_grad(old.is_require_grad()))
    }
}

#[test]
fn ten_steps_of_a_small_network_match_pytorch() {
    let fixture = json("numerics/03_adamw_amsgrad_ema.json");
    let device = Device::flex().autodiff();
    let init: Vec<Vec<f32>> = SMALL_NAMES.iter().map(|n| floats(&fixture["init"][n]["data"])).collect();
    let mut net = SmallNet::new(&device).map(&mut Replace(init.into_iter()));
    let mut optimizer = adamw(&RECIPE, &net);
    let mut ema = Ema::new(&net, 0.995);
    let steps = fixture["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 10);
    for (i, step) in steps.iter().enumerate() {
        let shape: [usize; 4] = usizes(&step["x_shape"]).try_into().unwrap();
        let [n, _, h, w] = shape;
        let x = tensor(floats(&step["x"]), shape, &device);
        let y = tensor(floats(&step["y"]), [n, 1, h, w], &device);
        let rate = step["lr"].as_f64().unwrap();
        let (stepped, output) = train_step(net, &mut optimizer, rate, SmallNet::forward, x, &y, &BOTH);
        net = stepped;
        ema.update(&net);
        assert_close(&[output.loss as f32], &floats(&Value::Array(vec![step["loss"].clone()])), 2e-6, "loss");
        assert_close(&values(output.logits), &floats(&step["logits"]), 2e-6, &format!("logits of step {i}"));
        for (what, state) in [("state_after", net.valid().state()), ("ema_after", ema.model().state())] {
            for (name, found) in SMALL_NAMES.iter().zip(state) {
                assert_close(&found, &floats(&step[what][name]), 2e-6, &format!("{what} {name} of step {i}"));
            }
        }
    }
}

/// One decayed and one undecayed parameter with the same values.
#[derive(Module, Debug)]
struct TwoParams {
    decayed: Param<Tensor<2>>,
    flat: Param<Tensor<1>>,
}

#[test]
fn eight_hundred_optimiser_steps_match_pytorch() {
    let fixture = json("numerics/03_adamw_long.json");
    let grads: Array2<f32> = npy("numerics/03_adamw_long_grads.npy");
    let device = Device::flex().autodiff();
    let start = floats(&fixture["p0"]);
    let n = start.len();
    let mut params = TwoParams {
        decayed: Param::from_tensor(tensor(start.clone(), [1, n], &device)),
        flat: Param::from_tensor(tensor(start, [n], &device)),
    };
    let mut optimizer = adamw(&RECIPE, &params);
    let checkpoints = usizes(&fixture["after_step"]);
    let mut n_checked = 0;
    for (i, grad) in grads.outer_iter().enumerate() {
        let rate = match i {
            0 => 0.0,
            1..400 => 1e-3,
            _ => 4e-4,
        };
        let mut given = GradientsParams::new();
        let inner = Device::flex();
        given.register(params.decayed.id, tensor(grad.to_vec(), [1, n], &inner));
        given.register(params.flat.id, tensor(grad.to_vec(), [n], &inner));
        params = optimizer.step(rate, params, given);
        if let Some(at) = checkpoints.iter().position(|&step| step == i + 1) {
            let expected = |key: &str| floats(&fixture["params"][key][at]);
            assert_close(&values(params.decayed.val()), &expected("amsgrad_wd1e-3"), 1e-4, "decayed");
            assert_close(&values(params.flat.val()), &expected("amsgrad_wd0"), 1e-4, "undecayed");
            n_checked += 1;
        }
    }
    assert_eq!((grads.nrows(), n_checked), (800, 12));
}

#[test]
fn ema_matches_pytorch() {
    let fixture = json("numerics/04_ema.json");
    let device = Device::flex().autodiff();
    let start = floats(&fixture["float"]["ema0"]);
    let n = start.len();
    let mut net = TwoParams {
        decayed: Param::from_tensor(tensor(start.clone(), [1, n], &device)),
        flat: Param::from_tensor(tensor(start, [n], &device)),
    };
    let mut ema = Ema::new(&net, 0.995);
    let updates = fixture["float"]["updates"].as_array().unwrap();
    assert_eq!(updates.len(), 5);
    for update in updates {
        let model = floats(&update["model"]);
        net = net.map(&mut Replace(vec![model.clone(), model].into_iter()));
        ema.update(&net);
        assert_close(&values(ema.model().flat.val()), &floats(&update["ema"]), 1e-6, "ema");
        assert_close(&values(ema.model().decayed.val()), &floats(&update["ema"]), 1e-6, "ema");
    }

    let counts = &fixture["num_batches_tracked"];
    for (start, key) in [(0, "from_zero_every_40th"), (1000, "from_1000_every_40th")] {
        let mut average = start;
        let mut count = start;
        for pair in counts[key].as_array().unwrap() {
            let (until, expected) = (pair[0].as_i64().unwrap(), pair[1].as_i64().unwrap());
            while count < until {
                count += 1;
                average = ema_of_count(average, count, 0.995);
            }
            assert_eq!(average, expected, "{key} at {until}");
        }
    }
}

#[test]
fn averaging_leaves_the_live_running_statistics_alone() {
    let device = Device::flex().autodiff();
    let net = SmallNet::new(&device);
    let x = tensor((0..150).map(|i| i as f32).collect(), [2, 3, 5, 5], &device);
    let mut ema = Ema::new(&net, 0.5);
    net.forward(x.clone());
    let before = net.valid().state();
    ema.update(&net);
    ema.update(&net);
    assert_eq!(net.valid().state(), before, "the average must not write into the live model");
    assert_ne!(ema.model().state()[3], before[3], "and must have its own statistics");
    assert_ne!(ema.model().state()[3], vec![0.0; 4], "which follow the live ones");
    net.forward(x);
    assert_ne!(net.valid().state()[3], before[3], "live statistics still move");
}

#[test]
fn validation_dice_matches_the_original() {
    let fixture = json("numerics/10_dice.json");
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 6);
    let device = Device::flex();
    for case in cases.iter().filter(|c| c["threshold"].as_f64() == Some(0.5)) {
        let prob: Vec<f64> = case["prob"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
        let n = prob.len();
        let logits = prob.iter().map(|p| (p / (1.0 - p)).ln() as f32).collect();
        let mut meter = DiceMeter::default();
        let target = Array4::from_shape_vec((1, 1, 1, n), floats(&case["target"])).unwrap();
        let dice = meter.add(tensor(logits, [1, 1, 1, n], &device), &target);
        let expected = case["dice"].as_f64().unwrap();
        assert!((dice - expected).abs() < 1e-6, "{}: {dice}, not {expected}", case["name"]);
    }
    let mut meter = DiceMeter::default();
    meter.add_batch(0.5, 3);
    meter.add_batch(0.9, 1);
    assert!((meter.mean() - 0.6).abs() < 1e-12);
}

/// Tensors of a model by SMP's names, through a file.
fn by_name(model: &SegModel) -> BTreeMap<String, Vec<f32>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.safetensors");
    save_weights(model, &UNET, &path).unwrap();
    read_f32(&path)
}

fn read_f32(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, view)| {
            (name, view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
        })
        .collect()
}

/// Largest difference of probed values, and relative difference of the norms, over all tensors of `expected`.
fn differences(found: &BTreeMap<String, Vec<f32>>, expected: &Value) -> (f64, f64) {
    let (mut worst_value, mut worst_norm) = (0.0_f64, 0.0_f64);
    let mut n_compared = 0;
    for (name, summary) in expected.as_object().unwrap() {
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        let found = found.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        let norm = found.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let expected_norm = summary["l2"].as_f64().unwrap();
        worst_norm = worst_norm.max((norm - expected_norm).abs() / expected_norm.max(1e-6));
        for (at, value) in usizes(&summary["index"]).into_iter().zip(floats(&summary["value"])) {
            worst_value = worst_value.max(f64::from((found[at] - value).abs()));
        }
        n_compared += 1;
    }
    assert!(n_compared > 200, "only {n_compared} tensors compared");
    (worst_value, worst_norm)
}

/// Every parameter has the expected gradient within `1e-3`: its norm, its mean and the probed values. Gives the
/// largest error.
fn check_gradients(found: &BTreeMap<String, Vec<f32>>, expected: &Value) -> f64 {
    let expected = expected.as_object().unwrap();
    let is_parameter = |name: &str| !name.contains("running_");
    assert_eq!(found.keys().filter(|name| is_parameter(name)).count(), expected.len());
    let mut worst = 0.0_f64;
    for (name, summary) in expected {
        let found = found.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        let n = found.len() as f64;
        let norm = found.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let expected_norm = summary["l2"].as_f64().unwrap();
        assert!(expected_norm > 0.0, "{name}");
        let spread = expected_norm / n.sqrt();
        let mean = found.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let mut errors = vec![
            (norm - expected_norm).abs() / expected_norm,
            (mean - summary["mean"].as_f64().unwrap()).abs() / spread,
        ];
        for (at, value) in usizes(&summary["index"]).into_iter().zip(floats(&summary["value"])) {
            errors.push(f64::from((found[at] - value).abs()) / spread);
        }
        for error in errors {
            assert!(error <= 1e-3, "the gradient of {name} is off by {error}");
            worst = worst.max(error);
        }
    }
    worst
}

/// Puts gradients where the parameters are, so that they get names.
struct GradientsInPlace<'a>(&'a mut GradientsParams);

impl ModuleMapper for GradientsInPlace<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.remove::<D>(param.id) {
            Some(grad) => param.map(|_| grad),
            None => param,
        }
    }
}

#[test]
fn six_training_steps_of_the_tiny_model_match_pytorch() {
    six_steps_match(&Device::flex().autodiff());
}

#[cfg(feature = "tch")]
#[test]
fn six_training_steps_on_tch_match_pytorch() {
    for device in crate::tch_devices() {
        println!("on {device}");
        six_steps_match(&device.device().autodiff());
    }
}

#[expect(clippy::print_stdout, reason = "shown with a failure")]
fn six_steps_match(device: &Device) {
    let fixture_ = json("numerics/13_tiny_train/index.json");
    let x: Array4<f32> = npy("numerics/13_tiny_train/x.npy");
    let y: Array4<f32> = npy("numerics/13_tiny_train/y.npy");
    let (x, y) = (to_tensor(&x, device), to_tensor(&y, device));
    let mut model = load_weights(UNET.init(device), &UNET, &fixture(TRAINED)).unwrap();

    let probe = load_weights(UNET.init(device), &UNET, &fixture(TRAINED)).unwrap();
    let loss = LossTerms::new(&probe.forward(x.clone()), &y, &BOTH);
    let mut grads = GradientsParams::from_grads(loss.total.backward(), &probe);
    let grads = by_name(&probe.valid().map(&mut GradientsInPlace(&mut grads)));
    let worst = check_gradients(&grads, &fixture_["f64"][0]["grads"]);
    println!("gradients within {worst:.1e}");

    let mut optimizer = adamw(&RECIPE, &model);
    let mut ema = Ema::new(&model, 0.995);
    let floors = fixture_["noise_floor"]["loss_f32_vs_f64"].as_array().unwrap();
    let steps = fixture_["f64"].as_array().unwrap();
    assert_eq!(steps.len(), 6);
    let mut n_states = 0;
    for (i, (step, floor)) in steps.iter().zip(floors).enumerate() {
        let rate = step["lr"].as_f64().unwrap();
        let (stepped, output) =
            train_step(model, &mut optimizer, rate, SegModel::forward, x.clone(), &y, &BOTH);
        model = stepped;
        ema.update(&model);
        let tolerance = 1e-6 + 10.0 * floor.as_f64().unwrap();
        for (term, found) in output.terms {
            let key = term.name();
            let expected = step[key].as_f64().unwrap();
            assert!((found - expected).abs() <= tolerance, "{key} of step {i}: {found}, not {expected}");
        }
        let logits_norm = values(output.logits).iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let expected = step["logits"]["l2"].as_f64().unwrap();
        assert!(
            (logits_norm - expected).abs() <= 2e-4 * expected,
            "logits of step {i}: {logits_norm}, {expected}"
        );
        // The fixture has the state after the first and the last step.
        for (what, model) in [("state_after", &model.valid()), ("ema_after", ema.model())] {
            if step[what].is_null() {
                continue;
            }
            let (value, norm) = differences(&by_name(model), &step[what]);
            println!("step {i} {what}: values within {value:.2e}, norms within {norm:.2e}");
            let tolerance = if i == 0 { 1e-5 } else { 1e-3 };
            assert!(norm <= tolerance && value <= 10.0 * tolerance, "{what} of step {i}: {value}, {norm}");
            n_states += 1;
        }
    }
    assert_eq!(n_states, 4);
    let x = x.inner();
    for (key, model) in [("eval_logits_after", &model.valid()), ("ema_eval_logits_after", ema.model())] {
        let logits = values(model.forward(x.clone()));
        let found = logits.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let exact = fixture_[format!("f64_{key}")]["l2"].as_f64().unwrap();
        let single = fixture_[format!("f32_{key}")]["l2"].as_f64().unwrap();
        let tolerance = 10.0 * (single - exact).abs() + 1e-4 * exact;
        println!("{key}: {found}, exact {exact}, PyTorch in single precision {single}");
        assert!((found - exact).abs() <= tolerance, "{key}: {found}, not {exact}");
    }
}
