//! Outlines with fewer vertices.

use std::collections::HashMap;

use super::{Polygon, ring_edges, ring_moments};

/// How often the tolerance is halved before a polygon stays as it is.
const MAX_HALVINGS: u32 = 6;

/// A ring with fewer vertices than this stays as it is, and none becomes one.
const MIN_VERTICES: usize = 3;

impl Polygon {
    /// The polygon with fewer vertices, by the algorithm of Ramer, Douglas and Peucker: every vertex that is left out
    /// lies within `tolerance` of the edge in its place.
    ///
    /// No ring comes to cross or touch itself or another, and holes stay inside. Where the tolerance would do that,
    /// half of it is tried, and so on; the polygon stays as it is if nothing helps.
    /// Rings stay where they touch each other, and none vanishes. A tolerance of 0 or less changes nothing.
    ///
    /// Neighbouring polygons are simplified apart, so that they may overlap by the tolerance.
    #[must_use]
    pub fn simplified(&self, tolerance: f64) -> Self {
        if tolerance.is_nan() || tolerance <= 0.0 {
            return self.clone();
        }
        let kept = shared_vertices(self);
        for halvings in 0..=MAX_HALVINGS {
            let tolerance = tolerance / f64::from(1_u32 << halvings);
            let simplify =
                |(ring, kept): (&Vec<[f64; 2]>, &Vec<bool>)| simplified_ring(ring, kept, tolerance);
            let (exterior, holes) = kept.split_first().map_or((&[][..], &[][..]), |(e, h)| (e.as_slice(), h));
            let candidate = Self {
                exterior: simplified_ring(&self.exterior, exterior, tolerance),
                holes: self.holes.iter().zip(holes).map(simplify).collect(),
            };
            if is_simple(&candidate) && holes_are_inside(&candidate) {
                return candidate;
            }
        }
        self.clone()
    }
}

/// For each vertex of each ring, whether it must stay: those in which rings meet, and their neighbours, without which
/// rings could cross there.
fn shared_vertices(polygon: &Polygon) -> Vec<Vec<bool>> {
    let mut n_uses = HashMap::new();
    for vertex in polygon.rings().flatten() {
        *n_uses.entry(key(vertex)).or_insert(0_u32) += 1;
    }
    let of_ring = |ring: &[[f64; 2]]| {
        let is_shared: Vec<bool> = ring.iter().map(|vertex| n_uses[&key(vertex)] > 1).collect();
        let n = ring.len();
        (0..n).map(|i| is_shared[(i + n - 1) % n] || is_shared[i] || is_shared[(i + 1) % n]).collect()
    };
    polygon.rings().map(of_ring).collect()
}

/// A ring without the vertices that the tolerance allows to leave out, or as it is if too little would be left.
fn simplified_ring(ring: &[[f64; 2]], kept: &[bool], tolerance: f64) -> Vec<[f64; 2]> {
    let Some(&first) = ring.first() else { return Vec::new() };
    let n = ring.len();
    let mut is_kept = kept.to_vec();
    // A closed ring has no ends; the first vertex and the one farthest from it take their place.
    let farthest =
        (0..n).max_by(|&a, &b| distance(ring[a], first, first).total_cmp(&distance(ring[b], first, first)));
    is_kept[0] = true;
    is_kept[farthest.unwrap_or(0)] = true;
    let anchors: Vec<usize> = (0..n).filter(|&i| is_kept[i]).chain([n]).collect();
    let mut stack: Vec<(usize, usize)> = anchors.windows(2).map(|pair| (pair[0], pair[1])).collect();
    while let Some((start, end)) = stack.pop() {
        let (a, b) = (ring[start], ring[end % n]);
        let between = (start + 1..end).map(|i| (i, distance(ring[i], a, b)));
        if let Some((i, distance)) = between.max_by(|a, b| a.1.total_cmp(&b.1))
            && distance > tolerance
        {
            is_kept[i] = true;
            stack.extend([(start, i), (i, end)]);
        }
    }
    let left: Vec<_> = ring.iter().zip(&is_kept).filter(|(_, is_kept)| **is_kept).map(|(v, _)| *v).collect();
    let [area, ..] = ring_moments(&left, first);
    if left.len() < MIN_VERTICES || area == 0.0 { ring.to_vec() } else { left }
}

