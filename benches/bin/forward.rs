//! Times forward passes of a network: our side of `compare/forward.py`.
//!
//! Arguments: name such as `unet-regnety_016`, side in pixels, images in a batch, threads, repeats, and
//! `cpu` (the inference form), `burn` (the training form on Burn's flex backend) or a device (the inference form there,
//! images from host memory and logits back to it).
//! Prints one line of JSON: seconds (best and median), products per image, the machine's limit and memory.
#![expect(clippy::expect_used, reason = "a bench that cannot start has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::hint::black_box;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use hubmap_cli::DeviceSpec;
use hubmap_models::{Attention, CpuModel, InferenceModel, SegModelConfig};
use pulp::{Arch, Simd, WithSimd};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, side, count, n_threads, repeats, form] = args.as_slice() else {
        panic!("NAME SIDE BATCH THREADS REPEATS cpu|burn|DEVICE")
    };
    let config = config(name);
    let [side, count, n_threads, repeats] =
        [side, count, n_threads, repeats].map(|number| number.parse::<usize>().expect("a number"));
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build_global().expect("threads");
    let images: Vec<f32> = (0..count * 3 * side * side)
        .map(|i| (i.wrapping_mul(2_654_435_761) % 1000) as f32 / 500.0 - 1.0)
        .collect();
    let device = Device::flex();
    let model = config.init_seeded(1, &device);
    let seconds = match form.as_str() {
        "cpu" => {
            let cpu = CpuModel::new(&model).expect("a network");
            drop(model);
            times(repeats, || {
                black_box(cpu.forward(&images, count, side, side).expect("a good size"));
            })
        }
        "burn" => times(repeats, || {
            let data = TensorData::new(images.clone(), [count, 3, side, side]);
            black_box(model.forward(Tensor::<4>::from_data(data, &device)).into_data());
        }),
        device => {
            let device = device.parse::<DeviceSpec>().expect("cpu, burn or a device").device();
            let model = InferenceModel::new(model.to_device(&device)).expect("a network");
            times(repeats, || {
                black_box(model.forward(&images, count, side, side).expect("a good size"));
            })
        }
    };
    let peak_gflops = (0..40).map(|_| multiply_add_rate(n_threads)).fold(0.0, f64::max);
    println!(
        "{}",
        serde_json::json!({
            "model": config.to_string(), "form": form, "side": side, "batch": count, "threads": n_threads,
            "best_s": seconds[0], "median_s": seconds[seconds.len() / 2],
            "peak_gflops": peak_gflops, "max_rss_mb": max_rss_mb(),
        })
    );
}

/// Seconds of each repeat, sorted, after one that warms up.
fn times(repeats: usize, mut work: impl FnMut()) -> Vec<f64> {
    work();
    let mut seconds: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// `unet-regnety_016`, `unetplusplus-regnety_016-scse`, …
fn config(name: &str) -> SegModelConfig {
    let mut parts = name.split('-');
    let mut next = || parts.next().expect("DECODER-ENCODER or DECODER-ENCODER-scse");
    let decoder = next().parse().expect("a decoder");
    let encoder = next().parse().expect("an encoder");
    let attention = parts.next().map_or(Attention::None, |name| name.parse().expect("an attention"));
    SegModelConfig { encoder, decoder, attention }
}

/// What the threads reach when they do nothing but multiply and add in registers, in 10⁹ operations a second.
fn multiply_add_rate(n_threads: usize) -> f64 {
    let start = Instant::now();
    let n: f64 = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..n_threads).map(|_| scope.spawn(|| Arch::new().dispatch(MultiplyAdd))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a number")).sum()
    });
    n / start.elapsed().as_secs_f64() / 1e9
}

struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    /// Operations done.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        const ROUNDS: usize = 10_000_000;
        let mut sums = [simd.splat_f32s(0.5); 10];
        let (factor, term) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(1e-4)));
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, term);
            }
        }
        black_box(sums.map(|sum| simd.reduce_sum_f32s(sum)));
        (2 * ROUNDS * sums.len() * S::F32_LANES) as f64
    }
}

/// Largest resident memory of this process so far; 0 where the system does not tell.
fn max_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
