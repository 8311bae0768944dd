//! Parts of the image hidden under one level; the mask stays.

use std::ops::RangeInclusive;

use hubmap_io::Size;
use rand::RngExt;

use super::canvas::Pixels;
use crate::seed::StreamRng;

/// Units of a grid along the width of an image.
const GRID_UNITS: u32 = 10;

/// A rectangle to be hidden; it may leave the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// First column.
    pub x_px: u32,
    /// First row.
    pub y_px: u32,
    /// Columns.
    pub width_px: u32,
    /// Rows.
    pub height_px: u32,
}

impl Hole {
    /// A square around a uniformly drawn corner of a pixel.
    ///
    /// One that would begin left of or above the image begins at its edge, with its full size.
    pub(super) fn around(size: Size, side_px: u32, rng: &mut StreamRng) -> Self {
        let y_px = rng.random_range(0..=size.height).saturating_sub(side_px / 2);
        let x_px = rng.random_range(0..=size.width).saturating_sub(side_px / 2);
        Self { x_px, y_px, width_px: side_px, height_px: side_px }
    }

    /// A rectangle with sides from `side_px` at a uniform place inside the image, which it fills at most.
    pub(super) fn inside(size: Size, side_px: RangeInclusive<u32>, rng: &mut StreamRng) -> Self {
        let height_px = rng.random_range(side_px.clone()).min(size.height);
        let width_px = rng.random_range(side_px).min(size.width);
        let y_px = rng.random_range(0..=size.height - height_px);
        let x_px = rng.random_range(0..=size.width - width_px);
        Self { x_px, y_px, width_px, height_px }
    }

    /// A regular grid of squares at a drawn offset; `ratio` is that of square to unit.
    pub(super) fn grid(size: Size, ratio: f64, rng: &mut StreamRng) -> Vec<Self> {
        let unit_width = (size.width / GRID_UNITS).max(2);
        let unit_height = unit_width.min(size.height).max(2);
        let hole = |unit: u32| ((f64::from(unit) * ratio) as u32).clamp(1, unit - 1);
        let (width_px, height_px) = (hole(unit_width), hole(unit_height));
        let first_x = rng.random_range(0..=unit_width - width_px);
        let first_y = rng.random_range(0..=unit_height - height_px);
        (first_y..size.height)
            .step_by(unit_height as usize)
            .flat_map(|y_px| {
                (first_x..size.width).step_by(unit_width as usize).map(move |x_px| Self {
                    x_px,
                    y_px,
                    width_px,
                    height_px,
                })
            })
            .collect()
    }
}

/// Covers the parts of the holes that are in the image.
pub(super) fn fill(image: &mut Pixels<'_>, holes: &[Hole], level: u8) {
    let (width, height) = (image.width, image.height());
    for hole in holes {
        let within = |start: u32, length: u32, end: usize| {
            (start as usize).min(end)..(start.saturating_add(length) as usize).min(end)
        };
        let columns = within(hole.x_px, hole.width_px, width);
        for y in within(hole.y_px, hole.height_px, height) {
            image.colors[y * width..][columns.clone()].fill([level; 3]);
        }
    }
}
