//! The block pipeline with closures in place of networks.

use std::path::Path;

use anyhow::Result;
use half::f16;
use hubmap_data::Normalization;
use hubmap_infer::{
    Interrupted, PredictConfig, Predictor, ProbabilityMap, Progress, RowSink, SegmentTiles, Tta,
};
use hubmap_io::{MemorySlide, RasterReader as _, Size, Window};
use ndarray::{Array2, Array3, Array4, ArrayRef2, Axis, s};

/// A predictor around one closure.
pub(crate) fn predictor(
    config: PredictConfig,
    model: impl Fn(&Array4<f32>) -> Result<Array4<f32>> + Send + 'static,
) -> Predictor {
    let model: Box<dyn SegmentTiles> = Box::new(model);
    Predictor::new(vec![model], Normalization::KIDNEY, config).unwrap()
}

/// Settings for slides of a few hundred pixels.
pub(crate) fn small_config() -> PredictConfig {
    PredictConfig { block: 32, context: 16, tta: Tta::None, ..PredictConfig::original() }
}

/// A slide in memory, no two of whose neighbouring pixels are alike.
pub(crate) fn patterned_slide(size: Size) -> MemorySlide {
    let dim = (size.height as usize, size.width as usize, 3);
    let value = |(y, x, c): (usize, usize, usize)| ((y * 7 + x * 13 + c * 50 + y * x / 91) % 251) as u8;
    MemorySlide::new(Path::new("memory.tiff"), Array3::from_shape_fn(dim, value), Some(0.5)).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a network")]
/// The red plane as logits, which makes a tile's place in the map visible.
fn red_plane(tiles: &Array4<f32>) -> Result<Array4<f32>> {
    Ok(tiles.slice(s![.., ..1, .., ..]).to_owned())
}

#[test]
fn a_constant_model_gives_a_constant_map_at_any_size() {
    let model = |tiles: &Array4<f32>| {
        let (n, _, h, w) = tiles.dim();
        Ok(Array4::from_elem((n, 1, h, w), 0.0))
    };
    for (width, height) in [(1, 1), (5, 200), (95, 96), (96, 97), (300, 2), (230, 310)] {
        let slide = patterned_slide(Size::new(width, height));
        let map = predictor(small_config(), model).predict_map(&slide).unwrap().probabilities;
        assert_eq!(map.dim(), (height as usize, width as usize));
        assert!(map.iter().all(|&p| p == f16::from_f32(0.5)));
    }
}

#[test]
fn pixels_land_where_they_came_from() {
    // At scale 1 a model that copies a plane must give back the slide itself.
    let slide = patterned_slide(Size::new(150, 83));
    for tta in [Tta::None, Tta::D4, Tta::Kaggle] {
        let config = PredictConfig { scale: 1, tta, ..small_config() };
        let map = predictor(config, red_plane).predict_map(&slide).unwrap().probabilities;
        let logit = |pixel: u8| Normalization::KIDNEY.value(pixel, 0);
        let expected =
            slide.pixels().index_axis(Axis(2), 0).mapv(|pixel| 1.0 / (1.0 + (-logit(pixel)).exp()));
        for (ours, expected) in map.iter().zip(&expected) {
            assert!((ours.to_f32() - expected).abs() < 1e-3, "{tta:?}: {ours} {expected}");
        }
    }
}

#[test]
fn batches_threads_and_strips_do_not_change_the_map() {
    let slide = patterned_slide(Size::new(401, 290));
    let config = PredictConfig { tta: Tta::D4, ..small_config() };
    let expected = predictor(config.clone(), red_plane).predict_map(&slide).unwrap();
    for (batch, read_threads, read_ahead) in [(1, 1, 1), (2, 3, 1), (7, 2, 4), (100, 5, 2)] {
        let config = PredictConfig { batch, read_threads, read_ahead, ..config.clone() };
        assert_eq!(predictor(config, red_plane).predict_map(&slide).unwrap(), expected, "batch {batch}");
    }
}

#[test]
fn the_map_equals_the_reference_order_of_whole_blocks() {
    // Column by column, every block enlarged as a whole and cropped then, as the reference does.
    let slide = patterned_slide(Size::new(250, 340));
    let config = small_config();
    let ours = predictor(config.clone(), red_plane);
    let mut expected = ProbabilityMap::new(slide.size()).probabilities;
    for block in ours.grid(slide.size()).column_major() {
        let pixels = slide.read(block.read).unwrap();
        let tile = Normalization::KIDNEY.apply(&hubmap_io::area_downscale(pixels.view(), config.scale));
        let probabilities = ours.probabilities(&[tile]).unwrap().remove(0);
        let side = config.tile_side() * config.scale;
        let wide = hubmap_infer::bilinear(&probabilities, config.scale, Window::new(0, 0, side, side));
        let (x, y) = (block.paste.x as usize, block.paste.y as usize);
        let (w, h) = (block.paste.width as usize, block.paste.height as usize);
        let context = config.context_px() as usize;
        let crop = wide.slice(s![context..context + h, context..context + w]).mapv(f16::from_f32);
        expected.slice_mut(s![y..y + h, x..x + w]).assign(&crop);
    }
    assert_eq!(ours.predict_map(&slide).unwrap().probabilities, expected);
}

/// Checks that rows come whole, once and in order.
struct InOrder {
    next_row: u32,
    calls: usize,
}

impl RowSink for InOrder {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        assert_eq!((y0, probabilities.ncols()), (self.next_row, 250));
        self.next_row += probabilities.nrows() as u32;
        self.calls += 1;
        Ok(())
    }
}

