//! Bright jagged streaks, as cracks, folds and scratches of a slide leave them.
//!
//! The original pastes cut-outs of such streaks; these are drawn, so that no pictures are needed.

use std::f64::consts::TAU;

use hubmap_io::Size;
use rand::RngExt;

use super::canvas::Pixels;
use super::overlay::{blend, smooth_step, span};
use crate::seed::StreamRng;

/// A jagged streak that tapers towards its ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Bolt {
    /// Corners, `[x, y]` in pixels.
    pub points: Vec<[f32; 2]>,
    /// Width in the middle.
    pub width_px: f32,
}

/// Halvings of a streak: 2^5 pieces.
const N_HALVINGS: u32 = 5;
/// How far the middle of a piece is displaced at most, as a fraction of its length.
const JAGGEDNESS: f64 = 0.22;
/// How often a streak has a branch.
const BRANCH_PROBABILITY: f64 = 0.5;
/// Width of the soft edge in pixels.
const EDGE_PX: f32 = 1.5;

impl Bolt {
    /// A streak through a drawn place in a drawn direction, of a drawn length, and maybe a branch.
    pub(super) fn across(size: Size, width_px: f64, rng: &mut StreamRng) -> Vec<Self> {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let middle = [width * rng.random::<f64>(), height * rng.random::<f64>()];
        let length = width.max(height) * (0.3 + 0.7 * rng.random::<f64>());
        let angle = TAU * rng.random::<f64>();
        let from_middle = |distance: f64, angle: f64, [x, y]: [f64; 2]| {
            [x + distance * angle.cos(), y + distance * angle.sin()]
        };
        let main = jagged(
            from_middle(-length / 2.0, angle, middle),
            from_middle(length / 2.0, angle, middle),
            N_HALVINGS,
            rng,
        );
        let mut bolts = Vec::new();
        if rng.random::<f64>() < BRANCH_PROBABILITY {
            let root = main[rng.random_range(main.len() / 4..main.len() * 3 / 4)];
            let side = if rng.random::<bool>() { 1.0 } else { -1.0 };
            let turned = angle + side * (0.4 + 0.6 * rng.random::<f64>());
            let end = from_middle(length * (0.15 + 0.2 * rng.random::<f64>()), turned, root);
            let points = jagged(root, end, N_HALVINGS - 1, rng);
            bolts.push(Self::new(&points, 0.6 * width_px));
        }
        bolts.push(Self::new(&main, width_px));
        bolts
    }

    fn new(points: &[[f64; 2]], width_px: f64) -> Self {
        let points = points.iter().map(|point| point.map(|v| v as f32)).collect();
        Self { points, width_px: width_px as f32 }
    }

    /// Half of the width at a corner.
    fn half_width(&self, idx: usize) -> f32 {
        let along = idx as f32 / (self.points.len() - 1) as f32;
        0.5 * self.width_px * (4.0 * along * (1.0 - along)).sqrt().max(0.15)
    }
}

/// A line from `from` to `to` whose middle is displaced sideways, and that of each half, and so on.
fn jagged(from: [f64; 2], to: [f64; 2], n_halvings: u32, rng: &mut StreamRng) -> Vec<[f64; 2]> {
    let mut points = vec![from, to];
    for _ in 0..n_halvings {
        let mut finer = vec![from];
        for pair in points.windows(2) {
            let ([x0, y0], [x1, y1]) = (pair[0], pair[1]);
            let shift = JAGGEDNESS * (2.0 * rng.random::<f64>() - 1.0);
            finer.push([x0.midpoint(x1) + shift * (y0 - y1), y0.midpoint(y1) + shift * (x1 - x0)]);
            finer.push(pair[1]);
        }
        points = finer;
    }
    points
}

/// Paints the streaks, which do not add up where they cross.
pub(super) fn paint(image: &mut Pixels<'_>, bolts: &[Bolt], color: [u8; 3], alpha: f64) {
    let (width, height) = (image.width, image.height());
    let mut coverage = vec![0.0_f32; image.colors.len()];
    for bolt in bolts {
        for (idx, pair) in bolt.points.windows(2).enumerate() {
            let ([x0, y0], [x1, y1]) = (pair[0], pair[1]);
            let (half_0, half_1) = (bolt.half_width(idx), bolt.half_width(idx + 1));
            let reach = half_0.max(half_1) + EDGE_PX;
            let (dx, dy) = (x1 - x0, y1 - y0);
            let per_length = 1.0 / (dx * dx + dy * dy).max(f32::MIN_POSITIVE);
            for y in span(y0.min(y1) - reach, y0.max(y1) + reach, height) {
                for x in span(x0.min(x1) - reach, x0.max(x1) + reach, width) {
                    let (to_x, to_y) = (x as f32 - x0, y as f32 - y0);
                    let along = ((to_x * dx + to_y * dy) * per_length).clamp(0.0, 1.0);
                    let distance = ((to_x - along * dx).powi(2) + (to_y - along * dy).powi(2)).sqrt();
                    let half = half_0 + along * (half_1 - half_0);
                    let covered = smooth_step(half + EDGE_PX, half - EDGE_PX, distance);
                    let place = &mut coverage[y * width + x];
                    *place = place.max(covered);
                }
            }
        }
    }
    for (below, &covered) in image.colors.iter_mut().zip(&coverage) {
        if covered > 0.0 {
            *below = blend(*below, color, covered * alpha as f32);
        }
    }
}