/// Equal for the same vertex: rings that meet have it to the bit.
fn key(vertex: &[f64; 2]) -> [u64; 2] {
    vertex.map(f64::to_bits)
}

/// From a point to the nearest point of the edge `a`–`b`.
fn distance(point: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let (along, to) = (minus(b, a), minus(point, a));
    let squared = along[0] * along[0] + along[1] * along[1];
    let share = if squared > 0.0 { (to[0] * along[0] + to[1] * along[1]) / squared } else { 0.0 };
    let share = share.clamp(0.0, 1.0);
    (to[0] - share * along[0]).hypot(to[1] - share * along[1])
}

/// Whether no two edges share a point, but for consecutive ones and corners in which rings meet.
fn is_simple(polygon: &Polygon) -> bool {
    let mut edges: Vec<[[f64; 2]; 2]> = polygon.rings().flat_map(ring_edges).collect();
    let left = |edge: &[[f64; 2]; 2]| edge[0][0].min(edge[1][0]);
    edges.sort_unstable_by(|a, b| left(a).total_cmp(&left(b)));
    // Edges that reach as far right as the one at hand.
    let mut open: Vec<[[f64; 2]; 2]> = Vec::new();
    for edge in edges {
        open.retain(|other| other[0][0].max(other[1][0]) >= left(&edge));
        if open.iter().any(|&other| conflict(edge, other)) {
            return false;
        }
        open.push(edge);
    }
    true
}

/// Whether two edges have more in common than one end.
fn conflict([a, b]: [[f64; 2]; 2], [c, d]: [[f64; 2]; 2]) -> bool {
    let apart = |i: usize| a[i].max(b[i]) < c[i].min(d[i]) || c[i].max(d[i]) < a[i].min(b[i]);
    if apart(0) || apart(1) {
        return false;
    }
    // The common end, if there is one, and the other ends.
    let common = [(a, b, c, d), (a, b, d, c), (b, a, c, d), (b, a, d, c)];
    if let Some((at, p, _, q)) = common.into_iter().find(|(p, _, q, _)| key(p) == key(q)) {
        let (p, q) = (minus(p, at), minus(q, at));
        return cross(p, q) == 0.0 && p[0] * q[0] + p[1] * q[1] > 0.0;
    }
    let side = |p: [f64; 2], from: [f64; 2], to: [f64; 2]| {
        let turn = cross(minus(to, from), minus(p, from));
        if turn == 0.0 { 0.0 } else { turn.signum() }
    };
    side(a, c, d) * side(b, c, d) <= 0.0 && side(c, a, b) * side(d, a, b) <= 0.0
}

/// Whether every hole of a polygon whose rings do not cross lies in the exterior and in no other hole.
fn holes_are_inside(polygon: &Polygon) -> bool {
    let alone: Vec<Polygon> = polygon.rings().map(|ring| Polygon::new(ring.to_vec())).collect();
    let Some((exterior, holes)) = alone.split_first() else { return true };
    let bounds: Vec<_> = holes.iter().map(Polygon::bounds).collect();
    holes.iter().enumerate().all(|(idx, hole)| {
        // A vertex may be one in which rings meet, the middle of an edge is not.
        let Some([a, b]) = ring_edges(&hole.exterior).next() else { return true };
        let point = [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])];
        let may_hold = |other: usize| {
            let within = |bounds: super::Bounds| {
                (0..2).all(|i| bounds.min[i] <= point[i] && point[i] <= bounds.max[i])
            };
            other != idx && bounds[other].is_some_and(within)
        };
        exterior.contains(point)
            && !(0..holes.len()).any(|other| may_hold(other) && holes[other].contains(point))
    })
}

