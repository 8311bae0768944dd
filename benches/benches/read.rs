//! Windowed reads of slides: codec by tile size, windows on and off the tile grid, one thread and all.
#![expect(clippy::expect_used, reason = "a bench that cannot make its slide has nothing to measure")]

use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hubmap_io::{Compression, Layout, RasterReader as _, Size, TiffSlide, TiffSpec, TiffWriter, Window};

const SLIDE: Size = Size::new(4096, 4096);

/// Side of a window, that of a training tile before it is reduced by 3.
const WINDOW_PX: u32 = 3072;

const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("lzw", Compression::Lzw),
    ("deflate", Compression::Deflate),
    ("zstd", Compression::Zstd),
    ("jpeg", Compression::Jpeg { quality: 85 }),
];

/// Writes a slide whose pixels compress about as well as stained tissue: smooth colour, noise in the low bits.
fn write_slide(path: &Path, layout: Layout, compression: Compression) {
    let spec = TiffSpec { layout, compression, predictor: false, ..TiffSpec::rgb(SLIDE) };
    let mut writer = TiffWriter::create(path, spec).expect("a slide");
    let mut state = 1_u64;
    let paint = |y0: u32, mut rows: ndarray::ArrayViewMut3<'_, u8>| {
        for ((row, x, band), pixel) in rows.indexed_iter_mut() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let y = y0 as usize + row;
            let shade = 160.0 + 50.0 * ((x as f32 / 90.0).sin() * (y as f32 / 70.0).cos());
            *pixel = shade as u8 ^ (state >> 62) as u8 ^ (band as u8 * 24);
        }
        Ok(())
    };
    writer.write_with(paint).expect("rows");
    writer.finish().expect("a finished slide");
}

fn layouts() -> Vec<(String, Layout)> {
    let tiled = [256, 512, 1024].map(|tile| (format!("tile{tile}"), Layout::Tiled { tile, planar: false }));
    let others = [
        ("planar256".to_owned(), Layout::Tiled { tile: 256, planar: true }),
        ("pages256".to_owned(), Layout::Pages { tile: 256 }),
        ("strips64".to_owned(), Layout::Strips { rows: 64, planar: false }),
    ];
    tiled.into_iter().chain(others).collect()
}

fn read(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let all_threads = rayon::ThreadPoolBuilder::new().build().expect("threads");
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10);
    for (layout_name, layout) in layouts() {
        for (codec_name, compression) in CODECS {
            let path = folder.path().join(format!("{layout_name}-{codec_name}.tiff"));
            write_slide(&path, layout, compression);
            let slide = TiffSlide::open(&path).expect("the slide");
            for (place, origin) in [("aligned", 0), ("unaligned", 357)] {
                let window = Window::new(origin, origin, WINDOW_PX, WINDOW_PX);
                let mut out = slide.read(window).expect("pixels");
                group.throughput(Throughput::Bytes(out.len() as u64));
                for (pool_name, pool) in [("1", &one_thread), ("all", &all_threads)] {
                    let id = BenchmarkId::new(format!("{codec_name}/{layout_name}/{place}"), pool_name);
                    group.bench_function(id, |bencher| {
                        bencher.iter(|| {
                            pool.install(|| slide.read_into(window, out.view_mut())).expect("pixels");
                        });
                    });
                }
            }
        }
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
