//! Writing pyramids: order of arrival, every kind of sample, levels against reductions of the whole image.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;

use hubmap_io::{
    Compression, Error, PyramidSpec, PyramidWriter, RasterReader as _, Reduction, Sample, SampleKind, Size,
    TiffFile, TiffSlide,
};
use ndarray::{Array3, Axis, s};
use proptest::prelude::*;

/// A sample type with the arithmetic of the reference.
trait Value: Sample + PartialEq + std::fmt::Debug {
    fn from_noise(noise: u32) -> Self;
    fn mean(values: &[Self]) -> Self;
    fn from_bytes(bytes: &[u8]) -> Self;
}

impl Value for u8 {
    fn from_noise(noise: u32) -> Self {
        noise as Self
    }
    fn mean(values: &[Self]) -> Self {
        (values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64 + 0.5).floor() as Self
    }
    fn from_bytes(bytes: &[u8]) -> Self {
        bytes[0]
    }
}

impl Value for u16 {
    fn from_noise(noise: u32) -> Self {
        noise as Self
    }
    fn mean(values: &[Self]) -> Self {
        (values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64 + 0.5).floor() as Self
    }
    fn from_bytes(bytes: &[u8]) -> Self {
        Self::from_ne_bytes(bytes.try_into().unwrap())
    }
}

impl Value for f32 {
    fn from_noise(noise: u32) -> Self {
        // Sums of few such fractions are exact in any order.
        (noise % 4096) as Self / 4096.0
    }
    fn mean(values: &[Self]) -> Self {
        values.iter().sum::<Self>() / values.len() as Self
    }
    fn from_bytes(bytes: &[u8]) -> Self {
        Self::from_ne_bytes(bytes.try_into().unwrap())
    }
}

/// Blobs of noise with nothing between them, so that some tiles are empty.
fn picture<T: Value>(size: Size, bands: usize, seed: u32) -> Array3<T> {
    Array3::from_shape_fn((size.height as usize, size.width as usize, bands), |(y, x, band)| {
        let hash = |a: u32, b: u32| {
            let mixed = (a.wrapping_mul(0x9E37_79B9) ^ b.wrapping_mul(0x85EB_CA6B)).wrapping_add(seed);
            (mixed ^ (mixed >> 15)).wrapping_mul(0x2C1B_3C6D) >> 7
        };
        let is_blob = hash((y / 20) as u32, (x / 20) as u32) % 3 == 0;
        let noise = hash((y * 3 + band) as u32, x as u32);
        if is_blob && !noise.is_multiple_of(4) { T::from_noise(noise) } else { T::default() }
    })
}

/// The next level of a whole image.
fn reduced<T: Value>(image: &Array3<T>, reduction: Reduction) -> Array3<T> {
    let (height, width, bands) = image.dim();
    Array3::from_shape_fn((height.div_ceil(2), width.div_ceil(2), bands), |(y, x, band)| match reduction {
        Reduction::Nearest => image[(2 * y, 2 * x, band)],
        Reduction::Mean => {
            let cell = image.slice(s![2 * y..(2 * y + 2).min(height), 2 * x..(2 * x + 2).min(width), band]);
            T::mean(&cell.iter().copied().collect::<Vec<_>>())
        }
    })
}

/// Levels that the file must have.
fn levels<T: Value>(spec: &PyramidSpec, image: &Array3<T>) -> Vec<Array3<T>> {
    let mut levels = vec![image.clone()];
    for _ in 1..spec.level_sizes().len() {
        levels.push(reduced(levels.last().unwrap(), spec.reduction));
    }
    levels
}

/// Levels that the file has, in the order of the chain.
fn stored<T: Value>(path: &Path) -> Vec<Array3<T>> {
    let file = TiffFile::open(path).unwrap();
    assert!(file.damage().is_none());
    let chain = file.pages().iter().enumerate().filter(|(_, info)| !info.name.contains('/'));
    chain
        .map(|(idx, info)| {
            assert_eq!(info.is_reduced(), info.name != "0", "page {}", info.name);
            page(&file, idx)
        })
        .collect()
}

fn page<T: Value>(file: &TiffFile, idx: usize) -> Array3<T> {
    let raw = file.read_page(idx).unwrap();
    let (height, width, _) = raw.bytes.dim();
    let values: Vec<T> = raw.bytes.as_slice().unwrap().chunks(raw.sample_len).map(T::from_bytes).collect();
    Array3::from_shape_vec((height, width, raw.bands), values).unwrap()
}

