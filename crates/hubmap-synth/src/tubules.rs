//! The packing of tubules: a mosaic of cells with walls of even thickness.

use crate::noise::{hash, unit};

/// A mosaic of cells of about equal size: Voronoi cells of jittered points, some of them joined.
pub(crate) struct Mosaic {
    seed: u32,
    /// Distance of neighbouring points in microns, across the cells.
    spacing: f32,
    /// How many times longer than wide the cells are.
    stretch: f32,
    /// Direction along the cells, as cosine and sine.
    axis: [f32; 2],
    /// Share of the points that join a neighbour's cell.
    joined: f32,
}

/// A point in the mosaic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Microns to the nearest other cell, less in the corners between three.
    pub(crate) depth: f32,
    /// Random bits of the cell.
    pub(crate) cell: u32,
}

/// The points of a mosaic around a rectangle.
pub(crate) struct Patch<'a> {
    mosaic: &'a Mosaic,
    first: [i32; 2],
    n_across: usize,
    points: Vec<Point>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    /// Position in units of the spacing.
    at: [f32; 2],
    cell: u32,
}

/// A distance, or the square of one, beyond all borders.
const FAR: f32 = 16.0;

/// Points that are looked at together: 3 × 3, rounded up to whole vectors.
const LANES: usize = 12;

/// Over which distance, in units of the spacing, corners are rounded.
const ROUNDING: f32 = 0.32;

/// How far points stray from the grid; more would need more than 3 × 3 neighbours to be right.
const JITTER: f32 = 0.72;

impl Mosaic {
    pub(crate) fn new(seed: u32, spacing: f32, stretch: f32, angle: f32, joined: f32) -> Self {
        Self { seed, spacing, stretch, axis: [angle.cos(), angle.sin()], joined }
    }

    /// Position along the mosaic's axes in units of the spacing.
    fn to_grid(&self, x: f32, y: f32) -> [f32; 2] {
        let [c, s] = self.axis;
        [(c * x + s * y) / (self.spacing * self.stretch), (c * y - s * x) / self.spacing]
    }

    /// The points needed for a rectangle of microns.
    pub(crate) fn patch(&self, min: [f32; 2], max: [f32; 2]) -> Patch<'_> {
        let corners = [
            self.to_grid(min[0], min[1]),
            self.to_grid(max[0], min[1]),
            self.to_grid(min[0], max[1]),
            self.to_grid(max[0], max[1]),
        ];
        let range = |axis: usize| {
            let values = corners.map(|corner| corner[axis]);
            let low = values.into_iter().fold(f32::MAX, f32::min).floor() as i32 - 1;
            let high = values.into_iter().fold(f32::MIN, f32::max).floor() as i32 + 1;
            low..=high
        };
        let (xs, ys) = (range(0), range(1));
        let n_across = xs.clone().count();
        let first = [*xs.start(), *ys.start()];
        let points = ys.flat_map(|y| xs.clone().map(move |x| self.point(x, y))).collect();
        Patch { mosaic: self, first, n_across, points }
    }

    fn point(&self, x: i32, y: i32) -> Point {
        let bits = hash(self.seed, x, y);
        let jitter = |byte| (unit(bits, byte) - 0.5) * JITTER;
        let at = [x as f32 + 0.5 + jitter(0), y as f32 + 0.5 + jitter(1)];
        // Like the squares of a chess board: black points may join a white neighbour, which makes long cells.
        let joins = (x ^ y) & 1 == 1 && unit(bits, 2) < self.joined;
        let (dx, dy) = [(1, 0), (-1, 0), (0, 1), (0, -1)][(bits >> 24 & 3) as usize];
        let owner = if joins { [x + dx, y + dy] } else { [x, y] };
        Point { at, cell: hash(self.seed ^ 0xa5a5_1234, owner[0], owner[1]) }
    }
}

impl Patch<'_> {
    /// Cell and depth at a position in microns inside the rectangle of the patch.
    pub(crate) fn at(&self, x: f32, y: f32) -> Place {
        let [gx, gy] = self.mosaic.to_grid(x, y);
        let (left, top) = (gx.floor() as i32 - 1 - self.first[0], gy.floor() as i32 - 1 - self.first[1]);
        let n_down = self.points.len() / self.n_across;
        let left = (left.max(0) as usize).min(self.n_across.saturating_sub(3));
        let top = (top.max(0) as usize).min(n_down.saturating_sub(3));
        // Lanes beyond the nine points stay far away; whole lanes let the compiler use vector instructions.
        let (mut xs, mut ys, mut cells) = ([FAR; LANES], [FAR; LANES], [0_u32; LANES]);
        for row in 0..3 {
            let points = &self.points[(top + row) * self.n_across + left..][..3];
            for (column, point) in points.iter().enumerate() {
                let i = 3 * row + column;
                (xs[i], ys[i], cells[i]) = (point.at[0] - gx, point.at[1] - gy, point.cell);
            }
        }
        let distances: [f32; LANES] = std::array::from_fn(|i| xs[i] * xs[i] + ys[i] * ys[i]);
        let (mut nearest, mut least) = (0, f32::MAX);
        for (i, &distance) in distances.iter().enumerate() {
            if distance < least {
                (nearest, least) = (i, distance);
            }
        }
        let (nx, ny, cell) = (xs[nearest], ys[nearest], cells[nearest]);
        // Squares of twice the distances to the borders, in units of the spacing.
        let borders: [f32; LANES] = std::array::from_fn(|i| {
            let (dx, dy, excess) = (xs[i] - nx, ys[i] - ny, distances[i] - least);
            let border = excess * excess / (dx * dx + dy * dy).max(1e-12);
            if cells[i] == cell { FAR } else { border }
        });
        let (mut first, mut second) = (FAR, FAR);
        for border in borders {
            second = second.min(border.max(first));
            first = first.min(border);
        }
        let [first, second] = [first, second].map(|v| v.sqrt() * 0.5 * self.mosaic.spacing);
        // A smooth minimum of the two rounds the corners of the cells.
        let rounding = ROUNDING * self.mosaic.spacing;
        let closeness = (1.0 - (second - first) / rounding).max(0.0);
        Place { depth: first - 0.25 * rounding * closeness * closeness, cell }
    }
}
