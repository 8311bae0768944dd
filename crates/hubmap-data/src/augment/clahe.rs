//! Contrast-limited adaptive histogram equalisation, step for step as in OpenCV.

use ndarray::{Array2, ArrayRef2};

use super::border::reflect;

const N_LEVELS: usize = 256;

/// Equalises levels `[height, width]` tile by tile, blending the tiles.
///
/// The histogram of a tile is cut at `clip_limit` times its mean height, and what is cut off is spread.
/// An image that is no multiple of `n_tiles` is mirrored to one for the histograms.
pub fn equalize(levels: &ArrayRef2<u8>, clip_limit: f64, n_tiles: usize) -> Array2<u8> {
    let (height, width) = levels.dim();
    let n_tiles = n_tiles.max(1);
    let (tile_height, tile_width) = (height.div_ceil(n_tiles), width.div_ceil(n_tiles));
    let tables = (0..n_tiles * n_tiles)
        .map(|tile_idx| {
            let (y0, x0) = (tile_idx / n_tiles * tile_height, tile_idx % n_tiles * tile_width);
            let mut histogram = [0_u32; N_LEVELS];
            for y in (y0..y0 + tile_height).map(|y| reflect(y as i64, height)) {
                for x in (x0..x0 + tile_width).map(|x| reflect(x as i64, width)) {
                    histogram[usize::from(levels[[y, x]])] += 1;
                }
            }
            table(histogram, tile_height * tile_width, clip_limit)
        })
        .collect::<Vec<_>>();
    // The two tiles whose centres enclose a position, and the part of the second.
    let neighbours = |position: usize, tile_px: usize| {
        let in_tiles = position as f32 * (1.0 / tile_px as f32) - 0.5;
        let first = in_tiles.floor();
        let tile = |idx: f32| (idx.max(0.0) as usize).min(n_tiles - 1);
        (tile(first), tile(first + 1.0), in_tiles - first)
    };
    Array2::from_shape_fn((height, width), |(y, x)| {
        let level = usize::from(levels[[y, x]]);
        let (top, bottom, lower_part) = neighbours(y, tile_height);
        let (left, right, right_part) = neighbours(x, tile_width);
        let value = |row: usize, column: usize| f32::from(tables[row * n_tiles + column][level]);
        let along = |row| value(row, left) * (1.0 - right_part) + value(row, right) * right_part;
        (along(top) * (1.0 - lower_part) + along(bottom) * lower_part).round_ties_even() as u8
    })
}

/// The level that each level of a tile becomes.
fn table(mut histogram: [u32; N_LEVELS], n_pixels: usize, clip_limit: f64) -> [u8; N_LEVELS] {
    let limit = ((clip_limit * n_pixels as f64 / N_LEVELS as f64) as u32).max(1);
    let mut n_clipped = 0;
    for count in &mut histogram {
        n_clipped += count.saturating_sub(limit);
        *count = (*count).min(limit);
    }
    let share = n_clipped / N_LEVELS as u32;
    let rest = n_clipped as usize % N_LEVELS;
    for count in &mut histogram {
        *count += share;
    }
    let step = N_LEVELS.checked_div(rest).unwrap_or(1);
    for count in histogram.iter_mut().step_by(step).take(rest) {
        *count += 1;
    }
    let scale = (N_LEVELS - 1) as f32 / n_pixels as f32;
    let mut sum = 0;
    histogram.map(|count| {
        sum += count;
        (sum as f32 * scale).round_ties_even() as u8
    })
}
