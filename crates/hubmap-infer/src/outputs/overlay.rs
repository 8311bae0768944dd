//! A picture of a whole slide with the predicted objects drawn over it.

use std::io::Write;

use anyhow::{Context, Result};
use hubmap_io::{LevelUse, Mask, RasterReader, ScaleOptions, Size, Window};
use ndarray::{Array2, ArrayViewMut3};

/// Longest side of an overlay in pixels.
pub const OVERLAY_MAX_SIDE: u32 = 4096;

/// Colour of objects: far from anything that a stain gives.
pub(super) const OBJECT_COLOR: [u8; 3] = [0, 229, 160];
/// Colour around the contour, which keeps it visible on pale tissue.
const HALO_COLOR: [u8; 3] = [16, 24, 32];
/// How much of the object colour lies over the inside of an object.
const TINT: f32 = 0.22;
/// How much of the contour and of its halo covers the tissue.
const CONTOUR: f32 = 0.95;
const HALO: f32 = 0.55;
/// An overlay of this side gets contours of one pixel to either side of the edge; larger ones in proportion.
const SIDE_PER_CONTOUR_PX: u32 = 2048;
/// Slide pixels in memory at a time, about 64 MB of RGB.
const BAND_PIXELS: u64 = 21 << 20;

/// How much of each pixel of a picture of the slide the mask covers, collected while rows of the mask go by.
#[derive(Debug)]
pub(super) struct Coverage {
    /// Slide pixels per pixel of the picture along each side.
    factor: u32,
    /// 0 to 255; up to a factor less one of slide pixels at the right and lower edge are left out, which would not fill a
    /// pixel.
    pixels: Array2<u8>,
    /// Set pixels of the slide in each pixel of the row of the picture at hand.
    counts: Vec<u32>,
}

impl Coverage {
    /// No coverage of a picture of a slide, reduced by a whole factor to at most `max_side`.
    pub(super) fn new(size: Size, max_side: u32) -> Self {
        let factor = size.width.max(size.height).div_ceil(max_side.max(1)).max(1);
        let (width, height) = ((size.width / factor).max(1) as usize, (size.height / factor).max(1) as usize);
        Self { factor, pixels: Array2::zeros((height, width)), counts: vec![0; width] }
    }

    /// Takes rows of the mask, which follow the rows before, from row `y0` on.
    pub(super) fn push(&mut self, y0: u32, rows: &Mask) {
        let n_pixels = self.factor * self.factor;
        for dy in 0..rows.size().height {
            let y = y0 + dy;
            self.count(rows.row_bytes(dy));
            if (y + 1).is_multiple_of(self.factor) {
                let row = self.pixels.rows_mut().into_iter().nth((y / self.factor) as usize);
                for (pixel, count) in row.into_iter().flatten().zip(&mut self.counts) {
                    *pixel =
                        ((255 * u64::from(*count) + u64::from(n_pixels) / 2) / u64::from(n_pixels)) as u8;
                    *count = 0;
                }
            }
        }
    }

    /// Counts the pixels of a packed row.
    fn count(&mut self, row: &[u8]) {
        // Most of a slide holds no object: look at 512 pixels at once.
        let parts =
            row.chunks(64).enumerate().filter(|(_, part)| part.iter().fold(0, |any, byte| any | byte) != 0);
        let bytes = parts.flat_map(|(i, part)| (64 * i..).zip(part));
        for (i, &byte) in bytes.filter(|(_, byte)| **byte != 0) {
            let x = 8 * i as u32;
            let first = (x / self.factor) as usize;
            if first == ((x + 7) / self.factor) as usize {
                if let Some(count) = self.counts.get_mut(first) {
                    *count += byte.count_ones();
                }
                continue;
            }
            for bit in (0..8).filter(|bit| byte & 0x80 >> bit != 0) {
                if let Some(count) = self.counts.get_mut(((x + bit) / self.factor) as usize) {
                    *count += 1;
                }
            }
        }
    }

