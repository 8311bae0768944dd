//! Means, gates, single-channel convolutions and joins equal their definitions.

use hubmap_kernels::gates::{apply_gates, channel_means};
use hubmap_kernels::upsampling::concatenate;
use hubmap_kernels::{Conv, ConvShape, Extent, Finish, Images, KernelError, Source, ThinConv};
use proptest::prelude::*;

use crate::noise;

fn close(found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        prop_assert!((found - expected).abs() <= tolerance, "number {index} is {found}, not {expected}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn thin_convolution_is_a_convolution(
        channels in 1usize..40, kernel_px in prop::sample::select(vec![1usize, 3]),
        count in 1usize..3, height in 1usize..9, width in 1usize..14,
    ) {
        let extent = Extent { count, height, width, channels };
        let data = noise(extent.len(), 1);
        let images = Images::new(&data, extent).unwrap();
        let weights = noise(channels * kernel_px * kernel_px, 2);
        let shape = ConvShape {
            sources: vec![Source::plain(channels)], out_channels: 1, kernel_px, stride: 1, groups: 1,
        };
        let mut expected = vec![0.0; extent.pixels()];
        Conv::new(shape, &weights, &[0.25]).unwrap().run(&[images], &mut expected, Finish::default()).unwrap();
        let mut found = vec![0.0; extent.pixels()];
        ThinConv::new(channels, kernel_px, &weights, 0.25).unwrap().run(images, &mut found).unwrap();
        close(&found, &expected, 1e-4)?;
    }

    #[test]
    fn gated_weights_equal_gated_inputs(
        below in 1usize..12, skip in 1usize..12, out_channels in 1usize..60,
        kernel_px in prop::sample::select(vec![1usize, 3]), groups in 1usize..4,
    ) {
        for (sources, groups) in [
            (vec![Source::upsampled(below), Source::plain(skip)], 1),
            (vec![Source::plain(below * groups)], groups),
        ] {
            let shape =
                ConvShape { sources: sources.clone(), out_channels: out_channels * groups, kernel_px, stride: 1, groups };
            let conv = Conv::new(shape.clone(), &noise(shape.n_weights(), 1), &noise(shape.out_channels, 2)).unwrap();
            let channels: usize = sources.iter().map(|s| s.channels).sum();
            let gates = noise(channels, 3);
            let mut first = 0;
            let inputs: Vec<(Extent, Vec<f32>, Vec<f32>)> = sources.iter().map(|source| {
                let side = if source.upsampled { 3 } else { 6 };
                let extent = Extent { count: 2, height: side, width: side, channels: source.channels };
                let data = noise(extent.len(), 4);
                let gated = data.iter().zip(gates[first..first + source.channels].iter().cycle()).map(|(d, g)| d * g).collect();
                first += source.channels;
                (extent, data, gated)
            }).collect();
            let plain: Vec<Images<'_>> = inputs.iter().map(|(e, d, _)| Images::new(d, *e).unwrap()).collect();
            let gated: Vec<Images<'_>> = inputs.iter().map(|(e, _, g)| Images::new(g, *e).unwrap()).collect();
            let mut expected = vec![0.0; conv.output_extent(&gated).unwrap().len()];
            conv.run(&gated, &mut expected, Finish::default()).unwrap();
            let mut found = vec![0.0; expected.len()];
            let mut buffer = vec![1.0; 7];
            conv.gated(&gates, &mut buffer).unwrap().run(&plain, &mut found, Finish::default()).unwrap();
            close(&found, &expected, 1e-4)?;
        }
    }

    #[test]
    fn means_and_gates(channels in 1usize..30, count in 1usize..4, height in 1usize..40, width in 1usize..40) {
        let extent = Extent { count, height, width, channels };
        let mut data = noise(extent.len(), 1);
        let pixels = height * width;
        let expected: Vec<f32> = (0..count * channels).map(|i| {
            let (n, c) = (i / channels, i % channels);
            let sum: f64 = (0..pixels).map(|p| f64::from(data[(n * pixels + p) * channels + c])).sum();
            (sum / pixels as f64) as f32
        }).collect();
        close(&channel_means(Images::new(&data, extent).unwrap()), &expected, 1e-5)?;

        let (channel, pixel) = (noise(count * channels, 2), noise(extent.pixels(), 3));
        let expected: Vec<f32> = (0..extent.len()).map(|i| {
            let (p, c) = (i / channels, i % channels);
            data[i] * channel[p / pixels * channels + c] + data[i] * pixel[p]
        }).collect();
        apply_gates(&mut data, extent, &channel, &pixel).unwrap();
        close(&data, &expected, 1e-5)?;
    }

    #[test]
    fn joined_sources(below in 1usize..9, skip in 1usize..9, height in 1usize..6, width in 1usize..6) {
        let low = Extent { count: 2, height, width, channels: below };
        let full = Extent { count: 2, height: 2 * height, width: 2 * width, channels: skip };
        let (a, b) = (noise(low.len(), 1), noise(full.len(), 2));
        let sources = [(Images::new(&a, low).unwrap(), true), (Images::new(&b, full).unwrap(), false)];
        let mut joined = vec![0.0; full.pixels() * (below + skip)];
        let extent = concatenate(&sources, &mut joined).unwrap();
        prop_assert_eq!(extent, Extent { channels: below + skip, ..full });
        for (p, pixel) in joined.chunks(below + skip).enumerate() {
            let (n, y, x) = (p / (4 * height * width), p / (2 * width) % (2 * height), p % (2 * width));
            let source = (n * height + y / 2) * width + x / 2;
            prop_assert_eq!(&pixel[..below], &a[source * below..][..below]);
            prop_assert_eq!(&pixel[below..], &b[p * skip..][..skip]);
        }
    }
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    let extent = Extent { count: 1, height: 2, width: 2, channels: 2 };
    let data = [0.0; 8];
    let images = Images::new(&data, extent).unwrap();
    assert!(matches!(ThinConv::new(2, 2, &[0.0; 8], 0.0), Err(KernelError::Shape { .. })));
    assert!(matches!(ThinConv::new(2, 1, &[0.0; 8], 0.0), Err(KernelError::Weights { .. })));
    let thin = ThinConv::new(3, 1, &[0.0; 3], 0.0).unwrap();
    assert!(matches!(thin.run(images, &mut [0.0; 4]), Err(KernelError::Source { .. })));
    let thin = ThinConv::new(2, 1, &[0.0; 2], 0.0).unwrap();
    assert!(matches!(thin.run(images, &mut [0.0; 5]), Err(KernelError::Length { .. })));
    assert!(matches!(
        apply_gates(&mut [0.0; 8], extent, &[0.0; 3], &[0.0; 4]),
        Err(KernelError::Length { .. })
    ));
    assert!(matches!(concatenate(&[], &mut []), Err(KernelError::Sources { .. })));
    assert!(matches!(
        concatenate(&[(images, true), (images, false)], &mut [0.0; 8]),
        Err(KernelError::Source { .. })
    ));
    let shape =
        ConvShape { sources: vec![Source::plain(2)], out_channels: 1, kernel_px: 1, stride: 1, groups: 1 };
    let conv = Conv::new(shape, &[0.0; 2], &[0.0]).unwrap();
    assert!(matches!(conv.gated(&[0.0; 3], &mut Vec::new()), Err(KernelError::Gates { .. })));
}
