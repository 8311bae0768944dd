//! What goes wrong with real slides: folds, pen, dust, bubbles, focus.

use std::f32::consts::TAU;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::canvas::{Area, Canvas};
use crate::noise::{hash, lerp, smooth_step, unit, value_noise};
use crate::stain::Density;

/// The artefacts of one slide; positions and lengths in microns of tissue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Artefacts {
    folds: Vec<Fold>,
    pens: Vec<Pen>,
    bubbles: Vec<Bubble>,
    blurs: Vec<Blur>,
    dust_seed: Option<u32>,
}

/// A crease where the tissue lies double, along an arc.
#[derive(Debug, Clone)]
struct Fold {
    center: [f32; 2],
    axis: [f32; 2],
    half_length: f32,
    /// Sideways displacement at the ends.
    bend: f32,
    half_width: f32,
    seed: u32,
}

/// A stroke of a felt pen on the glass.
#[derive(Debug, Clone)]
struct Pen {
    from: [f32; 2],
    to: [f32; 2],
    half_width: f32,
    /// Share of light that the ink lets through.
    ink: [f32; 3],
    seed: u32,
}

/// Air under the cover glass.
#[derive(Debug, Clone)]
struct Bubble {
    center: [f32; 2],
    radius: f32,
}

/// A patch out of focus.
#[derive(Debug, Clone)]
struct Blur {
    center: [f32; 2],
    radius: f32,
}

/// Pixels by which the blur reaches to each side.
pub(crate) const BLUR_REACH_PX: usize = 6;

/// Side of the squares that hold at most one speck of dust, in microns.
const DUST_SPACING: f32 = 350.0;
const DUST_REACH: f32 = 14.0;
/// Share of the squares with a speck.
const DUST_CHANCE: f32 = 0.1;

impl Artefacts {
    pub(crate) fn random(seed: u64, extent: [f32; 2]) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xa47e_fac7);
        let mm2 = extent[0] * extent[1] * 1e-6;
        let short = extent[0].min(extent[1]);
        let point = |rng: &mut ChaCha8Rng| extent.map(|v| rng.random_range(0.15 * v..0.85 * v));
        let count = |rng: &mut ChaCha8Rng, per_mm2: f32, most: f32| {
            rng.random_range(0.0..=1.0 + (per_mm2 * mm2).min(most)) as usize
        };
        let folds = (0..count(&mut rng, 0.08, 5.0))
            .map(|_| {
                let angle = rng.random_range(0.0..TAU);
                Fold {
                    center: point(&mut rng),
                    axis: [angle.cos(), angle.sin()],
                    half_length: rng.random_range(0.08..0.22) * short,
                    bend: rng.random_range(-0.05..0.05) * short,
                    half_width: rng.random_range(7.0..20.0),
                    seed: rng.random(),
                }
            })
            .collect();
        let inks = [[0.15, 0.25, 0.72], [0.12, 0.55, 0.30], [0.13, 0.13, 0.16]];
        let n_pens = usize::from(rng.random_bool(0.35));
        let pens = (0..n_pens)
            .map(|_| {
                // Pens mark the margin of a slide.
                let side = rng.random_range(0..2_usize);
                let offset = if rng.random_bool(0.5) { 0.03 } else { 0.97 };
                let mut from = extent.map(|v| v * rng.random_range(0.05..0.4));
                let mut to = extent.map(|v| v * rng.random_range(0.6..0.95));
                from[side] = extent[side] * offset;
                to[side] = extent[side] * (offset + rng.random_range(-0.03..0.03));
                let half_width = (rng.random_range(0.006..0.014) * short).min(90.0);
                Pen { from, to, half_width, ink: inks[rng.random_range(0..3_usize)], seed: rng.random() }
            })
            .collect();
        let bubbles = (0..count(&mut rng, 0.03, 4.0))
            .map(|_| Bubble { center: point(&mut rng), radius: rng.random_range(0.02..0.05) * short })
            .collect();
        let blurs = (0..count(&mut rng, 0.08, 12.0))
            .map(|_| Blur { center: point(&mut rng), radius: rng.random_range(0.05..0.12) * short })
            .collect();
        Self { folds, pens, bubbles, blurs, dust_seed: Some(rng.random()) }
    }

    /// Thickens the stain along folds.
    pub(crate) fn fold(&self, canvas: &mut Canvas) {
        let [min, max] = canvas.area.corners(canvas.microns_per_px);
        for fold in &self.folds {
            let reach = fold.half_length + fold.bend.abs() + 4.0 * fold.half_width;
            if !meets(fold.center, reach, min, max) {
                continue;
            }
            for row in 0..canvas.area.height {
                for column in 0..canvas.area.width {
                    let [x, y] = canvas.center(column, row);
                    let strength = fold.strength(x, y);
                    if strength > 0.0 {
                        let pixel = &mut canvas.density[row * canvas.area.width + column];
                        let thickness = 1.0 + 1.15 * strength;
                        *pixel = Density::new(pixel.schiff * thickness, pixel.haematoxylin * thickness * 1.1);
                    }
                }
            }
        }
    }

    /// Whether a part of the area is out of focus.
    pub(crate) fn blurs_any(&self, area: Area, microns_per_px: f32) -> bool {
        let [min, max] = area.corners(microns_per_px);
        self.blurs.iter().any(|blur| meets(blur.center, blur.radius, min, max))
    }

    /// How far out of focus a point is, 0 to 1.
    pub(crate) fn defocus(&self, [x, y]: [f32; 2]) -> f32 {
        let blurs = self.blurs.iter();
        blurs
            .map(|blur| 1.0 - smooth_step(0.6, 1.0, distance(blur.center, [x, y]) / blur.radius))
            .fold(0.0, f32::max)
    }

    /// Whether anything lies on the glass over the area.
    pub(crate) fn covers(&self, area: Area, microns_per_px: f32) -> bool {
        let [min, max] = area.corners(microns_per_px);
        let dusty = !self.dust_near(min, max).is_empty();
        let bubbly = self.bubbles.iter().any(|b| meets(b.center, b.radius * 1.1, min, max));
        let inked = self.pens.iter().any(|pen| {
            let center = [0, 1].map(|i| f32::midpoint(pen.from[i], pen.to[i]));
            meets(center, distance(pen.from, pen.to) / 2.0 + 2.0 * pen.half_width, min, max)
        });
        dusty || bubbly || inked
    }

    /// Specks of dust that reach into a rectangle: centre, radius and darkness.
    pub(crate) fn dust_near(&self, min: [f32; 2], max: [f32; 2]) -> Vec<([f32; 2], f32, f32)> {
        let Some(seed) = self.dust_seed else { return Vec::new() };
        let first = min.map(|v| ((v - DUST_REACH) / DUST_SPACING).floor() as i32);
        let last = max.map(|v| ((v + DUST_REACH) / DUST_SPACING).floor() as i32);
        let mut specks = Vec::new();
        for gy in first[1]..=last[1] {
            for gx in first[0]..=last[0] {
                let bits = hash(seed, gx, gy);
                let center = [gx as f32 + unit(bits, 0), gy as f32 + unit(bits, 1)].map(|v| v * DUST_SPACING);
                let radius = 1.2 + 5.0 * unit(bits, 3) * unit(bits, 3);
                if unit(bits, 2) < DUST_CHANCE && meets(center, DUST_REACH, min, max) {
                    specks.push((center, radius, 0.35 + 0.4 * unit(bits, 1)));
                }
            }
        }
        specks
    }

    /// Share of light, red, green and blue, that passes what lies on the glass.
    pub(crate) fn passed(&self, point: [f32; 2], dust: &[([f32; 2], f32, f32)]) -> [f32; 3] {
        let mut light = [1.0; 3];
        for bubble in &self.bubbles {
            let r = distance(bubble.center, point) / bubble.radius;
            if r < 1.1 {
                // A dark rim, and a bright line inside it.
                let rim = smooth_step(0.90, 0.97, r) * (1.0 - smooth_step(0.98, 1.03, r));
                let glint = smooth_step(0.80, 0.86, r) * (1.0 - smooth_step(0.86, 0.91, r));
                light = light.map(|v| v * (1.0 - 0.65 * rim + 0.12 * glint));
            }
        }
        for pen in &self.pens {
            let cover = pen.cover(point);
            light = std::array::from_fn(|i| light[i] * lerp(1.0, pen.ink[i], cover));
        }
        for &(center, radius, darkness) in dust {
            let r = distance(center, point) / radius;
            let shade = darkness * (1.0 - smooth_step(0.7, 1.5, r));
            light = light.map(|v| v * (1.0 - shade));
        }
        light
    }
}

