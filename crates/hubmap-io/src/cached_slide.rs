//! A reader that remembers what it decoded.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ndarray::{Array3, ArrayViewMut3, s};

use crate::raster::scaled;
use crate::{
    AssociatedImage, Level, RasterReader, ReadOptions, Result, SampleKind, ScaleOptions, Size, Window,
};

/// Pixels of a block, about: small enough that a window needs little beside it, large enough that locks are rare.
const BLOCK_PX: u64 = 1 << 20;

/// Chunks of more pixels than this, such as a page in one strip, are not worth their memory.
const MAX_CHUNK_PX: u64 = 1 << 24;

/// Pixels that a reduced read takes from the memory at once: few enough for a core's own cache.
const STRIP_PX: u64 = 1 << 17;

/// A slide whose decoded pixels stay in memory, up to a limit: for windows that overlap, and for strips, which run
/// through many windows.
///
/// Pixels of the full resolution are kept in blocks of whole chunks of the file, those used last the longest.
/// Any number of threads may read; one that needs a block which another is decoding waits for it.
/// Reduced levels, chosen bands and wide samples go past the memory.
pub struct CachedSlide {
    inner: Box<dyn RasterReader>,
    block: Size,
    max_blocks: usize,
    blocks: Mutex<Blocks>,
}

/// A block's pixels, once they are decoded.
type Block = Arc<RwLock<Option<Array3<u8>>>>;

/// Blocks by column and row, with the time of their last use.
#[derive(Default)]
struct Blocks {
    by_place: HashMap<(u32, u32), (Block, u64)>,
    clock: u64,
}

impl CachedSlide {
    /// Puts a memory of about `max_bytes` before a reader.
    pub fn new(inner: Box<dyn RasterReader>, max_bytes: usize) -> Self {
        let block = block_size(inner.size(), inner.chunk_size());
        let block_bytes = block.area() as usize * inner.bands();
        let max_blocks =
            if inner.sample_kind() == SampleKind::U16 { 0 } else { max_bytes / block_bytes.max(1) };
        Self { inner, block, max_blocks, blocks: Mutex::default() }
    }

    fn keeps_blocks(&self) -> bool {
        self.max_blocks > 0 && self.chunk_size().area() <= MAX_CHUNK_PX
    }

    /// The block at a place, empty if it is new; the one unused for longest makes room.
    fn block(&self, place: (u32, u32)) -> Block {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.clock += 1;
        let now = blocks.clock;
        if let Some((block, last_used)) = blocks.by_place.get_mut(&place) {
            *last_used = now;
            return Arc::clone(block);
        }
        if blocks.by_place.len() >= self.max_blocks
            && let Some(&oldest) =
                blocks.by_place.iter().min_by_key(|(_, (_, last_used))| last_used).map(|(place, _)| place)
        {
            blocks.by_place.remove(&oldest);
        }
        let block = Block::default();
        blocks.by_place.insert(place, (Arc::clone(&block), now));
        block
    }

