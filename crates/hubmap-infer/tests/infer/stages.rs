//! Replicas of the models, and stages that fail: whichever does, all end, with its reason.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use half::f16;
use hubmap_data::Normalization;
use hubmap_infer::{
    Blend, BlockJournal, PredictConfig, Predictor, ProbabilityMap, Progress, RowSink, SegmentTiles,
};
use hubmap_io::{Error, RasterReader, Size, Window};
use hubmap_synth::TappedSlide;
use ndarray::{Array4, ArrayRef2};

use crate::pipeline::{patterned_slide, predictor, red_plane, small_config};
use crate::resume::counting;

type Model = Box<dyn SegmentTiles>;

fn replicated(config: PredictConfig, replicas: Vec<Vec<Model>>) -> Predictor {
    Predictor::with_replicas(replicas, Normalization::KIDNEY, config).unwrap()
}

#[test]
fn replicas_do_not_change_the_map() {
    let slide = patterned_slide(Size::new(401, 290));
    for (blend, overlap) in [(Blend::Crop, 0), (Blend::Gaussian, 9)] {
        let config = PredictConfig { blend, overlap, ..small_config() };
        let expected = predictor(config.clone(), red_plane).predict_map(&slide).unwrap();
        for n_replicas in 1..=3 {
            for batch in [1, 2] {
                // Some are slower than others, so that results come out of order.
                let replica = |idx: u64| -> Vec<Model> {
                    let model = move |tiles: &Array4<f32>| {
                        std::thread::sleep(Duration::from_millis(idx * 2));
                        red_plane(tiles)
                    };
                    vec![Box::new(model)]
                };
                let config = PredictConfig { batch, ..config.clone() };
                let ours = replicated(config, (0..n_replicas).map(replica).collect());
                assert_eq!(
                    ours.predict_map(&slide).unwrap(),
                    expected,
                    "{n_replicas} replicas, batch {batch}"
                );
            }
        }
    }
}

/// Two replicas, of which one stays at the first tile until no other is started any more, and then goes on or fails.
///
/// Returns how many tiles were started by then, and how it went.
fn with_a_slow_replica(fails: bool) -> (usize, Result<ProbabilityMap>) {
    let n_started = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let replica = || -> Vec<Model> {
        let (n_started, most) = (Arc::clone(&n_started), Arc::clone(&most));
        let model = move |tiles: &Array4<f32>| {
            if n_started.fetch_add(1, Ordering::SeqCst) == 0 {
                while n_started.load(Ordering::SeqCst) < 8 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(30));
                most.store(n_started.load(Ordering::SeqCst), Ordering::SeqCst);
                anyhow::ensure!(!fails, "device 1 is lost");
            }
            red_plane(tiles)
        };
        vec![Box::new(model)]
    };
    let slide = patterned_slide(Size::new(401, 290));
    let ours = replicated(small_config(), vec![replica(), replica()]);
    assert_eq!(ours.grid(slide.size()).len(), 20);
    let map = ours.predict_map(&slide);
    (most.load(Ordering::SeqCst), map)
}

#[test]
fn a_slow_replica_does_not_let_results_pile_up() {
    let (most, map) = with_a_slow_replica(false);
    assert_eq!(most, 8, "four batches for each replica");
    map.unwrap();
}

#[test]
fn a_replica_that_fails_while_the_other_waits_for_it_ends_the_prediction() {
    let (most, map) = with_a_slow_replica(true);
    assert_eq!(most, 8, "the other has nothing to do");
    assert!(map.unwrap_err().to_string().contains("device 1 is lost"));
}