#[test]
fn rows_arrive_in_order_and_once() {
    let slide = patterned_slide(Size::new(250, 340));
    let mut sink = InOrder { next_row: 0, calls: 0 };
    let config = PredictConfig { batch: 2, ..small_config() };
    predictor(config, red_plane).predict(&slide, &mut sink, &()).unwrap();
    assert_eq!((sink.next_row, sink.calls), (340, 4));
}

/// Counts blocks and stops after some.
struct StopAfter {
    n_blocks: std::cell::Cell<usize>,
    limit: usize,
}

impl Progress for StopAfter {
    fn blocks_done(&self, n_blocks: usize) {
        self.n_blocks.set(self.n_blocks.get() + n_blocks);
    }

    fn interrupted(&self) -> bool {
        self.n_blocks.get() >= self.limit
    }
}

#[test]
fn progress_counts_blocks_and_can_stop() {
    let slide = patterned_slide(Size::new(250, 340));
    let run = |limit| {
        let progress = StopAfter { n_blocks: 0.into(), limit };
        let mut map = ProbabilityMap::new(slide.size());
        let result = predictor(small_config(), red_plane).predict(&slide, &mut map, &progress);
        (progress.n_blocks.get(), result)
    };
    let (n_blocks, result) = run(usize::MAX);
    assert_eq!(n_blocks, 12);
    result.unwrap();
    let (n_blocks, result) = run(3);
    assert_eq!(n_blocks, 3);
    assert!(result.unwrap_err().is::<Interrupted>());
}

#[test]
fn a_model_that_misbehaves_is_named() {
    let slide = patterned_slide(Size::new(100, 100));
    let message = |model: fn(&Array4<f32>) -> Result<Array4<f32>>| {
        format!("{:#}", predictor(small_config(), model).predict_map(&slide).unwrap_err())
    };
    assert!(message(|_| Ok(Array4::zeros((1, 1, 3, 3)))).contains("expected [1, 1, 64, 64]"));
    assert!(message(|tiles| Ok(tiles.slice(s![.., ..1, .., ..]).mapv(|_| f32::NAN))).contains("not finite"));
    assert!(message(|_| anyhow::bail!("out of memory")).contains("out of memory"));
}

#[test]
fn a_slide_without_three_bands_is_refused() {
    let slide = MemorySlide::new(Path::new("memory.tiff"), Array3::zeros((10, 10, 1)), None).unwrap();
    let error = predictor(small_config(), red_plane).predict_map(&slide).unwrap_err();
    assert!(error.to_string().contains("1 bands") && error.to_string().contains("memory.tiff"), "{error}");
}

#[test]
fn a_map_collects_rows() {
    let mut map = ProbabilityMap::new(Size::new(2, 3));
    map.write_rows(1, &Array2::from_elem((2, 2), f16::ONE)).unwrap();
    assert_eq!(map.probabilities.mapv(f16::to_f32), ndarray::array![[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]);
}
