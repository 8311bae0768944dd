//! Objects that look like glomeruli from afar, to be told apart from real ones or to be restored from.
//!
//! The original pastes masks of real glomeruli in one colour. These are drawn: a wavy outline, a pale rim (Bowman's
//! space) around a tuft of that colour, and nuclei in it.

use std::f64::consts::TAU;
use std::ops::Range;

use hubmap_io::Size;
use rand::RngExt;

use super::canvas::Canvas;
use super::overlay::{blend, smooth_step, span};
use crate::seed::StreamRng;

/// An object with every number drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeGlomerulus {
    /// Centre, `[x, y]` in pixels.
    pub center: [f32; 2],
    /// Mean radius in pixels.
    pub radius_px: f32,
    /// Waves of the outline, from two around the circle upwards: amplitude as a fraction of the radius, and phase.
    pub waves: [[f32; 2]; N_WAVES],
    /// Colour of the tuft.
    pub color: [u8; 3],
    /// Centres of nuclei relative to the centre, in radii.
    pub nuclei: Vec<[f32; 2]>,
}

/// Waves of an outline.
const N_WAVES: usize = 4;
/// Largest amplitude of the first wave; that of the n-th is an n-th of it.
const WAVE: f64 = 0.12;
/// The tuft ends here, in radii; the rim lies around it.
const TUFT: f32 = 0.88;
/// The rim is that much of the way from the tuft's colour to white.
const RIM_PALENESS: f32 = 0.55;
/// Nuclei keep this part of each level.
const NUCLEUS_LEVEL: f32 = 0.62;
/// Radius of a nucleus in pixels: a nucleus is 5 to 8 µm wide, a tile's pixel 1.5 µm.
const NUCLEUS_RADIUS_PX: f32 = 2.2;
/// Nuclei per square pixel.
const NUCLEI_DENSITY: f64 = 0.008;
/// Width of soft edges in pixels.
const EDGE_PX: f32 = 1.5;

impl FakeGlomerulus {
    /// An object whose centre is at a uniformly drawn place of the image.
    pub(super) fn somewhere(size: Size, radius_px: f64, color: [u8; 3], rng: &mut StreamRng) -> Self {
        let center = [size.width, size.height].map(|length| f64::from(length) * rng.random::<f64>());
        let waves = std::array::from_fn(|idx| {
            let amplitude = WAVE / (idx + 1) as f64 * rng.random::<f64>();
            [amplitude as f32, (TAU * rng.random::<f64>()) as f32]
        });
        let n_nuclei = (NUCLEI_DENSITY * TAU / 2.0 * radius_px * radius_px) as usize;
        let nuclei = (0..n_nuclei)
            .map(|_| {
                // Uniform over the disc.
                let (distance, angle) = (0.84 * rng.random::<f64>().sqrt(), TAU * rng.random::<f64>());
                [(distance * angle.cos()) as f32, (distance * angle.sin()) as f32]
            })
            .collect();
        Self { center: center.map(|v| v as f32), radius_px: radius_px as f32, waves, color, nuclei }
    }

    /// Radius of the outline in a direction.
    fn outline_px(&self, angle: f32) -> f32 {
        let waves = self.waves.iter().enumerate();
        let sum: f32 =
            waves.map(|(idx, [size, phase])| size * ((idx + 2) as f32 * angle + phase).sin()).sum();
        self.radius_px * (1.0 + sum)
    }

    /// The outline is nowhere farther from the centre.
    fn reach_px(&self) -> f32 {
        self.radius_px * (1.0 + self.waves.iter().map(|[size, _]| size.abs()).sum::<f32>()) + EDGE_PX
    }

    /// How dark the nuclei make each pixel of a part of the image, 0 to 1, row by row.
    fn nuclei_in(&self, columns: &Range<usize>, rows: &Range<usize>) -> Vec<f32> {
        let mut darkness = vec![0.0_f32; columns.len() * rows.len()];
        let reach = NUCLEUS_RADIUS_PX + EDGE_PX;
        for [x, y] in &self.nuclei {
            let (at_x, at_y) = (self.center[0] + x * self.radius_px, self.center[1] + y * self.radius_px);
            for y in span(at_y - reach, at_y + reach, rows.end).filter(|y| rows.contains(y)) {
                for x in span(at_x - reach, at_x + reach, columns.end).filter(|x| columns.contains(x)) {
                    let distance = (x as f32 - at_x).hypot(y as f32 - at_y);
                    let dark = smooth_step(
                        NUCLEUS_RADIUS_PX + EDGE_PX / 2.0,
                        NUCLEUS_RADIUS_PX - EDGE_PX / 2.0,
                        distance,
                    );
                    let place = &mut darkness[(y - rows.start) * columns.len() + x - columns.start];
                    *place = place.max(dark);
                }
            }
        }
        darkness
    }
}

/// Paints the objects over the image and, if they are to be found, into the mask.
pub(super) fn paint(canvas: &mut Canvas<'_>, objects: &[FakeGlomerulus], alpha: f64, in_mask: bool) {
    for object in objects {
        let coverage = paint_one(canvas, object, alpha as f32);
        if in_mask {
            let levels = canvas.mask_levels();
            for (place, covered) in coverage {
                levels[place] = levels[place].max((255.0 * covered).round() as u8);
            }
        }
    }
}

/// Paints one object; places of pixels, row by row, and how much of each is inside the outline.
fn paint_one(canvas: &mut Canvas<'_>, object: &FakeGlomerulus, alpha: f32) -> Vec<(usize, f32)> {
    let pixels = canvas.pixels();
    let (width, height) = (pixels.width, pixels.height());
    let ([center_x, center_y], reach) = (object.center, object.reach_px());
    let rows = span(center_y - reach, center_y + reach, height);
    let columns = span(center_x - reach, center_x + reach, width);
    let darkness = object.nuclei_in(&columns, &rows);
    let mut coverage = Vec::new();
    for (y, darkness) in rows.zip(darkness.chunks(columns.len().max(1))) {
        for (x, dark) in columns.clone().zip(darkness) {
            let (dx, dy) = (x as f32 - center_x, y as f32 - center_y);
            let (distance, outline) = (dx.hypot(dy), object.outline_px(dy.atan2(dx)));
            let covered = smooth_step(outline + EDGE_PX / 2.0, outline - EDGE_PX / 2.0, distance);
            if covered <= 0.0 {
                continue;
            }
            let tuft = TUFT * outline;
            let rim = smooth_step(tuft - EDGE_PX, tuft + EDGE_PX, distance);
            let color = blend(object.color, [255; 3], RIM_PALENESS * rim);
            let shade = 1.0 - (1.0 - NUCLEUS_LEVEL) * dark * (1.0 - rim);
            let color = color.map(|level| (f32::from(level) * shade) as u8);
            let place = y * width + x;
            pixels.colors[place] = blend(pixels.colors[place], color, covered * alpha);
            coverage.push((place, covered));
        }
    }
    coverage
}
