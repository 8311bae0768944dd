use hubmap_kernels::*;
use std::time::Instant;
fn bench(
    name: &str,
    sources: Vec<Source>,
    out: usize,
    k: usize,
    stride: usize,
    groups: usize,
    h: usize,
    w: usize,
) {
    let shape = ConvShape { sources: sources.clone(), out_channels: out, kernel_px: k, stride, groups };
    let n = shape.n_weights();
    let weights: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
    let conv = Conv::new(shape, &weights, &vec![0.1; out]).unwrap();
    let data: Vec<(Vec<f32>, Extent)> = sources
        .iter()
        .map(|s| {
            let d = if s.upsampled { 2 } else { 1 };
            let e = Extent { count: 1, height: h / d, width: w / d, channels: s.channels };
            (vec![0.5; e.len()], e)
        })
        .collect();
    let imgs: Vec<Images> = data.iter().map(|(d, e)| Images::new(d, *e).unwrap()).collect();
    let e = conv.output_extent(&imgs).unwrap();
    let mut o = vec![0.0; e.len()];
    let mut best = f64::MAX;
    for _ in 0..15 {
        let t = Instant::now();
        conv.run(&imgs, &mut o, Finish { accumulate: false, relu: true }).unwrap();
        best = best.min(t.elapsed().as_secs_f64());
    }
    let mac = e.pixels() as f64 * n as f64;
    let real: f64 = sources
        .iter()
        .map(|s| {
            let c = s.channels as f64 / groups as f64;
            let taps = if s.upsampled && k == 3 { 4.0 } else { (k * k) as f64 };
            c * taps
        })
        .sum::<f64>()
        * out as f64
        * e.pixels() as f64;
    println!(
        "{name:20} {:8.2} ms {:7.1} GFLOP/s nominal {:7.1} real",
        best * 1e3,
        2.0 * mac / best / 1e9,
        2.0 * real / best / 1e9
    );
}
fn main() {
    println!("peak {:.1} GFLOP/s", pulp::Arch::new().dispatch(Peak));
    let threads: usize = std::env::args().nth(1).map_or(1, |s| s.parse().unwrap());
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let p = |c| vec![Source::plain(c)];
    bench("stem", p(3), 32, 3, 2, 1, 512, 512);
    bench("1x1 48", p(48), 48, 1, 1, 1, 128, 128);
    bench("1x1 120", p(120), 120, 1, 1, 1, 64, 64);
    bench("1x1 336", p(336), 336, 1, 1, 1, 32, 32);
    bench("1x1 888", p(888), 888, 1, 1, 1, 16, 16);
    bench("1x1s2 336-888", p(336), 888, 1, 2, 1, 32, 32);
    bench("g3x3 48", p(48), 48, 3, 1, 2, 128, 128);
    bench("g3x3s2 48", p(48), 48, 3, 2, 2, 256, 256);
    bench("g3x3 120", p(120), 120, 3, 1, 5, 64, 64);
    bench("g3x3 336", p(336), 336, 3, 1, 14, 32, 32);
    bench("g3x3 888", p(888), 888, 3, 1, 37, 16, 16);
    bench("dec0", vec![Source::upsampled(888), Source::plain(336)], 256, 3, 1, 1, 32, 32);
    bench("dec0 plain", p(1224), 256, 3, 1, 1, 32, 32);
    bench("dec0b", p(256), 256, 3, 1, 1, 32, 32);
    bench("dec1", vec![Source::upsampled(256), Source::plain(120)], 128, 3, 1, 1, 64, 64);
    bench("dec1b", p(128), 128, 3, 1, 1, 64, 64);
    bench("dec2", vec![Source::upsampled(128), Source::plain(48)], 64, 3, 1, 1, 128, 128);
    bench("dec2b", p(64), 64, 3, 1, 1, 128, 128);
    bench("dec3", vec![Source::upsampled(64), Source::plain(32)], 32, 3, 1, 1, 256, 256);
    bench("dec3b", p(32), 32, 3, 1, 1, 256, 256);
    bench("dec4", vec![Source::upsampled(32)], 16, 3, 1, 1, 512, 512);
    bench("dec4b", p(16), 16, 3, 1, 1, 512, 512);
    bench("head", p(16), 1, 3, 1, 1, 512, 512);
}
struct Peak;
impl pulp::WithSimd for Peak {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> f64 {
        let mut acc = [simd.splat_f32s(0.5); 10];
        let a = simd.splat_f32s(std::hint::black_box(0.999));
        let b = simd.splat_f32s(std::hint::black_box(0.0001));
        let mut best = f64::MAX;
        for _ in 0..10 {
            let t = Instant::now();
            for _ in 0..2_000_000 {
                for x in &mut acc {
                    *x = simd.mul_add_e_f32s(*x, a, b);
                }
            }
            best = best.min(t.elapsed().as_secs_f64());
        }
        for x in acc {
            std::hint::black_box(simd.reduce_sum_f32s(x));
        }
        2_000_000.0 * 10.0 * S::F32_LANES as f64 * 2.0 / best / 1e9
    }
}
