use std::path::PathBuf;

use hubmap_io::{Level, MemorySlide};
use ndarray::{Axis, concatenate, s};

use super::*;

const BYTES: usize = 64 << 20;

fn pixels(size: Size) -> Array3<u8> {
    Array3::from_shape_fn((size.height as usize, size.width as usize, 3), |(y, x, c)| {
        ((x * 7 + y * 13 + c * 50) ^ (x * y / 64)) as u8
    })
}

fn memory(pixels: Array3<u8>) -> MemorySlide {
    MemorySlide::new(&PathBuf::from("slide.tiff"), pixels, None).unwrap()
}

/// A slide with levels, whose pixels differ from the averages of full resolution.
struct Pyramid {
    levels: Vec<MemorySlide>,
}

impl Pyramid {
    fn new(size: Size, steps: &[u32]) -> Self {
        let of_step = |&step: &u32| {
            let size = Size::new(size.width.div_ceil(step), size.height.div_ceil(step));
            memory(pixels(size).mapv(|v| v / 2 + step as u8))
        };
        Self { levels: std::iter::once(memory(pixels(size))).chain(steps.iter().map(of_step)).collect() }
    }
}

impl RasterReader for Pyramid {
    fn path(&self) -> &Path {
        self.levels[0].path()
    }

    fn size(&self) -> Size {
        self.levels[0].size()
    }

    fn bands(&self) -> usize {
        3
    }

    fn microns_per_px(&self) -> Option<f64> {
        None
    }

    fn levels(&self) -> Vec<Level> {
        self.levels.iter().map(|level| Level::reduced(level.size(), self.size())).collect()
    }

    fn read_with(&self, window: Window, options: &ReadOptions<'_>, out: ArrayViewMut3<'_, u8>) -> Result<()> {
        self.levels[options.level].read_with(window, &ReadOptions { level: 0, ..*options }, out)
    }
}

/// Every tile of every level equals one reduced read of the slide, to the byte.
fn check(slide: &Arc<dyn RasterReader>, levels: std::ops::RangeInclusive<u32>) {
    let reader = TileReader::new(Arc::clone(slide), 255, BYTES).unwrap();
    let zoom = reader.zoom();
    for level in levels {
        let factor = zoom.factor(level).unwrap();
        for (column, row) in (0..9).flat_map(|row| (0..9).map(move |column| (column, row))) {
            let Some(tile) = zoom.tile(level, column, row) else {
                assert!(reader.tile(level, column, row).unwrap().is_none());
                continue;
            };
            let times = |v: i64| v * i64::from(factor);
            let window = Window::new(times(tile.x), times(tile.y), tile.width * factor, tile.height * factor);
            let options = ScaleOptions { levels: LevelUse::Any, fill: 255, bands: None };
            let expected = slide.read_scaled(window, factor, &options).unwrap();
            assert_eq!(reader.tile(level, column, row).unwrap().unwrap(), expected, "{level}/{column}_{row}");
        }
    }
}

#[test]
fn tiles_are_reduced_reads_of_slides_without_levels() {
    let slide: Arc<dyn RasterReader> = Arc::new(memory(pixels(Size::new(1300, 701))));
    check(&slide, 0..=11);
}

#[test]
fn tiles_come_from_the_smallest_level_that_serves() {
    let size = Size::new(1400, 900);
    let slide: Arc<dyn RasterReader> = Arc::new(Pyramid::new(size, &[2, 8]));
    check(&slide, 0..=11);
    let reader = TileReader::new(Arc::new(Pyramid::new(size, &[2, 3, 8])), 255, BYTES).unwrap();
    assert_eq!(reader.resolutions.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 8]);
}

#[test]
fn missing_levels_are_averaged_and_stay_small() {
    let size = Size::new(2501, 1900);
    let slide = memory(pixels(size));
    let reader = TileReader::new(Arc::new(slide.clone()), 255, BYTES).unwrap();
    assert_eq!(reader.resolutions.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 8]);
    let options = ScaleOptions { fill: 255, ..ScaleOptions::default() };
    let whole = Window::new(0, 0, 313 * 8, 238 * 8);
    assert_eq!(reader.whole(8).unwrap(), slide.read_scaled(whole, 8, &options).unwrap());
    // Averages of averages are rounded twice.
    let whole = Window::new(0, 0, 79 * 32, 60 * 32);
    let exact = slide.read_scaled(whole, 32, &options).unwrap();
    let difference = |a: u8, b: u8| a.abs_diff(b);
    assert!(reader.whole(32).unwrap().iter().zip(&exact).all(|(&a, &b)| difference(a, b) <= 1));
    // A file that leaps from full resolution to a 64th of it.
    let reader = TileReader::new(Arc::new(Pyramid::new(Size::new(2560, 1920), &[64])), 255, BYTES).unwrap();
    assert_eq!(reader.resolutions.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 8, 64]);
}

#[test]
fn tiles_side_by_side_are_the_level() {
    let slide = memory(pixels(Size::new(1100, 300)));
    let reader = TileReader::new(Arc::new(slide.clone()), 0, BYTES).unwrap();
    let level = reader.zoom().max_level();
    let tiles: Vec<_> = (0..3).map(|column| reader.tile(level, column, 0).unwrap().unwrap()).collect();
    let own = [s![.., ..510, ..], s![.., 1..511, ..], s![.., 1.., ..]];
    let own: Vec<_> = tiles.iter().zip(own).map(|(tile, part)| tile.slice(part)).collect();
    assert_eq!(concatenate(Axis(1), &own).unwrap(), slide.pixels());
}

/// 12-bit gray values: column `x` has `1000 + x`.
struct Wide(MemorySlide);

impl RasterReader for Wide {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn size(&self) -> Size {
        self.0.size()
    }

    fn bands(&self) -> usize {
        1
    }

    fn microns_per_px(&self) -> Option<f64> {
        None
    }

    fn sample_kind(&self) -> SampleKind {
        SampleKind::U16
    }

    fn read_with(&self, _: Window, _: &ReadOptions<'_>, _: ArrayViewMut3<'_, u8>) -> Result<()> {
        Err(hubmap_io::Error::unsupported(self.path(), "16 bits"))
    }

    fn read_u16(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u16>> {
        let shape = (window.height as usize, window.width as usize, 1);
        let right = i64::from(self.size().width);
        Ok(Array3::from_shape_fn(shape, |(_, x, _)| match window.x + x as i64 {
            x if (0..right).contains(&x) => 1000 + x as u16,
            _ => options.fill,
        }))
    }
}

#[test]
fn wide_samples_are_stretched_over_the_range_of_their_values() {
    let slide = Wide(memory(Array3::zeros((20, 400, 1))));
    let reader = TileReader::new(Arc::new(slide), 255, BYTES).unwrap();
    let tile = reader.tile(reader.zoom().max_level(), 0, 0).unwrap().unwrap();
    assert_eq!(tile.dim(), (20, 400, 1));
    assert_eq!((tile[(0, 0, 0)], tile[(0, 200, 0)], tile[(9, 399, 0)]), (0, 128, 255));
    assert!(tile.iter().zip(tile.iter().skip(1)).take(399).all(|(a, b)| a <= b));
    // White lies off the slide.
    let last = reader.tile(1, 0, 0).unwrap().unwrap();
    assert_eq!((last.dim(), last[(0, 1, 0)]), ((1, 2, 1), 253));
}
