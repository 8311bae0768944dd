//! Glomeruli and vessels, painted over the tubules.

use std::f32::consts::TAU;

use crate::anatomy::{Glomerulus, Nearby, Vessel};
use crate::canvas::Canvas;
use crate::noise::{Texture, hash, smooth_step, unit, value_noise};
use crate::stain::Density;
use crate::tissue::Tissue;
use crate::tubules::Mosaic;

/// Paints the glomeruli and vessels that reach into a canvas.
pub(crate) fn paint_bodies(
    canvas: &mut Canvas,
    tissue: &Tissue,
    nearby: &Nearby,
    glomeruli: &[Glomerulus],
    vessels: &[Vessel],
) {
    for vessel in nearby.vessels.iter().map(|&i| &vessels[i]) {
        paint_vessel(canvas, tissue, vessel);
    }
    for glomerulus in nearby.glomeruli.iter().map(|&i| &glomeruli[i]) {
        paint_glomerulus(canvas, tissue, glomerulus);
    }
}

/// Fluid in spaces and lumens.
const CLEAR: Density = Density::new(0.055, 0.04);

fn paint_glomerulus(canvas: &mut Canvas, tissue: &Tissue, glomerulus: &Glomerulus) {
    let outline = &glomerulus.outline;
    let reach = outline.reach() + 4.0;
    let (min, max) = (outline.center.map(|v| v - reach), outline.center.map(|v| v + reach));
    let [columns, rows] = canvas.area.touched(min, max, canvas.microns_per_px);
    if columns.is_empty() || rows.is_empty() {
        return;
    }
    let capillaries = Mosaic::new(glomerulus.seed, 12.5, 1.3, 0.3, 0.6);
    let lobules = Mosaic::new(glomerulus.seed ^ 0x4d, 38.0, 1.2, 0.9, 0.2);
    let (capillaries, lobules) = (capillaries.patch(min, max), lobules.patch(min, max));
    let radius = outline.radius[0].min(outline.radius[1]);
    let strength = 1.0 + glomerulus.tone;
    for row in rows {
        let y = canvas.area.y0 + row as i64;
        let (grain, clouds) = (tissue.grain.row(y), tissue.clouds.row(y + 31));
        for column in columns.clone() {
            let [u, v] = canvas.center(column, row);
            let relative = outline.relative_radius(u, v);
            // Microns inside the capsule.
            let depth = (1.0 - relative) * radius;
            if depth < -2.5 {
                continue;
            }
            let x = canvas.area.x0 + column as i64;
            let (fine, cloud) = (grain[Texture::column(x)], clouds[Texture::column(x)]);
            let edge = tuft_edge(glomerulus, u, v);
            let in_tuft = (edge - relative) * radius;
            let warp = [2.6 * value_noise(glomerulus.seed, u / 9.0, v / 9.0), 2.6 * cloud];
            let mut tuft = if glomerulus.is_sclerotic {
                let patches = value_noise(glomerulus.seed, u / 17.0, v / 17.0);
                Density::new(0.78 + 0.16 * patches + 0.10 * cloud + 0.05 * fine, 0.22)
            } else {
                let capillary = capillaries.at(u + warp[0], v + warp[1]);
                let lobule = lobules.at(u + 2.0 * warp[0], v + 2.0 * warp[1]);
                let tuft = shade_capillary(capillary.depth, capillary.cell, fine, cloud);
                // Clefts between lobules open towards the space.
                let cleft = 1.0 - smooth_step(0.6, 2.0, lobule.depth);
                tuft.mix(CLEAR, cleft * smooth_step(0.25, 0.8, relative))
            };
            // A membrane bounds the tuft.
            let rim = smooth_step(-0.3, 0.5, in_tuft) * (1.0 - smooth_step(1.3, 2.4, in_tuft));
            tuft = tuft.mix(Density::new(0.9, 0.35), 0.6 * rim);
            let space = Density::new(CLEAR.schiff + 0.02 * cloud.max(0.0), CLEAR.haematoxylin);
            let mut density = space.mix(tuft, smooth_step(-0.6, 0.6, in_tuft));
            density = Density::new(density.schiff * strength, density.haematoxylin * strength);
            let capsule = smooth_step(-0.4, 0.4, depth) * (1.0 - smooth_step(1.8, 2.8, depth));
            density = density.mix(Density::new(0.92, 0.32), 0.8 * capsule);
            let pixel = &mut canvas.density[row * canvas.area.width + column];
            *pixel = pixel.mix(density, smooth_step(-2.5, 0.0, depth));
        }
    }
    paint_glomerular_nuclei(canvas, glomerulus, radius);
}

