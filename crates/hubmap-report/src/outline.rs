//! Outlines as paths of SVG, over a picture.

use std::fmt::Write as _;

use hubmap_io::Polygon;

use crate::picture::View;

/// Units of a path per pixel of the picture, so that coordinates are whole numbers.
pub(crate) const UNITS_PER_PX: f64 = 10.0;
/// How far outlines may be off, in pixels of the picture.
const TOLERANCE: f64 = 0.45;
/// Side of the square in the place of what would be smaller than it, in units: an object is never invisible.
const LEAST_SIDE: i64 = 10;

/// Appends an outline to the data of a path, in [`UNITS_PER_PX`].
///
/// It is simplified as far as the picture does not show.
pub(crate) fn push_path(path: &mut String, outline: &Polygon, view: &View) {
    let simple = outline.simplified(TOLERANCE * f64::from(view.factor));
    for (i, ring) in simple.rings().enumerate() {
        let mut vertices: Vec<[i64; 2]> = ring
            .iter()
            .map(|&vertex| view.place(vertex).map(|at| (at * UNITS_PER_PX).round() as i64))
            .collect();
        vertices.dedup();
        if vertices.len() > 1 && vertices.first() == vertices.last() {
            vertices.pop();
        }
        let Some(&[x, y]) = vertices.first() else { continue };
        let extent = |axis: usize| {
            let (min, max) = vertices
                .iter()
                .fold((i64::MAX, i64::MIN), |(min, max), v| (min.min(v[axis]), max.max(v[axis])));
            max - min
        };
        // Writing to a string cannot fail.
        if extent(0).max(extent(1)) < LEAST_SIDE {
            if i == 0 {
                let _ = write!(path, "M{x} {y}h{LEAST_SIDE}v{LEAST_SIDE}h-{LEAST_SIDE}z");
            }
            continue;
        }
        let _ = write!(path, "M{x} {y}l");
        for (n, pair) in vertices.windows(2).enumerate() {
            let [dx, dy] = [pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]];
            // A minus sign separates as well as a space does.
            let before = if n == 0 || dx < 0 { "" } else { " " };
            let between = if dy < 0 { "" } else { " " };
            let _ = write!(path, "{before}{dx}{between}{dy}");
        }
        path.push('z');
    }
}

#[cfg(test)]
mod tests {
    use hubmap_io::Window;

    use super::*;

    fn path(outline: &Polygon, view: View) -> String {
        let mut path = String::new();
        push_path(&mut path, outline, &view);
        path
    }

    #[test]
    fn outlines_are_relative_to_the_view_with_their_holes() {
        let view = View { window: Window::new(100, 200, 800, 800), factor: 4 };
        let square =
            |x: f64, y: f64, side: f64| vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]];
        let outline =
            Polygon { exterior: square(140.0, 240.0, 40.0), holes: vec![square(152.0, 252.0, 8.0)] };
        assert_eq!(path(&outline, view), "M100 100l100 0 0 100-100 0zM130 130l20 0 0 20-20 0z");
    }

    #[test]
    fn nothing_vanishes_and_nothing_is_longer_than_it_need_be() {
        let view = View { window: Window::new(0, 0, 1024, 1024), factor: 32 };
        let dot = Polygon {
            exterior: vec![[64.0, 64.0], [66.0, 64.0], [66.0, 66.0]],
            holes: vec![vec![[65.0, 65.0]; 3]],
        };
        assert_eq!(path(&dot, view), "M20 20h10v10h-10z");
        // A circle in steps of a pixel.
        let point =
            |angle: f64| [(500.0 + 300.0 * angle.cos()).round(), (500.0 + 300.0 * angle.sin()).round()];
        let mut circle: Vec<_> =
            (0..4000).map(|i| point(f64::from(i) * std::f64::consts::TAU / 4000.0)).collect();
        circle.dedup();
        let path = path(&Polygon::new(circle), view);
        assert!((40..220).contains(&path.len()), "{} {path}", path.len());
        assert_eq!(self::path(&Polygon::default(), view), "");
    }
}
