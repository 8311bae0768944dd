use crate::base_transform;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hubmap_data::config::{DataConfig, DataGenConfig, FoldSource, SourceKind};
use hubmap_data::cut::CutKind;
use hubmap_data::cuts::{Progress, generate};
use hubmap_data::{
    Batch, CacheBudget, DataSource, Dataset, Loader, LoaderConfig, Shard, SlideSource, Tile, TilePixels,
};
use hubmap_io::{Size, Window};
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec, TappedSlide, write_competition};
use tempfile::TempDir;

const SLIDE: Size = Size::new(500, 400);
/// Of a decoded tile.
const TILE_BYTES: u64 = 4 * 32 * 32;

/// A competition folder `in` of four slides and their tiles of all kinds in `out`.
struct Folders {
    folder: TempDir,
    data_gen: DataGenConfig,
}

impl Folders {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let slide = SlideSpec { scale: 0.125, ..SlideSpec::new(SLIDE, 3) };
        let formats = FileFormat::all();
        let spec = CompetitionSpec { n_train: 4, n_test: 0, slide, formats };
        write_competition(&folder.path().join("in"), &spec, &|_, _| ()).unwrap();
        let mut data_gen: DataGenConfig = base("data_gen");
        (data_gen.tile_px, data_gen.kinds) = (32, CutKind::ALL.to_vec());
        (data_gen.folds, data_gen.n_drawn_folds) = (FoldSource::Drawn, 2);
        (data_gen.background_cuts.per_slide, data_gen.polygon_cuts.per_slide) = (5, 4);
        data_gen.background.keep_probability = 0.3;
        let report = generate(&folder.path().join("in"), &folder.path().join("out"), &data_gen, &()).unwrap();
        assert!(report.failures.is_empty(), "{report}");
        assert!(report.slides.iter().any(|slide| slide.n_skipped() > 0), "{report}");
        Self { folder, data_gen }
    }

    fn data(&self, source: SourceKind) -> DataConfig {
        let prefixes = ["train", "grid", "background", "polygon"];
        DataConfig {
            source,
            splits_dir: self.folder.path().join("out/SPLITS"),
            slides_dir: self.folder.path().join("in"),
            folds: vec!["0".into(), "1".into()],
            train: prefixes.map(|prefix| format!("{prefix}_{{fold}}_33")).to_vec(),
            valid: vec!["val_{fold}_33".into()],
            ..base("data")
        }
    }

    fn open(&self, data: &DataConfig) -> DataSource {
        DataSource::open(data, &self.data_gen, &()).unwrap()
    }
}

fn base<T: serde::de::DeserializeOwned>(table: &str) -> T {
    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    base[table].clone().try_into().unwrap()
}

fn loader_config(threads: usize) -> LoaderConfig {
    let data: DataConfig = base("data");
    LoaderConfig {
        batch_size: 3,
        shard: Shard::WHOLE,
        shuffle: true,
        drop_last: false,
        seed: 7,
        prefetch: 2,
        threads: NonZeroUsize::new(threads),
        transform: base_transform("light_scale", 24),
        normalization: data.normalization,
    }
}

fn epoch(dataset: &Dataset, config: LoaderConfig, epoch_idx: u64) -> Vec<Batch> {
    let loader = Loader::new(dataset.clone(), config).unwrap();
    loader.epoch(epoch_idx).map(Result::unwrap).collect()
}

/// Whether the tile is a window that is not all on its slide.
fn leaves_slide(tile: &Tile) -> bool {
    let TilePixels::Window { cut, .. } = &tile.pixels else { return false };
    cut.window.intersect(&SLIDE.window()) != Some(cut.window)
}

#[test]
fn slides_give_the_tiles_of_the_cuts_of_every_kind_in_their_order() {
    let folders = Folders::new();
    let [cuts, slides] =
        [SourceKind::Cuts, SourceKind::Slides].map(|source| folders.open(&folders.data(source)));
    for fold_idx in 0..2 {
        let (from_cuts, from_slides) = (cuts.fold(fold_idx).unwrap(), slides.fold(fold_idx).unwrap());
        let mut prefixes = BTreeSet::new();
        for (a, b) in [(&from_cuts.train, &from_slides.train), (&from_cuts.valid, &from_slides.valid)] {
            assert_eq!(a.len(), b.len());
            for tile_idx in 0..a.len() {
                let (x, y) = (a.tile(tile_idx), b.tile(tile_idx));
                assert_eq!((&x.name, &x.id, &x.slide), (&y.name, &y.id, &y.slide));
                assert_eq!(a.read(tile_idx).unwrap(), b.read(tile_idx).unwrap());
                prefixes.insert(x.name.split('_').next().unwrap().to_owned());
            }
        }
        assert_eq!(prefixes.len(), 5, "{prefixes:?}");
    }
}

