//! Slides that are interrupted or killed go on with the blocks that are left, to the same bytes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use half::f16;
use half::slice::HalfFloatSliceExt;
use hubmap_infer::{
    Blend, BlockJournal, Interrupted, PredictConfig, Predictor, ProbabilityMap, SegmentTiles,
};
use hubmap_io::{MemorySlide, RasterReader as _, Size};
use ndarray::{Array2, Array4};

use crate::pipeline::{StopAfter, patterned_slide, predictor, red_plane, small_config};

/// A predictor of some replicas that counts the tiles which go through them.
pub(crate) fn counting(config: &PredictConfig, n_replicas: usize) -> (Predictor, Arc<AtomicUsize>) {
    let n_tiles = Arc::new(AtomicUsize::new(0));
    let replica = || {
        let n_tiles = Arc::clone(&n_tiles);
        let model = move |tiles: &Array4<f32>| {
            n_tiles.fetch_add(tiles.dim().0, Ordering::Relaxed);
            red_plane(tiles)
        };
        vec![Box::new(model) as Box<dyn SegmentTiles>]
    };
    let replicas = (0..n_replicas).map(|_| replica()).collect();
    let normalization = hubmap_data::Normalization::KIDNEY;
    (Predictor::with_replicas(replicas, normalization, config.clone()).unwrap(), n_tiles)
}

/// Predicts with a journal, stopping after some blocks; the map once it is complete.
fn go_on(predictor: &Predictor, slide: &MemorySlide, path: &Path, limit: usize) -> Option<ProbabilityMap> {
    let mut journal = BlockJournal::open(path, b"settings").unwrap();
    let n_replayed = journal.len();
    let progress = StopAfter { n_blocks: 0.into(), limit: n_replayed.saturating_add(limit) };
    let mut map = ProbabilityMap::new(slide.size());
    let n_blocks = predictor.grid(slide.size()).len();
    match predictor.predict(slide, &mut map, Some(&mut journal), &progress) {
        Ok(stats) => {
            assert_eq!((stats.n_blocks, stats.n_replayed, stats.n_skipped), (n_blocks, n_replayed, 0));
            assert_eq!((progress.n_blocks.get(), journal.len()), (n_blocks, n_blocks));
            Some(map)
        }
        Err(error) => {
            assert!(error.is::<Interrupted>(), "{error:#}");
            assert_eq!(journal.len(), progress.n_blocks.get(), "what was predicted is in the journal");
            None
        }
    }
}

