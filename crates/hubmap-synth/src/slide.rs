//! A slide that computes its pixels when they are asked for.

use anyhow::Result;
use hubmap_io::{Mask, Polygon, Rle, RleEncoder, Size, Window};
use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;

use crate::anatomy::Anatomy;
use crate::artefact::{Artefacts, BLUR_REACH_PX};
use crate::bodies::paint_bodies;
use crate::canvas::{Area, Canvas};
use crate::noise::{Texture, hash};
use crate::spec::SlideSpec;
use crate::stain::{Density, Stain};
use crate::tissue::{DEPTH, Fields, LIGHT, Tissue};

/// A kidney section stained with PAS that exists only as a function of position.
///
/// Every pixel depends on the spec and its own position alone: windows can be rendered in any order, of any
/// size and on any number of threads, and overlapping windows agree to the bit.
pub struct SyntheticSlide {
    spec: SlideSpec,
    anatomy: Anatomy,
    tissue: Tissue,
    stain: Stain,
    artefacts: Artefacts,
    glomeruli: Vec<Polygon>,
}

/// Side of the squares that are rendered at once, in pixels.
const CHUNK_PX: usize = 256;

impl SyntheticSlide {
    /// Places the structures of a slide; no pixel is computed yet.
    pub fn new(spec: SlideSpec) -> Result<Self> {
        spec.validate()?;
        let microns = spec.tissue_microns_per_px();
        let extent = [spec.size.width as f32 * microns, spec.size.height as f32 * microns];
        let anatomy = Anatomy::new(&spec);
        let seed = hash(spec.seed as u32, (spec.seed >> 32) as i32, 0);
        let artefacts =
            if spec.artefacts { Artefacts::random(spec.seed, extent) } else { Artefacts::default() };
        Ok(Self {
            tissue: Tissue::new(seed),
            stain: Stain::new(hash(seed, 9, 9), spec.stain_variation as f32),
            artefacts,
            glomeruli: anatomy.glomerulus_polygons(microns),
            anatomy,
            spec,
        })
    }

    /// What the slide was made from.
    pub const fn spec(&self) -> &SlideSpec {
        &self.spec
    }

    /// Full-resolution size.
    pub const fn size(&self) -> Size {
        self.spec.size
    }

    /// Outlines of the glomeruli in full-resolution pixels, from top to bottom: the truth.
    pub fn glomeruli(&self) -> &[Polygon] {
        &self.glomeruli
    }

    /// Outline of the cortex, with the medulla as a hole.
    pub fn cortex(&self) -> Polygon {
        let size = self.size();
        let limit = [size.width as f64, size.height as f64];
        let outline = self.anatomy.tissue.polygon(180, self.spec.tissue_microns_per_px());
        let on_slide = |point: [f64; 2]| [point[0].clamp(0.0, limit[0]), point[1].clamp(0.0, limit[1])];
        let exterior = outline.exterior.into_iter().map(on_slide).collect();
        Polygon { exterior, holes: vec![self.medulla().exterior] }
    }

    /// Outline of the medulla.
    pub fn medulla(&self) -> Polygon {
        self.anatomy.medulla.polygon(90, self.spec.tissue_microns_per_px())
    }

    /// The pixels whose centres lie in a glomerulus, for rows `y0..y0 + n_rows`, as `[n_rows, width]` zeros and
    /// ones; rows below the slide are 0.
    pub fn mask_rows(&self, y0: u32, n_rows: u32) -> Array2<u8> {
        let window = Window::new(0, y0 as i64, self.size().width, n_rows);
        let mut rows = Array2::zeros((n_rows as usize, self.size().width as usize));
        for polygon in &self.glomeruli {
            polygon.spans(window, |y, x0, x1| {
                let mut row = rows.row_mut((y - window.y) as usize);
                row.slice_mut(ndarray::s![x0 as usize..x1 as usize]).fill(1);
            });
        }
        rows
    }

    /// The pixels whose centres lie in a glomerulus.
    pub fn mask(&self) -> Mask {
        let mut mask = Mask::new(self.size());
        for polygon in &self.glomeruli {
            mask.fill_polygon(polygon);
        }
        mask
    }

    /// [`SyntheticSlide::mask`] as runs, without making the mask.
    pub fn rle(&self) -> Rle {
        const BAND_ROWS: u32 = 256;
        let mut encoder = RleEncoder::new(self.size());
        for y0 in (0..self.size().height).step_by(BAND_ROWS as usize) {
            let n_rows = BAND_ROWS.min(self.size().height - y0);
            encoder.push_rows(self.mask_rows(y0, n_rows).view());
        }
        encoder.finish()
    }