#[test]
fn epochs_are_the_same_from_cuts_and_slides_on_any_threads_and_from_any_cache() {
    let folders = Folders::new();
    let weights = |data: DataConfig| {
        let mut data = data;
        data.slide_weights = [("0486052bb".to_owned(), 1.5)].into();
        data.multiply.polygon = 2.0;
        data
    };
    let open = |source, cache_mib, preload_train| {
        let data = DataConfig { cache_mib, preload_train, ..weights(folders.data(source)) };
        let source = folders.open(&data);
        // The fold that trains on the weighted slide.
        let fold_idx =
            (0..2).find(|&i| source.fold(i).unwrap().train.slides().contains("0486052bb")).unwrap();
        source.fold(fold_idx).unwrap()
    };
    // Drawn crops, crops that are fixed, and none.
    let transforms = [("light_scale", 24), ("val", 24), ("resize", 16)];
    let epochs = |dataset: &Dataset, threads| {
        transforms.map(|(name, crop_px)| {
            let config = LoaderConfig { transform: base_transform(name, crop_px), ..loader_config(threads) };
            [0, 1, 2].map(|epoch_idx| epoch(dataset, config.clone(), epoch_idx))
        })
    };
    let plain = open(SourceKind::Cuts, 0, false).train;
    assert!(plain.n_draws() > plain.len());
    let reference = epochs(&plain, 1);
    assert!(reference.iter().all(|epochs| epochs[0] != epochs[1] && epochs[1] != epochs[2]));
    for source in [SourceKind::Cuts, SourceKind::Slides] {
        // No cache, a cache for everything, all decoded before, and a cache for some.
        for (cache_mib, preload, n_kept) in
            [(0, false, None), (1, false, None), (0, true, None), (0, false, Some(20))]
        {
            let mut train = open(source, cache_mib, preload).train;
            if let Some(n_kept) = n_kept {
                train = train.with_cache(&Arc::new(CacheBudget::new(n_kept * TILE_BYTES)));
            }
            if preload {
                train.preload(&()).unwrap();
            }
            assert_eq!(source == SourceKind::Slides, train.tiles().iter().any(leaves_slide));
            for threads in [1, 2, 4] {
                let same = epochs(&train, threads) == reference;
                assert!(
                    same,
                    "{source:?}, {cache_mib} MiB, {n_kept:?}, preload {preload}, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn no_more_of_a_slide_is_read_than_the_crop_unless_the_tile_is_kept() {
    let folders = Folders::new();
    let n_px = Arc::new(AtomicU64::new(0));
    let competition = hubmap_data::Competition::open(&folders.folder.path().join("in")).unwrap();
    let slides = competition.train.iter().map(|entry| {
        let slide = entry.open().unwrap();
        let n_px = Arc::clone(&n_px);
        let tap = move |window: Window| {
            n_px.fetch_add(window.size().area(), Ordering::Relaxed);
            Ok(())
        };
        let chunk_size = slide.reader.chunk_size();
        let reader = Box::new(TappedSlide { slide: slide.reader, chunk_size, tap });
        hubmap_data::Slide { reader, ..slide }
    });
    let kinds = BTreeSet::from([CutKind::Objects]);
    let source = SlideSource::from_slides(slides.collect(), &folders.data_gen, &kinds, None, &()).unwrap();
    let dataset = source.dataset(&"train_0_33".parse().unwrap()).unwrap();
    let n_read = |dataset: &Dataset, name, crop_px| {
        n_px.store(0, Ordering::Relaxed);
        epoch(dataset, LoaderConfig { transform: base_transform(name, crop_px), ..loader_config(2) }, 0);
        n_px.load(Ordering::Relaxed)
    };
    let (n_tiles, tile_px, crop_px) = (dataset.len() as u64, 96 * 96, 72 * 72);
    assert!(n_tiles > 2);
    assert_eq!(n_read(&dataset, "light_scale", 24), n_tiles * crop_px);
    assert_eq!(n_read(&dataset, "val", 24), n_tiles * crop_px);
    assert_eq!(n_read(&dataset, "resize", 16), n_tiles * tile_px);
    let cached = |n_kept: u64| dataset.clone().with_cache(&Arc::new(CacheBudget::new(n_kept * TILE_BYTES)));
    let (all, none) = (cached(n_tiles), cached(0));
    assert_eq!(n_read(&all, "val", 24), n_tiles * tile_px);
    assert_eq!(n_read(&all, "val", 24), 0);
    assert_eq!(n_read(&none, "val", 24), n_tiles * crop_px);
    let one = cached(1);
    one.preload(&()).unwrap();
    assert_eq!(n_read(&one, "val", 24), (n_tiles - 1) * crop_px);
}

#[test]
fn the_cache_of_all_datasets_stays_within_its_budget_and_goes_with_them() {
    let folders = Folders::new();
    let source = folders.open(&DataConfig { cache_mib: 1, ..folders.data(SourceKind::Slides) });
    let fold = source.fold(0).unwrap();
    let n_read = fold.train.len().min(256);
    (0..n_read).for_each(|tile_idx| drop(fold.train.read(tile_idx).unwrap()));
    fold.valid.read(0).unwrap();
    let n_kept = (n_read as u64 + 1).min(256);
    assert_eq!(source.cached_bytes(), n_kept * TILE_BYTES);
    drop(fold);
    assert_eq!(source.cached_bytes(), 0);
}

/// Counts the windows of the grid that were looked at, and asks to stop at one of them.
#[derive(Default)]
struct Scan {
    n_announced: AtomicU64,
    n_looked_at: AtomicU64,
    stops: bool,
}

impl Progress for Scan {
    fn begin(&self, task: &str, n_steps: u64) {
        self.n_announced.store(if task.contains("grid") { n_steps } else { 0 }, Ordering::Relaxed);
        self.n_looked_at.store(0, Ordering::Relaxed);
    }

    fn advance(&self) {
        self.n_looked_at.fetch_add(1, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.stops
            && self.n_announced.load(Ordering::Relaxed) > 0
            && self.n_looked_at.load(Ordering::Relaxed) > 4
    }
}

#[test]
fn the_grid_is_looked_at_once_until_settings_or_slides_change() {
    let folders = Folders::new();
    let with_memory =
        DataConfig { scan_dir: folders.folder.path().join("scans"), ..folders.data(SourceKind::Slides) };
    let names_and_looks = |data: &DataConfig, data_gen: &DataGenConfig| {
        let scan = Scan::default();
        let source = DataSource::open(data, data_gen, &scan).unwrap();
        assert_eq!(scan.n_announced.load(Ordering::Relaxed), scan.n_looked_at.load(Ordering::Relaxed));
        let tiles = source.fold(0).unwrap().train;
        let names = tiles.tiles().iter().map(|tile| tile.name.clone()).collect::<Vec<_>>();
        (names, scan.n_announced.load(Ordering::Relaxed))
    };
    let n_windows = 4 * (500_u64.div_ceil(96) * 400_u64.div_ceil(96));
    let data_gen = &folders.data_gen;
    let (names, n_looks) = names_and_looks(&folders.data(SourceKind::Slides), data_gen);
    assert_eq!(n_looks, n_windows);
    assert_eq!(names_and_looks(&folders.data(SourceKind::Slides), data_gen), (names.clone(), n_windows));
    assert_eq!(names_and_looks(&with_memory, data_gen), (names.clone(), n_windows));
    assert_eq!(names_and_looks(&with_memory, data_gen), (names.clone(), 0));

    let mut other = data_gen.clone();
    other.background.keep_probability = 0.0;
    let (fewer, n_looks) = names_and_looks(&with_memory, &other);
    assert!(n_looks == n_windows && fewer.len() < names.len());
    assert_eq!(names_and_looks(&with_memory, data_gen), (names.clone(), n_windows));

    // A slide that was written again, and a memory that is damaged.
    let tiff = first_tiff(&folders.folder.path().join("in/train"));
    let later = std::time::SystemTime::now() + std::time::Duration::from_mins(1);
    std::fs::File::options().write(true).open(&tiff).unwrap().set_modified(later).unwrap();
    assert_eq!(names_and_looks(&with_memory, data_gen), (names.clone(), n_windows / 4));
    std::fs::write(folders.folder.path().join("scans/0486052bb.grid.json"), "{").unwrap();
    assert_eq!(names_and_looks(&with_memory, data_gen), (names, n_windows / 4));

    let stopped = Scan { stops: true, ..Scan::default() };
    let error = DataSource::open(&folders.data(SourceKind::Slides), data_gen, &stopped).unwrap_err();
    assert!(error.to_string().contains("cancelled while looking at slide"), "{error}");
}

fn first_tiff(dir: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "tiff")).min().unwrap()
}

#[test]
fn what_slides_cannot_give_is_named() {
    let folders = Folders::new();
    let data = folders.data(SourceKind::Slides);
    let refused = |data: &DataConfig, data_gen: &DataGenConfig| {
        let opened = DataSource::open(data, data_gen, &()).and_then(|source| source.fold(0));
        format!("{:#}", opened.unwrap_err())
    };
    let few = DataGenConfig { kinds: vec![CutKind::Objects], ..folders.data_gen.clone() };
    let error = refused(&data, &few);
    assert!(error.contains("data_gen.kinds lacks \"grid\""), "{error}");
    let scaled = DataGenConfig { scale: 2, ..folders.data_gen.clone() };
    let error = refused(&data, &scaled);
    assert!(error.contains("dataset train_0_33 is of scale 3, but data_gen.scale is 2"), "{error}");
    let mut none = folders.data_gen.clone();
    none.polygon_cuts.labels = vec!["fat".into()];
    let error = refused(&data, &none);
    assert!(error.contains("fold `0`: dataset polygon_0_33 has no tile"), "{error}");
    let folds = DataConfig { folds: vec!["x".into()], ..data.clone() };
    let error = refused(&folds, &folders.data_gen);
    assert!(error.contains("data_gen makes no fold `x`, but 0, 1"), "{error}");
    let weighted = DataConfig { slide_weights: [("zz".to_owned(), 2.0)].into(), ..data.clone() };
    let error = refused(&weighted, &folders.data_gen);
    assert!(error.contains("data.slide_weights.zz: slide zz has no tile on either side"), "{error}");
    let nowhere = DataConfig { slides_dir: folders.folder.path().join("nowhere"), ..data };
    let error = refused(&nowhere, &folders.data_gen);
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn a_slide_that_breaks_during_training_is_named_with_its_file() {
    let folders = Folders::new();
    let source = folders.open(&folders.data(SourceKind::Slides));
    let fold = source.fold(0).unwrap();
    let id = fold.train.tile(0).slide.clone();
    let tiff = folders.folder.path().join(format!("in/train/{id}.tiff"));
    let n_bytes = std::fs::metadata(&tiff).unwrap().len();
    std::fs::File::options().write(true).open(&tiff).unwrap().set_len(n_bytes / 4).unwrap();
    for threads in [1, 4] {
        let loader = Loader::new(fold.train.clone(), loader_config(threads)).unwrap();
        let error = loader.epoch(0).find_map(Result::err).expect("half of the slide is gone");
        let error = format!("{error:#}");
        assert!(error.contains(&format!("{id}.tiff")) && error.contains("_0_33/"), "{error}");
    }
}

#[test]
fn slides_of_memory_are_cut_like_those_of_files() {
    let folders = Folders::new();
    let competition = hubmap_data::Competition::open(&folders.folder.path().join("in")).unwrap();
    let slides = competition.train.iter().map(|entry| {
        let slide = entry.open().unwrap();
        let pixels = slide.reader.read(slide.reader.size().window()).unwrap();
        let reader = hubmap_io::MemorySlide::new(Path::new("memory"), pixels, None).unwrap();
        hubmap_data::Slide { reader: Box::new(reader), ..slide }
    });
    let kinds = BTreeSet::from([CutKind::Grid]);
    let memory = SlideSource::from_slides(slides.collect(), &folders.data_gen, &kinds, None, &()).unwrap();
    let name = "grid_0_33".parse().unwrap();
    let expected = Dataset::open(&folders.folder.path().join("out/SPLITS"), &name).unwrap();
    let dataset = memory.dataset(&name).unwrap();
    assert_eq!(dataset.len(), expected.len());
    for tile_idx in 0..dataset.len() {
        assert_eq!(dataset.read(tile_idx).unwrap(), expected.read(tile_idx).unwrap());
    }
    let error = memory.dataset(&"train_0_33".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("the slides were not opened for its windows"), "{error}");
}
