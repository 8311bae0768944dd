//! Kidney tissue without glomeruli and vessels: tubules and what lies between them.

use crate::anatomy::Anatomy;
use crate::canvas::{Area, Canvas, Lattice};
use crate::noise::{Texture, hash, rough_noise, smooth_step, unit, value_noise};
use crate::stain::Density;
use crate::tubules::{Mosaic, Place};

/// The mosaics and textures of one slide.
pub(crate) struct Tissue {
    seed: u32,
    cortex: Mosaic,
    medulla: Mosaic,
    pub(crate) grain: Texture,
    pub(crate) clouds: Texture,
}

/// Fields that vary slowly: see [`Tissue::fields`].
pub(crate) type Fields = Lattice<[f32; N_FIELDS]>;

/// Microns inside the tissue, negative outside.
pub(crate) const DEPTH: usize = 0;
/// Microns inside the medulla.
const MEDULLA: usize = 1;
/// Half the width of the gaps between tubules in microns.
const GAP: usize = 2;
/// Strength of the stain.
const TONE: usize = 3;
const WARP_X: usize = 4;
const WARP_Y: usize = 5;
/// Brightness of the lamp.
pub(crate) const LIGHT: usize = 6;
const N_FIELDS: usize = 7;

/// Pixels between the points at which fields and mosaics are computed; between them they are interpolated.
const FIELD_STEP: usize = 8;
const MOSAIC_STEP: usize = 2;

/// Distance of the places where a nucleus may be, and how far one reaches, in microns.
const NUCLEUS_SPACING: f32 = 8.6;
const NUCLEUS_REACH: f32 = 5.5;

/// What kind of tubule a cell of a mosaic is.
struct Tubule {
    /// Thickness of the wall in microns.
    wall: f32,
    /// Whether a fringe stained magenta fills much of the lumen (proximal tubules).
    has_brush: bool,
    body: Density,
}

impl Tubule {
    fn of(cell: u32) -> Self {
        let tone = unit(cell, 1) - 0.5;
        if unit(cell, 0) < 0.64 {
            let wall = 13.0 + 6.0 * unit(cell, 2);
            Self { wall, has_brush: true, body: Density::new(0.50 + 0.16 * tone, 0.25 + 0.06 * tone) }
        } else {
            let wall = 8.5 + 4.5 * unit(cell, 2);
            Self { wall, has_brush: false, body: Density::new(0.35 + 0.12 * tone, 0.27 + 0.08 * tone) }
        }
    }
}

impl Tissue {
    pub(crate) fn new(seed: u32) -> Self {
        let angle = unit(hash(seed, 1, 1), 0) * std::f32::consts::PI;
        Self {
            seed,
            cortex: Mosaic::new(hash(seed, 2, 0), 46.0, 1.15, angle + 0.5, 0.55),
            medulla: Mosaic::new(hash(seed, 3, 0), 31.0, 4.5, angle, 0.2),
            grain: Texture::new(hash(seed, 4, 0), 1),
            clouds: Texture::new(hash(seed, 5, 0), 4),
        }
    }

    /// Pixels around an area for which the fields are needed to paint it.
    pub(crate) fn margin_px(microns_per_px: f32) -> usize {
        (NUCLEUS_REACH / microns_per_px).ceil() as usize + 3 * MOSAIC_STEP
    }

    /// The slow fields over an area.
    pub(crate) fn fields(&self, anatomy: &Anatomy, area: Area, microns_per_px: f32) -> Fields {
        Lattice::new(area, FIELD_STEP, |x, y| {
            let (u, v) = (x * microns_per_px, y * microns_per_px);
            let noise = |id, wavelength: f32| value_noise(self.seed ^ id, u / wavelength, v / wavelength);
            let rough = rough_noise(self.seed ^ 0x0b, u / 160.0, v / 160.0);
            let ripple = noise(19, 24.0);
            let swelling = noise(12, 420.0);
            [
                anatomy.tissue.depth(u, v) + 26.0 * rough + 5.0 * ripple,
                anatomy.medulla.depth(u, v) + 60.0 * rough,
                0.9 + 3.2 * smooth_step(0.25, 0.9, swelling) + 0.5 * rough,
                1.0 + 0.16 * noise(13, 900.0) + 0.10 * noise(14, 170.0),
                13.0 * noise(15, 75.0) + 4.0 * ripple,
                13.0 * noise(16, 75.0) + 4.0 * noise(17, 24.0),
                1.0 + 0.018 * value_noise(self.seed ^ 0x12, x / 2300.0, y / 2300.0),
            ]
        })
    }

