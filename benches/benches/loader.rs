//! Tiles per second of the loader: from PNG files, straight from slides, and from memory, on one thread and on two.
//!
//! `whole` tiles are not transformed, so what is measured is reading, decoding, reducing and normalising; `light_scale`
//! is the training transform of the base config, which keeps 512 x 512 of 1024 x 1024 px.
#![expect(clippy::expect_used, reason = "a bench that cannot make its slides has nothing to measure")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hubmap_data::augment::Transform;
use hubmap_data::config::{DataConfig, DataGenConfig, FoldSource, SourceKind};
use hubmap_data::{DataSource, Dataset, Loader, LoaderConfig, Shard, cuts};
use hubmap_io::{Compression, Size};
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec, write_competition};

/// Four tiles of the grid each.
const SLIDE: Size = Size::new(6144, 6144);
/// What `light_scale` keeps of a tile.
const CROP_PX: u32 = 512;

fn base<T: serde::de::DeserializeOwned>(table: &str) -> T {
    let base: toml::Table = include_str!("../../configs/base.toml").parse().expect("TOML");
    base[table].clone().try_into().expect("the table")
}

/// Two slides in `in` and their tiles in `out`.
fn prepare(folder: &Path, compression: Compression) -> DataGenConfig {
    let format = FileFormat { compression, ..FileFormat::default() };
    let spec =
        CompetitionSpec { n_train: 2, n_test: 0, slide: SlideSpec::new(SLIDE, 1), formats: vec![format] };
    write_competition(&folder.join("in"), &spec, &|_, _| ()).expect("slides");
    let mut data_gen: DataGenConfig = base("data_gen");
    (data_gen.folds, data_gen.n_drawn_folds) = (FoldSource::Drawn, 2);
    cuts::generate(&folder.join("in"), &folder.join("out"), &data_gen, &()).expect("tiles");
    data_gen
}

/// The training tiles of a fold: those of the grid of one slide.
fn dataset(folder: &Path, data_gen: &DataGenConfig, source: SourceKind, preload_train: bool) -> Dataset {
    let data = DataConfig {
        source,
        splits_dir: folder.join("out/SPLITS"),
        slides_dir: folder.join("in"),
        folds: vec!["0".into()],
        train: vec!["grid_{fold}_33".into()],
        preload_train,
        ..base("data")
    };
    let source = DataSource::open(&data, data_gen, &()).expect("data");
    let train = source.fold(0).expect("a fold").train;
    train.preload(&()).expect("tiles in memory");
    train
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loader");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    let data = base::<DataConfig>("data");
    let light_scale =
        data.transforms.resolve("light_scale", CROP_PX).expect("a transform of the base config");
    for (codec, compression) in
        [("deflate", Compression::Deflate), ("jpeg", Compression::Jpeg { quality: 85 })]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let data_gen = prepare(folder.path(), compression);
        for (name, source, preload) in [
            ("cuts", SourceKind::Cuts, false),
            ("slides", SourceKind::Slides, false),
            ("memory", SourceKind::Cuts, true),
        ] {
            let dataset = dataset(folder.path(), &data_gen, source, preload);
            for (transform_name, transform) in
                [("whole", &Transform::default()), ("light_scale", &light_scale)]
            {
                for threads in [1, 2] {
                    let config = LoaderConfig {
                        batch_size: 4,
                        shard: Shard::WHOLE,
                        shuffle: true,
                        drop_last: false,
                        seed: 1,
                        prefetch: 1,
                        threads: NonZeroUsize::new(threads),
                        transform: transform.clone(),
                        normalization: data.normalization,
                    };
                    let loader = Loader::new(dataset.clone(), config).expect("a loader");
                    group.throughput(Throughput::Elements(dataset.len() as u64));
                    let id = BenchmarkId::new(format!("{transform_name}/{name}/{codec}"), threads);
                    group.bench_function(id, |bencher| {
                        bencher.iter(|| loader.epoch(0).for_each(|batch| drop(batch.expect("a batch"))));
                    });
                }
            }
        }
    }
    group.finish();
}

criterion_group!(benches, load);
criterion_main!(benches);
