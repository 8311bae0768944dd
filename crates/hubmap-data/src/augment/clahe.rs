//! Contrast-limited adaptive histogram equalisation, step for step as in OpenCV.

use super::border::reflect;
use super::canvas::Pixels;
use super::lab::TABLES;

const N_LEVELS: usize = 256;
/// A small number added to this leaves whole numbers in the last bits of the sum.
const ROUNDING: f32 = (1 << 23) as f32 + (1 << 22) as f32;

/// Equalises L in CIE L\*a\*b\* over `n_tiles` × `n_tiles` tiles.
pub(super) fn equalize_lightness(image: &mut Pixels<'_>, clip_limit: f64, n_tiles: usize) {
    let tables = &*TABLES;
    let mut lightness = Vec::with_capacity(image.colors.len());
    for color in &mut *image.colors {
        *color = tables.lab_of(*color);
        lightness.push(color[0]);
    }
    equalize(&mut lightness, image.width, clip_limit, n_tiles);
    for (color, &level) in image.colors.iter_mut().zip(&lightness) {
        *color = tables.rgb_of([level, color[1], color[2]]);
    }
}

/// Equalises levels, rows of `width`, tile by tile, blending the tiles.
///
/// The histogram of a tile is cut at `clip_limit` times its mean height, and what is cut off is spread.
/// An image that is no multiple of `n_tiles` is mirrored to one for the histograms.
fn equalize(levels: &mut [u8], width: usize, clip_limit: f64, n_tiles: usize) {
    if levels.is_empty() {
        return;
    }
    let (height, n_tiles) = (levels.len() / width, n_tiles.max(1));
    // If one side has to be mirrored, OpenCV mirrors the other by a whole tile.
    let fits = height.is_multiple_of(n_tiles) && width.is_multiple_of(n_tiles);
    let tile_px = |length: usize| if fits { length / n_tiles } else { length / n_tiles + 1 };
    let (tile_height, tile_width) = (tile_px(height), tile_px(width));
    let tables = (0..n_tiles * n_tiles)
        .map(|tile_idx| {
            let (y0, x0) = (tile_idx / n_tiles * tile_height, tile_idx % n_tiles * tile_width);
            let mut histogram = [0_u32; N_LEVELS];
            for y in (y0..y0 + tile_height).map(|y| reflect(y as i64, height)) {
                let row = &levels[y * width..][..width];
                for &level in row.iter().take(x0 + tile_width).skip(x0) {
                    histogram[usize::from(level)] += 1;
                }
                for x in (x0.max(width)..x0 + tile_width).map(|x| reflect(x as i64, width)) {
                    histogram[usize::from(row[x])] += 1;
                }
            }
            table(histogram, tile_height * tile_width, clip_limit)
        })
        .collect::<Vec<_>>();
    let columns = (0..width).map(|x| Neighbours::of(x, tile_width, n_tiles)).collect::<Vec<_>>();
    for (y, row) in levels.chunks_exact_mut(width).enumerate() {
        let rows = Neighbours::of(y, tile_height, n_tiles);
        let [top, bottom] = [rows.first, rows.second].map(|tile| &tables[tile * n_tiles..][..n_tiles]);
        for (level, columns) in row.iter_mut().zip(&columns) {
            let idx = usize::from(*level);
            let along = |tables: &[[u8; N_LEVELS]]| {
                let [left, right] = [columns.first, columns.second].map(|tile| f32::from(tables[tile][idx]));
                left * (1.0 - columns.second_part) + right * columns.second_part
            };
            let value = along(top) * (1.0 - rows.second_part) + along(bottom) * rows.second_part;
            // The integer in the last bits of the sum: rounded, ties to even, without a call.
            *level = (value + ROUNDING).to_bits() as u8;
        }
    }
}

/// The two tiles whose centres enclose a position, and the part of the second.
struct Neighbours {
    first: usize,
    second: usize,
    second_part: f32,
}

impl Neighbours {
    fn of(position: usize, tile_px: usize, n_tiles: usize) -> Self {
        let in_tiles = position as f32 * (1.0 / tile_px as f32) - 0.5;
        let first = in_tiles.floor();
        let tile = |idx: f32| (idx.max(0.0) as usize).min(n_tiles - 1);
        Self { first: tile(first), second: tile(first + 1.0), second_part: in_tiles - first }
    }
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
