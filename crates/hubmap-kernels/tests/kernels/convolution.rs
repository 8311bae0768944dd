//! Convolutions equal a plain computation in f64, for every layout of sources, groups and sizes.

use hubmap_kernels::{Conv, ConvShape, Extent, Finish, Images, KernelError, Source};
use proptest::prelude::*;

use crate::noise;

/// Value of a source at a pixel of the convolution's input, 0 beyond the border.
fn at(data: &[f32], extent: Extent, source: Source, n: usize, y: isize, x: isize, c: usize) -> f64 {
    let scale = if source.upsampled { 2 } else { 1 };
    let (height, width) = ((extent.height * scale) as isize, (extent.width * scale) as isize);
    if y < 0 || x < 0 || y >= height || x >= width {
        return 0.0;
    }
    let (y, x) = (y as usize / scale, x as usize / scale);
    f64::from(data[((n * extent.height + y) * extent.width + x) * extent.channels + c])
}

/// The convolution by its definition.
fn expected(
    shape: &ConvShape,
    weights: &[f32],
    bias: &[f32],
    sources: &[(Vec<f32>, Extent)],
    output: Extent,
) -> Vec<f64> {
    let half = (shape.kernel_px / 2) as isize;
    let n_in = shape.group_in_channels();
    let per_group = shape.out_channels / shape.groups;
    let mut all = Vec::with_capacity(output.len());
    for n in 0..output.count {
        for y in 0..output.height {
            for x in 0..output.width {
                for out in 0..output.channels {
                    let mut sum = f64::from(bias[out]);
                    let mut channel = 0;
                    for ((data, extent), &source) in sources.iter().zip(&shape.sources) {
                        let own = source.channels / shape.groups;
                        for c in 0..own {
                            for ky in 0..shape.kernel_px {
                                for kx in 0..shape.kernel_px {
                                    let weight = weights[((out * n_in + channel + c) * shape.kernel_px + ky)
                                        * shape.kernel_px
                                        + kx];
                                    let (y, x) = (
                                        (y * shape.stride + ky) as isize - half,
                                        (x * shape.stride + kx) as isize - half,
                                    );
                                    let c = out / per_group * own + c;
                                    sum += f64::from(weight) * at(data, *extent, source, n, y, x, c);
                                }
                            }
                        }
                        channel += own;
                    }
                    all.push(sum);
                }
            }
        }
    }
    all
}

fn check(shape: &ConvShape, count: usize, height: usize, width: usize, finish: Finish) {
    let weights = noise(shape.n_weights(), 1);
    let bias = noise(shape.out_channels, 2);
    let sources: Vec<(Vec<f32>, Extent)> = shape
        .sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let scale = if source.upsampled { 2 } else { 1 };
            let extent =
                Extent { count, height: height / scale, width: width / scale, channels: source.channels };
            (noise(extent.len(), 3 + index as u64), extent)
        })
        .collect();
    let conv = Conv::new(shape.clone(), &weights, &bias).unwrap();
    let images: Vec<Images<'_>> = sources.iter().map(|(d, e)| Images::new(d, *e).unwrap()).collect();
    let extent = conv.output_extent(&images).unwrap();
    let before = noise(extent.len(), 99);
    let mut output = before.clone();
    conv.run(&images, &mut output, finish).unwrap();
    let expected = expected(shape, &weights, &bias, &sources, extent);
    let depth = (shape.group_in_channels() * shape.kernel_px * shape.kernel_px) as f64;
    for (index, (&found, &convolved)) in output.iter().zip(&expected).enumerate() {
        let mut value = convolved;
        if finish.accumulate {
            value += f64::from(before[index]);
        }
        if finish.relu {
            value = value.max(0.0);
        }
        let error = (f64::from(found) - value).abs();
        assert!(error <= 1e-6 * depth + 1e-6, "{shape:?} {extent}: number {index} is {found}, not {value}");
    }
}

