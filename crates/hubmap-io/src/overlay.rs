//! Masks burnt into slides as a colour.

use std::path::Path;

use ndarray::{Array2, ArrayViewMut3};
use rayon::prelude::*;

use crate::{Error, PyramidSpec, PyramidWriter, RasterReader, Result, Size, Window};

/// How a mask looks on a slide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlayStyle {
    /// Red, green and blue that the pixels of the mask are mixed with.
    pub color: [u8; 3],
    /// Share of the colour in the mixture, from 0 (nothing to see) to 1 (nothing of the tissue to see).
    pub alpha: f64,
}

impl OverlayStyle {
    /// Mixed levels by channel and level of the slide, rounded to the nearest.
    fn levels(self) -> [[u8; 256]; 3] {
        self.color.map(|color| {
            std::array::from_fn(|level| {
                (level as f64 * (1.0 - self.alpha) + f64::from(color) * self.alpha).round() as u8
            })
        })
    }
}

/// Writes a copy of an RGB slide in which the pixels of a mask are mixed with a colour, as a pyramidal TIFF.
///
/// `mask` gives the pixels of a window inside the slide, `[height, width]`, where all but 0 are set; its size is
/// `mask_size`. `spec` says how the file is stored; its size and bands are those of the slide.
/// A row of tiles is in memory at a time: 3 bytes per pixel of it, and 1 for the mask.
/// `progress(n_done, n_rows)` is called after each row of tiles; an error from it stops the work.
///
/// A slide that is not RGB is [`Error::Unsupported`]; an alpha outside 0 to 1 and a mask of another size are
/// [`Error::Usage`]. Nothing is left at `path` after an error.
pub fn write_overlay(
    path: &Path,
    slide: &dyn RasterReader,
    mask_size: Size,
    mask: impl Fn(Window) -> Result<Array2<u8>>,
    style: OverlayStyle,
    spec: PyramidSpec,
    mut progress: impl FnMut(u32, u32) -> Result<()>,
) -> Result<()> {
    let size = slide.size();
    if slide.bands() != 3 {
        return Err(Error::unsupported(
            slide.path(),
            format!("overlay on {} bands instead of RGB", slide.bands()),
        ));
    }
    if mask_size != size {
        return Err(Error::usage(slide.path(), format!("a mask of {mask_size} on a slide of {size}")));
    }
    if !(0.0..=1.0).contains(&style.alpha) {
        return Err(Error::usage(
            path,
            format!("an overlay with alpha {}, which is not in 0 to 1", style.alpha),
        ));
    }
    let levels = style.levels();
    let spec = PyramidSpec { size, bands: 3, ..spec };
    let n_rows = size.height.div_ceil(spec.tile);
    let tile = spec.tile;
    let writer = PyramidWriter::create(path, spec)?;
    for row in 0..n_rows {
        let y = row * tile;
        let window = Window::new(0, y.into(), size.width, tile.min(size.height - y));
        let mut pixels = slide.read(window)?;
        burn(pixels.view_mut(), &mask(window)?, &levels);
        writer.write_block(0, y, &pixels)?;
        progress(row + 1, n_rows)?;
    }
    writer.finish()
}

