//! Where things are: tissue, medulla, glomeruli and vessels.

use std::collections::HashMap;
use std::f32::consts::{PI, TAU};

use hubmap_io::Polygon;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::outline::Outline;
use crate::spec::SlideSpec;

/// The structures of one slide, in microns of tissue.
pub(crate) struct Anatomy {
    pub(crate) tissue: Outline,
    pub(crate) medulla: Outline,
    pub(crate) glomeruli: Vec<Glomerulus>,
    pub(crate) vessels: Vec<Vessel>,
    /// Which glomeruli and vessels reach into each square of [`CELL_MICRONS`].
    cells: HashMap<[i32; 2], Nearby>,
}

/// Indices of the structures that reach into a square.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nearby {
    pub(crate) glomeruli: Vec<usize>,
    pub(crate) vessels: Vec<usize>,
}

/// A glomerulus within its capsule.
#[derive(Debug, Clone)]
pub(crate) struct Glomerulus {
    /// Bowman's capsule.
    pub(crate) outline: Outline,
    /// Seed of its texture.
    pub(crate) seed: u32,
    /// Direction in which the space around the tuft is widest.
    pub(crate) space_angle: f32,
    /// Width of the space relative to the radius: at its widest, and everywhere.
    pub(crate) space: [f32; 2],
    /// Offset of the stain's strength.
    pub(crate) tone: f32,
    /// Scarred all over: a solid ball without capillaries.
    pub(crate) is_sclerotic: bool,
}

/// A vessel cut across.
#[derive(Debug, Clone)]
pub(crate) struct Vessel {
    pub(crate) outline: Outline,
    /// Radius of the lumen relative to the outline.
    pub(crate) lumen: f32,
    pub(crate) seed: u32,
}

/// Side of the squares of the index of structures.
const CELL_MICRONS: f32 = 400.0;

/// Least distance between the outlines of two structures.
const CLEARANCE_MICRONS: f32 = 18.0;