    /// Pixels of a window as `[height, width, 3]` red, green, blue; pixels off the slide are 0.
    pub fn render(&self, window: Window) -> Array3<u8> {
        let mut pixels = Array3::zeros((window.height as usize, window.width as usize, 3));
        let Some(inside) = window.intersect(&self.size().window()) else { return pixels };
        let (left, top) = ((inside.x - window.x) as usize, (inside.y - window.y) as usize);
        let mut view = pixels.slice_mut(ndarray::s![
            top..top + inside.height as usize,
            left..left + inside.width as usize,
            ..
        ]);
        let mut chunks = Vec::new();
        for (row, mut rows) in view.axis_chunks_iter_mut(Axis(0), CHUNK_PX).enumerate() {
            let mut column = 0;
            while !rows.is_empty() {
                let at = CHUNK_PX.min(rows.len_of(Axis(1)));
                let (chunk, rest) = rows.split_at(Axis(1), at);
                let x0 = inside.x + (column * CHUNK_PX) as i64;
                chunks.push((x0, inside.y + (row * CHUNK_PX) as i64, chunk));
                rows = rest;
                column += 1;
            }
        }
        chunks.into_par_iter().for_each(|(x0, y0, mut chunk)| {
            let (height, width, _) = chunk.dim();
            let area = Area { x0, y0, width, height };
            let mut colors = self.render_area(area).into_iter();
            for mut row in chunk.rows_mut() {
                if let Some(color) = colors.next() {
                    for (out, value) in row.iter_mut().zip(color) {
                        *out = value;
                    }
                }
            }
        });
        pixels
    }

    /// Colours of an area, row by row.
    fn render_area(&self, area: Area) -> Vec<[u8; 3]> {
        let microns = self.spec.tissue_microns_per_px();
        let is_blurred = self.artefacts.blurs_any(area, microns);
        let painted = if is_blurred { area.grow(BLUR_REACH_PX) } else { area };
        let fields = self.tissue.fields(&self.anatomy, painted.grow(Tissue::margin_px(microns)), microns);
        let mut canvas = Canvas::new(painted, microns);
        if fields.values.iter().any(|field| field[DEPTH] > -3.0) {
            self.tissue.paint(&mut canvas, &fields);
            let [min, max] = painted.corners(microns);
            let nearby = self.anatomy.nearby(min, max);
            paint_bodies(&mut canvas, &self.tissue, &nearby, &self.anatomy.glomeruli, &self.anatomy.vessels);
            self.artefacts.fold(&mut canvas);
            if is_blurred {
                canvas = self.defocused(&canvas, area);
            }
        } else {
            canvas = Canvas::new(area, microns);
        }
        self.develop(&canvas, &fields)
    }

    /// The inner part of a canvas with its blurred patches.
    fn defocused(&self, sharp: &Canvas, area: Area) -> Canvas {
        /// A bell curve with a deviation of 2.6 px.
        const WEIGHTS: [f32; BLUR_REACH_PX + 1] = [0.1557, 0.1446, 0.1158, 0.0800, 0.0477, 0.0245, 0.0096];
        let sum = |at: &dyn Fn(usize) -> Density| {
            let mut total = Density::default();
            for i in 0..=2 * BLUR_REACH_PX {
                let (weight, value) = (WEIGHTS[i.abs_diff(BLUR_REACH_PX)], at(i));
                total.schiff += weight * value.schiff;
                total.haematoxylin += weight * value.haematoxylin;
            }
            total
        };
        let wide = sharp.area.width;
        let mut across = Vec::with_capacity(sharp.area.height * area.width);
        for row in sharp.density.chunks_exact(wide) {
            across.extend((0..area.width).map(|column| sum(&|i| row[column + i])));
        }
        let mut canvas = Canvas::new(area, sharp.microns_per_px);
        for row in 0..area.height {
            for column in 0..area.width {
                let defocus = self.artefacts.defocus(canvas.center(column, row));
                let at = (row + BLUR_REACH_PX) * wide + column + BLUR_REACH_PX;
                let blurred = sum(&|i| across[(row + i) * area.width + column]);
                canvas.density[row * area.width + column] = sharp.density[at].mix(blurred, defocus);
            }
        }
        canvas
    }

    /// Densities to colours: lamp, stains, what lies on the glass, and the camera's noise.
    fn develop(&self, canvas: &Canvas, fields: &Fields) -> Vec<[u8; 3]> {
        /// Deviation of the camera's noise in levels.
        const NOISE: f32 = 1.3;
        let Area { x0, y0, width, height } = canvas.area;
        let [min, max] = canvas.area.corners(canvas.microns_per_px);
        let is_covered = self.artefacts.covers(canvas.area, canvas.microns_per_px);
        let dust = if is_covered { self.artefacts.dust_near(min, max) } else { Vec::new() };
        let mut colors = Vec::with_capacity(width * height);
        for (row, densities) in canvas.density.chunks_exact(width).enumerate() {
            let y = y0 + row as i64;
            let noise = self.tissue.grain.row(y * 3 + 17);
            let light_row = fields.row(y as f32, |field| field[LIGHT]);
            for (column, &density) in densities.iter().enumerate() {
                let x = x0 + column as i64;
                let light = light_row.at(x as f32);
                let mut color = self.stain.transmitted(density);
                if is_covered {
                    let passed = self.artefacts.passed(canvas.center(column, row), &dust);
                    color = std::array::from_fn(|i| color[i] * passed[i]);
                }
                colors.push(std::array::from_fn(|band| {
                    let noise = NOISE * noise[Texture::column(x * 5 + 97 * band as i64)];
                    (color[band] * self.stain.glass[band] * light + noise + 0.5).clamp(0.0, 255.0) as u8
                }));
            }
        }
        colors
    }
}