    /// Paints the tissue of an area.
    pub(crate) fn paint(&self, canvas: &mut Canvas, fields: &Fields) {
        let microns = canvas.microns_per_px;
        let margin = Self::margin_px(microns) - 2 * MOSAIC_STEP;
        let places = self.places(canvas.area.grow(margin), fields, microns);
        for row in 0..canvas.area.height {
            self.paint_row(canvas, fields, &places, row);
        }
        if NUCLEUS_REACH * 0.5 > microns {
            self.paint_nuclei(canvas, fields, &places);
        }
    }

    /// Mosaic cells and depths over an area.
    fn places(&self, area: Area, fields: &Fields, microns: f32) -> Lattice<Place> {
        /// The warp moves points by up to this many microns.
        const WARP: f32 = 20.0;
        let [min, max] = area.grow(MOSAIC_STEP).corners(microns);
        let (min, max) = (min.map(|v| v - WARP), max.map(|v| v + WARP));
        let cortex = self.cortex.patch(min, max);
        let has_medulla = fields.values.iter().any(|field| field[MEDULLA] > -80.0);
        let medulla = has_medulla.then(|| self.medulla.patch(min, max));
        Lattice::new(area, MOSAIC_STEP, |x, y| {
            let field = fields.at(x, y);
            if field[DEPTH] < -20.0 {
                return Place { depth: 0.0, cell: 0 };
            }
            let (u, v) = (x * microns + field[WARP_X], y * microns + field[WARP_Y]);
            let place = cortex.at(u, v);
            let switch = field[MEDULLA] + (unit(place.cell, 3) - 0.5) * 140.0;
            match &medulla {
                // The lowest bit tells the two mosaics apart.
                Some(medulla) if switch > 0.0 => {
                    let place = medulla.at(u, v);
                    Place { cell: place.cell | 1, ..place }
                }
                _ => Place { cell: place.cell & !1, ..place },
            }
        })
    }

    fn paint_row(&self, canvas: &mut Canvas, fields: &Fields, places: &Lattice<Place>, row: usize) {
        let Area { x0, y0, width, .. } = canvas.area;
        let y = y0 + row as i64;
        let (grain, clouds) = (self.grain.row(y), self.clouds.row(y + 131));
        let row_at = |i| fields.row(y as f32 + 0.5, |field: &[f32; N_FIELDS]| field[i]);
        let (inside_row, gap_row, tone_row) = (row_at(DEPTH), row_at(GAP), row_at(TONE));
        let depth_row = places.row(y as f32 + 0.5, |place| place.depth);
        let cells = places.nearest_row(y as f32 + 0.5);
        let out = &mut canvas.density[row * width..][..width];
        let mut tubule = (u32::MAX, Tubule::of(u32::MAX));
        for (column, pixel) in out.iter_mut().enumerate() {
            let x = x0 + column as i64;
            let px = x as f32 + 0.5;
            let inside_microns = inside_row.at(px);
            let inside = smooth_step(-1.5, 1.5, inside_microns);
            if inside == 0.0 {
                continue;
            }
            let depth = depth_row.at(px) - gap_row.at(px);
            let cell = cells[depth_row.nearest(px)].cell;
            if tubule.0 != cell {
                tubule = (cell, Tubule::of(cell));
            }
            let (fine, cloud) = (grain[Texture::column(x)], clouds[Texture::column(x + 57)]);
            let density = shade(&tubule.1, cell, depth, fine, cloud);
            // A thin fibrous capsule along the edge of the tissue.
            let capsule = 1.0 - smooth_step(3.0, 8.0, inside_microns);
            let fibre = Density::new(0.42 + 0.08 * cloud, 0.16);
            let density = density.mix(fibre, capsule);
            let strength = tone_row.at(px) * inside;
            *pixel = Density::new(density.schiff * strength, density.haematoxylin * strength);
        }
    }

