//! Blocks without tissue are neither read nor predicted.

use std::path::Path;
use std::sync::{Arc, Mutex};

use half::f16;
use hubmap_infer::{Block, PredictConfig, PredictStats, ProbabilityMap, TissueConfig, TissueMask};
use hubmap_io::{MemorySlide, RasterReader, Size, Window};
use hubmap_synth::{SlideSpec, SyntheticSlide, TappedSlide};
use ndarray::{Array3, s};

use crate::pipeline::{patterned_slide, predictor, red_plane, small_config};

/// The windows that are read from a slide, in their order.
type Windows = Arc<Mutex<Vec<Window>>>;

/// A slide that notes the windows which are read from it.
fn watched(pixels: Array3<u8>) -> (impl RasterReader, Windows) {
    let windows = Windows::default();
    let notes = Arc::clone(&windows);
    let tap = move |window: Window| {
        notes.lock().unwrap().push(window);
        Ok(())
    };
    let slide = Box::new(MemorySlide::new(Path::new("memory.tiff"), pixels, None).unwrap());
    (TappedSlide { slide, chunk_size: Size::new(64, 64), tap }, windows)
}

fn take(windows: &Windows) -> Vec<Window> {
    std::mem::take(&mut *windows.lock().unwrap())
}

/// The windows that are read to look for tissue.
fn tissue_windows(slide: &dyn RasterReader, windows: &Windows) -> Vec<Window> {
    take(windows);
    TissueMask::find(slide, &skipping().tissue).unwrap();
    take(windows)
}

fn skipping() -> PredictConfig {
    let tissue = TissueConfig { skip: true, trim: false, downsample: 16, min_area: 4096, margin: 32 };
    PredictConfig { tissue, ..small_config() }
}

fn predict(config: PredictConfig, slide: &dyn RasterReader) -> (ProbabilityMap, PredictStats) {
    let mut map = ProbabilityMap::new(slide.size());
    let stats = predictor(config, red_plane).predict(slide, &mut map, None, &()).unwrap();
    (map, stats)
}

/// Half a slide of tissue, and glass.
fn half_empty() -> (SyntheticSlide, Array3<u8>) {
    let size = Size::new(1000, 1200);
    let spec = SlideSpec { scale: 0.2, artefacts: false, ..SlideSpec::new(size, 11) };
    let tissue = SyntheticSlide::new(spec).unwrap();
    let mut pixels = Array3::from_elem((1200, 2000, 3), 240);
    pixels.slice_mut(s![.., ..1000, ..]).assign(&tissue.render(size.window()));
    (tissue, pixels)
}

#[test]
fn all_objects_lie_in_tissue_and_glass_is_not_read() {
    let (truth, pixels) = half_empty();
    assert!(truth.mask().count_ones() > 1000, "the slide has objects");
    let (slide, windows) = watched(pixels);
    let n_for_tissue = tissue_windows(&slide, &windows).len();
    let (ours, stats) = predict(skipping(), &slide);
    let of_blocks = take(&windows).split_off(n_for_tissue);
    let (everything, without) = predict(small_config(), &slide);
    assert_eq!((without.n_skipped, without.tissue), (0, None));
    let area = |windows: &[Window]| windows.iter().map(|window| window.size().area()).sum::<u64>();
    let (read, all) = (area(&of_blocks), area(&take(&windows)));
    assert!(all >= slide.size().area() && read * 5 < all * 3, "{read} of {all} px");

    let tissue = stats.tissue.unwrap();
    let objects = truth.mask();
    for y in 0..1200 {
        for x in (0..1000).filter(|&x| objects.get(x, y)) {
            assert!(tissue.touches(Window::new(x.into(), y.into(), 1, 1)), "object at {x}, {y}");
        }
    }
    assert!(tissue.share() < 0.55, "{} of the slide", tissue.share());
    assert!(stats.n_skipped * 5 > stats.n_blocks * 2, "{} of {}", stats.n_skipped, stats.n_blocks);

    // Blocks with tissue are as ever, the others 0 and unread.
    let blocks = predictor(skipping(), red_plane).grid(slide.size());
    let (kept, skipped): (Vec<Block>, Vec<Block>) = blocks.row_major().partition(|b| tissue.touches(b.paste));
    assert_eq!((kept.len(), skipped.len()), (stats.n_blocks - stats.n_skipped, stats.n_skipped));
    for window in of_blocks {
        let is_needed = kept.iter().any(|block| block.read.intersect(&window).is_some());
        assert!(is_needed, "{window} was read for no block");
    }
    let of = |map: &ProbabilityMap, block: &Block| {
        let Window { x, y, width, height } = block.paste;
        let (x, y) = (x as usize, y as usize);
        map.probabilities.slice(s![y..y + height as usize, x..x + width as usize]).to_owned()
    };
    assert!(kept.iter().all(|block| of(&ours, block) == of(&everything, block)));
    assert!(skipped.iter().all(|block| of(&ours, block).iter().all(|&p| p == f16::ZERO)));
}

#[test]
fn blocks_are_trimmed_to_their_tissue_and_it_keeps_its_probabilities() {
    // Tissue ends in the middle of blocks.
    let (_, mut pixels) = half_empty();
    pixels.slice_mut(s![1000.., .., ..]).fill(240);
    let (slide, windows) = watched(pixels);
    let area = |windows: &Windows| take(windows).iter().map(|w| w.size().area()).sum::<u64>();
    let config = PredictConfig { block: 96, ..skipping() };
    let whole = predict(config.clone(), &slide).0;
    let read_whole = area(&windows);
    let trimming = |batch| {
        let tissue = TissueConfig { trim: true, ..config.tissue.clone() };
        PredictConfig { tissue, batch, ..config.clone() }
    };
    let (trimmed, stats) = predict(trimming(1), &slide);
    let read_trimmed = area(&windows);
    assert!(read_trimmed < read_whole, "{read_trimmed} of {read_whole} px");
    assert_eq!(predict(trimming(3), &slide).0, trimmed, "tiles of several sizes in a batch");

    let tissue = stats.tissue.unwrap();
    let mut n_other = 0;
    for ((y, x), &probability) in trimmed.probabilities.indexed_iter() {
        let expected = whole.probabilities[(y, x)];
        if tissue.touches(Window::new(x as i64, y as i64, 1, 1)) {
            assert_eq!(probability, expected, "at {x}, {y}");
        } else {
            n_other += usize::from(probability != expected);
        }
    }
    assert!(n_other > 0, "no block was trimmed");
}

#[test]
fn a_white_slide_is_skipped_and_a_full_one_is_not() {
    let (white, windows) = watched(Array3::from_elem((500, 400, 3), 255));
    let for_tissue = tissue_windows(&white, &windows);
    let (map, stats) = predict(skipping(), &white);
    assert_eq!((stats.n_skipped, stats.n_blocks), (30, 30));
    assert!(map.probabilities.iter().all(|&p| p == f16::ZERO));
    assert_eq!(take(&windows), for_tissue);

    let mut pixels = patterned_slide(Size::new(400, 500)).pixels().clone();
    pixels.slice_mut(s![.., .., 1]).mapv_inplace(|green| green / 2);
    let (full, _) = watched(pixels);
    let (map, stats) = predict(skipping(), &full);
    assert_eq!((stats.n_skipped, stats.n_blocks), (0, 30));
    assert_eq!(map, predict(small_config(), &full).0);
}