    /// Writes the slide as a PNG with the mask tinted and outlined.
    ///
    /// The slide is read in bands, at a reduced level where it has one that fits, so memory does not grow with its height.
    pub(super) fn write_overlay(self, slide: &dyn RasterReader, out: impl Write) -> Result<()> {
        let Self { factor, pixels: coverage, .. } = self;
        let (height, width) = coverage.dim();
        let reduced = Size::new(width as u32, height as u32);
        let radius = (reduced.width.max(reduced.height) / SIDE_PER_CONTOUR_PX).max(1) as usize;
        let layers = Layers { outline: outline(&coverage, radius), coverage };

        let mut encoder = png::Encoder::new(out, reduced.width, reduced.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().context("cannot start the picture")?;
        let mut stream = writer.stream_writer().context("cannot start the picture")?;
        let options = ScaleOptions { levels: LevelUse::Any, ..ScaleOptions::default() };
        for (y0, n_rows) in bands(factor, reduced) {
            let window = Window::new(0, (y0 * factor).into(), reduced.width * factor, n_rows * factor);
            let mut pixels = slide.read_scaled(window, factor, &options)?;
            layers.paint(y0 as usize, pixels.view_mut());
            stream.write_all(pixels.as_standard_layout().as_slice().unwrap_or_default())?;
        }
        stream.finish().context("cannot end the picture")?;
        Ok(())
    }
}

/// First row and number of rows, in pixels of the picture, of bands that fit in memory.
fn bands(factor: u32, reduced: Size) -> impl Iterator<Item = (u32, u32)> {
    let row_pixels = u64::from(reduced.width) * u64::from(factor) * u64::from(factor);
    let step = (BAND_PIXELS / row_pixels).clamp(1, reduced.height.into()) as u32;
    (0..reduced.height).step_by(step as usize).map(move |y0| (y0, step.min(reduced.height - y0)))
}

/// What a pixel of the picture has to do with an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Far,
    Halo,
    Contour,
}

/// Marks the pixels within `radius` of an edge between background and objects, and those just outside.
fn outline(coverage: &Array2<u8>, radius: usize) -> Array2<Edge> {
    let inside = coverage.mapv(|value| value >= 128);
    let (height, width) = inside.dim();
    let mut edges = Array2::from_elem((height, width), Edge::Far);
    let reach = radius + 1;
    for ((y, x), &here) in inside.indexed_iter() {
        let differs = |v: usize, u: usize| inside.get((v, u)).is_some_and(|&there| there != here);
        let at_edge = differs(y, x + 1)
            || differs(y + 1, x)
            || (x > 0 && differs(y, x - 1))
            || (y > 0 && differs(y - 1, x));
        if !at_edge {
            continue;
        }
        // The nearest pixel of the other side is always one at the edge, so drawing around these is enough.
        for v in y.saturating_sub(reach)..(y + reach + 1).min(height) {
            for u in x.saturating_sub(reach)..(x + reach + 1).min(width) {
                let squared = u.abs_diff(x).pow(2) + v.abs_diff(y).pow(2);
                if inside[[v, u]] == here || squared > reach * reach {
                    continue;
                }
                let edge = &mut edges[[v, u]];
                if squared <= radius * radius {
                    *edge = Edge::Contour;
                } else if *edge == Edge::Far {
                    *edge = Edge::Halo;
                }
            }
        }
    }
    edges
}

/// What is drawn over the slide.
struct Layers {
    coverage: Array2<u8>,
    outline: Array2<Edge>,
}

impl Layers {
    /// Paints over `[rows, width, 3]` pixels of the picture from row `y0` on.
    fn paint(&self, y0: usize, mut pixels: ArrayViewMut3<'_, u8>) {
        for (dy, mut row) in pixels.outer_iter_mut().enumerate() {
            for (x, mut pixel) in row.outer_iter_mut().enumerate() {
                let (color, alpha) = match self.outline[[y0 + dy, x]] {
                    Edge::Contour => (OBJECT_COLOR, CONTOUR),
                    Edge::Halo => (HALO_COLOR, HALO),
                    Edge::Far => (OBJECT_COLOR, TINT * f32::from(self.coverage[[y0 + dy, x]]) / 255.0),
                };
                if alpha > 0.0 {
                    for (value, color) in pixel.iter_mut().zip(color) {
                        let mixed = f32::from(*value) * (1.0 - alpha) + f32::from(color) * alpha;
                        *value = mixed.round() as u8;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hubmap_io::area_downscale_2d;

    use super::*;

    #[test]
    fn coverage_is_the_mean_of_the_mask() {
        for (width, height, max_side) in [(1, 1, 9), (70, 41, 70), (70, 41, 30), (200, 301, 21), (33, 9, 1)] {
            let size = Size::new(width, height);
            let pixels = Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
                u8::from((y * 7 + x * 13 + x * y / 5) % 11 < 4)
            });
            let mask = Mask::from_array(pixels.view());
            let mut coverage = Coverage::new(size, max_side);
            for y0 in (0..height).step_by(16) {
                let rows = Window::new(0, y0.into(), width, 16.min(height - y0));
                coverage.push(y0, &Mask::from_array(mask.read(rows).view()));
            }
            let factor = coverage.factor;
            let (rows, columns) = (height / factor * factor, width / factor * factor);
            if rows == 0 || columns == 0 {
                continue;
            }
            let whole =
                pixels.slice(ndarray::s![..rows as usize, ..columns as usize]).mapv(|pixel| pixel * 255);
            let expected = area_downscale_2d(whole.view(), factor);
            assert_eq!(coverage.pixels.dim(), expected.dim());
            for (ours, expected) in coverage.pixels.iter().zip(&expected) {
                assert!(ours.abs_diff(*expected) <= 1, "{ours} for {expected} at factor {factor}");
            }
        }
    }
}
