//! Parts of the image hidden under one level; the mask stays.

use ndarray::{Array3, s};
use rand::RngExt;

use crate::seed::StreamRng;

/// Fills the part of columns `x..x + width` and rows `y..y + height` that is in the image.
fn fill(image: &mut Array3<u8>, [x, y]: [usize; 2], [width, height]: [usize; 2], level: u8) {
    let (n_rows, n_columns, _) = image.dim();
    let (right, bottom) = ((x + width).min(n_columns), (y + height).min(n_rows));
    image.slice_mut(s![y.min(bottom)..bottom, x.min(right)..right, ..]).fill(level);
}

/// Squares of one size around uniformly drawn centres; those at the border are cut off by it.
///
/// A square that would begin left of or above the image begins at its edge, with its full size.
pub(super) fn cutout(image: &mut Array3<u8>, n_holes: u32, size_px: u32, level: u8, rng: &mut StreamRng) {
    let (height, width, _) = image.dim();
    let size = size_px as usize;
    for _ in 0..n_holes {
        let center_y = rng.random_range(0..height);
        let center_x = rng.random_range(0..width);
        let corner = [center_x, center_y].map(|center| center.saturating_sub(size / 2));
        fill(image, corner, [size, size], level);
    }
}

/// A regular grid of squares, ten units to the width, at a drawn offset; `ratio` is that of hole to unit.
pub(super) fn grid_dropout(image: &mut Array3<u8>, ratio: f64, level: u8, rng: &mut StreamRng) {
    let (height, width, _) = image.dim();
    let unit = (width / 10).max(2);
    let hole = ((unit as f64 * ratio) as usize).clamp(1, unit - 1);
    let shift_x = rng.random_range(0..=unit - hole);
    let shift_y = rng.random_range(0..=unit - hole);
    for y in (shift_y..height).step_by(unit) {
        for x in (shift_x..width).step_by(unit) {
            fill(image, [x, y], [hole, hole], level);
        }
    }
}

/// Rectangles of drawn number, sizes and places, inside the image.
pub(super) fn coarse_dropout(
    image: &mut Array3<u8>,
    n_holes: std::ops::RangeInclusive<u32>,
    size_px: std::ops::RangeInclusive<u32>,
    level: u8,
    rng: &mut StreamRng,
) {
    let (height, width, _) = image.dim();
    for _ in 0..rng.random_range(n_holes) {
        let hole_height = (rng.random_range(size_px.clone()) as usize).min(height);
        let hole_width = (rng.random_range(size_px.clone()) as usize).min(width);
        let y = rng.random_range(0..=height - hole_height);
        let x = rng.random_range(0..=width - hole_width);
        fill(image, [x, y], [hole_width, hole_height], level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, stream};

    const BEFORE: u8 = 100;

    fn hidden(height: usize, width: usize, drop: impl Fn(&mut Array3<u8>, &mut StreamRng)) -> Vec<f64> {
        (0..50)
            .map(|idx| {
                let mut image = Array3::from_elem((height, width, 3), BEFORE);
                drop(&mut image, &mut stream(0, Purpose::Augment, 0, idx));
                for pixel in image.as_slice().unwrap().as_chunks::<3>().0 {
                    assert!(*pixel == [BEFORE; 3] || *pixel == [7; 3]);
                }
                image.iter().filter(|&&level| level == 7).count() as f64 / image.len() as f64
            })
            .collect()
    }

    #[test]
    fn grid_hides_the_square_of_its_ratio() {
        for fraction in hidden(200, 200, |image, rng| grid_dropout(image, 0.5, 7, rng)) {
            assert!((fraction - 0.25).abs() < 1e-9, "{fraction}");
        }
        hidden(3, 1, |image, rng| grid_dropout(image, 0.5, 7, rng));
    }

    #[test]
    fn cutout_hides_at_most_its_squares() {
        for fraction in hidden(100, 120, |image, rng| cutout(image, 3, 20, 7, rng)) {
            assert!(fraction > 0.0 && fraction <= 3.0 * 400.0 / 12000.0, "{fraction}");
        }
        hidden(5, 4, |image, rng| cutout(image, 24, 64, 7, rng));
    }

    #[test]
    fn coarse_dropout_stays_within_its_ranges() {
        let fractions = hidden(100, 120, |image, rng| coarse_dropout(image, 1..=1, 10..=20, 7, rng));
        let sizes = fractions.iter().map(|fraction| (fraction * 12000.0).round() as u32).collect::<Vec<_>>();
        assert!(sizes.iter().all(|n_px| (100..=400).contains(n_px)), "{sizes:?}");
        assert!(sizes.iter().any(|n_px| *n_px != sizes[0]));
        hidden(5, 4, |image, rng| coarse_dropout(image, 1..=24, 16..=64, 7, rng));
    }
}
