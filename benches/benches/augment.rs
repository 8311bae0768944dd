//! Augmentation of a tile of 1024 px on one thread: whole transforms, and each operation on a crop of 512 px.
#![expect(clippy::expect_used, reason = "a bench whose transforms do not fit has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hubmap_benches::{base_data, noisy_tile, normalized_sample, single_operations};
use hubmap_data::Normalization;
use hubmap_data::augment::{SampleView, perform_on};

const CROP_PX: u32 = 512;

fn transforms(criterion: &mut Criterion) {
    let tile = noisy_tile(1024, 0);
    let data = base_data().expect("the base config");
    let mut group = criterion.benchmark_group("transform");
    group.throughput(Throughput::Elements(1));
    for name in ["light_scale", "geometric", "val", "resize", "ssl"] {
        let transform = data.transforms.resolve(name, CROP_PX).expect("a transform");
        let mut idx = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                idx += 1;
                normalized_sample(black_box(&tile), &transform, idx).expect("a sample")
            });
        });
    }
    group.finish();
}

fn operations(criterion: &mut Criterion) {
    let crop = noisy_tile(CROP_PX as usize, 0);
    let mut group = criterion.benchmark_group("operation");
    group.throughput(Throughput::Elements(u64::from(CROP_PX * CROP_PX)));
    for (name, operation) in single_operations() {
        group.bench_function(name, |b| {
            b.iter(|| {
                perform_on(&SampleView::from(black_box(&crop)), std::slice::from_ref(&operation))
                    .expect("a sample")
            });
        });
    }
    group.bench_function("normalize", |b| b.iter(|| Normalization::KIDNEY.apply(black_box(&crop.image))));
    group.finish();
}

criterion_group!(benches, transforms, operations);
criterion_main!(benches);
