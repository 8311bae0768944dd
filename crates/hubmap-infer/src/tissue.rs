//! Where a slide has tissue, from a reduced copy of it.

use anyhow::{Context, Result};
use hubmap_io::{LevelUse, Mask, RasterReader, ScaleOptions, Size, Window};
use ndarray::{Array2, ArrayRef3, ArrayView1, Axis};

use crate::config::TissueConfig;

/// Saturations, of 255, between which the limit of tissue is chosen.
///
/// Glass is below the first even with the noise of strong JPEG compression; it is also CLAM's fixed limit.
/// Stained tissue is above the second even where it is pale, so that a slide full of tissue is not split.
const SATURATION_LIMITS: (u8, u8) = (8, 24);
/// Glass, for the parts of pixels at the border that lie off the slide.
const WHITE: u16 = 255;

/// Tissue of a slide, at low resolution.
///
/// A pixel is tissue if its HSV saturation is above a limit (Otsu's, held within 8 to 24 of 255), unless it belongs to a
/// piece of less than the smallest area; then everything within a margin of tissue is added.
/// Pixels without colour, black or grey, are not tissue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TissueMask {
    /// The tissue with its margin; a pixel stands for a square of `downsample` slide pixels.
    pub mask: Mask,
    /// Slide pixels per pixel of the mask along each side.
    pub downsample: u32,
    /// The saturation above which a pixel is tissue.
    pub saturation: u8,
}

impl TissueMask {
    /// Finds the tissue of an RGB slide.
    ///
    /// It is read from the smallest level that serves; of a slide without levels every pixel is decoded once.
    pub fn find(slide: &dyn RasterReader, config: &TissueConfig) -> Result<Self> {
        let Size { width, height } = slide.size();
        let downsample = config.downsample;
        let whole =
            Window::new(0, 0, width.next_multiple_of(downsample), height.next_multiple_of(downsample));
        let options = ScaleOptions { levels: LevelUse::Any, fill: WHITE, bands: None };
        let pixels =
            slide.read_scaled(whole, downsample, &options).context("cannot look for tissue on the slide")?;
        let saturation = saturation(&pixels);
        let limit = otsu(&saturation).clamp(SATURATION_LIMITS.0, SATURATION_LIMITS.1);
        let mut tissue = saturation.mapv_into(|value| u8::from(value > limit));
        let min_pixels = config.min_area.div_ceil(u64::from(downsample).pow(2));
        remove_small(&mut tissue, min_pixels as usize);
        let tissue = dilate(&tissue, config.margin.div_ceil(downsample) as usize);
        Ok(Self { mask: Mask::from_array(tissue.view()), downsample, saturation: limit })
    }

    /// Whether there is tissue in a window, in slide pixels.
    pub fn touches(&self, window: Window) -> bool {
        self.bounds(window).is_some()
    }

    /// The smallest part of a window that has all its tissue, both in slide pixels; `None` if there is no tissue.
    pub fn bounds(&self, window: Window) -> Option<Window> {
        let cell = i64::from(self.downsample);
        let (x, y) = (window.x.div_euclid(cell), window.y.div_euclid(cell));
        let end = |end: i64| (end - 1).div_euclid(cell) + 1;
        let (width, height) = ((end(window.right()) - x) as u32, (end(window.bottom()) - y) as u32);
        let cells = Window { x, y, width, height }.intersect(&self.mask.size().window())?;
        let tissue = self.mask.read(cells);
        let span = |axis| {
            let has_tissue = |lane: ArrayView1<'_, u8>| lane.iter().any(|&value| value != 0);
            let mut lanes = tissue.axis_iter(axis).enumerate().filter(|(_, lane)| has_tissue(*lane));
            let (first, _) = lanes.next()?;
            Some((first as i64, lanes.last().map_or(first, |(last, _)| last) as u32 + 1 - first as u32))
        };
        let ((row, n_rows), (column, n_columns)) = (span(Axis(0))?, span(Axis(1))?);
        let in_slide = |cells: u32| cells.saturating_mul(self.downsample);
        let found = Window {
            x: (cells.x + column) * cell,
            y: (cells.y + row) * cell,
            width: in_slide(n_columns),
            height: in_slide(n_rows),
        };
        found.intersect(&window)
    }

