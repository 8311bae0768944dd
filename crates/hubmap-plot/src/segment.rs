//! The parts of lines that are in sight.
//!
//! A line that leaves a chart by a million times its height would take that many dashes to draw.

/// A place, 0 to 1 along both axes of a chart.
type Point = (f64, f64);

/// What is drawn beyond the ends of the axes; covers half a line's width, and dots.
const MARGIN: f64 = 0.1;
/// Farther away than this, all places are alike.
const FAR: f64 = 1e30;

/// The parts of a line through points that are in sight.
pub(crate) fn visible_lines(points: &[Point]) -> Vec<Vec<Point>> {
    let mut lines: Vec<Vec<Point>> = Vec::new();
    for pair in points.windows(2) {
        let Some((start, end)) = visible(pair[0], pair[1]) else { continue };
        match lines.last_mut() {
            Some(line) if line.last() == Some(&start) => line.push(end),
            _ => lines.push(vec![start, end]),
        }
    }
    lines
}

/// The part of a segment that is in sight (Liang and Barsky 1984).
pub(crate) fn visible(start: Point, end: Point) -> Option<(Point, Point)> {
    let near = |(x, y): Point| (x.clamp(-FAR, FAR), y.clamp(-FAR, FAR));
    let (start, end) = (near(start), near(end));
    let (dx, dy) = (end.0 - start.0, end.1 - start.1);
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for (from, delta) in [(start.0, dx), (start.1, dy)] {
        let (to_low, to_high) = (-MARGIN - from, 1.0 + MARGIN - from);
        if delta == 0.0 {
            if to_low > 0.0 || to_high < 0.0 {
                return None;
            }
            continue;
        }
        let (enter, leave) = if delta > 0.0 { (to_low, to_high) } else { (to_high, to_low) };
        first = first.max(enter / delta);
        last = last.min(leave / delta);
    }
    let at = |t: f64| (start.0 + t * dx, start.1 + t * dy);
    // The ends themselves, where they are in sight, so that the next segment goes on from there.
    let (from, to) = (if first > 0.0 { at(first) } else { start }, if last < 1.0 { at(last) } else { end });
    (first <= last).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_in_sight_stays_one_line() {
        let points = [(0.0, 0.1), (0.5, 0.9), (1.0, 0.3)];
        assert_eq!(visible_lines(&points), [points.to_vec()]);
        assert_eq!(visible_lines(&points[..1]), Vec::<Vec<Point>>::new());
    }

    #[test]
    fn a_line_that_leaves_is_cut_where_it_leaves() {
        let lines = visible_lines(&[(0.0, 0.5), (0.5, 1e6), (1.0, 0.5)]);
        assert_eq!(lines.len(), 2);
        let (x, y) = lines[0][1];
        assert!((y - (1.0 + MARGIN)).abs() < 1e-9 && x > 0.0 && x < 1e-6, "{x} {y}");
        assert_eq!(visible((-1.0, 5.0), (2.0, 5.0)), None);
        assert_eq!(visible((-1.0, 0.5), (0.5, 5.0)), None);
    }

    proptest! {
        #[test]
        fn a_cut_keeps_what_is_in_sight(
            start in (-3.0..3.0_f64, -3.0..3.0_f64), end in (-3.0..3.0_f64, -3.0..3.0_f64)
        ) {
            let is_inside = |(x, y): Point, slack: f64| {
                let range = -MARGIN - slack..=1.0 + MARGIN + slack;
                range.contains(&x) && range.contains(&y)
            };
            let cut = visible(start, end);
            for i in 0..=200 {
                let t = f64::from(i) / 200.0;
                let point = (start.0 + t * (end.0 - start.0), start.1 + t * (end.1 - start.1));
                let is_kept = cut.is_some_and(|(from, to)| {
                    let between = |v: f64, a: f64, b: f64| v >= a.min(b) - 1e-9 && v <= a.max(b) + 1e-9;
                    between(point.0, from.0, to.0) && between(point.1, from.1, to.1)
                });
                prop_assert!(!is_inside(point, -1e-9) || is_kept, "{:?} of {:?}", point, cut);
            }
            if let Some((from, to)) = cut {
                prop_assert!(is_inside(from, 1e-9) && is_inside(to, 1e-9));
            }
        }
    }
}