#[test]
fn interrupted_slides_go_on_without_rework() {
    let slide = patterned_slide(Size::new(250, 340));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    for (blend, overlap) in [(Blend::Crop, 0), (Blend::Gaussian, 12)] {
        for (batch, n_replicas) in [(1, 1), (2, 1), (1, 3), (2, 2)] {
            let config = PredictConfig { batch, blend, overlap, ..small_config() };
            let expected = predictor(config.clone(), red_plane).predict_map(&slide).unwrap();
            for every in 1..5 {
                let (ours, n_tiles) = counting(&config, n_replicas);
                let mut runs = 0;
                let map = loop {
                    runs += 1;
                    if let Some(map) = go_on(&ours, &slide, &path, every * batch) {
                        break map;
                    }
                };
                assert_eq!(map, expected, "{blend:?}, batch {batch}, every {every}");
                let n_blocks = ours.grid(slide.size()).len();
                assert_eq!(n_tiles.load(Ordering::Relaxed), n_blocks);
                assert!(runs > 1 && runs <= n_blocks.div_ceil(every * batch) + 1, "{runs} runs");
                // Complete journals spare all the work.
                assert_eq!(go_on(&ours, &slide, &path, 1), Some(expected.clone()));
                assert_eq!(n_tiles.load(Ordering::Relaxed), n_blocks);
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
}

#[test]
fn results_of_other_shapes_are_predicted_again() {
    let slide = patterned_slide(Size::new(250, 340));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    // The key is the caller's, and this one forgot the settings.
    let other = PredictConfig { blend: Blend::Mean, overlap: 4, ..small_config() };
    go_on(&counting(&other, 1).0, &slide, &path, usize::MAX).unwrap();
    let (ours, n_tiles) = counting(&small_config(), 1);
    let mut journal = BlockJournal::open(&path, b"settings").unwrap();
    let mut map = ProbabilityMap::new(slide.size());
    let stats = ours.predict(&slide, &mut map, Some(&mut journal), &()).unwrap();
    assert_eq!((stats.n_replayed, n_tiles.load(Ordering::Relaxed)), (0, 12));
    assert_eq!(map, predictor(small_config(), red_plane).predict_map(&slide).unwrap());
}

#[test]
fn a_damaged_journal_costs_its_blocks_only() {
    let slide = patterned_slide(Size::new(250, 340));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    let (ours, n_tiles) = counting(&small_config(), 1);
    let expected = go_on(&ours, &slide, &path, usize::MAX).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(go_on(&ours, &slide, &path, usize::MAX), Some(expected));
    let n_again = n_tiles.load(Ordering::Relaxed) - 12;
    assert!((1..12).contains(&n_again), "{n_again} of 12 blocks again");
}

/// The folder in which this process works as the one to kill.
const FOLDER: &str = "HUBMAP_TEST_KILLED_IN";

const KILLED_SIZE: Size = Size::new(7 * 32, 9 * 32);

fn killed_config() -> PredictConfig {
    PredictConfig { scale: 1, ..small_config() }
}

/// Predicts slowly, with a journal, and leaves the map and how many of its blocks were in the journal.
fn predict_slowly(folder: &Path) {
    let model = |tiles: &Array4<f32>| {
        std::thread::sleep(Duration::from_millis(5));
        red_plane(tiles)
    };
    let mut journal = BlockJournal::open(&folder.join("journal"), b"slow").unwrap();
    let mut map = ProbabilityMap::new(KILLED_SIZE);
    let slide = patterned_slide(KILLED_SIZE);
    let stats = predictor(killed_config(), model).predict(&slide, &mut map, Some(&mut journal), &()).unwrap();
    let bits: Vec<u8> = map.probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
    std::fs::write(folder.join("n_replayed"), stats.n_replayed.to_string()).unwrap();
    std::fs::write(folder.join("map"), bits).unwrap();
}

#[test]
fn a_process_killed_ten_times_leaves_the_same_bytes() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        predict_slowly(Path::new(&folder));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let start = || {
        let name = "resume::a_process_killed_ten_times_leaves_the_same_bytes";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name]).env(FOLDER, folder.path()).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let n_bytes = || std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let mut state = 7_u64;
    for _ in 0..10 {
        // After up to four more blocks, at any point of the next.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let until = n_bytes() + (state >> 33) % (4 * 34 * 34 * 4);
        let mut child = start();
        while n_bytes() <= until && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(Duration::from_micros((state >> 40) % 5000));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let n_whole = BlockJournal::open(&path, b"slow").unwrap().len();
    assert!(n_whole >= 10, "{n_whole} blocks after ten runs");
    assert!(start().wait().unwrap().success());
    let n_replayed = std::fs::read_to_string(folder.path().join("n_replayed")).unwrap();
    assert_eq!(n_replayed, n_whole.to_string());

    let bytes = std::fs::read(folder.path().join("map")).unwrap();
    let bits: Vec<u16> = bytes.as_chunks().0.iter().map(|&bits| u16::from_le_bytes(bits)).collect();
    let mut ours = Array2::from_elem((KILLED_SIZE.height as usize, KILLED_SIZE.width as usize), f16::ZERO);
    ours.as_slice_mut().unwrap().reinterpret_cast_mut().copy_from_slice(&bits);
    let expected = predictor(killed_config(), red_plane).predict_map(&patterned_slide(KILLED_SIZE)).unwrap();
    assert_eq!(ours, expected.probabilities);
}