/// How tiles arrive.
#[derive(Debug, Clone)]
enum Order {
    Rows,
    Columns,
    /// Sorted by noise with this seed.
    Random(u32),
    /// The same from three threads at once.
    Threads(u32),
    /// The whole image as one block.
    Block,
    /// Bands from top to bottom.
    Bands,
}

fn write<T: Value>(path: &Path, spec: &PyramidSpec, image: &Array3<T>, order: &Order) {
    let writer = PyramidWriter::create(path, spec.clone()).unwrap();
    let tile = spec.tile;
    let (across, down) = (spec.size.width.div_ceil(tile), spec.size.height.div_ceil(tile));
    let mut places: Vec<(u32, u32)> =
        (0..down).flat_map(|row| (0..across).map(move |column| (column, row))).collect();
    let put = |&(column, row): &(u32, u32)| {
        let part = |idx: u32, side: u32| (idx * tile) as usize..((idx + 1) * tile).min(side) as usize;
        let tile = image.slice(s![part(row, spec.size.height), part(column, spec.size.width), ..]);
        writer.write_tile(column, row, &tile).unwrap();
    };
    let noise = |seed: u32| {
        move |&(column, row): &(u32, u32)| (column * 1009 + row * 9176 + seed).wrapping_mul(0x9E37_79B1) >> 8
    };
    match *order {
        Order::Rows => places.iter().for_each(put),
        Order::Columns => {
            places.sort_unstable();
            places.iter().for_each(put);
        }
        Order::Random(seed) => {
            places.sort_by_key(noise(seed));
            places.iter().for_each(put);
        }
        Order::Threads(seed) => {
            places.sort_by_key(noise(seed));
            let put = &put;
            std::thread::scope(|scope| {
                for part in places.chunks(places.len().div_ceil(3)) {
                    scope.spawn(move || part.iter().for_each(put));
                }
            });
        }
        Order::Block => writer.write_block(0, 0, image).unwrap(),
        Order::Bands => writer
            .write_with(|y, mut rows| {
                let (y, n_rows) = (y as usize, rows.len_of(Axis(0)));
                rows.assign(&image.slice(s![y..y + n_rows, .., ..]));
                Ok(())
            })
            .unwrap(),
    }
    writer.finish().unwrap();
}

fn check<T: Value>(spec: &PyramidSpec, image: &Array3<T>, order: &Order) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pyramid.tiff");
    write(&path, spec, image, order);
    let (found, expected) = (stored::<T>(&path), levels(spec, image));
    assert_eq!(found.len(), expected.len(), "levels of {spec:?}");
    for (level, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.dim(), expected.dim(), "level {level} of {spec:?}, {order:?}");
        assert!(found == expected, "pixels of level {level} differ: {spec:?}, {order:?}");
    }
    let n_files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(n_files, 1);
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Rows),
        Just(Order::Columns),
        any::<u16>().prop_map(|seed| Order::Random(seed.into())),
        any::<u16>().prop_map(|seed| Order::Threads(seed.into())),
        Just(Order::Block),
        Just(Order::Bands),
    ]
}

