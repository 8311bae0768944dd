//! Masks of slide size: encoding, decoding, outlines; annotation files; and the reduction of tiles by 3.
#![expect(clippy::expect_used, reason = "a bench that cannot make its mask has nothing to measure")]

use std::f64::consts::TAU;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hubmap_io::{
    AnnotationReader, Feature, Mask, Polygon, Rle, RleEncoder, Size, Window, area_downscale,
    read_annotations, trace_polygons, write_annotations,
};
use ndarray::Array3;

const SIZE: Size = Size::new(20_000, 20_000);

/// As many round objects as a slide of this size has glomeruli: about 5 % of its pixels.
fn glomeruli() -> Vec<Polygon> {
    let mut state = 1_u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % n) as f64
    };
    (0..181)
        .map(|_| {
            let (x, y, radius) = (next(20_000), next(20_000), 130.0 + next(85));
            let vertex = |i: u32| {
                let angle = TAU * f64::from(i) / 48.0;
                let radius = radius * (1.0 + 0.08 * (5.0 * angle + x).sin());
                [x + radius * angle.cos(), y + radius * angle.sin()]
            };
            Polygon::new((0..48).map(vertex).collect())
        })
        .collect()
}

fn filled(polygons: &[Polygon]) -> Mask {
    let mut mask = Mask::new(SIZE);
    for polygon in polygons {
        mask.fill_polygon(polygon);
    }
    mask
}

fn masks(criterion: &mut Criterion) {
    let polygons = glomeruli();
    let mask = filled(&polygons);
    let rle = Rle::encode(&mask);
    let text = rle.to_string();
    let mut group = criterion.benchmark_group("mask20000");
    group.sample_size(10).throughput(Throughput::Elements(SIZE.area()));
    group.bench_function("fill", |b| b.iter(|| filled(black_box(&polygons))));
    group.bench_function("encode", |b| b.iter(|| Rle::encode(black_box(&mask)).to_string()));
    group.bench_function("encode_rows", |b| {
        let rows = mask.read(Window::new(0, 0, SIZE.width, 1024));
        b.iter(|| {
            let mut encoder = RleEncoder::new(SIZE);
            let mut n_rows = 0;
            while n_rows < SIZE.height {
                let n = 1024.min(SIZE.height - n_rows);
                encoder.push_rows(rows.slice(ndarray::s![..n as usize, ..]));
                n_rows += n;
            }
            encoder.finish()
        });
    });
    group.bench_function("decode", |b| {
        b.iter(|| Rle::parse(black_box(&text)).expect("runs").decode(SIZE).expect("a mask"));
    });
    let mut pixels = rle.decode_array(SIZE, 255).expect("a mask");
    group.bench_function("encode_array", |b| {
        b.iter(|| Rle::encode_array(black_box(pixels.view())).to_string());
    });
    group.bench_function("decode_into", |b| {
        b.iter(|| Rle::parse(black_box(&text)).expect("runs").decode_into(pixels.view_mut(), 255));
    });
    group.bench_function("trace", |b| b.iter(|| trace_polygons(black_box(&mask))));
    group.finish();
}

fn annotations(criterion: &mut Criterion) {
    let outlines = glomeruli();
    let features: Vec<_> =
        outlines.iter().cycle().take(20_000).map(|p| Feature::new("glomerulus", p.clone())).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("annotations");
    for name in ["plain.geojson", "gzip.geojson.gz"] {
        let path = folder.path().join(name);
        write_annotations(&path, &features).expect("a file");
        let n_bytes = std::fs::metadata(folder.path().join("plain.geojson")).expect("a file").len();
        group.sample_size(10).throughput(Throughput::Bytes(n_bytes));
        group.bench_function(format!("write/{name}"), |b| b.iter(|| write_annotations(&path, &features)));
        group.bench_function(format!("read/{name}"), |b| b.iter(|| read_annotations(&path)));
        group.bench_function(format!("stream/{name}"), |b| {
            b.iter(|| AnnotationReader::open(&path).expect("a file").flatten().count());
        });
    }
    group.finish();
}

fn reduce(criterion: &mut Criterion) {
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let mut group = criterion.benchmark_group("area_downscale");
    for (name, side) in [("divisible", 3072), ("remainder", 3073)] {
        let pixels = Array3::from_shape_fn((side, side, 3), |(y, x, c)| (x * 7 + y * 13 + c * 50) as u8);
        group.sample_size(10).throughput(Throughput::Bytes(pixels.len() as u64));
        group.bench_function(name, |b| b.iter(|| area_downscale(black_box(pixels.view()), 3)));
        group.bench_function(format!("{name}_one_thread"), |b| {
            b.iter(|| one_thread.install(|| area_downscale(black_box(pixels.view()), 3)));
        });
    }
    group.finish();
}

criterion_group!(benches, masks, annotations, reduce);
criterion_main!(benches);
