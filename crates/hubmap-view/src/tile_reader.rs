//! Pixels of Deep Zoom tiles, from the levels of a file or from averages where it has none.

use std::path::Path;
use std::sync::Arc;

use hubmap_io::{
    CachedSlide, LevelUse, RasterReader, ReadOptions, Result, SampleKind, ScaleOptions, Size, Window,
};
use ndarray::{Array3, ArrayViewMut3};

use crate::deep_zoom::DeepZoom;
use crate::wide_slide::WideSlide;

/// How much smaller the next resolution may be along each side before one is made in between: tiles of the levels
/// between are averages of up to half of that.
const MAX_STEP: u32 = 8;

/// A resolution of at most so many pixels is small enough to average all of it for one tile.
const SMALL_PX: u64 = 1 << 22;

/// Chunks of levels, whose real ones readers do not tell, and of averages.
const LEVEL_CHUNK: Size = Size::new(256, 256);

/// Reads tiles of a slide, a mask or a map of probabilities.
///
/// A tile is an average over areas of the smallest level of the file that serves, the same bytes as
/// [`RasterReader::read_scaled`] with [`LevelUse::Any`]. Where levels are missing, averages of the one below stand in:
/// made once when they are needed, block by block. All resolutions keep what they decoded, up to a limit.
pub(crate) struct TileReader {
    zoom: DeepZoom,
    fill: u8,
    /// From full resolution on, each with its full-resolution pixels per pixel.
    resolutions: Vec<(u32, Arc<CachedSlide>)>,
}

impl TileReader {
    /// A reader that keeps about `cache_bytes` of decoded pixels; `fill` stands for what lies off the image.
    pub(crate) fn new(slide: Arc<dyn RasterReader>, fill: u8, cache_bytes: usize) -> Result<Self> {
        let slide: Arc<dyn RasterReader> = match slide.sample_kind() {
            SampleKind::U16 => Arc::new(WideSlide::new(slide)?),
            _ => slide,
        };
        let zoom = DeepZoom::new(slide.size());
        let steps = steps_of(slide.as_ref());
        // Half for full resolution, where people look longest.
        let share = cache_bytes / 2 / (1 + steps.len());
        let cached = |view: View| Arc::new(CachedSlide::new(Box::new(view), share));
        let full = View { slide: Arc::clone(&slide), size: slide.size(), from: From::Level(0) };
        let full = Arc::new(CachedSlide::new(Box::new(full), cache_bytes / 2));
        let mut resolutions = vec![(1, full)];
        // What averages are made of: the file itself, so that they do not push other pixels out of the memory.
        let mut below: Arc<dyn RasterReader> = Arc::clone(&slide);
        let mut found = steps.into_iter().peekable();
        loop {
            let (step, size) = resolutions.last().map_or((1, zoom.size()), |(step, r)| (*step, r.size()));
            let next = found.next_if(|&(next, _)| next / step <= MAX_STEP);
            if let Some((next, level)) = next {
                let size = slide.levels()[level].size;
                let view = || View { slide: Arc::clone(&slide), size, from: From::Level(level) };
                resolutions.push((next, cached(view())));
                below = Arc::new(view());
            } else if found.peek().is_some() || size.area() > SMALL_PX {
                let size = Size::new(size.width.div_ceil(MAX_STEP), size.height.div_ceil(MAX_STEP));
                let view = cached(View { slide: below, size, from: From::Average { fill } });
                resolutions.push((step * MAX_STEP, Arc::clone(&view)));
                below = view;
            } else {
                return Ok(Self { zoom, fill, resolutions });
            }
        }
    }

    /// The geometry of the tiles.
    pub(crate) fn zoom(&self) -> DeepZoom {
        self.zoom
    }

    /// Pixels of a tile, `[height, width, bands]`, or `None` if there is no such tile.
    pub(crate) fn tile(&self, level: u32, column: u32, row: u32) -> Result<Option<Array3<u8>>> {
        let (zoom, fill) = (self.zoom, self.fill);
        let Some((factor, tile)) = zoom.factor(level).zip(zoom.tile(level, column, row)) else {
            return Ok(None);
        };
        self.reduced(tile, factor, fill).map(Some)
    }