    /// Part of the slide that is tissue, with its margin, 0 to 1.
    pub fn share(&self) -> f64 {
        self.mask.count_ones() as f64 / self.mask.size().area().max(1) as f64
    }
}

/// HSV saturation of `[h, w, 3]` pixels.
fn saturation(pixels: &ArrayRef3<u8>) -> Array2<u8> {
    pixels.map_axis(Axis(2), |pixel| {
        let (low, high) = pixel.iter().fold((u8::MAX, 0), |(low, high), &v| (v.min(low), v.max(high)));
        match high {
            0 => 0,
            high => ((u32::from(high - low) * 255 + u32::from(high) / 2) / u32::from(high)) as u8,
        }
    })
}

/// Otsu's limit: values up to it and values above it differ most, as the variance between both groups.
fn otsu(values: &Array2<u8>) -> u8 {
    let mut counts = [0_u64; 256];
    for &value in values {
        counts[usize::from(value)] += 1;
    }
    let moment = |counts: &[u64]| counts.iter().zip(0_u64..).map(|(n, value)| n * value).sum::<u64>() as f64;
    let (n, sum) = (values.len() as f64, moment(&counts));
    let (mut n_below, mut sum_below) = (0.0, 0.0);
    let (mut best, mut best_variance) = (0, 0.0);
    for (limit, &count) in counts.iter().enumerate() {
        n_below += count as f64;
        sum_below += count as f64 * limit as f64;
        let n_above = n - n_below;
        if n_below > 0.0 && n_above > 0.0 {
            let variance = n_below * n_above * (sum_below / n_below - (sum - sum_below) / n_above).powi(2);
            if variance > best_variance {
                (best, best_variance) = (limit as u8, variance);
            }
        }
    }
    best
}

/// Clears connected pieces (of eight neighbours) of less than `min_pixels`.
fn remove_small(mask: &mut Array2<u8>, min_pixels: usize) {
    /// A pixel of a piece that is large enough.
    const KEPT: u8 = 2;
    let (height, width) = mask.dim();
    let mut piece = Vec::new();
    for start in ndarray::indices(mask.dim()) {
        if mask[start] != 1 {
            continue;
        }
        mask[start] = KEPT;
        piece.clear();
        piece.push(start);
        let mut next = 0;
        while let Some(&(y, x)) = piece.get(next) {
            next += 1;
            for y in y.saturating_sub(1)..(y + 2).min(height) {
                for x in x.saturating_sub(1)..(x + 2).min(width) {
                    if mask[(y, x)] == 1 {
                        mask[(y, x)] = KEPT;
                        piece.push((y, x));
                    }
                }
            }
        }
        if piece.len() < min_pixels {
            for &pixel in &piece {
                mask[pixel] = 0;
            }
        }
    }
    mask.mapv_inplace(|value| u8::from(value == KEPT));
}

