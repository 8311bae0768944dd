//! A rectangle of pixels being painted, and slowly varying fields over it.

use crate::noise::lerp;
use crate::stain::Density;

/// A rectangle of the slide: columns `x0..x0 + width`, rows `y0..y0 + height` in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x0: i64,
    pub(crate) y0: i64,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Area {
    /// The area with `margin` more pixels on every side.
    pub(crate) const fn grow(self, margin: usize) -> Self {
        Self {
            x0: self.x0 - margin as i64,
            y0: self.y0 - margin as i64,
            width: self.width + 2 * margin,
            height: self.height + 2 * margin,
        }
    }

    /// Upper left and lower right corner in microns.
    pub(crate) fn corners(self, microns_per_px: f32) -> [[f32; 2]; 2] {
        let max = [self.x0 + self.width as i64, self.y0 + self.height as i64];
        [[self.x0, self.y0], max].map(|corner| corner.map(|v| v as f32 * microns_per_px))
    }

    /// Columns and rows, relative to the area, whose pixels a rectangle of microns touches.
    pub(crate) fn touched(
        self,
        min: [f32; 2],
        max: [f32; 2],
        microns_per_px: f32,
    ) -> [std::ops::Range<usize>; 2] {
        let range = |axis: usize, origin: i64, n: usize| {
            let relative = |v: f32| (v / microns_per_px) as i64 - origin;
            let start = (relative(min[axis]) - 1).clamp(0, n as i64);
            start as usize..(relative(max[axis]) + 2).clamp(start, n as i64) as usize
        };
        [range(0, self.x0, self.width), range(1, self.y0, self.height)]
    }
}

/// Stain densities of an area, row by row.
pub(crate) struct Canvas {
    pub(crate) area: Area,
    pub(crate) microns_per_px: f32,
    pub(crate) density: Vec<Density>,
}

impl Canvas {
    pub(crate) fn new(area: Area, microns_per_px: f32) -> Self {
        Self { area, microns_per_px, density: vec![Density::default(); area.width * area.height] }
    }

    /// Centre of a pixel of the area in microns.
    pub(crate) fn center(&self, column: usize, row: usize) -> [f32; 2] {
        let center = |origin: i64, i: usize| ((origin + i as i64) as f32 + 0.5) * self.microns_per_px;
        [center(self.area.x0, column), center(self.area.y0, row)]
    }

    /// Blends an ellipse into the canvas: `radius` along the direction `angle` and across it, in microns.
    ///
    /// `shade` gets the distance from the centre, 1 at the rim, and what is there.
    pub(crate) fn ellipse(
        &mut self,
        center: [f32; 2],
        radius: [f32; 2],
        angle: f32,
        shade: impl Fn(f32, Density) -> Density,
    ) {
        let reach = radius[0].max(radius[1]) + self.microns_per_px;
        let [columns, rows] =
            self.area.touched(center.map(|v| v - reach), center.map(|v| v + reach), self.microns_per_px);
        let (sin, cos) = angle.sin_cos();
        // Width of the soft rim: one pixel.
        let softness = self.microns_per_px / radius[0].min(radius[1]);
        for row in rows {
            for column in columns.clone() {
                let [x, y] = self.center(column, row);
                let (dx, dy) = (x - center[0], y - center[1]);
                let (u, v) = ((cos * dx + sin * dy) / radius[0], (cos * dy - sin * dx) / radius[1]);
                let r = u.hypot(v);
                let cover = (0.5 + (1.0 - r) / softness).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let pixel = &mut self.density[row * self.area.width + column];
                    *pixel = pixel.mix(shade(r, *pixel), cover);
                }
            }
        }
    }
}

/// Values at the corners of squares of `step` pixels, the same for every area that needs them.
pub(crate) struct Lattice<T> {
    pub(crate) step: usize,
    /// Lattice column and row of the first value.
    first: [i64; 2],
    pub(crate) n_across: usize,
    pub(crate) values: Vec<T>,
}

impl<T> Lattice<T> {
    /// Values for all corners around an area; `value` gets a position in pixels.
    pub(crate) fn new(area: Area, step: usize, mut value: impl FnMut(f32, f32) -> T) -> Self {
        let side = step as i64;
        let first = [area.x0.div_euclid(side), area.y0.div_euclid(side)];
        let last = |origin: i64, n: usize| (origin + n as i64 - 1).div_euclid(side) + 1;
        let (right, bottom) = (last(area.x0, area.width), last(area.y0, area.height));
        let n_across = (right - first[0] + 1) as usize;
        let mut values = Vec::with_capacity(n_across * (bottom - first[1] + 1) as usize);
        for y in first[1]..=bottom {
            for x in first[0]..=right {
                values.push(value((x * side) as f32, (y * side) as f32));
            }
        }
        Self { step, first, n_across, values }
    }

    /// Index of the value at the upper left of a position in pixels, and the position in the square.
    pub(crate) fn locate(&self, x: f32, y: f32) -> (usize, [f32; 2]) {
        let (gx, gy) = (x / self.step as f32, y / self.step as f32);
        let (fx, fy) = (gx.floor(), gy.floor());
        let n_down = self.values.len() / self.n_across;
        let column = (fx as i64 - self.first[0]).clamp(0, self.n_across as i64 - 2) as usize;
        let row = (fy as i64 - self.first[1]).clamp(0, n_down as i64 - 2) as usize;
        (row * self.n_across + column, [gx - fx, gy - fy])
    }

    /// A field along the line at `y` pixels, ready to be interpolated along x.
    pub(crate) fn row(&self, y: f32, field: impl Fn(&T) -> f32) -> LatticeRow {
        let (idx, [_, ty]) = self.locate(self.first[0] as f32 * self.step as f32, y);
        let upper = &self.values[idx..idx + self.n_across];
        let lower = &self.values[idx + self.n_across..][..self.n_across];
        let values = upper.iter().zip(lower).map(|(a, b)| lerp(field(a), field(b), ty)).collect();
        LatticeRow { first: self.first[0] as f32, per_px: 1.0 / self.step as f32, values }
    }

    /// The values of the lattice row closest to `y` pixels.
    pub(crate) fn nearest_row(&self, y: f32) -> &[T] {
        let (idx, [_, ty]) = self.locate(self.first[0] as f32 * self.step as f32, y);
        let start = if ty > 0.5 { idx + self.n_across } else { idx };
        &self.values[start..start + self.n_across]
    }
}

/// One field along a horizontal line.
pub(crate) struct LatticeRow {
    first: f32,
    per_px: f32,
    values: Vec<f32>,
}

impl LatticeRow {
    /// The field at a column, in pixels.
    pub(crate) fn at(&self, x: f32) -> f32 {
        let at = x * self.per_px - self.first;
        let i = (at as usize).min(self.values.len() - 2);
        lerp(self.values[i], self.values[i + 1], at - i as f32)
    }

    /// Index of the lattice column closest to a column in pixels.
    pub(crate) fn nearest(&self, x: f32) -> usize {
        ((x * self.per_px - self.first + 0.5) as usize).min(self.values.len() - 1)
    }
}

impl<const N: usize> Lattice<[f32; N]> {
    /// All fields at a position in pixels.
    pub(crate) fn at(&self, x: f32, y: f32) -> [f32; N] {
        let (idx, [tx, ty]) = self.locate(x, y);
        let (top, bottom) = (idx, idx + self.n_across);
        std::array::from_fn(|i| {
            let upper = lerp(self.values[top][i], self.values[top + 1][i], tx);
            let lower = lerp(self.values[bottom][i], self.values[bottom + 1][i], tx);
            lerp(upper, lower, ty)
        })
    }
}
