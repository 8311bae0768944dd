//! A grid over the whole slide, thinned where there is no tissue.

use anyhow::{Result, ensure};
use hubmap_io::{Size, Window};
use ndarray::ArrayRef3;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::seed::{Purpose, hash_id, stream};

/// Pixels whose squared levels fit 32 bits in sum: 3 × 255² × 4096 < 2³².
const PIXELS_PER_PARTIAL_SUM: usize = 4096;

/// Non-overlapping square windows from the top-left corner that cover a slide.
///
/// Windows are numbered row by row; those of the last row and column may leave the slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    n_columns: u32,
    n_rows: u32,
    side_px: u32,
}

impl Grid {
    /// The grid of windows of `side_px` over a slide.
    ///
    /// # Panics
    ///
    /// If `side_px` is 0.
    pub const fn new(slide: Size, side_px: u32) -> Self {
        Self { n_columns: slide.width.div_ceil(side_px), n_rows: slide.height.div_ceil(side_px), side_px }
    }

    /// Number of windows.
    pub const fn len(&self) -> usize {
        self.n_columns as usize * self.n_rows as usize
    }

    /// Whether the slide has no pixels.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The window with a number below [`Grid::len`].
    pub const fn window(&self, tile_idx: usize) -> Window {
        let (column, row) = (tile_idx % self.n_columns as usize, tile_idx / self.n_columns as usize);
        let side = self.side_px as i64;
        Window::new(column as i64 * side, row as i64 * side, self.side_px, self.side_px)
    }

    /// All windows in the order of their numbers.
    pub fn windows(&self) -> impl Iterator<Item = Window> + use<> {
        let grid = *self;
        (0..grid.len()).map(move |tile_idx| grid.window(tile_idx))
    }
}

/// What counts as background, and how much of it is kept.
///
/// Pixels off the slide are black and count, so a border tile that is mostly off the slide is background.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackgroundRule {
    /// A tile with a mean level under this is background.
    pub dark_tile_mean: f64,
    /// A tile with a mean level over this is background if it is also flat.
    pub bright_tile_mean: f64,
    /// A tile is flat if the standard deviation of its levels is under this.
    pub flat_tile_std: f64,
    /// A pixel is dark if the mean of its three channels is under this.
    pub dark_pixel_mean: f64,
    /// A tile with a larger fraction of dark pixels is background.
    pub max_dark_fraction: f64,
    /// Probability that a background tile is kept.
    pub keep_probability: f64,
}

impl BackgroundRule {
    /// Refuses numbers that cannot mean anything.
    ///
    /// # Errors
    ///
    /// Names the setting.
    pub fn validate(&self) -> Result<()> {
        for (name, level) in [
            ("dark_tile_mean", self.dark_tile_mean),
            ("bright_tile_mean", self.bright_tile_mean),
            ("flat_tile_std", self.flat_tile_std),
            ("dark_pixel_mean", self.dark_pixel_mean),
        ] {
            ensure!(
                (0.0..=255.0).contains(&level),
                "background.{name} = {level} is not a level from 0 to 255"
            );
        }
        for (name, fraction) in
            [("max_dark_fraction", self.max_dark_fraction), ("keep_probability", self.keep_probability)]
        {
            ensure!((0.0..=1.0).contains(&fraction), "background.{name} = {fraction} is not between 0 and 1");
        }
        Ok(())
    }

    /// Whether full-resolution pixels `[height, width, 3]` show no tissue.
    pub fn is_background(&self, pixels: &ArrayRef3<u8>) -> bool {
        // Sums of levels are whole, so comparing with the next whole number decides the same.
        let dark_below = (3.0 * self.dark_pixel_mean).ceil() as u32;
        let (mut sum, mut sum_of_squares, mut n_dark) = (0_u64, 0_u64, 0_u64);
        let standard = pixels.as_standard_layout();
        let triples = standard.as_slice().unwrap_or_default().as_chunks::<3>().0;
        for chunk in triples.chunks(PIXELS_PER_PARTIAL_SUM) {
            let (mut levels, mut squares, mut dark) = (0_u32, 0_u32, 0_u32);
            for &pixel in chunk {
                let [r, g, b] = pixel.map(u32::from);
                levels += r + g + b;
                squares += r * r + g * g + b * b;
                dark += u32::from(r + g + b < dark_below);
            }
            sum += u64::from(levels);
            sum_of_squares += u64::from(squares);
            n_dark += u64::from(dark);
        }
        let n_pixels = triples.len() as f64;
        let mean = sum as f64 / (3.0 * n_pixels);
        let std = (sum_of_squares as f64 / (3.0 * n_pixels) - mean * mean).max(0.0).sqrt();
        mean < self.dark_tile_mean
            || (mean > self.bright_tile_mean && std < self.flat_tile_std)
            || n_dark as f64 > self.max_dark_fraction * n_pixels
    }