/// Relative radius of the tuft in the direction of a point.
fn tuft_edge(glomerulus: &Glomerulus, x: f32, y: f32) -> f32 {
    let [cx, cy] = glomerulus.outline.center;
    let angle = (y - cy).atan2(x - cx);
    let [widest, everywhere] = glomerulus.space;
    let open = 0.5 + 0.5 * (angle - glomerulus.space_angle).cos();
    let phase = unit(glomerulus.seed, 0) * TAU;
    let lobes = 0.035 * (6.0 * angle + phase).sin() + 0.025 * (11.0 * angle - 2.0 * phase).sin();
    let shrink = if glomerulus.is_sclerotic { 0.3 } else { 1.0 };
    // At the pole opposite the widest space the tuft hangs on the capsule.
    1.0 - shrink * (everywhere * smooth_step(0.0, 0.12, open) + widest * open * open) + shrink * lobes * open
}

/// Capillary loops: walls and mesangium stained, lumens open, collapsed or filled with blood cells.
fn shade_capillary(depth: f32, cell: u32, fine: f32, cloud: f32) -> Density {
    let wall = Density::new(0.86 + 0.10 * cloud + 0.07 * fine, 0.24 + 0.04 * fine);
    let kind = unit(cell, 2);
    let inside = if kind < 0.6 {
        Density::new(0.15 + 0.04 * cloud, 0.09)
    } else if kind < 0.82 {
        Density::new(0.48 + 0.06 * fine, 0.26)
    } else {
        Density::new(0.66 + 0.08 * fine, 0.40)
    };
    let wall_thickness = 0.9 + 1.1 * unit(cell, 1);
    wall.mix(inside, smooth_step(wall_thickness, wall_thickness + 1.3, depth))
}

fn paint_glomerular_nuclei(canvas: &mut Canvas, glomerulus: &Glomerulus, radius: f32) {
    const SPACING: f32 = 7.6;
    const REACH: f32 = 4.5;
    if REACH * 0.5 < canvas.microns_per_px {
        return;
    }
    let outline = &glomerulus.outline;
    let [min, max] = canvas.area.corners(canvas.microns_per_px);
    let range = |axis: usize| {
        let (center, reach) = (outline.center[axis], outline.reach());
        let low = (min[axis] - REACH - center).max(-reach);
        let high = (max[axis] + REACH - center).min(reach);
        (low / SPACING).floor() as i32 - 1..=(high / SPACING).floor() as i32 + 1
    };
    for gy in range(1) {
        for gx in range(0) {
            let bits = hash(glomerulus.seed ^ 0x51ed, gx, gy);
            let x = outline.center[0] + (gx as f32 + unit(bits, 0)) * SPACING;
            let y = outline.center[1] + (gy as f32 + unit(bits, 1)) * SPACING;
            let relative = outline.relative_radius(x, y);
            let depth = (1.0 - relative) * radius;
            let (chance, shape) = (unit(bits, 2), unit(bits, 3));
            let density = if glomerulus.is_sclerotic { 0.12 } else { 0.42 };
            let in_tuft = (tuft_edge(glomerulus, x, y) - relative) * radius;
            if in_tuft > 2.0 && chance < density {
                let radius = [2.3 + 1.1 * shape, 2.0 + 0.7 * chance];
                canvas.ellipse([x, y], radius, 30.0 * shape, |r, _| {
                    Density::new(0.42, 0.98 + 0.18 * smooth_step(0.5, 1.0, r))
                });
            } else if (1.5..4.5).contains(&depth) && in_tuft < -1.0 && chance < 0.5 {
                // Flat cells line the capsule.
                let along = (y - outline.center[1]).atan2(x - outline.center[0]) + TAU / 4.0;
                canvas.ellipse([x, y], [3.6, 1.5], along, |_, _| Density::new(0.45, 0.95));
            }
        }
    }
}