fn specs() -> impl Strategy<Value = PyramidSpec> {
    let samples = prop_oneof![
        Just((SampleKind::Bit, 1)),
        Just((SampleKind::U8, 1)),
        Just((SampleKind::U8, 3)),
        Just((SampleKind::U16, 1)),
        Just((SampleKind::F32, 1)),
        Just((SampleKind::F32, 3)),
    ];
    let compression = prop_oneof![
        Just(Compression::None),
        Just(Compression::Lzw),
        Just(Compression::Deflate),
        Just(Compression::Zstd),
    ];
    let shape = (1_u32..150, 1_u32..150, prop_oneof![Just(16_u32), Just(32)], proptest::option::of(1_u32..5));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (samples, compression, shape, flags, prop_oneof![Just(0_usize), Just(1500), Just(1 << 20)]).prop_map(
        |(
            (samples, bands),
            compression,
            (width, height, tile, n_levels),
            (predictor, is_mean, ome),
            memory_bytes,
        )| {
            let can_predict =
                compression != Compression::None && matches!(samples, SampleKind::U8 | SampleKind::U16);
            PyramidSpec {
                bands,
                tile,
                compression,
                n_levels,
                predictor: predictor && can_predict,
                reduction: if is_mean { Reduction::Mean } else { Reduction::Nearest },
                ome,
                memory_bytes,
                ..PyramidSpec::mask(Size::new(width, height), samples)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn levels_are_reductions_of_the_image_in_any_order_of_arrival(
        spec in specs(), order in orders(), seed in any::<u32>(),
    ) {
        let bands = usize::from(spec.bands);
        match spec.samples {
            SampleKind::Bit => check(&spec, &picture::<u8>(spec.size, bands, seed).mapv(|v| v % 2), &order),
            SampleKind::U8 => check(&spec, &picture::<u8>(spec.size, bands, seed), &order),
            SampleKind::U16 => check(&spec, &picture::<u16>(spec.size, bands, seed), &order),
            SampleKind::F32 => check(&spec, &picture::<f32>(spec.size, bands, seed), &order),
        }
    }
}

#[test]
fn all_orders_and_budgets_of_one_large_pyramid_agree() {
    let image = picture::<u8>(Size::new(700, 530), 3, 5);
    for memory_bytes in [0, 5000, usize::MAX] {
        let spec = PyramidSpec { tile: 32, memory_bytes, ..PyramidSpec::rgb(Size::new(700, 530)) };
        for order in
            [Order::Rows, Order::Columns, Order::Random(1), Order::Threads(2), Order::Block, Order::Bands]
        {
            check(&spec, &image, &order);
        }
    }
}

#[test]
fn blocks_give_the_same_bytes_on_any_number_of_threads() {
    let image = picture::<u8>(Size::new(700, 530), 1, 9);
    let folder = tempfile::tempdir().unwrap();
    for memory_bytes in [0, 5000, usize::MAX] {
        let mask = PyramidSpec::mask(Size::new(700, 530), SampleKind::U8);
        let spec = PyramidSpec { tile: 32, memory_bytes, ..mask };
        for order in [Order::Block, Order::Bands] {
            let files = [1, 2, 8, 8].map(|n_threads| {
                let path = folder.path().join("pyramid.tiff");
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                pool.install(|| write(&path, &spec, &image, &order));
                std::fs::read(path).unwrap()
            });
            assert!(files.iter().all(|file| *file == files[0]), "{order:?} in {memory_bytes} bytes");
        }
    }
}

#[test]
fn lossy_pyramids_do_not_depend_on_the_order_of_arrival() {
    let size = Size::new(300, 211);
    let image = Array3::from_shape_fn((211, 300, 3), |(y, x, band)| ((x + y * 2) / 4 + band * 20) as u8);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    for quality in [80, 95] {
        let compression = Compression::Jpeg { quality };
        let spec = PyramidSpec { tile: 64, compression, predictor: false, ..PyramidSpec::rgb(size) };
        write(&path, &spec, &image, &Order::Rows);
        let first = stored::<u8>(&path);
        write(&path, &spec, &image, &Order::Threads(7));
        assert!(stored::<u8>(&path) == first);
        for (found, expected) in first.iter().zip(levels(&spec, &image)) {
            let sum: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
            let mean = sum / expected.len() as f64;
            assert!(mean < 3.0, "quality {quality}, level of {:?}: {mean}", expected.dim());
        }
    }
}

#[test]
fn tiles_that_never_arrive_are_zero_and_take_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.tiff");
    for memory_bytes in [0, 1 << 20] {
        let size = Size::new(300, 200);
        let spec = PyramidSpec { tile: 32, memory_bytes, ..PyramidSpec::probabilities(size, SampleKind::U8) };
        let mut image = Array3::zeros((200, 300, 1));
        let writer = PyramidWriter::create(&path, spec.clone()).unwrap();
        for (column, row, value) in [(2_u32, 1_u32, 200_u8), (3, 1, 90), (9, 6, 7)] {
            let (x, y) = (column as usize * 32, row as usize * 32);
            let mut part = image.slice_mut(s![y..(y + 32).min(200), x..(x + 32).min(300), ..]);
            part.fill(value);
            writer.write_tile(column, row, &part).unwrap();
        }
        writer.finish().unwrap();
        assert!(stored::<u8>(&path) == levels(&spec, &image), "{memory_bytes} bytes");
        let n_bytes = std::fs::metadata(&path).unwrap().len();
        assert!(n_bytes < 4000, "{n_bytes} bytes");
    }
}

#[test]
fn ome_files_have_their_levels_in_the_chain_and_as_sub_ifds() {
    let size = Size::new(150, 100);
    let image = picture::<u16>(size, 1, 9);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.ome.tiff");
    let spec = PyramidSpec {
        tile: 32,
        ome: true,
        microns_per_px: Some(0.25),
        description: Some("kidney <3".to_owned()),
        ..PyramidSpec::probabilities(size, SampleKind::U16)
    };
    write(&path, &spec, &image, &Order::Rows);
    let file = TiffFile::open(&path).unwrap();
    let names: Vec<&str> = file.pages().iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["0", "0/sub0", "0/sub1", "0/sub2", "1", "2", "3"]);
    for (child, level) in [(1, 4), (2, 5), (3, 6)] {
        assert_eq!(file.pages()[child].size, file.pages()[level].size);
        assert!(file.pages()[child].is_reduced());
        assert!(page::<u16>(&file, child) == page::<u16>(&file, level));
    }
    let text = file.description(0).unwrap();
    assert!(text.starts_with("<?xml") && text.contains("kidney &lt;3"), "{text}");
    assert_eq!(file.description(4), None);
    let microns: Vec<f64> = file.pages().iter().map(|info| info.microns_per_px.unwrap()).collect();
    assert!(
        (microns[0] - 0.25).abs() < 1e-9 && (microns[5] - 0.25 * 150.0 / 38.0).abs() < 1e-6,
        "{microns:?}"
    );
}

#[test]
fn slides_and_masks_open_as_slides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    let size = Size::new(200, 90);
    for ome in [false, true] {
        let image = picture::<u8>(size, 3, 1);
        write(&path, &PyramidSpec { tile: 32, ome, ..PyramidSpec::rgb(size) }, &image, &Order::Random(3));
        let slide = TiffSlide::open(&path).unwrap();
        assert_eq!((slide.size(), slide.bands()), (size, 3));
        assert!(slide.read(size.window()).unwrap() == image);

        // Anything but 0 is set in a 1-bit mask, in levels too.
        let mask = picture::<u8>(size, 1, 2);
        let spec = PyramidSpec { tile: 32, ome, ..PyramidSpec::mask(size, SampleKind::Bit) };
        write(&path, &spec, &mask, &Order::Random(3));
        let ones = mask.mapv(|value| u8::from(value != 0));
        let slide = TiffSlide::open(&path).unwrap();
        assert_eq!((slide.size(), slide.bands()), (size, 1));
        assert!(slide.read(size.window()).unwrap() == ones);
        assert!(stored::<u8>(&path) == levels(&spec, &ones));
    }
}

