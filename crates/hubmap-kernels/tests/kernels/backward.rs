//! The convolution backward is the transpose of the convolution: `<conv(x), g> = <x, backward(g)>` for all x and g.

use hubmap_kernels::{Conv, ConvShape, Extent, Finish, Images, Source};

use crate::noise;

fn run(conv: &Conv, sources: &[Images<'_>]) -> (Vec<f32>, Extent) {
    let extent = conv.output_extent(sources).unwrap();
    let mut out = vec![f32::NAN; extent.len()];
    conv.run(sources, &mut out, Finish::default()).unwrap();
    (out, extent)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[track_caller]
fn check(shape: &ConvShape, (count, height, width): (usize, usize, usize)) {
    let weights = noise(shape.n_weights(), 3);
    let conv = Conv::new(shape.clone(), &weights, &vec![0.0; shape.out_channels]).unwrap();
    let extents: Vec<Extent> = shape
        .sources
        .iter()
        .map(|s| {
            let scale = if s.upsampled { 2 } else { 1 };
            Extent { count, height: height / scale, width: width / scale, channels: s.channels }
        })
        .collect();
    for (index, extent) in extents.iter().enumerate() {
        // Only this source is not zero, and of it only one number, which then must come back.
        for at in (0..extent.len()).step_by(extent.len() / 23 + 1) {
            let mut data: Vec<Vec<f32>> = extents.iter().map(|e| vec![0.0; e.len()]).collect();
            data[index][at] = 1.0;
            let sources: Vec<Images<'_>> =
                data.iter().zip(&extents).map(|(data, &extent)| Images::new(data, extent).unwrap()).collect();
            let (out, out_extent) = run(&conv, &sources);
            let gradient = noise(out.len(), 5);
            let back = Conv::backward(shape, index, &weights).unwrap();
            let (found, found_extent) = run(&back, &[Images::new(&gradient, out_extent).unwrap()]);
            assert_eq!(found_extent, *extent);
            let error = (f64::from(found[at]) - dot(&out, &gradient)).abs();
            assert!(error < 1e-4, "{shape:?}, source {index} at {at}: off by {error}");
        }
    }
}

#[test]
fn one_source() {
    // height, width, input channels, output channels, kernel, stride, groups
    let cases = [
        [5, 7, 9, 6, 1, 1, 1],
        [6, 8, 10, 12, 1, 2, 1],
        [6, 9, 24, 5, 3, 1, 1],
        [8, 6, 7, 20, 3, 2, 1],
        [10, 8, 48, 48, 3, 2, 2],
        [7, 8, 24, 48, 3, 1, 3],
    ];
    for [height, width, in_channels, out_channels, kernel_px, stride, groups] in cases {
        let sources = vec![Source::plain(in_channels)];
        check(&ConvShape { sources, out_channels, kernel_px, stride, groups }, (2, height, width));
    }
}

#[test]
fn several_and_upsampled_sources() {
    let sources = vec![Source::upsampled(26), Source::plain(9)];
    check(&ConvShape { sources, out_channels: 11, kernel_px: 3, stride: 1, groups: 1 }, (2, 8, 6));
    let sources = vec![Source::upsampled(3)];
    check(&ConvShape { sources, out_channels: 8, kernel_px: 1, stride: 1, groups: 1 }, (1, 4, 2));
}
