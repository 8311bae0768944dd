//! A picture of a whole slide with the predicted objects drawn over it.

use std::io::Write;

use anyhow::{Context, Result};
use hubmap_io::{Mask, RasterReader, Size, Window, area_downscale, area_downscale_2d};
use ndarray::{Array2, ArrayViewMut3, s};

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

/// Writes the slide as a PNG, reduced by a whole factor to at most `max_side`, with the mask tinted and
/// outlined.
///
/// Up to a factor less one of slide pixels at the right and lower edge, which would not fill a pixel of the
/// picture, are left out.
/// The slide is read in bands, so memory does not grow with its height.
pub fn write_overlay(slide: &dyn RasterReader, mask: &Mask, max_side: u32, out: impl Write) -> Result<()> {
    let size = slide.size();
    let factor = size.width.max(size.height).div_ceil(max_side.max(1)).max(1);
    let reduced = Size::new((size.width / factor).max(1), (size.height / factor).max(1));
    let coverage = reduce_mask(mask, factor, reduced);
    let radius = (reduced.width.max(reduced.height) / SIDE_PER_CONTOUR_PX).max(1) as usize;
    let layers = Layers { outline: outline(&coverage, radius), coverage };

    let mut encoder = png::Encoder::new(out, reduced.width, reduced.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().context("cannot start the picture")?;
    let mut stream = writer.stream_writer().context("cannot start the picture")?;
    for (y0, n_rows) in bands(factor, reduced) {
        let window = Window::new(0, (y0 * factor).into(), reduced.width * factor, n_rows * factor);
        let mut pixels = area_downscale(slide.read(window)?.view(), factor);
        layers.paint(y0 as usize, pixels.view_mut());
        stream.write_all(pixels.as_standard_layout().as_slice().unwrap_or_default())?;
    }
    stream.finish().context("cannot end the picture")?;
    Ok(())
}

/// First row and number of rows, in pixels of the picture, of bands that fit in memory.
fn bands(factor: u32, reduced: Size) -> impl Iterator<Item = (u32, u32)> {
    let row_pixels = u64::from(reduced.width) * u64::from(factor) * u64::from(factor);
    let step = (BAND_PIXELS / row_pixels).clamp(1, reduced.height.into()) as u32;
    (0..reduced.height).step_by(step as usize).map(move |y0| (y0, step.min(reduced.height - y0)))
}

/// How much of each pixel of the picture is set, 0 to 255.
fn reduce_mask(mask: &Mask, factor: u32, reduced: Size) -> Array2<u8> {
    let mut coverage = Array2::zeros((reduced.height as usize, reduced.width as usize));
    for (y0, n_rows) in bands(factor, reduced) {
        let window = Window::new(0, (y0 * factor).into(), reduced.width * factor, n_rows * factor);
        let band = area_downscale_2d(mask.read(window).mapv_into(|pixel| pixel * 255).view(), factor);
        coverage.slice_mut(s![y0 as usize..(y0 + n_rows) as usize, ..]).assign(&band);
    }
    coverage
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