    fn paint_nuclei(&self, canvas: &mut Canvas, fields: &Fields, places: &Lattice<Place>) {
        let microns = canvas.microns_per_px;
        let [min, max] = canvas.area.corners(microns);
        let first = min.map(|v| ((v - NUCLEUS_REACH) / NUCLEUS_SPACING).floor() as i32);
        let last = max.map(|v| ((v + NUCLEUS_REACH) / NUCLEUS_SPACING).floor() as i32);
        let seed = hash(self.seed, 6, 0);
        for gy in first[1]..=last[1] {
            for gx in first[0]..=last[0] {
                let bits = hash(seed, gx, gy);
                let center =
                    [gx as f32 + unit(bits, 0), gy as f32 + unit(bits, 1)].map(|v| v * NUCLEUS_SPACING);
                let (px, py) = (center[0] / microns, center[1] / microns);
                let reach = NUCLEUS_REACH / microns;
                let (x0, y0) = (canvas.area.x0 as f32, canvas.area.y0 as f32);
                let off = px < x0 - reach
                    || py < y0 - reach
                    || px > x0 + canvas.area.width as f32 + reach
                    || py > y0 + canvas.area.height as f32 + reach;
                if off {
                    continue;
                }
                let field = fields.at(px, py);
                if field[DEPTH] < 4.0 {
                    continue;
                }
                let (idx, _) = places.locate(px, py);
                let place = places.values[idx];
                let depth = place.depth - field[GAP];
                let chance = unit(bits, 2);
                let wide = unit(bits, 3);
                let angle = wide * 40.0;
                let tubule = Tubule::of(place.cell);
                let (low, high) = if place.cell & 1 == 1 { (3.0, 6.5) } else { (3.8, tubule.wall - 3.0) };
                if (low..high).contains(&depth) && chance < 0.62 {
                    let radius = [2.7 + 0.7 * wide, 2.5 + 0.5 * chance];
                    canvas.ellipse(center, radius, angle, vesicular);
                } else if depth < -0.2 && chance < 0.75 {
                    canvas.ellipse(center, [3.6, 1.3 + 0.5 * wide], angle, |_, _| Density::new(0.45, 1.0));
                }
            }
        }
    }
}

/// A pale nucleus with a dark rim, as those of tubules are.
fn vesicular(r: f32, below: Density) -> Density {
    let rim = smooth_step(0.55, 0.95, r);
    let core = 1.0 - smooth_step(0.1, 0.35, r);
    Density::new(0.24 + 0.3 * below.schiff, 0.62 + 0.38 * rim + 0.25 * core)
}

/// Stain at a depth of microns below the surface of a tubule; negative depths lie between tubules.
fn shade(tubule: &Tubule, cell: u32, depth: f32, fine: f32, cloud: f32) -> Density {
    let between = Density::new(0.30 + 0.05 * cloud + 0.03 * fine, 0.17);
    if depth < -0.7 {
        return between.mix(Density::new(0.10, 0.05), smooth_step(1.2, 3.5, -depth));
    }
    let is_medulla = cell & 1 == 1;
    let wall = if is_medulla { 7.0 + 3.0 * unit(cell, 2) } else { tubule.wall } + 1.1 * cloud;
    let body = if is_medulla { Density::new(0.34 + 0.1 * unit(cell, 1), 0.24) } else { tubule.body };
    let mut density = Density::new(
        body.schiff + 0.065 * fine + 0.045 * cloud,
        body.haematoxylin + 0.035 * fine + 0.02 * cloud,
    );
    let lumen = Density::new(0.06 + 0.03 * cloud.max(0.0), 0.05);
    if tubule.has_brush && !is_medulla {
        let brush = smooth_step(wall - 5.0, wall - 2.0, depth);
        density = density.mix(Density::new(0.80 + 0.10 * cloud + 0.06 * fine, 0.26), 0.8 * brush);
        density = density.mix(lumen, smooth_step(wall + 0.3, wall + 2.5, depth - 0.9 * cloud));
    } else {
        density = density.mix(lumen, smooth_step(wall - 0.8, wall + 0.8, depth));
    }
    // The basement membrane.
    let membrane = smooth_step(-0.7, 0.0, depth) * (1.0 - smooth_step(0.8, 1.9, depth));
    let density = density.mix(Density::new(0.95, 0.30), 0.75 * membrane);
    between.mix(density, smooth_step(-0.7, 0.1, depth))
}