impl Anatomy {
    pub(crate) fn new(spec: &SlideSpec) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
        let microns = spec.tissue_microns_per_px();
        let extent = [spec.size.width as f32 * microns, spec.size.height as f32 * microns];
        let center = extent.map(|v| v * rng.random_range(0.49..0.51));
        let radius = extent.map(|v| v * rng.random_range(0.39..0.45));
        let tissue = Outline::random(&mut rng, center, radius, 0.05, 8);
        let angle = rng.random_range(0.0..TAU);
        let shift = rng.random_range(0.2..0.3);
        let medulla_center =
            [center[0] + radius[0] * shift * angle.cos(), center[1] + radius[1] * shift * angle.sin()];
        let medulla_radius = radius.map(|v| v * rng.random_range(0.36..0.46));
        let medulla = Outline::random(&mut rng, medulla_center, medulla_radius, 0.06, 5);
        let mut anatomy =
            Self { tissue, medulla, glomeruli: Vec::new(), vessels: Vec::new(), cells: HashMap::new() };
        anatomy.place_glomeruli(spec, extent, &mut rng);
        anatomy.place_vessels(extent, &mut rng);
        anatomy
    }

    fn place_glomeruli(&mut self, spec: &SlideSpec, extent: [f32; 2], rng: &mut ChaCha8Rng) {
        let [rx, ry] = self.tissue.radius;
        let [mx, my] = self.medulla.radius;
        let cortex_mm2 = PI * (rx * ry - mx * my) * 1e-6;
        // A slide without any truth is of no use to a test, however small it is.
        let minimum = if spec.glomeruli_per_mm2 > 0.0 { 2 } else { 0 };
        let n_wanted = ((cortex_mm2 as f64 * spec.glomeruli_per_mm2) as usize).max(minimum);
        for _ in 0..n_wanted * 40 + 400 {
            if self.glomeruli.len() >= n_wanted {
                break;
            }
            // Natural diameters are 100 to 350 µm, most of them around 200 (two draws make the middle likely).
            let diameter = rng.random_range(50.0..175.0) + rng.random_range(50.0..135.0_f32);
            // Slides too small for one of natural size get a smaller one.
            let limit = 0.12 * extent[0].min(extent[1]);
            let is_sclerotic = rng.random_bool(0.06);
            // Scars shrink, and lose their round shape.
            let (shrink, roughness) = if is_sclerotic { (0.72, 0.06) } else { (1.0, 0.03) };
            let radius = (diameter / 2.0 * shrink).max(50.0).min(limit);
            let center = [rng.random_range(0.0..extent[0]), rng.random_range(0.0..extent[1])];
            let radii = [radius * rng.random_range(0.88..1.05), radius * rng.random_range(0.88..1.05)];
            let outline = Outline::random(rng, center, radii, roughness, 5);
            let glomerulus = Glomerulus {
                seed: rng.random(),
                space_angle: rng.random_range(0.0..TAU),
                space: [rng.random_range(0.05..0.22), rng.random_range(0.03..0.07)],
                tone: rng.random_range(-0.12..0.12),
                is_sclerotic,
                outline,
            };
            let reach = glomerulus.outline.reach();
            let off_slide = (0..2).any(|i| center[i] < reach + 2.0 || center[i] > extent[i] - reach - 2.0);
            let margin = 30.0_f32.min(0.3 * reach);
            let in_cortex = self.tissue.depth(center[0], center[1]) > reach + margin
                && self.medulla.depth(center[0], center[1]) < -reach * 0.6;
            if off_slide || !in_cortex || self.is_taken(center, reach) {
                continue;
            }
            let idx = self.glomeruli.len();
            self.register(center, reach, |nearby| nearby.glomeruli.push(idx));
            self.glomeruli.push(glomerulus);
        }
    }

    fn place_vessels(&mut self, extent: [f32; 2], rng: &mut ChaCha8Rng) {
        let n_wanted = (extent[0] * extent[1] * 1e-6 * 2.2) as usize + 1;
        for _ in 0..n_wanted {
            let center = [rng.random_range(0.0..extent[0]), rng.random_range(0.0..extent[1])];
            let size = rng.random_range(0.0..1.0_f32);
            let radius = 18.0 + 75.0 * size * size * size;
            let radii = [radius * rng.random_range(0.7..1.3), radius * rng.random_range(0.7..1.3)];
            let outline = Outline::random(rng, center, radii, 0.06, 5);
            let vessel = Vessel { outline, lumen: rng.random_range(0.35..0.75), seed: rng.random() };
            let reach = vessel.outline.reach();
            if self.tissue.depth(center[0], center[1]) < reach + 30.0 || self.is_taken(center, reach) {
                continue;
            }
            let idx = self.vessels.len();
            self.register(center, reach, |nearby| nearby.vessels.push(idx));
            self.vessels.push(vessel);
        }
    }

    /// Whether a circle comes too close to a glomerulus or vessel.
    fn is_taken(&self, center: [f32; 2], reach: f32) -> bool {
        let nearby = self.nearby(center.map(|v| v - reach), center.map(|v| v + reach));
        let glomeruli = nearby.glomeruli.iter().map(|&i| &self.glomeruli[i].outline);
        let vessels = nearby.vessels.iter().map(|&i| &self.vessels[i].outline);
        glomeruli.chain(vessels).any(|other| {
            let distance = (other.center[0] - center[0]).hypot(other.center[1] - center[1]);
            distance < reach + other.reach() + CLEARANCE_MICRONS
        })
    }

    fn register(&mut self, center: [f32; 2], reach: f32, mut add: impl FnMut(&mut Nearby)) {
        let reach = reach + CLEARANCE_MICRONS;
        for cell in cells_of(center.map(|v| v - reach), center.map(|v| v + reach)) {
            add(self.cells.entry(cell).or_default());
        }
    }

    /// Glomeruli and vessels that may reach into a rectangle, in ascending order.
    pub(crate) fn nearby(&self, min: [f32; 2], max: [f32; 2]) -> Nearby {
        let mut all = Nearby::default();
        for nearby in cells_of(min, max).filter_map(|cell| self.cells.get(&cell)) {
            all.glomeruli.extend(&nearby.glomeruli);
            all.vessels.extend(&nearby.vessels);
        }
        for list in [&mut all.glomeruli, &mut all.vessels] {
            list.sort_unstable();
            list.dedup();
        }
        all
    }

    /// Annotated outlines of the glomeruli in pixels, from top to bottom.
    pub(crate) fn glomerulus_polygons(&self, microns_per_px: f32) -> Vec<Polygon> {
        let mut polygons: Vec<Polygon> = self
            .glomeruli
            .iter()
            .map(|glomerulus| {
                let n = (glomerulus.outline.reach() / microns_per_px * 0.4) as usize;
                glomerulus.outline.polygon(n.clamp(16, 96), microns_per_px)
            })
            .collect();
        polygons.sort_by(|a, b| {
            let key = |polygon: &Polygon| polygon.bounds().map_or([0.0; 2], |bounds| bounds.min);
            let ([ax, ay], [bx, by]) = (key(a), key(b));
            ay.total_cmp(&by).then(ax.total_cmp(&bx))
        });
        polygons
    }
}

/// Squares of the index that a rectangle meets.
fn cells_of(min: [f32; 2], max: [f32; 2]) -> impl Iterator<Item = [i32; 2]> {
    let [x0, y0] = min.map(|v| (v / CELL_MICRONS).floor() as i32);
    let [x1, y1] = max.map(|v| (v / CELL_MICRONS).floor() as i32);
    (y0..=y1).flat_map(move |y| (x0..=x1).map(move |x| [x, y]))
}