impl Fold {
    fn strength(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.center[0], y - self.center[1]);
        let along = (dx * self.axis[0] + dy * self.axis[1]) / self.half_length;
        if along.abs() >= 1.0 {
            return 0.0;
        }
        let wobble = 0.8 * self.half_width * value_noise(self.seed, x / 60.0, y / 60.0);
        let across = dy * self.axis[0] - dx * self.axis[1] - self.bend * along * along + wobble;
        let width = self.half_width * (1.0 - along * along).sqrt();
        1.0 - smooth_step(0.75, 1.0, across.abs() / width.max(0.1))
    }
}

impl Pen {
    fn cover(&self, [x, y]: [f32; 2]) -> f32 {
        let axis = [self.to[0] - self.from[0], self.to[1] - self.from[1]];
        let length2 = (axis[0] * axis[0] + axis[1] * axis[1]).max(1.0);
        let (dx, dy) = (x - self.from[0], y - self.from[1]);
        let t = ((dx * axis[0] + dy * axis[1]) / length2).clamp(0.0, 1.0);
        let gap = (dx - t * axis[0]).hypot(dy - t * axis[1]);
        let width = self.half_width;
        let wobble = 0.15 * value_noise(self.seed, x / width, y / width);
        // Ink is thinner where the pen ran dry and darker at the rim.
        let rim = 0.12 * smooth_step(0.7, 0.95, gap / width);
        let streaks = 0.12 * value_noise(self.seed ^ 5, x / (0.2 * width), y / (0.2 * width));
        (0.78 + rim + streaks).min(1.0) * (1.0 - smooth_step(0.95, 1.05, gap / width + wobble))
    }
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// Whether a circle reaches into a rectangle.
fn meets(center: [f32; 2], radius: f32, min: [f32; 2], max: [f32; 2]) -> bool {
    (0..2).all(|i| center[i] + radius >= min[i] && center[i] - radius <= max[i])
}