    /// Copies the part of a block that lies in `window` to its place in `out`.
    fn copy(&self, place: (u32, u32), window: Window, out: &mut ArrayViewMut3<'_, u8>) -> Result<()> {
        let corner = |index: u32, side: u32| i64::from(index) * i64::from(side);
        let (x, y) = (corner(place.0, self.block.width), corner(place.1, self.block.height));
        let whole = Window::new(x, y, self.block.width, self.block.height);
        let Some(area) = whole.intersect(&self.size().window()) else { return Ok(()) };
        let Some(part) = area.intersect(&window) else { return Ok(()) };
        let block = self.block(place);
        let copy = |pixels: &Array3<u8>, out: &mut ArrayViewMut3<'_, u8>| {
            let ranges = |from: &Window| {
                let (x, y) = ((part.x - from.x) as usize, (part.y - from.y) as usize);
                (y..y + part.height as usize, x..x + part.width as usize)
            };
            let ((to_rows, to_columns), (rows, columns)) = (ranges(&window), ranges(&area));
            let mut out = out.slice_mut(s![to_rows, to_columns, ..]);
            let pixels = pixels.slice(s![rows, columns, ..]);
            for (mut out, pixels) in out.outer_iter_mut().zip(pixels.outer_iter()) {
                // Rows of both are runs of bytes, unless the caller's array is of a rare kind.
                match (out.as_slice_mut(), pixels.as_slice()) {
                    (Some(out), Some(pixels)) => out.copy_from_slice(pixels),
                    _ => out.assign(&pixels),
                }
            }
        };
        if let Some(pixels) = &*block.read().unwrap_or_else(PoisonError::into_inner) {
            copy(pixels, out);
            return Ok(());
        }
        let mut pixels = block.write().unwrap_or_else(PoisonError::into_inner);
        let pixels = match &mut *pixels {
            // Another thread decoded it since.
            Some(pixels) => pixels,
            empty => empty.insert(self.inner.read(area)?),
        };
        copy(pixels, out);
        Ok(())
    }
}

/// Whole chunks of about [`BLOCK_PX`] pixels: as square as chunks allow, never wider than the slide.
fn block_size(slide: Size, chunk: Size) -> Size {
    let times = |side: u32, wanted: u64, limit: u32| {
        let n_chunks = (wanted / u64::from(side.max(1))).max(1);
        (n_chunks * u64::from(side)).min(u64::from(limit.next_multiple_of(side.max(1)))) as u32
    };
    let width = times(chunk.width, BLOCK_PX.isqrt(), slide.width);
    let height = times(chunk.height, BLOCK_PX / u64::from(width.max(1)), slide.height);
    Size::new(width, height)
}

impl RasterReader for CachedSlide {
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

    fn read_with(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        mut out: ArrayViewMut3<'_, u8>,
    ) -> Result<()> {
        if options.level != 0 || options.bands.is_some() || !self.keeps_blocks() {
            return self.inner.read_with(window, options, out);
        }
        options.check(self.path(), window, 1, self.bands(), out.dim())?;
        let inside = self.size().window().intersect(&window);
        if inside != Some(window) {
            out.fill(options.fill_u8(self.path())?);
        }
        let Some(inside) = inside else { return Ok(()) };
        let index = |at: i64, side: u32| (at / i64::from(side)) as u32;
        for row in index(inside.y, self.block.height)..=index(inside.bottom() - 1, self.block.height) {
            for column in index(inside.x, self.block.width)..=index(inside.right() - 1, self.block.width) {
                self.copy((column, row), window, &mut out)?;
            }
        }
        Ok(())
    }

    fn read_scaled(&self, window: Window, factor: u32, options: &ScaleOptions<'_>) -> Result<Array3<u8>> {
        if options.bands.is_some() || !self.keeps_blocks() {
            return self.inner.read_scaled(window, factor, options);
        }
        scaled(self, window, factor, options, STRIP_PX)
    }

    fn sample_kind(&self) -> SampleKind {
        self.inner.sample_kind()
    }

    fn chunk_size(&self) -> Size {
        self.inner.chunk_size()
    }

    fn levels(&self) -> Vec<Level> {
        self.inner.levels()
    }

    fn vendor(&self) -> &'static str {
        self.inner.vendor()
    }

    fn description(&self) -> Option<&str> {
        self.inner.description()
    }

    fn associated_images(&self) -> Vec<AssociatedImage> {
        self.inner.associated_images()
    }

    fn read_associated(&self, name: &str) -> Result<Array3<u8>> {
        self.inner.read_associated(name)
    }

    fn read_u16(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u16>> {
        self.inner.read_u16(window, options)
    }
}

