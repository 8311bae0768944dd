use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use crate::base_transform;
use hubmap_data::tile_file::{write_image, write_mask};
use hubmap_data::{Batch, Dataset, Loader, LoaderConfig, Normalization, Shard};
use ndarray::{Array2, Array3};
use tempfile::TempDir;

/// `n_tiles` tiles of 24x20 px, each with its own pixels.
fn tiles(n_tiles: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["imgs", "masks"] {
        std::fs::create_dir_all(folder.path().join(kind).join("s")).unwrap();
    }
    for idx in 0..n_tiles {
        write_tile(folder.path(), idx, 20, 24);
    }
    folder
}

fn write_tile(folder: &Path, idx: usize, height: usize, width: usize) {
    let image =
        Array3::from_shape_fn((height, width, 3), |(y, x, c)| (idx * 37 + y * 11 + x * 5 + c * 59) as u8);
    let mask = Array2::from_shape_fn(
        (height, width),
        |(y, x)| if (x + y + idx).is_multiple_of(3) { 255 } else { 0 },
    );
    write_image(&folder.join(format!("imgs/s/{idx:06}.png")), &image).unwrap();
    write_mask(&folder.join(format!("masks/s/{idx:06}.png")), &mask).unwrap();
}

fn config(threads: usize) -> LoaderConfig {
    LoaderConfig {
        batch_size: 4,
        shard: Shard::WHOLE,
        shuffle: true,
        drop_last: false,
        seed: 11,
        prefetch: 2,
        threads: NonZeroUsize::new(threads),
        transform: base_transform("geometric", 16),
        normalization: Normalization::KIDNEY,
    }
}

fn loader(folder: &TempDir, config: LoaderConfig) -> Loader {
    Loader::new(Dataset::open_dir(folder.path(), "d").unwrap(), config).unwrap()
}

fn epoch(loader: &Loader, epoch_idx: u64) -> Vec<Batch> {
    loader.epoch(epoch_idx).map(Result::unwrap).collect()
}

/// Fails instead of hanging the suite.
fn within_a_minute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_mins(1)).expect("hung or panicked")
}

#[test]
fn batches_do_not_depend_on_threads_or_prefetch() {
    let folder = tiles(11);
    let reference = epoch(&loader(&folder, config(1)), 3);
    assert_eq!(reference.iter().map(Batch::len).collect::<Vec<_>>(), [4, 4, 3]);
    for threads in [1, 2, 4] {
        for prefetch in [0, 1, 5] {
            let loader = loader(&folder, LoaderConfig { prefetch, ..config(threads) });
            assert_eq!(epoch(&loader, 3), reference);
        }
    }
}

#[test]
fn every_epoch_has_every_sample_once_in_another_order() {
    let folder = tiles(11);
    let loader = loader(&folder, config(2));
    let names =
        |epoch_idx| epoch(&loader, epoch_idx).into_iter().flat_map(|batch| batch.names).collect::<Vec<_>>();
    let (first, second) = (names(0), names(1));
    assert_ne!(first, second);
    assert_eq!(first, names(0));
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let in_order = (0..11).map(|idx| format!("d/s/{idx:06}")).collect::<Vec<_>>();
    assert_eq!(sorted(first), in_order);
    assert_eq!(sorted(second), in_order);
}

#[test]
fn without_shuffle_and_with_drop_last() {
    let folder = tiles(11);
    let loader = loader(&folder, LoaderConfig { shuffle: false, drop_last: true, ..config(2) });
    assert_eq!(loader.n_batches(), 2);
    let names = epoch(&loader, 5).into_iter().flat_map(|batch| batch.names).collect::<Vec<_>>();
    assert_eq!(names, (0..8).map(|idx| format!("d/s/{idx:06}")).collect::<Vec<_>>());
}

#[test]
fn repeated_samples_are_augmented_differently() {
    let folder = tiles(1);
    let dataset = Dataset::open_dir(folder.path(), "d").unwrap().weighted(8.0);
    let batches = epoch(&Loader::new(dataset, LoaderConfig { batch_size: 8, ..config(2) }).unwrap(), 0);
    let images = batches[0].images.outer_iter().collect::<Vec<_>>();
    assert!(images.iter().skip(1).any(|image| image != images[0]));
}

