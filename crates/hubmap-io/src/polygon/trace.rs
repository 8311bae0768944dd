//! Contours of a mask along the edges of its pixels.

use std::collections::HashMap;
use std::ops::Range;

use super::Polygon;
use crate::mask::packed::word_of;
use crate::{Mask, Size};

/// The outlines of the set pixels, one polygon with holes per component, in the order of their first pixels
/// (top to bottom, then left to right).
///
/// Vertices are pixel corners, so filling the polygons with [`Mask::fill_polygon`] gives the mask back
/// exactly.
/// Pixels are connected through their sides (4-connectivity); two that touch at a corner only belong to
/// different polygons.
/// No ring touches itself, which makes every polygon valid for QuPath and other readers of GeoJSON.
///
/// Time and memory grow with the number of runs in the rows of the mask; empty areas are only scanned.
pub fn trace_polygons(mask: &Mask) -> Vec<Polygon> {
    let Size { width, height } = mask.size();
    let mut runs = Vec::new();
    for y in 0..height {
        push_runs(mask.row_bytes(y), y, width, &mut runs);
    }
    trace_runs(&runs)
}

/// As [`trace_polygons`], of the pixels of some runs, for an object that never was part of a mask.
///
/// The runs must be sorted, and none of them may overlap or touch another in its row.
///
/// ```
/// use hubmap_io::{RowRun, trace_runs};
///
/// let cross = [(0, 1, 2), (1, 0, 3), (2, 1, 2)].map(|(y, x0, x1)| RowRun { y, x0, x1 });
/// let polygons = trace_runs(&cross);
/// assert_eq!((polygons.len(), polygons[0].exterior.len(), polygons[0].area()), (1, 12, 5.0));
/// ```
pub fn trace_runs(runs: &[RowRun]) -> Vec<Polygon> {
    let runs = Runs::of(runs);
    let mut links = Links::new(&runs);
    for row in 0..runs.first.len() {
        links.connect(&runs, row);
    }
    links.polygons(&runs)
}

/// A run of set pixels in a row; runs are ordered by row, then by column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowRun {
    /// The row.
    pub y: u32,
    /// First column.
    pub x0: u32,
    /// The column after the last.
    pub x1: u32,
}

/// Sorted runs, row by row.
struct Runs<'a> {
    all: &'a [RowRun],
    /// Where the runs of each row start, from the first row that has one to the last.
    first: Vec<usize>,
}

impl<'a> Runs<'a> {
    fn of(all: &'a [RowRun]) -> Self {
        let mut first = Vec::new();
        if let (Some(top), Some(bottom)) = (all.first(), all.last()) {
            first.reserve((bottom.y - top.y) as usize + 2);
            for (idx, run) in all.iter().enumerate() {
                first.resize((run.y - top.y) as usize + 1, idx);
            }
            first.push(all.len());
        }
        Self { all, first }
    }

    /// Indices of the runs in a row, counted from the first that has one; other rows have none.
    fn of_row(&self, row: Option<usize>) -> Range<usize> {
        match row {
            Some(row) if row + 1 < self.first.len() => self.first[row]..self.first[row + 1],
            _ => 0..0,
        }
    }

    /// Column of a side: even sides are the left ends of runs, odd ones the right ends.
    fn x_of(&self, side: usize) -> u32 {
        let run = self.all[side / 2];
        if side.is_multiple_of(2) { run.x0 } else { run.x1 }
    }
}

/// Appends the runs of a packed row.
fn push_runs(row: &[u8], y: u32, width: u32, runs: &mut Vec<RowRun>) {
    let mut open = None;
    let mut previous_bit = 0_u64;
    for (i, bytes) in row.chunks(8).enumerate() {
        let word = word_of(bytes);
        let mut changed = word ^ (word >> 1 | previous_bit << 63);
        previous_bit = word & 1;
        while changed != 0 {
            let bit = changed.leading_zeros();
            changed &= !(1 << (63 - bit));
            let x = 64 * i as u32 + bit;
            match open.take() {
                None => open = Some(x),
                Some(x0) => runs.push(RowRun { y, x0, x1: x }),
            }
        }
    }
    if let Some(x0) = open {
        runs.push(RowRun { y, x0, x1: width });
    }
}

/// How the vertical sides of runs follow each other around the outlines.
///
/// Outlines keep the set pixels on their right: they go up along left sides and down along right sides.
struct Links {
    /// The side that follows each side.
    next: Vec<usize>,
    /// Whether the outline meets another one, or itself, at the corner where a side ends or starts.
    touches: Vec<bool>,
    /// Union-find forest over runs, for components.
    parent: Vec<usize>,
}

/// Marks a side whose outline is done.
const VISITED: usize = usize::MAX;

/// A corner on a horizontal grid line: the sides that end there from above, from below, or both.
#[derive(Debug, Clone, Copy)]
struct Corner {
    above: Option<End>,
    below: Option<End>,
}

/// A side of the row above or below a horizontal grid line.
#[derive(Debug, Clone, Copy)]
struct End {
    x: u32,
    side: usize,
}

impl Links {
    fn new(runs: &Runs<'_>) -> Self {
        let n = runs.all.len();
        Self { next: vec![VISITED; 2 * n], touches: vec![false; 2 * n], parent: (0..n).collect() }
    }