/// Mixes the set pixels of `mask` with the colour.
fn burn(mut pixels: ArrayViewMut3<'_, u8>, mask: &Array2<u8>, levels: &[[u8; 256]; 3]) {
    let rows = pixels.outer_iter_mut().zip(mask.outer_iter()).collect::<Vec<_>>();
    rows.into_par_iter().for_each(|(mut row, mask)| {
        for (mut pixel, _) in row.outer_iter_mut().zip(mask).filter(|(_, set)| **set != 0) {
            pixel.iter_mut().zip(levels).for_each(|(level, levels)| *level = levels[usize::from(*level)]);
        }
    });
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::{Compression, MemorySlide, TiffSlide};

    const SIZE: Size = Size::new(333, 290);

    fn slide() -> MemorySlide {
        let pixels = Array3::from_shape_fn((290, 333, 3), |(y, x, band)| (x * 3 + y * 5 + band * 70) as u8);
        MemorySlide::new(Path::new("slide"), pixels, Some(0.5)).unwrap()
    }

    const fn is_set(x: usize, y: usize) -> bool {
        (x / 10 + y / 20).is_multiple_of(3)
    }

    fn mask(window: Window) -> Array2<u8> {
        let (x0, y0) = (window.x as usize, window.y as usize);
        let shape = (window.height as usize, window.width as usize);
        Array2::from_shape_fn(shape, |(y, x)| if is_set(x0 + x, y0 + y) { 7 } else { 0 })
    }

    fn spec() -> PyramidSpec {
        PyramidSpec { tile: 128, microns_per_px: Some(0.5), ..PyramidSpec::rgb(SIZE) }
    }

    fn burnt(style: OverlayStyle) -> Array3<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.tiff");
        let mut rows = Vec::new();
        let progress = |done, all| {
            rows.push((done, all));
            Ok(())
        };
        write_overlay(&path, &slide(), SIZE, |w| Ok(mask(w)), style, spec(), progress).unwrap();
        assert_eq!(rows, [(1, 3), (2, 3), (3, 3)]);
        let written = TiffSlide::open(&path).unwrap();
        assert_eq!(written.levels().iter().map(|level| level.size.width).collect::<Vec<_>>(), [333, 167, 84]);
        assert_eq!(written.microns_per_px(), Some(0.5));
        written.read(SIZE.window()).unwrap()
    }

    #[test]
    fn set_pixels_are_mixed_and_the_others_stay() {
        let original = slide().pixels().clone();
        let color = [255, 0, 100];
        let style = OverlayStyle { color, alpha: 0.3 };
        for ((y, x, band), &level) in burnt(style).indexed_iter() {
            let before = f64::from(original[[y, x, band]]);
            let mixed = 0.7 * before + 0.3 * f64::from(color[band]);
            let expected = if is_set(x, y) { mixed } else { before };
            assert!((f64::from(level) - expected).abs() <= 0.5 + 1e-9, "({x}, {y}): {level} for {expected}");
        }
        assert_eq!(burnt(OverlayStyle { color, alpha: 0.0 }), original);
        let covered = burnt(OverlayStyle { color, alpha: 1.0 });
        let pixel = |x: usize, y: usize| [0, 1, 2].map(|band| covered[[y, x, band]]);
        assert!(is_set(5, 5) && !is_set(15, 5));
        assert_eq!((pixel(5, 5), pixel(15, 5)[0]), (color, original[[5, 15, 0]]));
    }

    #[test]
    fn what_cannot_be_burnt_is_refused_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.tiff");
        let refused = |slide: &MemorySlide, size: Size, alpha: f64, is_stopped: bool| {
            let style = OverlayStyle { color: [0, 255, 0], alpha };
            let progress = |_, _| if is_stopped { Err(Error::usage(&path, "stopped")) } else { Ok(()) };
            let error = write_overlay(&path, slide, size, |w| Ok(mask(w)), style, spec(), progress)
                .unwrap_err()
                .to_string();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            error
        };
        assert!(
            refused(&slide(), Size::new(333, 291), 0.5, false)
                .contains("a mask of 333x291 on a slide of 333x290")
        );
        for alpha in [-0.1, 1.1, f64::NAN] {
            assert!(refused(&slide(), SIZE, alpha, false).contains("not in 0 to 1"));
        }
        assert!(refused(&slide(), SIZE, 0.5, true).contains("stopped"));
        let gray = MemorySlide::new(Path::new("gray"), Array3::zeros((290, 333, 1)), None).unwrap();
        assert!(refused(&gray, SIZE, 0.5, false).contains("1 bands instead of RGB"));
        let codec = PyramidSpec { compression: Compression::Deflate, tile: 100, ..spec() };
        let style = OverlayStyle { color: [0; 3], alpha: 0.5 };
        write_overlay(&path, &slide(), SIZE, |w| Ok(mask(w)), style, codec, |_, _| Ok(())).unwrap_err();
    }
}