#[test]
fn copies_of_different_models_are_refused() {
    let model = || -> Model { Box::new(red_plane) };
    for (replicas, word) in [
        (vec![vec![model()], vec![model(), model()]], "[1, 2]"),
        (vec![], "at least one"),
        (vec![vec![]], "at least one"),
    ] {
        let error = Predictor::with_replicas(replicas, Normalization::KIDNEY, small_config()).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// What goes wrong, and after how many calls.
#[derive(Clone, Copy)]
enum Fault {
    Error,
    Panic,
}

impl Fault {
    fn strike(self, what: &str) -> Result<()> {
        match self {
            Self::Error => bail!("{what} is broken"),
            Self::Panic => panic!("{what} is broken"),
        }
    }
}

/// A slide that cannot be read below a row.
fn broken_slide(size: Size, from_row: i64, fault: Fault) -> impl RasterReader {
    let tap = move |window: Window| {
        if window.bottom() > from_row {
            fault
                .strike("tile 7")
                .map_err(|error| Error::format(Path::new("memory.tiff"), error.to_string()))?;
        }
        Ok(())
    };
    TappedSlide { slide: Box::new(patterned_slide(size)), chunk_size: Size::new(64, 64), tap }
}

/// A sink that takes some strips only.
struct BrokenSink {
    n_strips: usize,
    fault: Fault,
}

impl RowSink for BrokenSink {
    fn write_rows(&mut self, _: u32, _: &ArrayRef2<f16>) -> Result<()> {
        if self.n_strips == 0 {
            return self.fault.strike("the disk");
        }
        self.n_strips -= 1;
        Ok(())
    }
}

/// A listener that panics after some blocks.
struct BrokenProgress(usize);

impl Progress for BrokenProgress {
    fn interrupted(&self) -> bool {
        assert!(self.0 > 0, "the bar is broken");
        false
    }
}

#[test]
fn whatever_fails_ends_all_with_its_reason() {
    let size = Size::new(401, 290);
    let whole = || broken_slide(size, i64::MAX, Fault::Error);
    let models = |fault: Option<(usize, Fault)>, n_replicas: usize| -> Vec<Vec<Model>> {
        let n_calls = Arc::new(AtomicUsize::new(0));
        let replica = |_| -> Vec<Model> {
            let n_calls = Arc::clone(&n_calls);
            let model = move |tiles: &Array4<f32>| {
                let n_before = n_calls.fetch_add(1, Ordering::SeqCst);
                if let Some((limit, fault)) = fault
                    && n_before >= limit
                {
                    fault.strike("device 1")?;
                }
                red_plane(tiles)
            };
            vec![Box::new(model)]
        };
        (0..n_replicas).map(replica).collect()
    };
    for fault in [Fault::Error, Fault::Panic] {
        for n_replicas in 1..=3 {
            for (batch, read_threads, ahead) in [(1, 1, 1), (2, 3, 2)] {
                let config = PredictConfig {
                    batch,
                    read_threads,
                    read_ahead: ahead,
                    write_ahead: ahead,
                    ..small_config()
                };
                let message = |ours: &Predictor, slide: &dyn RasterReader, sink: &mut BrokenSink| {
                    format!("{:#}", ours.predict(slide, sink, None, &()).unwrap_err())
                };
                let sound = || BrokenSink { n_strips: usize::MAX, fault };
                // The first call, one in the middle, and the last.
                for limit in [0, 3, 9] {
                    let ours = replicated(config.clone(), models(Some((limit, fault)), n_replicas));
                    let message = message(&ours, &whole(), &mut sound());
                    assert!(message.contains("device 1 is broken"), "{message}");
                }
                let ours = replicated(config.clone(), models(None, n_replicas));
                for n_strips in [0, 2, 3] {
                    let message = message(&ours, &whole(), &mut BrokenSink { n_strips, fault });
                    assert!(message.contains("the disk is broken"), "{message}");
                }
                for from_row in [1, 200, 280] {
                    let message = message(&ours, &broken_slide(size, from_row, fault), &mut sound());
                    assert!(message.contains("tile 7 is broken"), "{message}");
                }
            }
        }
    }
    let ours = replicated(small_config(), models(None, 2));
    let error = ours.predict(
        &whole(),
        &mut BrokenSink { n_strips: 9, fault: Fault::Error },
        None,
        &BrokenProgress(0),
    );
    assert!(error.unwrap_err().to_string().contains("panicked: the bar is broken"));
}

#[test]
fn a_journal_keeps_what_was_predicted_before_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    let slide = broken_slide(Size::new(250, 340), 290, Fault::Error);
    let mut journal = BlockJournal::open(&path, b"").unwrap();
    let mut map = ProbabilityMap::new(slide.size());
    let (ours, n_tiles) = counting(&PredictConfig { read_threads: 1, ..small_config() }, 1);
    ours.predict(&slide, &mut map, Some(&mut journal), &()).unwrap_err();
    // What is read ahead ends the prediction before the block that needs it.
    assert!((1..=6).contains(&journal.len()), "{}", journal.len());
    assert_eq!(journal.len(), n_tiles.load(Ordering::SeqCst));
}

#[test]
fn times_of_stages_are_taken() {
    let slide = patterned_slide(Size::new(250, 340));
    let model = |tiles: &Array4<f32>| {
        std::thread::sleep(Duration::from_millis(2));
        red_plane(tiles)
    };
    let mut map = ProbabilityMap::new(slide.size());
    let seconds = predictor(small_config(), model).predict(&slide, &mut map, None, &()).unwrap().seconds;
    assert!(seconds.infer >= 12.0 * 0.002, "{seconds:?}");
    for (stage, time) in [
        ("read", seconds.read),
        ("reduce", seconds.reduce),
        ("wait", seconds.wait),
        ("merge", seconds.merge),
        ("write", seconds.write),
    ] {
        assert!(time > 0.0, "{stage}: {seconds:?}");
    }
    assert_eq!((seconds.tissue, seconds.journal), (0.0, 0.0), "not in use");
}