    /// Connects the sides that meet the grid line above a row.
    fn connect(&mut self, runs: &Runs<'_>, row: usize) {
        let (above, below) = (runs.of_row(row.checked_sub(1)), runs.of_row(Some(row)));
        self.join_components(runs, above.clone(), below.clone());
        let ends =
            |rows: Range<usize>| (2 * rows.start..2 * rows.end).map(|side| End { x: runs.x_of(side), side });
        let (mut above, mut below) = (ends(above).peekable(), ends(below).peekable());
        // The left end of a horizontal edge whose right end is still to come.
        let mut open: Option<Corner> = None;
        loop {
            let corner = match (above.peek().copied(), below.peek().copied()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.x == b.x => Corner { above: Some(a), below: Some(b) },
                (Some(a), Some(b)) if a.x < b.x => Corner { above: Some(a), below: None },
                (Some(a), None) => Corner { above: Some(a), below: None },
                (_, Some(b)) => Corner { above: None, below: Some(b) },
            };
            if corner.above.is_some() {
                above.next();
            }
            if corner.below.is_some() {
                below.next();
            }
            match (corner.above, corner.below) {
                (Some(a), Some(b)) if a.side % 2 == b.side % 2 => self.link_straight(a.side, b.side),
                (Some(a), Some(b)) => {
                    self.touches[a.side] = true;
                    self.touches[b.side] = true;
                    if let Some(left) = open.replace(corner) {
                        self.link_edge(left, corner);
                    }
                }
                _ => match open.take() {
                    None => open = Some(corner),
                    Some(left) => self.link_edge(left, corner),
                },
            }
        }
    }

    /// A vertical line that crosses the grid line.
    fn link_straight(&mut self, above: usize, below: usize) {
        if above.is_multiple_of(2) {
            self.next[below] = above;
        } else {
            self.next[above] = below;
        }
    }

    /// A horizontal edge between two corners: below the set pixels it runs left, above them right.
    ///
    /// Where two outlines meet in a corner, each goes around its own pixel.
    fn link_edge(&mut self, left: Corner, right: Corner) {
        let is_left_side = |end: End| end.side.is_multiple_of(2);
        let set_above = match (left.above, left.below) {
            (Some(above), _) => is_left_side(above),
            (None, below) => below.is_some_and(|below| !is_left_side(below)),
        };
        let (from, to) = if set_above {
            (right.above.or(right.below), left.above.or(left.below))
        } else {
            (left.below.or(left.above), right.below.or(right.above))
        };
        if let (Some(from), Some(to)) = (from, to) {
            self.next[from.side] = to.side;
        }
    }

    /// Joins the runs of two neighbouring rows that share a side of a pixel.
    fn join_components(&mut self, runs: &Runs<'_>, above: Range<usize>, below: Range<usize>) {
        let (mut a, mut b) = (above.start, below.start);
        while a < above.end && b < below.end {
            let (upper, lower) = (runs.all[a], runs.all[b]);
            if upper.x0 < lower.x1 && lower.x0 < upper.x1 {
                let (a, b) = (self.root(a), self.root(b));
                self.parent[a.max(b)] = a.min(b);
            }
            if upper.x1 <= lower.x1 {
                a += 1;
            } else {
                b += 1;
            }
        }
    }

    /// The first run of the component of `run`.
    fn root(&mut self, mut run: usize) -> usize {
        while self.parent[run] != run {
            self.parent[run] = self.parent[self.parent[run]];
            run = self.parent[run];
        }
        run
    }

    /// Walks all outlines and sorts them into polygons.
    fn polygons(mut self, runs: &Runs<'_>) -> Vec<Polygon> {
        let mut polygons: Vec<Polygon> = Vec::new();
        let mut polygon_of_root = HashMap::new();
        for side in 0..self.next.len() {
            if self.next[side] == VISITED {
                continue;
            }
            let root = self.root(side / 2);
            let idx = *polygon_of_root.entry(root).or_insert(polygons.len());
            if idx == polygons.len() {
                polygons.push(Polygon::default());
            }
            let (ring, touches) = self.walk(runs, side);
            let rings = if touches { split_at_repeated(ring) } else { vec![ring] };
            for ring in rings {
                let is_exterior = signed_area(&ring) > 0;
                let ring = ring.into_iter().map(|[x, y]| [x as f64, y as f64]).collect();
                if is_exterior {
                    polygons[idx].exterior = ring;
                } else {
                    polygons[idx].holes.push(ring);
                }
            }
        }
        polygons
    }

    /// Corners of the outline through `start`, and whether it meets an outline in one of them.
    fn walk(&mut self, runs: &Runs<'_>, start: usize) -> (Vec<[u32; 2]>, bool) {
        let (mut ring, mut touches) = (Vec::new(), false);
        let mut side = start;
        loop {
            touches |= self.touches[side];
            let next = std::mem::replace(&mut self.next[side], VISITED);
            let (x, next_x) = (runs.x_of(side), runs.x_of(next));
            if x != next_x {
                let y = runs.all[side / 2].y + (side % 2) as u32;
                ring.extend([[x, y], [next_x, y]]);
            }
            if next == start {
                return (ring, touches);
            }
            side = next;
        }
    }
}

/// Cuts an outline that passes a corner twice into outlines that do not.
fn split_at_repeated(ring: Vec<[u32; 2]>) -> Vec<Vec<[u32; 2]>> {
    let mut rings = Vec::new();
    let mut path: Vec<[u32; 2]> = Vec::new();
    let mut position = HashMap::new();
    for corner in ring {
        if let Some(&first) = position.get(&corner) {
            for passed in &path[first + 1..] {
                position.remove(passed);
            }
            rings.push(path.split_off(first));
        }
        position.insert(corner, path.len());
        path.push(corner);
    }
    rings.push(path);
    rings
}

/// Twice the enclosed area, positive for an outline with the set pixels on its right.
fn signed_area(ring: &[[u32; 2]]) -> i128 {
    let next = ring.iter().cycle().skip(1);
    ring.iter().zip(next).map(|(a, b)| a[0] as i128 * b[1] as i128 - b[0] as i128 * a[1] as i128).sum()
}