fn paint_vessel(canvas: &mut Canvas, tissue: &Tissue, vessel: &Vessel) {
    let outline = &vessel.outline;
    let reach = outline.reach() * 1.1;
    let (min, max) = (outline.center.map(|v| v - reach), outline.center.map(|v| v + reach));
    let [columns, rows] = canvas.area.touched(min, max, canvas.microns_per_px);
    let radius = outline.radius[0].min(outline.radius[1]);
    for row in rows {
        let y = canvas.area.y0 + row as i64;
        let (grain, clouds) = (tissue.grain.row(y + 7), tissue.clouds.row(y + 201));
        for column in columns.clone() {
            let [u, v] = canvas.center(column, row);
            let wobble = 0.05 * value_noise(vessel.seed, u / 12.0, v / 12.0);
            let relative = outline.relative_radius(u, v) + wobble;
            if relative > 1.1 {
                continue;
            }
            let x = canvas.area.x0 + column as i64;
            let (fine, cloud) = (grain[Texture::column(x)], clouds[Texture::column(x)]);
            // Layers of muscle, one every few microns.
            let layers = (relative * radius * 1.1 + 1.2 * cloud).sin();
            let wall = Density::new(0.46 + 0.09 * layers + 0.05 * fine, 0.24 + 0.04 * layers);
            let loose = Density::new(0.24 + 0.05 * cloud, 0.12);
            let mut density = wall.mix(loose, smooth_step(0.86, 0.98, relative));
            let to_lumen = (relative - vessel.lumen) * radius;
            let intima = 1.0 - smooth_step(0.8, 2.2, to_lumen);
            density = density.mix(Density::new(0.9, 0.4), 0.7 * intima);
            density = CLEAR.mix(density, smooth_step(-0.7, 0.5, to_lumen));
            let pixel = &mut canvas.density[row * canvas.area.width + column];
            *pixel = density.mix(*pixel, smooth_step(0.98, 1.08, relative));
        }
    }
    paint_muscle_nuclei(canvas, vessel);
}

fn paint_muscle_nuclei(canvas: &mut Canvas, vessel: &Vessel) {
    const SPACING: f32 = 9.5;
    const REACH: f32 = 6.0;
    if REACH * 0.4 < canvas.microns_per_px {
        return;
    }
    let outline = &vessel.outline;
    let n = (outline.reach() / SPACING).ceil() as i32;
    let [min, max] = canvas.area.corners(canvas.microns_per_px);
    for gy in -n..=n {
        for gx in -n..=n {
            let bits = hash(vessel.seed, gx, gy);
            let x = outline.center[0] + (gx as f32 + unit(bits, 0)) * SPACING;
            let y = outline.center[1] + (gy as f32 + unit(bits, 1)) * SPACING;
            let off = x < min[0] - REACH || y < min[1] - REACH || x > max[0] + REACH || y > max[1] + REACH;
            if off {
                continue;
            }
            let relative = outline.relative_radius(x, y);
            if (vessel.lumen + 0.04..0.95).contains(&relative) && unit(bits, 2) < 0.6 {
                let along = (y - outline.center[1]).atan2(x - outline.center[0]) + TAU / 4.0;
                canvas.ellipse([x, y], [4.6, 1.4], along, |_, _| Density::new(0.4, 0.92));
            }
        }
    }
}
