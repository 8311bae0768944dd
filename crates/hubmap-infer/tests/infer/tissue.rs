//! Blocks without tissue are neither read nor predicted.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use half::f16;
use hubmap_infer::{Block, PredictConfig, PredictStats, ProbabilityMap, TissueConfig};
use hubmap_io::{MemorySlide, RasterReader, ReadOptions, Result, Size, Window};
use hubmap_synth::{SlideSpec, SyntheticSlide};
use ndarray::{Array3, ArrayViewMut3, s};

use crate::pipeline::{patterned_slide, predictor, red_plane, small_config};

/// A slide that notes the windows which are read from it as they are.
struct Watched {
    inner: MemorySlide,
    windows: Mutex<Vec<Window>>,
}

impl Watched {
    fn new(pixels: Array3<u8>) -> Self {
        let inner = MemorySlide::new(Path::new("memory.tiff"), pixels, None).unwrap();
        Self { inner, windows: Mutex::default() }
    }

    /// The windows that were read.
    fn take_windows(&self) -> Vec<Window> {
        std::mem::take(&mut *self.windows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RasterReader for Watched {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn size(&self) -> Size {
        self.inner.size()
    }

    fn bands(&self) -> usize {
        self.inner.bands()
    }

    fn microns_per_px(&self) -> Option<f64> {
        self.inner.microns_per_px()
    }

    fn chunk_size(&self) -> Size {
        Size::new(64, 64)
    }

    fn read_with(&self, window: Window, options: &ReadOptions<'_>, out: ArrayViewMut3<'_, u8>) -> Result<()> {
        self.inner.read_with(window, options, out)
    }

    fn read(&self, window: Window) -> Result<Array3<u8>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).push(window);
        self.inner.read(window)
    }
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
    let slide = Watched::new(pixels);
    let (ours, stats) = predict(skipping(), &slide);
    let windows = slide.take_windows();
    let (everything, without) = predict(small_config(), &slide);
    assert_eq!((without.n_skipped, without.tissue), (0, None));
    let area = |windows: &[Window]| windows.iter().map(|window| window.size().area()).sum::<u64>();
    let (read, all) = (area(&windows), area(&slide.take_windows()));
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
    for window in windows {
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
    let slide = Watched::new(pixels);
    let area = |slide: &Watched| slide.take_windows().iter().map(|w| w.size().area()).sum::<u64>();
    let config = PredictConfig { block: 96, ..skipping() };
    let whole = predict(config.clone(), &slide).0;
    let read_whole = area(&slide);
    let trimming = |batch| {
        let tissue = TissueConfig { trim: true, ..config.tissue.clone() };
        PredictConfig { tissue, batch, ..config.clone() }
    };
    let (trimmed, stats) = predict(trimming(1), &slide);
    let read_trimmed = area(&slide);
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
    let white = Watched::new(Array3::from_elem((500, 400, 3), 255));
    let (map, stats) = predict(skipping(), &white);
    assert_eq!((stats.n_skipped, stats.n_blocks), (30, 30));
    assert!(map.probabilities.iter().all(|&p| p == f16::ZERO));
    assert_eq!(white.take_windows(), []);

    let mut pixels = patterned_slide(Size::new(400, 500)).pixels().clone();
    pixels.slice_mut(s![.., .., 1]).mapv_inplace(|green| green / 2);
    let full = Watched::new(pixels);
    let (map, stats) = predict(skipping(), &full);
    assert_eq!((stats.n_skipped, stats.n_blocks), (0, 30));
    assert_eq!(map, predict(small_config(), &full).0);
}
