//! Outlines of objects in full-resolution pixels.

mod region;
mod simplify;
mod trace;

pub use region::Region;
pub use trace::{RowRun, trace_polygons, trace_runs};

use crate::Window;

/// An outline with holes; the pixel in column `x` of row `y` covers `x..x + 1` × `y..y + 1`.
///
/// Rings are open: the first vertex is not repeated at the end.
/// They may turn either way; what is inside is decided by the even-odd rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Polygon {
    /// Vertices `[x, y]` of the outer ring.
    pub exterior: Vec<[f64; 2]>,
    /// Rings cut out of it.
    pub holes: Vec<Vec<[f64; 2]>>,
}

/// The smallest upright rectangle around some points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Smallest `[x, y]`.
    pub min: [f64; 2],
    /// Largest `[x, y]`.
    pub max: [f64; 2],
}

impl Polygon {
    /// A polygon without holes.
    pub const fn new(exterior: Vec<[f64; 2]>) -> Self {
        Self { exterior, holes: Vec::new() }
    }

    /// The exterior, then the holes.
    pub fn rings(&self) -> impl Iterator<Item = &[[f64; 2]]> {
        std::iter::once(self.exterior.as_slice()).chain(self.holes.iter().map(Vec::as_slice))
    }

    /// Enclosed area in square pixels, holes taken off.
    pub fn area(&self) -> f64 {
        let [area, ..] = self.moments([0.0, 0.0]);
        area
    }

    /// Centre `[x, y]` of the enclosed area, or `None` for a polygon without vertices.
    ///
    /// For an outline that encloses nothing it is the mean of the outer vertices.
    pub fn centroid(&self) -> Option<[f64; 2]> {
        let &[x0, y0] = self.exterior.first()?;
        // Relative to a vertex, so that small outlines far from the origin lose no digits.
        let [area, x, y] = self.moments([x0, y0]);
        let centroid = [x0 + x / area, y0 + y / area];
        if area > 1e-9 && centroid.iter().all(|v| v.is_finite()) {
            return Some(centroid);
        }
        let n = self.exterior.len() as f64;
        let sum = self.exterior.iter().fold([0.0, 0.0], |sum, p| [sum[0] + p[0], sum[1] + p[1]]);
        Some(sum.map(|v| v / n))
    }

    /// The rectangle around the outer vertices, or `None` if there are none.
    pub fn bounds(&self) -> Option<Bounds> {
        let &first = self.exterior.first()?;
        Some(self.exterior.iter().fold(Bounds { min: first, max: first }, |b, p| Bounds {
            min: [b.min[0].min(p[0]), b.min[1].min(p[1])],
            max: [b.max[0].max(p[0]), b.max[1].max(p[1])],
        }))
    }

    /// Whether the point `[x, y]` lies inside; on the outline, left and upper edges count as inside.
    pub fn contains(&self, point: [f64; 2]) -> bool {
        let crossed = |[a, b]: [[f64; 2]; 2]| crossing(a, b, point[1]).is_some_and(|x| x <= point[0]);
        self.edges().filter(|&edge| crossed(edge)).count() % 2 == 1
    }

    /// Calls `span(y, x0, x1)` for every maximal run `x0..x1` of pixels of row `y` in `window` whose centres
    /// lie inside, rows from top to bottom and runs from left to right.
    ///
    /// Inside is decided by the even-odd rule over all rings.
    /// A centre that lies exactly on a left or upper edge is inside, on a right or lower edge outside, so
    /// polygons that share an edge share no pixel and leave no gap.
    /// The result for a pixel does not depend on the window.
    pub fn spans(&self, window: Window, mut span: impl FnMut(i64, i64, i64)) {
        let mut crossings = self.crossings(window);
        crossings.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (left, right) = (window.x, window.right());
        let mut open: Option<(i64, i64, i64)> = None;
        let rows = crossings.chunk_by(|a, b| a.0 == b.0);
        // A row is crossed an even number of times, unless a vertex is not a number.
        let pairs = rows.flat_map(|row| row.as_chunks::<2>().0);
        for &[(y, a), (_, b)] in pairs {
            let (x0, x1) = (first_centre(a).max(left), first_centre(b).min(right));
            if x0 >= x1 {
                continue;
            }
            match &mut open {
                Some((row, _, end)) if *row == y && *end == x0 => *end = x1,
                _ => {
                    if let Some((y, x0, x1)) = open.replace((y, x0, x1)) {
                        span(y, x0, x1);
                    }
                }
            }
        }
        if let Some((y, x0, x1)) = open {
            span(y, x0, x1);
        }
    }

    /// Where the edges cross the centre lines of the window's rows.
    fn crossings(&self, window: Window) -> Vec<(i64, f64)> {
        let mut crossings = Vec::new();
        for [a, b] in self.edges() {
            let (top, bottom) = (a[1].min(b[1]), a[1].max(b[1]));
            let rows = first_centre(top).max(window.y)..first_centre(bottom).min(window.bottom());
            for y in rows {
                if let Some(x) = crossing(a, b, y as f64 + 0.5) {
                    crossings.push((y, x));
                }
            }
        }
        crossings
    }

    fn edges(&self) -> impl Iterator<Item = [[f64; 2]; 2]> {
        self.rings().flat_map(ring_edges)
    }

    /// Area, and its first moments in x and y relative to `origin`; holes taken off, all rings seen as positive.
    fn moments(&self, origin: [f64; 2]) -> [f64; 3] {
        let mut total = [0.0; 3];
        for (i, ring) in self.rings().enumerate() {
            let [area, x, y] = ring_moments(ring, origin);
            let sign = if i == 0 { 1.0 } else { -1.0 } * area.signum();
            total = [total[0] + sign * area, total[1] + sign * x, total[2] + sign * y];
        }
        total
    }
}

/// The column (or row) of the first pixel whose centre is not before `v`.
fn first_centre(v: f64) -> i64 {
    (v - 0.5).ceil() as i64
}

/// Where an edge crosses the horizontal line at `y`; its upper end belongs to it, the lower does not.
///
/// Both directions of an edge give the same bits.
/// The division comes last, so that a crossing at a pixel centre is exact for vertices on fractions of pixels.
fn crossing(a: [f64; 2], b: [f64; 2], y: f64) -> Option<f64> {
    let (a, b) = if a[1] <= b[1] { (a, b) } else { (b, a) };
    (a[1] <= y && y < b[1]).then(|| a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]))
}

/// Consecutive vertices of a ring, the closing edge included.
fn ring_edges(ring: &[[f64; 2]]) -> impl Iterator<Item = [[f64; 2]; 2]> {
    let next = ring.iter().cycle().skip(1);
    ring.iter().zip(next).map(|(&a, &b)| [a, b])
}

/// Signed area of a ring and its first moments relative to `origin` (the shoelace formulae).
fn ring_moments(ring: &[[f64; 2]], origin: [f64; 2]) -> [f64; 3] {
    let mut sum = [0.0; 3];
    for [a, b] in ring_edges(ring) {
        let ([ax, ay], [bx, by]) =
            ([a[0] - origin[0], a[1] - origin[1]], [b[0] - origin[0], b[1] - origin[1]]);
        let cross = ax * by - bx * ay;
        sum = [sum[0] + cross / 2.0, sum[1] + cross * (ax + bx) / 6.0, sum[2] + cross * (ay + by) / 6.0];
    }
    sum
}