#[test]
fn impossible_requests_are_refused_and_harm_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.tiff");
    let good = PyramidSpec { tile: 32, ..PyramidSpec::mask(Size::new(100, 40), SampleKind::U8) };
    let jpeg = Compression::Jpeg { quality: 80 };
    let bad = [
        PyramidSpec { size: Size::new(0, 5), ..good.clone() },
        PyramidSpec { bands: 2, ..good.clone() },
        PyramidSpec { bands: 3, samples: SampleKind::Bit, ..good.clone() },
        PyramidSpec { tile: 40, ..good.clone() },
        PyramidSpec { n_levels: Some(0), ..good.clone() },
        PyramidSpec { samples: SampleKind::F32, predictor: true, ..good.clone() },
        PyramidSpec { samples: SampleKind::U16, compression: jpeg, ..good.clone() },
        PyramidSpec { microns_per_px: Some(f64::NAN), ..good.clone() },
    ];
    for spec in bad {
        let error = PyramidWriter::create(&path, spec.clone()).unwrap_err();
        assert!(matches!(error, Error::Usage { .. }), "{spec:?}: {error}");
    }

    let writer = PyramidWriter::create(&path, good).unwrap();
    let tile = Array3::<u8>::ones((32, 32, 1));
    let refuse = |result: hubmap_io::Result<()>, words: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Usage { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("mask.tiff"), "{text}");
    };
    refuse(writer.write_tile(4, 0, &tile), "column 4");
    refuse(writer.write_tile(3, 0, &tile), "(32, 4, 1)");
    refuse(writer.write_tile(0, 0, &tile.mapv(f32::from)), "f32");
    refuse(writer.write_block(16, 0, &tile), "whole tiles");
    refuse(writer.write_block(0, 0, &Array3::<u8>::ones((32, 31, 1))), "whole tiles");
    refuse(writer.write_block(0, 32, &tile), "whole tiles");
    writer.write_tile(0, 0, &tile).unwrap();
    writer.finish().unwrap();
    let mask = TiffSlide::open(&path).unwrap().read(Size::new(100, 40).window()).unwrap();
    assert_eq!(mask.iter().filter(|&&pixel| pixel == 1).count(), 32 * 32);
}

#[test]
fn a_tile_that_comes_twice_is_an_error_and_the_name_stays_free_without_finish() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.tiff");
    let spec = PyramidSpec { tile: 32, ..PyramidSpec::mask(Size::new(100, 40), SampleKind::U8) };
    let writer = PyramidWriter::create(&path, spec).unwrap();
    let tile = Array3::<u8>::ones((32, 32, 1));
    writer.write_tile(1, 0, &tile).unwrap();
    let error = writer.write_tile(1, 0, &tile).unwrap_err();
    assert!(error.to_string().contains("before"), "{error}");
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
