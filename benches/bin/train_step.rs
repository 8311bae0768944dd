//! Times the phases of a training step: our side of `compare/train.py`.
//!
//! Arguments: encoder, decoder, device, precision, batch, side in pixels, steps, threads. Prints seconds per phase as
//! JSON.
#![expect(clippy::expect_used, reason = "a bench that cannot train has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use hubmap_cli::DeviceSpec;
use hubmap_models::{Attention, DecoderKind, EncoderKind, SegModelConfig};
use hubmap_train::{Ema, LossConfig, LossTerms, OptimizerConfig, Precision, adamw};
use serde_json::{Map, Value, json};

const LOSS: LossConfig = LossConfig::BCE_DICE;
const OPTIMIZER: OptimizerConfig =
    OptimizerConfig { weight_decay: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
const RATE: f64 = 1e-4;
const EMA_DECAY: f64 = 0.995;
/// Steps that are not counted: the first allocate the optimiser's state.
const N_WARM_UP: usize = 2;
const PHASES: [&str; 5] = ["forward", "backward", "optimizer", "ema", "step"];

/// Numbers from -1.7 to 1.7, the same on every device.
fn noise(batch: usize, side: usize, device: &Device) -> Tensor<4> {
    let mut state = 1_u32;
    let values = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * 3.4 - 1.7
    });
    let values: Vec<f32> = values.take(batch * 3 * side * side).collect();
    Tensor::from_data(TensorData::new(values, [batch, 3, side, side]), device)
}

/// A centred disc of a quarter of the side as radius, for every sample.
fn discs(batch: usize, side: usize, device: &Device) -> Tensor<4> {
    let centre = side as f64 / 2.0;
    let disc = (0..side * side).map(|at| {
        let (y, x) = ((at / side) as f64 - centre, (at % side) as f64 - centre);
        if x * x + y * y < (side * side) as f64 / 16.0 { 1.0_f32 } else { 0.0 }
    });
    let one: Vec<f32> = disc.collect();
    Tensor::from_data(TensorData::new(one.repeat(batch), [batch, 1, side, side]), device)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, decoder, device, precision, numbers @ ..] = args.as_slice() else {
        panic!("ENCODER DECODER DEVICE PRECISION …")
    };
    let precision = [Precision::F32, Precision::Bf16, Precision::F16]
        .into_iter()
        .find(|p| p.name() == precision)
        .expect("f32, bf16 or f16");
    let encoder: EncoderKind = encoder.parse().expect("an encoder");
    let decoder: DecoderKind = decoder.parse().expect("a decoder");
    let device = device.parse::<DeviceSpec>().expect("a device").device().autodiff();
    let numbers: Vec<usize> = numbers.iter().map(|n| n.parse().expect("a whole number")).collect();
    let [batch, side, n_steps, n_threads] = numbers[..] else { panic!("… BATCH SIDE STEPS THREADS") };
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build_global().expect("threads");

    let config = SegModelConfig { encoder, decoder, attention: Attention::None };
    let mut model = config.init_seeded(1, &device);
    let mut optimizer = adamw(&OPTIMIZER, &model);
    let mut ema = Ema::new(&model, EMA_DECAY);
    let images = noise(batch, side, &device);
    let masks = discs(batch, side, &device);

    let mut seconds = PHASES.map(|_| Vec::new());
    let mut losses = Vec::new();
    for step in 0..N_WARM_UP + n_steps {
        let start = Instant::now();
        let logits = model.forward(images.clone().cast(precision.dtype())).cast(DType::F32);
        let loss = LossTerms::new(&logits, &masks, &LOSS);
        losses.push(f64::from(loss.total.clone().into_scalar::<f32>()));
        let forward = start.elapsed().as_secs_f64();
        let gradients = GradientsParams::from_grads(loss.total.backward(), &model);
        let backward = finished(&device, start);
        model = optimizer.step(RATE, model, gradients);
        let optimized = finished(&device, start);
        ema.update(&model);
        let averaged = finished(&device, start);
        if step >= N_WARM_UP {
            let spans = [forward, backward - forward, optimized - backward, averaged - optimized, averaged];
            for (all, span) in seconds.iter_mut().zip(spans) {
                all.push(span);
            }
        }
    }
    let phases: Map<String, Value> = PHASES.into_iter().zip(seconds).map(summary).collect();
    println!("{}", json!({ "seconds": phases, "losses": losses }));
}

/// Seconds since `start` until the device has nothing left to do.
fn finished(device: &Device, start: Instant) -> f64 {
    device.sync().expect("a device that works");
    start.elapsed().as_secs_f64()
}

fn summary((phase, mut seconds): (&str, Vec<f64>)) -> (String, Value) {
    seconds.sort_by(f64::total_cmp);
    (phase.to_owned(), json!({ "best": seconds[0], "median": seconds[seconds.len() / 2] }))
}