/// Adds all pixels within `radius` rows and columns of a set one.
fn dilate(mask: &Array2<u8>, radius: usize) -> Array2<u8> {
    let mut wide = mask.clone();
    for axis in [Axis(1), Axis(0)] {
        let source = wide.clone();
        for (source, mut out) in source.lanes(axis).into_iter().zip(wide.lanes_mut(axis)) {
            for (at, _) in source.iter().enumerate().filter(|&(_, &value)| value != 0) {
                // Only the pixels that the one before left out.
                let first =
                    if at > 0 && source[at - 1] != 0 { at + radius } else { at.saturating_sub(radius) };
                let last = (at + radius).min(out.len() - 1);
                for i in first..=last {
                    out[i] = 1;
                }
            }
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubmap_io::MemorySlide;
    use ndarray::{Array3, array, s};
    use std::path::Path;

    const CONFIG: TissueConfig =
        TissueConfig { skip: true, trim: true, downsample: 4, min_area: 0, margin: 0 };

    fn slide(pixels: Array3<u8>) -> MemorySlide {
        MemorySlide::new(Path::new("memory.tiff"), pixels, None).unwrap()
    }

    /// A glass slide of 60 x 40 px with pink tissue in a window.
    fn with_tissue(window: Window) -> MemorySlide {
        let mut pixels = Array3::from_elem((40, 60, 3), 240);
        for ((y, x, c), value) in pixels.indexed_iter_mut() {
            let is_inside = Window::new(x as i64, y as i64, 1, 1).intersect(&window).is_some();
            *value = if is_inside { [200, 120, 170][c] } else { *value - (x + y) as u8 % 3 };
        }
        slide(pixels)
    }

    #[test]
    fn tissue_is_found_where_it_is_and_margins_grow_it() {
        let slide = with_tissue(Window::new(8, 16, 12, 8));
        for (margin, x, y, width, height) in [(0, 2, 4, 3, 2), (1, 1, 3, 5, 4), (8, 0, 2, 7, 6)] {
            let tissue = TissueMask::find(&slide, &TissueConfig { margin, ..CONFIG }).unwrap();
            let mut expected = Array2::<u8>::zeros((10, 15));
            expected.slice_mut(s![y..y + height, x..x + width]).fill(1);
            assert_eq!(tissue.mask.to_array(), expected, "margin {margin}");
            assert!((tissue.share() - (width * height) as f64 / 150.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_window_touches_the_cells_that_it_shares_a_pixel_with() {
        let tissue = TissueMask::find(&with_tissue(Window::new(8, 16, 12, 8)), &CONFIG).unwrap();
        assert!(tissue.touches(Window::new(-5, -5, 14, 22)));
        assert!(!tissue.touches(Window::new(-5, -5, 13, 22)));
        assert!(!tissue.touches(Window::new(-5, -5, 14, 21)));
        assert!(tissue.touches(Window::new(19, 23, 1, 1)));
        assert!(!tissue.touches(Window::new(20, 0, 100, 100)));
        assert!(!tissue.touches(Window::new(0, 24, 100, 100)));
        // The tissue is at (8, 16), 12 x 8 px.
        let all = Window::new(-5, -5, 100, 100);
        assert_eq!(tissue.bounds(all), Some(Window::new(8, 16, 12, 8)));
        let part = Window::new(10, 3, 5, 14);
        assert_eq!(tissue.bounds(part), Some(Window::new(10, 16, 5, 1)));
        assert_eq!(tissue.bounds(Window::new(20, 0, 100, 100)), None);
    }

    #[test]
    fn small_pieces_are_no_tissue() {
        let slide = with_tissue(Window::new(8, 16, 12, 8));
        for (min_area, is_tissue) in [(96, true), (97, false)] {
            let tissue = TissueMask::find(&slide, &TissueConfig { min_area, margin: 8, ..CONFIG }).unwrap();
            assert_eq!(tissue.mask.count_ones() > 0, is_tissue, "{min_area}");
        }
        // Corners join a piece.
        let mut mask = array![[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]];
        remove_small(&mut mask, 2);
        assert_eq!(mask, array![[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]);
    }

    #[test]
    fn glass_is_not_split_and_neither_is_a_slide_full_of_tissue() {
        let noisy = |base: [u8; 3]| {
            slide(Array3::from_shape_fn((41, 50, 3), |(y, x, c)| {
                base[c] + ((y * 5 + x * 3 + c * 7) % 6) as u8
            }))
        };
        let glass = TissueMask::find(&noisy([240, 240, 240]), &CONFIG).unwrap();
        assert_eq!((glass.mask.count_ones(), glass.saturation), (0, 8));
        // Half pale, half strong.
        let mut pixels = noisy([225, 195, 215]).pixels().clone();
        pixels.slice_mut(s![.., 25.., 1]).fill(90);
        let full = TissueMask::find(&slide(pixels), &CONFIG).unwrap();
        // All but the border, whose pixels lie off the slide by more than half.
        assert_eq!(full.mask.count_ones_in(Window::new(0, 0, 12, 10)), 120);
        assert_eq!(full.saturation, 24);
    }

    #[test]
    fn otsu_separates_two_groups() {
        let values =
            Array2::from_shape_fn((10, 10), |(y, x)| if y < 3 { 50 + x as u8 } else { 200 - x as u8 });
        assert!((59..191).contains(&otsu(&values)));
        assert_eq!(otsu(&Array2::from_elem((2, 2), 7)), 0);
    }
}
