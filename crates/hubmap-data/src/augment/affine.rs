//! Shift, scale and rotation around the centre, in one resampling.

use ndarray::{Array2, Array3};
use rand::RngExt;

use super::border::reflect;
use crate::{Sample, seed::StreamRng};

/// A similarity of the plane, applied around the centre of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// Shift to the right, as a fraction of the width.
    pub shift_x: f64,
    /// Shift downwards, as a fraction of the height.
    pub shift_y: f64,
    /// Enlargement.
    pub scale: f64,
    /// Counter-clockwise rotation in degrees.
    pub angle_deg: f64,
}

impl Similarity {
    /// Each value uniformly from its symmetric range.
    pub(super) fn draw(shift: f64, scale: f64, angle_deg: f64, rng: &mut StreamRng) -> Self {
        let mut within = |limit: f64| limit * (2.0 * rng.random::<f64>() - 1.0);
        Self {
            angle_deg: within(angle_deg),
            scale: 1.0 + within(scale),
            shift_x: within(shift),
            shift_y: within(shift),
        }
    }

    /// Where the pixel `(x, y)` of the result comes from, as a function.
    fn source(&self, width: usize, height: usize) -> impl Fn(usize, usize) -> (f64, f64) + use<> {
        let (center_x, center_y) = (width as f64 / 2.0, height as f64 / 2.0);
        let (to_x, to_y) = (center_x + self.shift_x * width as f64, center_y + self.shift_y * height as f64);
        let (sin, cos) = self.angle_deg.to_radians().sin_cos();
        let (cos, sin) = (cos / self.scale, sin / self.scale);
        move |x, y| {
            let (dx, dy) = (x as f64 - to_x, y as f64 - to_y);
            (center_x + cos * dx - sin * dy, center_y + sin * dx + cos * dy)
        }
    }
}

/// The sample under a similarity; image by bilinear interpolation, mask by nearest neighbour, borders mirrored.
pub fn warp(sample: &Sample, similarity: Similarity) -> Sample {
    let (height, width) = sample.mask.dim();
    let source = similarity.source(width, height);
    let mut image = Array3::zeros(sample.image.dim());
    let mut mask = Array2::zeros(sample.mask.dim());
    for y in 0..height {
        for x in 0..width {
            let (from_x, from_y) = source(x, y);
            let nearest = |v: f64, length| reflect(v.round_ties_even() as i64, length);
            mask[[y, x]] = sample.mask[[nearest(from_y, height), nearest(from_x, width)]];

            let (left, top) = (from_x.floor(), from_y.floor());
            let (right_part, lower_part) = ((from_x - left) as f32, (from_y - top) as f32);
            let columns = [0, 1].map(|step| reflect(left as i64 + step, width));
            let rows = [0, 1].map(|step| reflect(top as i64 + step, height));
            for c in 0..3 {
                let level =
                    |row: usize, column: usize| f32::from(sample.image[[rows[row], columns[column], c]]);
                let along = |row: usize| level(row, 0) + right_part * (level(row, 1) - level(row, 0));
                let value = along(0) + lower_part * (along(1) - along(0));
                image[[y, x, c]] = value.round() as u8;
            }
        }
    }
    Sample { name: sample.name.clone(), image, mask }
}