fn minus(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

fn cross(a: [f64; 2], b: [f64; 2]) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;
    use crate::{Mask, trace_polygons};

    /// Whether any two edges of a polygon conflict, each with each.
    fn has_conflict(polygon: &Polygon) -> bool {
        let edges: Vec<_> = polygon.rings().flat_map(ring_edges).collect();
        (0..edges.len()).any(|i| (0..i).any(|j| conflict(edges[i], edges[j])))
    }

    /// Blobs with ragged edges and holes.
    fn blobs(seed: &[u8]) -> Mask {
        let value = |y: usize, x: usize| {
            let wave = (x as f64 / 7.0).sin() + (y as f64 / 5.0).cos() + (x as f64 * y as f64 / 90.0).sin();
            wave + f64::from(seed[(y * 61 + x) % seed.len()] % 16) / 10.0 > 1.0
        };
        Mask::from_array(Array2::from_shape_fn((50, 60), |(y, x)| u8::from(value(y, x))).view())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn outlines_stay_simple_and_near(
            seed in prop::collection::vec(any::<u8>(), 40..400), tolerance in 0.1..6.0_f64
        ) {
            for polygon in trace_polygons(&blobs(&seed)) {
                let simple = polygon.simplified(tolerance);
                prop_assert!(!has_conflict(&simple));
                prop_assert!(holes_are_inside(&simple));
                prop_assert_eq!(simple.holes.len(), polygon.holes.len());
                for (ring, before) in simple.rings().zip(polygon.rings()) {
                    prop_assert!(ring.len() >= MIN_VERTICES && ring.len() <= before.len());
                    prop_assert!(ring.iter().all(|vertex| before.contains(vertex)));
                    for &vertex in before {
                        let nearest = ring_edges(ring).map(|[a, b]| distance(vertex, a, b)).fold(f64::MAX, f64::min);
                        prop_assert!(nearest <= tolerance, "{vertex:?} is {nearest} away");
                    }
                }
            }
        }
    }

    #[test]
    fn a_staircase_becomes_a_line() {
        let pixels = Array2::from_shape_fn((40, 40), |(y, x)| u8::from(x <= y));
        let [polygon] = &trace_polygons(&Mask::from_array(pixels.view()))[..] else { panic!("one triangle") };
        assert_eq!(polygon.exterior.len(), 82);
        assert!(polygon.simplified(1.0).exterior.len() <= 5);
        assert_eq!(polygon.simplified(0.0), *polygon);
        assert_eq!(polygon.simplified(f64::NAN), *polygon);
    }

    #[test]
    fn rings_that_meet_stay_together_and_the_rest_gets_simple() {
        // A hole of one pixel meets the staircase in the corner (20, 20).
        let pixels = Array2::from_shape_fn((40, 40), |(y, x)| u8::from(x <= y && (y, x) != (20, 19)));
        let [polygon] = &trace_polygons(&Mask::from_array(pixels.view()))[..] else { panic!("one triangle") };
        let simple = polygon.simplified(1.0);
        assert!(simple.rings().count() == 2 && simple.rings().all(|ring| ring.contains(&[20.0, 20.0])));
        assert!(simple.exterior.len() <= 12, "{:?}", simple.exterior);
        assert!(!has_conflict(&simple) && holes_are_inside(&simple));
    }

    #[test]
    fn a_bump_over_a_hole_stays_around_it() {
        // A tolerance of 5 would cut off the bump of 3 px with the hole in it.
        let mut pixels = Array2::<u8>::zeros((30, 60));
        pixels.slice_mut(ndarray::s![6..30, ..]).fill(1);
        pixels.slice_mut(ndarray::s![3..6, 20..40]).fill(1);
        pixels.slice_mut(ndarray::s![4..6, 25..35]).fill(0);
        let [polygon] = &trace_polygons(&Mask::from_array(pixels.view()))[..] else { panic!("one object") };
        let simple = polygon.simplified(5.0);
        assert!(holes_are_inside(&simple) && !has_conflict(&simple));
        assert_eq!(simple.holes.len(), 1);
    }

    #[test]
    fn edges_conflict_where_they_cross_touch_or_overlap() {
        let edge = |x0, y0, x1, y1| [[x0, y0], [x1, y1]];
        let base = edge(0.0, 0.0, 4.0, 0.0);
        for (other, expected) in [
            (edge(2.0, -1.0, 2.0, 1.0), true),
            (edge(2.0, 0.0, 2.0, 1.0), true),
            (edge(4.0, 0.0, 6.0, 0.0), false),
            (edge(4.0, 0.0, 2.0, 0.0), true),
            (edge(4.0, 0.0, 4.0, 3.0), false),
            (edge(3.0, 0.0, 7.0, 0.0), true),
            (edge(5.0, 0.0, 7.0, 0.0), false),
            (edge(0.0, 1.0, 4.0, 1.0), false),
        ] {
            assert_eq!(conflict(base, other), expected, "{other:?}");
            assert_eq!(conflict(other, base), expected, "{other:?}");
        }
    }
}