#[test]
fn every_epoch_augments_a_sample_anew() {
    let folder = tiles(4);
    let loader = loader(&folder, LoaderConfig { shuffle: false, ..config(2) });
    let epochs = (0..6).map(|epoch_idx| epoch(&loader, epoch_idx)).collect::<Vec<_>>();
    assert!(epochs.iter().all(|batches| batches[0].names == epochs[0][0].names));
    assert!(epochs[1..].iter().any(|batches| batches[0].images != epochs[0][0].images));
}

#[test]
fn consumer_on_a_one_thread_rayon_pool_does_not_deadlock() {
    let n_batches = within_a_minute(|| {
        let folder = tiles(9);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| epoch(&loader(&folder, LoaderConfig { threads: None, ..config(1) }), 0).len())
    });
    assert_eq!(n_batches, 3);
}

#[test]
fn dropping_an_epoch_early_stops_it_and_the_next_one_works() {
    within_a_minute(|| {
        let folder = tiles(9);
        let loader = loader(&folder, LoaderConfig { prefetch: 1, batch_size: 1, ..config(2) });
        for n_taken in [0, 1, 3] {
            let mut epoch = loader.epoch(0);
            for _ in 0..n_taken {
                epoch.next().unwrap().unwrap();
            }
            drop(epoch);
        }
        assert_eq!(epoch(&loader, 1).len(), 9);
        // The loader may go before its epoch.
        let last = loader.epoch(2);
        drop(loader);
        assert_eq!(last.map(Result::unwrap).count(), 9);
    });
}

#[test]
fn errors_reach_the_consumer_with_the_file_and_end_the_epoch() {
    let folder = tiles(9);
    let broken = folder.path().join("imgs/s/000006.png");
    let bytes = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    for threads in [1, 4] {
        let loader = loader(&folder, LoaderConfig { shuffle: false, ..config(threads) });
        let mut epoch = loader.epoch(0);
        epoch.next().unwrap().unwrap();
        let error = format!("{:#}", epoch.next().unwrap().unwrap_err());
        assert!(error.contains("000006.png: not a whole PNG"), "{error}");
        assert!(epoch.next().is_none());
    }
}

#[test]
fn different_sizes_in_a_batch_are_named() {
    let folder = tiles(3);
    write_tile(folder.path(), 1, 20, 30);
    let transform = hubmap_data::augment::Transform::default();
    let loader = loader(&folder, LoaderConfig { shuffle: false, transform, ..config(2) });
    let error = loader.epoch(0).next().unwrap().unwrap_err().to_string();
    assert!(error.contains("d/s/000000 is 24x20, d/s/000001 is 30x20"), "{error}");
}

#[test]
fn impossible_configurations_are_refused() {
    let folder = tiles(3);
    let refused =
        |config| Loader::new(Dataset::open_dir(folder.path(), "d").unwrap(), config).unwrap_err().to_string();
    assert!(refused(LoaderConfig { batch_size: 0, ..config(1) }).contains("batch_size"));
    assert!(
        refused(LoaderConfig { drop_last: true, ..config(1) })
            .contains("3 samples do not fill one batch of 4")
    );
    let normalization = Normalization { std: [0.0; 3], ..Normalization::KIDNEY };
    assert!(refused(LoaderConfig { normalization, ..config(1) }).contains("std"));
    assert!(Loader::new(Dataset::default(), config(1)).unwrap_err().to_string().contains("no samples"));
}