    /// The whole image, averaged over `factor` × `factor` pixels: `[height, width, bands]`, rounded up.
    pub(crate) fn whole(&self, factor: u32) -> Result<Array3<u8>> {
        let Size { width, height } = self.zoom.size();
        let window = Window::new(0, 0, width.div_ceil(factor), height.div_ceil(factor));
        self.reduced(window, factor, self.fill)
    }

    /// Pixels of `window`, which is given in pixels of `factor` × `factor` of full resolution.
    fn reduced(&self, window: Window, factor: u32, fill: u8) -> Result<Array3<u8>> {
        let usable = self.resolutions.iter().rfind(|(step, _)| factor.is_multiple_of(*step));
        let (step, slide) = usable.unwrap_or(&self.resolutions[0]);
        let factor = factor / step;
        let options = ScaleOptions { levels: LevelUse::Exact, fill: fill.into(), bands: None };
        let side = |len: u32| len.checked_mul(factor);
        let Some((width, height)) = side(window.width).zip(side(window.height)) else {
            let problem = format!("{window} is too large at a {factor}th of the size");
            return Err(hubmap_io::Error::Usage { path: slide.path().to_owned(), problem });
        };
        let (x, y) = (window.x * i64::from(factor), window.y * i64::from(factor));
        slide.read_scaled(Window { x, y, width, height }, factor, &options)
    }
}

/// Whole downsamples of the levels that Deep Zoom can use, and their numbers, ascending.
fn steps_of(slide: &dyn RasterReader) -> Vec<(u32, usize)> {
    let full = slide.size();
    let step_of = |(level, found): (usize, &hubmap_io::Level)| {
        let step = found.downsample.round() as u32;
        // Sides that the step does not divide may have been rounded either way.
        let fits = |full: u32, reduced: u32| reduced == full / step || reduced == full.div_ceil(step);
        let is_usable = step > 1
            && step.is_power_of_two()
            && fits(full.width, found.size.width)
            && fits(full.height, found.size.height);
        is_usable.then_some((step, level))
    };
    let mut steps: Vec<_> = slide.levels().iter().enumerate().filter_map(step_of).collect();
    steps.sort_unstable();
    steps.dedup_by_key(|(step, _)| *step);
    steps
}

/// One resolution of a slide, as a slide of its own.
struct View {
    slide: Arc<dyn RasterReader>,
    size: Size,
    from: From,
}

/// Where the pixels of a view come from.
#[derive(Clone, Copy)]
enum From {
    Level(usize),
    /// Areas of [`MAX_STEP`] × [`MAX_STEP`] pixels; those at the border that lie off the image count as `fill`.
    Average {
        fill: u8,
    },
}

impl RasterReader for View {
    fn path(&self) -> &Path {
        self.slide.path()
    }

    fn size(&self) -> Size {
        self.size
    }

    fn bands(&self) -> usize {
        self.slide.bands()
    }

    fn microns_per_px(&self) -> Option<f64> {
        None
    }

    fn read_with(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        mut out: ArrayViewMut3<'_, u8>,
    ) -> Result<()> {
        match self.from {
            From::Level(level) => self.slide.read_with(window, &ReadOptions { level, ..*options }, out),
            From::Average { fill } => {
                let times = |v: i64| v * i64::from(MAX_STEP);
                let (width, height) = (window.width * MAX_STEP, window.height * MAX_STEP);
                let window = Window { x: times(window.x), y: times(window.y), width, height };
                let scale = ScaleOptions { fill: fill.into(), ..ScaleOptions::default() };
                out.assign(&self.slide.read_scaled(window, MAX_STEP, &scale)?);
                Ok(())
            }
        }
    }

    fn chunk_size(&self) -> Size {
        let chunk = self.slide.chunk_size();
        match self.from {
            From::Level(0) => chunk,
            // Strips are as wide as the slide: narrower blocks would decode them again and again.
            _ if chunk.width >= self.slide.size().width => Size::new(self.size.width, 16),
            _ => LEVEL_CHUNK,
        }
    }
}

#[cfg(test)]
mod tests;