fn shape(
    sources: Vec<Source>,
    out_channels: usize,
    kernel_px: usize,
    stride: usize,
    groups: usize,
) -> ConvShape {
    ConvShape { sources, out_channels, kernel_px, stride, groups }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn one_source(
        per_group in 1usize..40, out_per_group in 1usize..60, groups in 1usize..4,
        kernel_px in prop::sample::select(vec![1usize, 3]), stride in 1usize..3,
        count in 1usize..3, height in 1usize..12, width in 1usize..12,
        accumulate: bool, relu: bool,
    ) {
        let sources = vec![Source::plain(per_group * groups)];
        let finish = Finish { accumulate, relu };
        check(&shape(sources, out_per_group * groups, kernel_px, stride, groups), count, height, width, finish);
    }

    #[test]
    fn upsampled_and_plain_sources(
        sources in prop::collection::vec((1usize..20, any::<bool>()), 1..4), out_channels in 1usize..40,
        kernel_px in prop::sample::select(vec![1usize, 3]),
        count in 1usize..3, half_height in 1usize..6, half_width in 1usize..6, relu: bool,
    ) {
        let sources = sources.into_iter().map(|(channels, upsampled)| if upsampled { Source::upsampled(channels) } else { Source::plain(channels) }).collect();
        let finish = Finish { accumulate: false, relu };
        check(&shape(sources, out_channels, kernel_px, 1, 1), count, 2 * half_height, 2 * half_width, finish);
    }
}

/// Real layers are deeper than one block of weights and longer than one run of channels.
#[test]
fn deep_layers() {
    let sources = vec![Source::upsampled(888), Source::plain(336)];
    check(&shape(sources, 40, 3, 1, 1), 1, 6, 4, Finish::default());
    check(&shape(vec![Source::plain(1512)], 32, 1, 2, 1), 1, 5, 5, Finish { accumulate: true, relu: true });
}

/// Without a border the sizes of a task matter: many rows, many tasks.
#[test]
fn many_tasks() {
    check(&shape(vec![Source::plain(8)], 8, 3, 1, 1), 2, 70, 90, Finish { accumulate: false, relu: true });
    check(&shape(vec![Source::upsampled(8), Source::plain(3)], 8, 3, 1, 1), 2, 70, 90, Finish::default());
}

#[test]
fn not_a_number_is_not_hidden_by_relu() {
    let shape = shape(vec![Source::plain(1)], 8, 1, 1, 1);
    let conv = Conv::new(shape, &[1.0; 8], &[0.0; 8]).unwrap();
    let extent = Extent { count: 1, height: 1, width: 1, channels: 1 };
    let mut output = [0.0; 8];
    conv.run(
        &[Images::new(&[f32::NAN], extent).unwrap()],
        &mut output,
        Finish { accumulate: false, relu: true },
    )
    .unwrap();
    assert!(output.iter().all(|v| v.is_nan()));
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    let plain = |channels| vec![Source::plain(channels)];
    for (shape, word) in [
        (shape(Vec::new(), 8, 1, 1, 1), "source"),
        (shape(plain(8), 0, 1, 1, 1), "output"),
        (shape(plain(8), 8, 5, 1, 1), "kernels"),
        (shape(vec![Source::upsampled(8)], 8, 3, 2, 1), "stride 1"),
        (shape(vec![Source::plain(8), Source::plain(8)], 8, 3, 1, 2), "grouped"),
        (shape(plain(9), 8, 3, 1, 2), "divide"),
    ] {
        let error = Conv::new(shape, &[], &[]).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let shape = shape(plain(2), 3, 1, 1, 1);
    assert!(matches!(Conv::new(shape.clone(), &[0.0; 5], &[0.0; 3]), Err(KernelError::Weights { .. })));
    let conv = Conv::new(shape, &[0.0; 6], &[0.0; 3]).unwrap();
    let extent = Extent { count: 1, height: 2, width: 2, channels: 2 };
    let data = [0.0; 8];
    let images = Images::new(&data, extent).unwrap();
    assert!(matches!(Images::new(&data[1..], extent), Err(KernelError::Length { .. })));
    assert!(matches!(conv.run(&[], &mut [], Finish::default()), Err(KernelError::Sources { .. })));
    assert!(matches!(
        conv.run(&[images], &mut [0.0; 11], Finish::default()),
        Err(KernelError::Length { .. })
    ));
    let other = Images::new(&data, Extent { channels: 4, width: 1, ..extent }).unwrap();
    assert!(matches!(conv.run(&[other], &mut [0.0; 12], Finish::default()), Err(KernelError::Source { .. })));
}
