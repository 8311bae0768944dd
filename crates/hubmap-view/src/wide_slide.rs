//! Slides of 16-bit samples, for eyes and screens that see 8.

use std::path::Path;
use std::sync::Arc;

use hubmap_io::{Level, RasterReader, ReadOptions, Result, SampleKind, Size, Window};
use ndarray::ArrayViewMut3;

/// Samples to look at before the range is chosen, about.
const SAMPLED_PX: u64 = 1 << 20;

/// Windows along each side of a slide too large to look at all of it.
const GRID: u32 = 4;

/// Share of the samples at each end of the range that may lie beyond it.
const TAIL: f64 = 0.001;

/// A slide of up to 16 bits, shown with 8: a range of its values is stretched to black and white.
///
/// Cameras fill 10, 12 or 14 of the 16 bits, so the range is that of the values that the slide has.
pub(crate) struct WideSlide {
    inner: Arc<dyn RasterReader>,
    low: u16,
    high: u16,
}

impl WideSlide {
    /// Looks at part of the slide for the range of its values.
    pub(crate) fn new(inner: Arc<dyn RasterReader>) -> Result<Self> {
        let levels = inner.levels();
        let level = levels.len() - 1;
        let size = levels[level].size;
        let mut counts = vec![0_u64; 1 << 16];
        for window in windows_to_look_at(size) {
            let options = ReadOptions { level, ..ReadOptions::default() };
            inner.read_u16(window, &options)?.iter().for_each(|&value| counts[usize::from(value)] += 1);
        }
        let (low, high) = range(&counts);
        Ok(Self { inner, low, high })
    }

    fn shown(&self, value: u16) -> u8 {
        let span = u32::from(self.high - self.low).max(1);
        let above = u32::from(value.clamp(self.low, self.high) - self.low);
        ((above * 255 + span / 2) / span) as u8
    }
}

/// All of a small level, or windows in a grid over it.
fn windows_to_look_at(size: Size) -> Vec<Window> {
    if size.area() <= SAMPLED_PX {
        return vec![size.window()];
    }
    let side = (SAMPLED_PX / u64::from(GRID * GRID)).isqrt() as u32;
    let (width, height) = (side.min(size.width), side.min(size.height));
    let at = |i: u32, len: u32, part: u32| i64::from(len - part) * i64::from(i) / i64::from(GRID - 1);
    let places = (0..GRID).flat_map(|row| (0..GRID).map(move |column| (column, row)));
    places
        .map(|(column, row)| Window {
            x: at(column, size.width, width),
            y: at(row, size.height, height),
            width,
            height,
        })
        .collect()
}

/// The values between which all samples lie but for the tails.
fn range(counts: &[u64]) -> (u16, u16) {
    let tail = (counts.iter().sum::<u64>() as f64 * TAIL) as u64;
    let values = (0..=u16::MAX).zip(counts.iter().copied());
    (first_beyond(values.clone(), tail), first_beyond(values.rev(), tail))
}

/// The first value up to which there are more than `tail` samples.
fn first_beyond(mut values: impl Iterator<Item = (u16, u64)>, tail: u64) -> u16 {
    let mut n = 0;
    let beyond = values.find(|&(_, count)| {
        n += count;
        n > tail
    });
    beyond.map_or(0, |(value, _)| value)
}

impl RasterReader for WideSlide {
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
        options.check(self.path(), window, self.inner.levels().len(), self.bands(), out.dim())?;
        let fill = u32::from(options.fill_u8(self.path())?);
        let fill = self.low + (fill * u32::from(self.high - self.low) / 255) as u16;
        let samples = self.inner.read_u16(window, &ReadOptions { fill, ..*options })?;
        out.zip_mut_with(&samples, |out, &value| *out = self.shown(value));
        Ok(())
    }

    fn sample_kind(&self) -> SampleKind {
        SampleKind::U8
    }

    fn chunk_size(&self) -> Size {
        self.inner.chunk_size()
    }

    fn levels(&self) -> Vec<Level> {
        self.inner.levels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_leaves_a_thousandth_out_at_each_end() {
        let mut counts = vec![0; 1 << 16];
        counts[0] = 1;
        counts[100] = 500;
        counts[4000] = 600;
        counts[65535] = 1;
        assert_eq!(range(&counts), (100, 4000));
        counts[65535] = 2;
        assert_eq!(range(&counts), (100, 65535));
        assert_eq!(range(&vec![0; 1 << 16]), (0, 0));
    }

    #[test]
    fn large_levels_are_looked_at_from_edge_to_edge() {
        assert_eq!(windows_to_look_at(Size::new(30, 20)), [Window::new(0, 0, 30, 20)]);
        let windows = windows_to_look_at(Size::new(90_000, 100));
        assert_eq!((windows.len(), windows[0]), (16, Window::new(0, 0, 256, 100)));
        assert_eq!(windows[3], Window::new(90_000 - 256, 0, 256, 100));
    }
}
