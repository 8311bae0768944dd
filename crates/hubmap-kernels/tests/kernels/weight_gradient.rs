//! Weight gradients against their definition.

use hubmap_kernels::{ConvShape, Extent, Images, Source, weight_gradient};

use crate::noise;

/// The definition, in double precision.
fn by_definition(shape: &ConvShape, sources: &[Images<'_>], gradient: Images<'_>) -> Vec<f64> {
    let (k, n_in, out) = (shape.kernel_px, shape.group_in_channels(), gradient.extent());
    let out_group = shape.out_channels / shape.groups;
    let mut weights = vec![0.0; shape.n_weights()];
    for at in 0..out.pixels() {
        let (n, oy, ox) = (at / out.width / out.height, at / out.width % out.height, at % out.width);
        for tap in 0..k * k {
            let y = (oy * shape.stride + tap / k).wrapping_sub(k / 2);
            let x = (ox * shape.stride + tap % k).wrapping_sub(k / 2);
            let mut first = 0;
            for (source, images) in shape.sources.iter().zip(sources) {
                let extent = images.extent();
                let scale = if source.upsampled { 2 } else { 1 };
                let n_channels = extent.channels / shape.groups;
                if y < extent.height * scale && x < extent.width * scale {
                    let pixel = (n * extent.height + y / scale) * extent.width + x / scale;
                    for o in 0..out.channels {
                        for i in 0..n_channels {
                            let channel = o / out_group * n_channels + i;
                            let value = images.data()[pixel * extent.channels + channel];
                            weights[(o * n_in + first + i) * k * k + tap] +=
                                f64::from(value) * f64::from(gradient.data()[at * out.channels + o]);
                        }
                    }
                }
                first += n_channels;
            }
        }
    }
    weights
}

#[track_caller]
fn check(shape: &ConvShape, (count, height, width): (usize, usize, usize)) {
    let extents: Vec<Extent> = shape
        .sources
        .iter()
        .map(|s| {
            let scale = if s.upsampled { 2 } else { 1 };
            Extent { count, height: height / scale, width: width / scale, channels: s.channels }
        })
        .collect();
    let data: Vec<Vec<f32>> = extents.iter().map(|e| noise(e.len(), e.channels as u64)).collect();
    let sources: Vec<Images<'_>> =
        data.iter().zip(&extents).map(|(data, &extent)| Images::new(data, extent).unwrap()).collect();
    let out = shape.output_extent(&sources).unwrap();
    let gradient = noise(out.len(), 2);
    let gradient = Images::new(&gradient, out).unwrap();
    let found = weight_gradient(shape, &sources, gradient).unwrap();
    let expected = by_definition(shape, &sources, gradient);
    assert_eq!(found.len(), expected.len());
    let tolerance = 1e-6 * (out.pixels() as f64).max(8.0);
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= tolerance, "{shape:?} of {out}, weight {at}: {found}, not {expected}");
    }
}

#[test]
fn one_source_agrees_with_the_definition() {
    // images, height, width, input channels, output channels, kernel, stride, groups
    let cases = [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [2, 5, 7, 8, 4, 1, 1, 1],
        [3, 6, 5, 29, 13, 1, 1, 1],
        [2, 9, 8, 48, 24, 1, 2, 1],
        [2, 7, 9, 5, 3, 3, 1, 1],
        [1, 33, 300, 16, 6, 3, 1, 1],
        [2, 8, 8, 16, 1, 3, 1, 1],
        [2, 11, 6, 3, 32, 3, 2, 1],
        [2, 8, 10, 48, 48, 3, 1, 2],
        [2, 9, 12, 48, 24, 3, 2, 3],
        [1, 4, 4, 6, 12, 3, 1, 6],
        [4, 40, 40, 32, 16, 3, 1, 1],
    ];
    for [count, height, width, in_channels, out_channels, kernel_px, stride, groups] in cases {
        let sources = vec![Source::plain(in_channels)];
        check(&ConvShape { sources, out_channels, kernel_px, stride, groups }, (count, height, width));
    }
}

#[test]
fn several_and_upsampled_sources_agree_with_the_definition() {
    let cases = [
        (vec![Source::upsampled(16)], 8, 3, (2, 6, 10)),
        (vec![Source::upsampled(5)], 3, 1, (1, 4, 2)),
        (vec![Source::upsampled(56), Source::plain(24)], 12, 3, (2, 16, 18)),
        (vec![Source::plain(7), Source::upsampled(9), Source::plain(32)], 5, 3, (3, 2, 4)),
    ];
    for (sources, out_channels, kernel_px, size) in cases {
        check(&ConvShape { sources, out_channels, kernel_px, stride: 1, groups: 1 }, size);
    }
}
