use std::path::Path;

use hubmap_io::{MemorySlide, Size};
use hubmap_synth::TappedSlide;
use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::config::PredictConfig;

/// Pixels no two neighbours of which are alike.
fn patterned(size: Size) -> MemorySlide {
    let dim = (size.height as usize, size.width as usize, 3);
    let pixels = Array3::from_shape_fn(dim, |(y, x, c)| (y * 7 + x * 13 + c * 50) as u8);
    MemorySlide::new(Path::new("memory.tiff"), pixels, None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Tiles are those of windows read by themselves; no pixel is read twice; nothing stays.
    #[test]
    fn tiles_are_those_of_their_windows(
        (width, height) in (1_u32..4000, 1_u32..400),
        (chunk_width, chunk_height) in (1_u32..4500, 1_u32..500),
        (scale, block, context) in (1_u32..5, 20_u32..400, 0_u32..40),
        overlap in 0_u32..30,
        kept in 0_usize..4,
    ) {
        let inner = patterned(Size::new(width, height));
        let counts = Mutex::new(Array2::<u32>::zeros((height as usize, width as usize)));
        let count = |window: Window| {
            if let Some(Window { x, y, width, height }) = window.intersect(&inner.size().window()) {
                let (x, y) = (x as usize, y as usize);
                let mut counts = counts.lock().unwrap();
                counts.slice_mut(s![y..y + height as usize, x..x + width as usize]).mapv_inplace(|n| n + 1);
            }
            Ok(())
        };
        let chunk_size = Size::new(chunk_width, chunk_height);
        let slide = TappedSlide { slide: Box::new(inner.clone()), chunk_size, tap: count };
        let config = PredictConfig { scale, block, context, overlap: overlap.min(block / 2), ..PredictConfig::original() };
        // Some blocks are left out.
        let windows: Vec<Window> = config
            .grid(slide.size())
            .row_major()
            .enumerate()
            .filter(|(idx, _)| kept == 0 || idx % 4 != kept)
            .map(|(_, block)| block.read)
            .collect();
        let clock = StageClock::default();
        let reader =
            TileReader::new(&slide, Normalization::KIDNEY, scale, windows.iter().copied(), &clock);
        let tiles: Vec<_> = windows.iter().map(|&window| reader.read(window).unwrap()).collect();
        prop_assert!(reader.cells.lock().unwrap().is_empty());
        let counts = std::mem::take(&mut *counts.lock().unwrap());
        prop_assert!(counts.iter().all(|&n| n <= 1));
        if kept == 0 {
            prop_assert!(counts.iter().all(|&n| n == 1));
        }
        for (&window, tile) in windows.iter().zip(&tiles) {
            let pixels = inner.read(window).unwrap();
            let expected = Normalization::KIDNEY.apply(&area_downscale(pixels.view(), scale));
            prop_assert_eq!(tile, &expected, "{}", window);
        }
    }
}

#[test]
fn cells_are_made_of_whole_chunks() {
    // Slide, chunk, scale: side of a cell.
    for (slide_side, chunk_side, scale, expected) in [
        (40_000, 256, 3, 1536),
        (40_000, 512, 3, 1536),
        (40_000, 1024, 3, 3072),
        (40_000, 240, 4, 1440),
        (40_000, 2048, 3, 1536),
        (40_000, 500, 1, 1500),
        (40_000, 40_000, 3, 40_002),
        (40_000, 1, 7, 1533),
        (1000, 1000, 3, 3000),
    ] {
        assert_eq!(
            cell_side(slide_side, chunk_side, scale, 1536),
            expected,
            "{slide_side} {chunk_side} {scale}"
        );
        assert_eq!(expected % scale, 0);
    }
}

#[test]
fn windows_around_windows() {
    let (a, b) = (Window::new(3, 4, 5, 6), Window::new(1, 8, 3, 9));
    assert_eq!(around(a, b), Window::new(1, 4, 7, 13));
    assert_eq!(around(b, a), Window::new(1, 4, 7, 13));
}