#[test]
fn batches_of_the_shards_are_together_those_of_one_loader() {
    let folder = tiles(19);
    for (batch_size, count, drop_last) in
        [(2, 3, false), (2, 3, true), (3, 2, false), (1, 4, false), (5, 5, false)]
    {
        let global = LoaderConfig { batch_size: batch_size * count, drop_last, ..config(2) };
        let whole = epoch(&loader(&folder, global), 2);
        let parts = (0..count)
            .map(|index| {
                let shard = Shard { index, count };
                let loader = loader(&folder, LoaderConfig { batch_size, shard, drop_last, ..config(1) });
                let batches = epoch(&loader, 2);
                assert_eq!(batches.len(), loader.n_batches());
                batches
            })
            .collect::<Vec<_>>();
        assert!(parts.iter().all(|batches| batches.len() == whole.len()));
        for (batch_idx, expected) in whole.iter().enumerate() {
            let parts = parts.iter().map(|batches| &batches[batch_idx]).filter(|batch| !batch.is_empty());
            let parts = parts.collect::<Vec<_>>();
            let names = parts.iter().flat_map(|batch| batch.names.clone()).collect::<Vec<_>>();
            assert_eq!(names, expected.names);
            let [images, masks] = [0, 1].map(|which| {
                let views = parts
                    .iter()
                    .map(|batch| if which == 0 { batch.images.view() } else { batch.masks.view() });
                ndarray::concatenate(ndarray::Axis(0), &views.collect::<Vec<_>>()).unwrap()
            });
            assert_eq!((images, masks), (expected.images.clone(), expected.masks.clone()));
        }
    }
    // Fewer samples than shards: all the same one batch each, of which some are empty.
    let few = tiles(2);
    let sizes = (0..3).map(|index| {
        let loader =
            loader(&few, LoaderConfig { batch_size: 1, shard: Shard { index, count: 3 }, ..config(1) });
        epoch(&loader, 0).iter().map(Batch::len).collect::<Vec<_>>()
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [[0], [1], [1]]);
}

#[test]
fn an_epoch_goes_on_at_any_batch_without_making_those_before() {
    let folder = tiles(11);
    let all = epoch(&loader(&folder, config(2)), 4);
    let partial = |n_done| {
        let loader = loader(&folder, config(2));
        loader.epoch_from(4, n_done).map(Result::unwrap).collect::<Vec<_>>()
    };
    for n_done in [0, 1, 2, 3, 9] {
        assert_eq!(partial(n_done), all[n_done.min(3)..]);
    }
    // The files of the first batch are not asked for.
    let opened = loader(&folder, config(2));
    for name in &all[0].names {
        let file = name.strip_prefix("d/").unwrap();
        std::fs::remove_file(folder.path().join("imgs").join(format!("{file}.png"))).unwrap();
    }
    assert!(opened.epoch(4).next().unwrap().is_err());
    assert_eq!(opened.epoch_from(4, 1).map(Result::unwrap).collect::<Vec<_>>(), all[1..]);
}

/// A slide whose reading panics.
struct Trap;

impl hubmap_io::RasterReader for Trap {
    fn path(&self) -> &Path {
        Path::new("trap.tiff")
    }

    fn size(&self) -> hubmap_io::Size {
        hubmap_io::Size::new(60, 60)
    }

    fn bands(&self) -> usize {
        3
    }

    fn microns_per_px(&self) -> Option<f64> {
        None
    }

    fn read_with(
        &self,
        window: hubmap_io::Window,
        _: &hubmap_io::ReadOptions<'_>,
        _: ndarray::ArrayViewMut3<'_, u8>,
    ) -> hubmap_io::Result<()> {
        panic!("sprung at {window}");
    }
}

#[test]
fn a_panic_on_a_thread_is_an_error_that_names_the_tile_and_no_hang() {
    use std::collections::BTreeSet;

    use hubmap_data::config::{DataGenConfig, FoldSource};
    use hubmap_data::cut::CutKind;
    use hubmap_data::{Slide, SlideSource};
    use hubmap_io::{Feature, Mask, Polygon, Size};

    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    let data_gen: DataGenConfig = base["data_gen"].clone().try_into().unwrap();
    let data_gen = DataGenConfig { tile_px: 20, folds: FoldSource::Drawn, n_drawn_folds: 2, ..data_gen };
    let square = Polygon::new(vec![[9.0, 9.0], [19.0, 9.0], [19.0, 19.0], [9.0, 19.0]]);
    let slide = |id: &str| Slide {
        id: id.into(),
        reader: Box::new(Trap),
        mask: Some(Mask::new(Size::new(60, 60))),
        features: vec![Feature::new("glomerulus", square.clone()); 6],
        anatomy: None,
    };
    let kinds = BTreeSet::from([CutKind::Objects]);
    let slides =
        SlideSource::from_slides(vec![slide("a"), slide("b")], &data_gen, &kinds, None, &()).unwrap();
    let dataset = slides.dataset(&"train_0_33".parse().unwrap()).unwrap();
    for threads in [1, 2] {
        let loader =
            Loader::new(dataset.clone(), LoaderConfig { shuffle: false, ..config(threads) }).unwrap();
        let error = within_a_minute(move || {
            let mut epoch = loader.epoch(0);
            let error = epoch.next().unwrap().unwrap_err().to_string();
            assert!(epoch.next().is_none());
            error
        });
        assert!(error.contains("/000000: a loader thread panicked: sprung at 48x48"), "{error}");
    }
}