    /// Whether a background tile is kept all the same; depends on nothing but the arguments.
    pub fn keeps(&self, seed: u64, slide_id: &str, tile_idx: usize) -> bool {
        let mut rng = stream(seed, Purpose::Background, hash_id(slide_id), tile_idx as u64);
        rng.random::<f64>() < self.keep_probability
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::*;

    const RULE: BackgroundRule = BackgroundRule {
        dark_tile_mean: 10.0,
        bright_tile_mean: 205.0,
        flat_tile_std: 20.0,
        dark_pixel_mean: 10.0,
        max_dark_fraction: 0.1,
        keep_probability: 0.05,
    };

    #[test]
    fn grid_covers_every_pixel_once() {
        for (size, side) in [(Size::new(10, 7), 3), (Size::new(9, 6), 3), (Size::new(2, 2), 5)] {
            let grid = Grid::new(size, side);
            assert_eq!(grid.windows().count(), grid.len());
            for y in 0..i64::from(size.height) {
                for x in 0..i64::from(size.width) {
                    let covers = |w: &Window| (w.x..w.right()).contains(&x) && (w.y..w.bottom()).contains(&y);
                    assert_eq!(grid.windows().filter(covers).count(), 1);
                }
            }
        }
        assert_eq!(Grid::new(Size::new(10, 7), 3).len(), 12);
        assert_eq!(Grid::new(Size::new(10, 7), 3).window(5), Window::new(3, 3, 3, 3));
    }

    #[test]
    fn each_clause_of_the_rule_decides_at_its_threshold() {
        let flat = |level: u8| Array3::from_elem((10, 10, 3), level);
        // Dark pixels would decide before a dark mean; a bright band keeps them below a tenth.
        let no_dark_pixels = BackgroundRule { dark_pixel_mean: 0.0, ..RULE };
        assert!(no_dark_pixels.is_background(&flat(9)));
        assert!(!no_dark_pixels.is_background(&flat(10)));

        assert!(!RULE.is_background(&flat(205)));
        assert!(RULE.is_background(&flat(206)));
        let striped = |low: u8, high: u8| {
            Array3::from_shape_fn((10, 10, 3), |(_, x, _)| if x % 2 == 0 { low } else { high })
        };
        assert!(RULE.is_background(&striped(211, 249)));
        assert!(!RULE.is_background(&striped(210, 250)));

        let mut tile = flat(120);
        tile.slice_mut(s![0, .., ..]).fill(9);
        assert!(!RULE.is_background(&tile), "a tenth is not over a tenth");
        tile[[5, 5, 0]] = 0;
        tile[[5, 5, 1]] = 0;
        tile[[5, 5, 2]] = 30;
        assert!(!RULE.is_background(&tile), "a channel mean of 10 is not under 10");
        tile[[5, 5, 2]] = 29;
        assert!(RULE.is_background(&tile));
    }

    #[test]
    fn keeping_is_seeded_per_slide_and_tile() {
        let kept = |seed, id: &str| (0..20_000).filter(|&idx| RULE.keeps(seed, id, idx)).collect::<Vec<_>>();
        let first = kept(1, "2f6ecfcdf");
        assert!((900..1100).contains(&first.len()), "{}", first.len());
        assert_eq!(first, kept(1, "2f6ecfcdf"));
        assert_ne!(first, kept(2, "2f6ecfcdf"));
        assert_ne!(first, kept(1, "aaa6a05cc"));
        assert!(!BackgroundRule { keep_probability: 0.0, ..RULE }.keeps(1, "a", 0));
        assert!(BackgroundRule { keep_probability: 1.0, ..RULE }.keeps(1, "a", 0));
    }

    #[test]
    fn meaningless_numbers_are_named() {
        assert!(RULE.validate().is_ok());
        let error = BackgroundRule { keep_probability: 1.5, ..RULE }.validate().unwrap_err().to_string();
        assert_eq!(error, "background.keep_probability = 1.5 is not between 0 and 1");
        assert!(BackgroundRule { dark_tile_mean: f64::NAN, ..RULE }.validate().is_err());
    }
}