impl std::fmt::Debug for CachedSlide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedSlide")
            .field("path", &self.path())
            .field("block", &self.block)
            .field("max_blocks", &self.max_blocks)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::MemorySlide;

    /// Counts the pixels it hands out.
    struct Counting(MemorySlide, Arc<AtomicUsize>, Size);

    impl RasterReader for Counting {
        fn path(&self) -> &Path {
            self.0.path()
        }

        fn size(&self) -> Size {
            self.0.size()
        }

        fn bands(&self) -> usize {
            self.0.bands()
        }

        fn microns_per_px(&self) -> Option<f64> {
            None
        }

        fn read_with(
            &self,
            window: Window,
            options: &ReadOptions<'_>,
            out: ArrayViewMut3<'_, u8>,
        ) -> Result<()> {
            self.1.fetch_add(window.size().area() as usize, Ordering::Relaxed);
            self.0.read_with(window, options, out)
        }

        fn chunk_size(&self) -> Size {
            self.2
        }
    }

    fn counting(size: Size, chunk: Size) -> (Box<Counting>, Arc<AtomicUsize>) {
        let pixels = Array3::from_shape_fn((size.height as usize, size.width as usize, 1), |(y, x, _)| {
            (y * 31 + x * 7) as u8
        });
        let n_read = Arc::new(AtomicUsize::new(0));
        let slide = MemorySlide::new(Path::new("memory"), pixels, None).unwrap();
        (Box::new(Counting(slide, Arc::clone(&n_read), chunk)), n_read)
    }

    #[test]
    fn every_pixel_is_decoded_once_while_there_is_room() {
        let size = Size::new(2500, 1300);
        for chunk in [Size::new(256, 256), Size::new(2500, 8)] {
            let (slide, n_read) = counting(size, chunk);
            let truth = slide.0.clone();
            let cached = CachedSlide::new(slide, 8 << 20);
            for window in [
                Window::new(-100, -50, 900, 700),
                Window::new(700, 300, 900, 1200),
                size.window(),
                size.window(),
            ] {
                assert_eq!(cached.read(window).unwrap(), truth.read(window).unwrap());
            }
            assert_eq!(n_read.load(Ordering::Relaxed) as u64, size.area(), "chunks of {chunk}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_block_goes_first() {
        let (slide, n_read) = counting(Size::new(1024, 4096), Size::new(1024, 1024));
        let cached = CachedSlide::new(slide, 2 << 20);
        let touch = |row: i64| {
            let before = n_read.load(Ordering::Relaxed);
            cached.read(Window::new(5, row * 1024 + 5, 10, 10)).unwrap();
            n_read.load(Ordering::Relaxed) > before
        };
        assert!(touch(0) && touch(1) && !touch(0) && touch(2));
        assert!(!touch(0), "used after block 1");
        assert!(touch(1), "made room for block 2");
        assert_eq!(cached.blocks.lock().unwrap().by_place.len(), 2);
    }

    #[test]
    fn huge_chunks_and_no_memory_go_past_it() {
        let (slide, n_read) = counting(Size::new(64, 64), Size::new(1 << 13, 1 << 13));
        let cached = CachedSlide::new(slide, 1 << 30);
        cached.read(Window::new(0, 0, 8, 8)).unwrap();
        assert_eq!(n_read.load(Ordering::Relaxed), 64);
        let (slide, _) = counting(Size::new(64, 64), Size::new(16, 16));
        let cached = CachedSlide::new(slide, 0);
        assert_eq!(cached.read(Window::new(-4, 0, 8, 8)).unwrap().dim(), (8, 8, 1));
    }

    #[test]
    fn blocks_are_whole_chunks() {
        assert_eq!(block_size(Size::new(8192, 8192), Size::new(256, 256)), Size::new(1024, 1024));
        assert_eq!(block_size(Size::new(40_000, 30_000), Size::new(40_000, 7)), Size::new(40_000, 21));
        assert_eq!(block_size(Size::new(500, 300), Size::new(512, 512)), Size::new(512, 512));
        assert_eq!(block_size(Size::new(8192, 8192), Size::new(240, 240)), Size::new(960, 960));
    }
}
