use std::path::Path;

use hubmap_io::{MemorySlide, ReadOptions, Size};
use ndarray::ArrayViewMut3;
use proptest::prelude::*;

use super::*;
use crate::config::PredictConfig;

/// A slide in chunks of some size that counts how often each of its pixels is read.
struct Counting {
    inner: MemorySlide,
    chunk: Size,
    counts: Mutex<ndarray::Array2<u32>>,
}

impl Counting {
    fn new(size: Size, chunk: Size) -> Self {
        let (height, width) = (size.height as usize, size.width as usize);
        let pixels = Array3::from_shape_fn((height, width, 3), |(y, x, c)| (y * 7 + x * 13 + c * 50) as u8);
        let inner = MemorySlide::new(Path::new("memory.tiff"), pixels, None).unwrap();
        Self { inner, chunk, counts: Mutex::new(ndarray::Array2::zeros((height, width))) }
    }
}

impl RasterReader for Counting {
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
        None
    }

    fn chunk_size(&self) -> Size {
        self.chunk
    }

    fn read_with(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        out: ArrayViewMut3<'_, u8>,
    ) -> hubmap_io::Result<()> {
        if let Some(Window { x, y, width, height }) = window.intersect(&self.size().window()) {
            let (x, y) = (x as usize, y as usize);
            let mut counts = self.counts.lock().unwrap();
            counts.slice_mut(s![y..y + height as usize, x..x + width as usize]).mapv_inplace(|n| n + 1);
        }
        self.inner.read_with(window, options, out)
    }
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
        let slide = Counting::new(Size::new(width, height), Size::new(chunk_width, chunk_height));
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
        let counts = std::mem::take(&mut *slide.counts.lock().unwrap());
        prop_assert!(counts.iter().all(|&n| n <= 1));
        if kept == 0 {
            prop_assert!(counts.iter().all(|&n| n == 1));
        }
        for (&window, tile) in windows.iter().zip(&tiles) {
            let pixels = slide.inner.read(window).unwrap();
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
