use hubmap_kernels::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn time(mut f: impl FnMut()) -> f64 {
    if std::env::args().len() > 1 {
        f();
        return 1.0;
    }
    real(f)
}
fn real(mut f: impl FnMut()) -> f64 {
    f();
    let start = cpu();
    let mut n = 0;
    while cpu() - start < 0.25 || n < 2 {
        f();
        n += 1;
    }
    (cpu() - start) / n as f64
}
fn main() {
    // name, sources(channels, up), out, k, s, g, n, h, w (output size of input res), times in network
    let l: Vec<(&str, Vec<Source>, usize, usize, usize, usize, usize, usize)> = vec![
        ("stem", vec![Source::plain(3)], 32, 3, 2, 1, 256, 1),
        ("s1 conv1", vec![Source::plain(32)], 48, 1, 1, 1, 128, 1),
        ("s1 3x3 s2", vec![Source::plain(48)], 48, 3, 2, 2, 128, 1),
        ("s1 1x1", vec![Source::plain(48)], 48, 1, 1, 1, 64, 3),
        ("s1 3x3", vec![Source::plain(48)], 48, 3, 1, 2, 64, 1),
        ("s2 conv1", vec![Source::plain(48)], 120, 1, 1, 1, 64, 1),
        ("s2 3x3 s2", vec![Source::plain(120)], 120, 3, 2, 5, 64, 1),
        ("s2 1x1", vec![Source::plain(120)], 120, 1, 1, 1, 32, 11),
        ("s2 3x3", vec![Source::plain(120)], 120, 3, 1, 5, 32, 5),
        ("s3 conv1", vec![Source::plain(120)], 336, 1, 1, 1, 32, 1),
        ("s3 3x3 s2", vec![Source::plain(336)], 336, 3, 2, 14, 32, 1),
        ("s3 1x1", vec![Source::plain(336)], 336, 1, 1, 1, 16, 33),
        ("s3 3x3", vec![Source::plain(336)], 336, 3, 1, 14, 16, 16),
        ("s4 conv1", vec![Source::plain(336)], 888, 1, 1, 1, 16, 1),
        ("s4 1x1", vec![Source::plain(888)], 888, 1, 1, 1, 8, 3),
        ("s4 3x3", vec![Source::plain(888)], 888, 3, 1, 37, 8, 1),
        ("d0 conv1", vec![Source::upsampled(888), Source::plain(336)], 256, 3, 1, 1, 16, 1),
        ("d0 conv2", vec![Source::plain(256)], 256, 3, 1, 1, 16, 1),
        ("d1 conv1", vec![Source::upsampled(256), Source::plain(120)], 128, 3, 1, 1, 32, 1),
        ("d1 conv2", vec![Source::plain(128)], 128, 3, 1, 1, 32, 1),
        ("d2 conv1", vec![Source::upsampled(128), Source::plain(48)], 64, 3, 1, 1, 64, 1),
        ("d2 conv2", vec![Source::plain(64)], 64, 3, 1, 1, 64, 1),
        ("d3 conv1", vec![Source::upsampled(64), Source::plain(32)], 32, 3, 1, 1, 128, 1),
        ("d3 conv2", vec![Source::plain(32)], 32, 3, 1, 1, 128, 1),
        ("d4 conv1", vec![Source::upsampled(32)], 16, 3, 1, 1, 256, 1),
        ("d4 conv2", vec![Source::plain(16)], 16, 3, 1, 1, 256, 1),
        ("head", vec![Source::plain(16)], 1, 3, 1, 1, 256, 1),
    ];
    let n = 4;
    let mut total = [0.0; 6];
    println!("{:10} {:>7} | pack fwd | bpack bwd | wgrad   (ms, GFLOP/s nominal)", "", "GFLOP");
    for (name, sources, out, k, s, g, side, count) in l {
        let shape =
            ConvShape { sources: sources.clone(), out_channels: out, kernel_px: k, stride: s, groups: g };
        let w = vec![0.01; shape.n_weights()];
        let b = vec![0.0; out];
        let data: Vec<(Vec<f32>, Extent)> = sources
            .iter()
            .map(|x| {
                let sd = if x.upsampled { side / 2 } else { side };
                let e = Extent { count: n, height: sd, width: sd, channels: x.channels };
                (vec![0.5; e.len()], e)
            })
            .collect();
        let im: Vec<Images> = data.iter().map(|(d, e)| Images::new(d, *e).unwrap()).collect();
        let oe = shape.output_extent(&im).unwrap();
        let gflop = 2.0 * oe.pixels() as f64 * shape.n_weights() as f64 / 1e9;
        let pack = time(|| {
            std::hint::black_box(Conv::new(shape.clone(), &w, &b).unwrap());
        });
        let conv = Conv::new(shape.clone(), &w, &b).unwrap();
        let mut y = vec![0.0; oe.len()];
        let fwd = time(|| conv.run(&im, &mut y, Finish::default()).unwrap());
        let (mut bp, mut bw) = (0.0, 0.0);
        let dy = vec![0.1; oe.len()];
        let dyi = Images::new(&dy, oe).unwrap();
        for (i, (_, e)) in data.iter().enumerate() {
            if name == "stem" {
                continue;
            }
            bp += time(|| {
                std::hint::black_box(Conv::backward(&shape, i, &w).unwrap());
            });
            let bc = Conv::backward(&shape, i, &w).unwrap();
            let inp = dyi;
            let mut dx = vec![0.0; bc.output_extent(&[inp]).unwrap().len()];
            bw += time(|| bc.run(&[inp], &mut dx, Finish::default()).unwrap());
        }
        let wg = real(|| {
            std::hint::black_box(weight_gradient(&shape, &im, dyi).unwrap());
        });
        println!(
            "{name:10} x{count:2} {gflop:6.3} | {:6.2} {:7.2} ({:5.1}) | {:6.2} {:7.2} ({:5.1}) | {:7.2} ({:5.1})",
            pack * 1e3,
            fwd * 1e3,
            gflop / fwd,
            bp * 1e3,
            bw * 1e3,
            gflop / bw,
            wg * 1e3,
            gflop / wg
        );
        let c = count as f64;
        for (t, v) in total.iter_mut().zip([gflop, pack, fwd, bp, bw, wg]) {
            *t += c * v;
        }
    }
    println!(
        "total {:.1} GFLOP: pack {:.0} fwd {:.0} bpack {:.0} bwd {:.0} wgrad {:.0} ms cpu",
        total[0],
        total[1] * 1e3,
        total[2] * 1e3,
        total[3] * 1e3,
        total[4] * 1e3,
        total[5] * 1e3
    );
}
