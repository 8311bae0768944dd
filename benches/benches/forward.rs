//! Convolutions by block type, and forward passes of whole networks in their inference form.

use std::hint::black_box;

use burn::tensor::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hubmap_kernels::gates::{apply_gates, channel_means};
use hubmap_kernels::{Conv, ConvShape, Extent, Finish, Images, Source, ThinConv};
use hubmap_models::{Attention, CpuModel, DecoderKind, EncoderKind, SegModelConfig};

/// Layers of Unet-regnety_016 on a tile of 512 px: name, sources, output channels, window, stride, groups, side of the output.
fn layers() -> Vec<(&'static str, ConvShape, usize)> {
    let layer = |name, sources: &[Source], out_channels, kernel_px, stride, groups, side| {
        let shape = ConvShape { sources: sources.to_vec(), out_channels, kernel_px, stride, groups };
        (name, shape, side)
    };
    let plain = Source::plain;
    vec![
        layer("stem", &[plain(3)], 32, 3, 2, 1, 256),
        layer("pointwise_stage1", &[plain(48)], 48, 1, 1, 1, 128),
        layer("pointwise_stage3", &[plain(336)], 336, 1, 1, 1, 32),
        layer("pointwise_stage4", &[plain(888)], 888, 1, 1, 1, 16),
        layer("downsample_stage4", &[plain(336)], 888, 1, 2, 1, 16),
        layer("grouped_stage1", &[plain(48)], 48, 3, 1, 2, 128),
        layer("grouped_stage3", &[plain(336)], 336, 3, 1, 14, 32),
        layer("grouped_stride2_stage3", &[plain(336)], 336, 3, 2, 14, 32),
        layer("dense_decoder1", &[plain(256)], 256, 3, 1, 1, 32),
        layer("dense_decoder4", &[plain(32)], 32, 3, 1, 1, 256),
        layer("upsampled_and_skip_decoder1", &[Source::upsampled(888), plain(336)], 256, 3, 1, 1, 32),
        layer("upsampled_and_skip_decoder3", &[Source::upsampled(128), plain(48)], 64, 3, 1, 1, 128),
        layer("upsampled_decoder5", &[Source::upsampled(32)], 16, 3, 1, 1, 512),
    ]
}

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("layer");
    for (name, shape, side) in layers() {
        let weights = vec![0.01; shape.n_weights()];
        let inputs: Vec<(Extent, Vec<f32>)> = shape
            .sources
            .iter()
            .map(|source| {
                let side = if source.upsampled { side / 2 } else { side * shape.stride };
                let extent = Extent { count: 1, height: side, width: side, channels: source.channels };
                (extent, vec![0.5; extent.len()])
            })
            .collect();
        let products = (side * side * shape.n_weights()) as u64;
        let Ok(conv) = Conv::new(shape.clone(), &weights, &vec![0.0; shape.out_channels]) else { continue };
        let images: Vec<Images<'_>> =
            inputs.iter().filter_map(|(extent, data)| Images::new(data, *extent).ok()).collect();
        let mut output = vec![0.0; side * side * shape.out_channels];
        // Products as the layer defines them: an upsampled source needs fewer.
        group.throughput(Throughput::Elements(products));
        group.bench_function(name, |b| {
            b.iter(|| conv.run(&images, &mut output, Finish { accumulate: false, relu: true }));
        });
    }
    let extent = Extent { count: 1, height: 512, width: 512, channels: 16 };
    let mut data = vec![0.5; extent.len()];
    let mut pixels = vec![0.5; extent.pixels()];
    group.throughput(Throughput::Elements(extent.len() as u64));
    if let (Ok(head), Ok(images)) = (ThinConv::new(16, 3, &[0.01; 144], 0.0), Images::new(&data, extent)) {
        group.bench_function("head", |b| b.iter(|| head.run(images, &mut pixels)));
        group.bench_function("channel_means", |b| b.iter(|| black_box(channel_means(images))));
    }
    group.bench_function("apply_gates", |b| b.iter(|| apply_gates(&mut data, extent, &[0.5; 16], &pixels)));
    group.finish();
}

fn models(c: &mut Criterion) {
    const SIDE: usize = 256;
    let mut group = c.benchmark_group("model");
    group.sample_size(10);
    group.throughput(Throughput::Elements((SIDE * SIDE) as u64));
    let image = vec![0.5; 3 * SIDE * SIDE];
    for encoder in [EncoderKind::RegNetY002, EncoderKind::RegNetY016, EncoderKind::RegNetX032] {
        for &decoder in DecoderKind::ALL {
            for &attention in Attention::ALL {
                let config = SegModelConfig { encoder, decoder, attention };
                let Ok(model) = CpuModel::new(&config.init(&Device::flex())) else { continue };
                let id = BenchmarkId::new(config.to_string(), SIDE);
                group.bench_function(id, |b| b.iter(|| black_box(model.forward(&image, 1, SIDE, SIDE))));
            }
        }
    }
    group.finish();
}

criterion_group!(benches, blocks, models);
criterion_main!(benches);
