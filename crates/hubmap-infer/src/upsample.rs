//! Bilinear enlargement by a whole factor, with half-pixel centres (spec section 6).

use half::f16;
use half::slice::HalfFloatSliceExt;
use hubmap_io::Window;
use ndarray::{Array2, ArrayRef2, ArrayViewMut2, Axis};
use rayon::prelude::*;

/// The precision of positions between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// Single, as in PyTorch: for tiles, whose probabilities then have PyTorch's bits.
    Single,
    /// Double: for whole slides. 100,000 px from the origin, single precision is off by thousandths of a pixel.
    Double,
}

/// Where an enlarged pixel takes its value from: two neighbours and the weight of the second.
#[derive(Debug, Clone, Copy)]
struct Tap {
    near: usize,
    far: usize,
    far_weight: f32,
}

impl Tap {
    /// The taps of pixel `out_idx` of a line of `n_source` pixels enlarged by `factor`.
    fn new(out_idx: u32, factor: u32, n_source: usize, positions: Positions) -> Self {
        let position = match positions {
            Positions::Single => f64::from((out_idx as f32 + 0.5) * (1.0 / factor as f32) - 0.5),
            Positions::Double => (f64::from(out_idx) + 0.5) / f64::from(factor) - 0.5,
        };
        let position = position.max(0.0);
        let near = (position as usize).min(n_source - 1);
        let far = (near + 1).min(n_source - 1);
        Self { near, far, far_weight: (position - near as f64).clamp(0.0, 1.0) as f32 }
    }

    fn mix(self, near: f32, far: f32) -> f32 {
        (1.0 - self.far_weight) * near + self.far_weight * far
    }

    /// The same taps in a line that leaves the first `n` source pixels out.
    fn without_first(self, n: usize) -> Self {
        Self { near: self.near - n, far: self.far - n, ..self }
    }
}

/// The pixels at hand of an image to enlarge: all of it, or what an enlarged crop of it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The pixels, `[rows, columns]`.
    pub(crate) pixels: &'a ArrayRef2<f32>,
    /// Row and column of the image at which they begin.
    pub(crate) corner: (usize, usize),
    /// Height and width of the whole image.
    pub(crate) whole: (usize, usize),
    pub(crate) positions: Positions,
}

impl<'a> Source<'a> {
    /// A tile of which all pixels are at hand.
    fn tile(pixels: &'a ArrayRef2<f32>) -> Self {
        Self { pixels, corner: (0, 0), whole: pixels.dim(), positions: Positions::Single }
    }
}

/// Rows and columns of a `[height, width]` tile that its enlarged pixels in `crop` come from.
pub(crate) fn source_window(whole: (usize, usize), factor: u32, crop: Window) -> Window {
    let span = |start: i64, len: u32, n_source: usize| {
        let tap = |out_idx: i64| Tap::new(out_idx as u32, factor, n_source, Positions::Single);
        let (first, last) = (tap(start).near, tap(start + i64::from(len) - 1).far);
        (first as i64, (last + 1 - first) as u32)
    };
    let (x, width) = span(crop.x, crop.width, whole.1);
    let (y, height) = span(crop.y, crop.height, whole.0);
    Window { x, y, width, height }
}

/// Part of `image` enlarged `factor` times: the pixels of `crop`, in enlarged pixels.
///
/// Equal to enlarging all of the `[h, w]` image as PyTorch's
/// `interpolate(scale_factor, mode="bilinear", align_corners=False)` and cropping then, without computing
/// what the crop throws away.
///
/// # Panics
/// If `crop` is not within the enlarged image, or `factor` is 0.
pub fn bilinear(image: &ArrayRef2<f32>, factor: u32, crop: Window) -> Array2<f32> {
    let mut out = Array2::zeros((crop.height as usize, crop.width as usize));
    enlarge(Source::tile(image), factor, crop, out.view_mut(), <[f32]>::copy_from_slice);
    out
}

/// As [`bilinear`], rounded to half precision and written to `out` of the size of `crop`.
pub fn bilinear_f16_into(image: &ArrayRef2<f32>, factor: u32, crop: Window, out: ArrayViewMut2<'_, f16>) {
    enlarge_f16(Source::tile(image), factor, crop, out);
}

/// As [`bilinear_f16_into`], of an image that need not be at hand as a whole.
///
/// # Panics
/// If pixels that `crop` comes from are not at hand, or `factor` is 0.
pub(crate) fn enlarge_f16(source: Source<'_>, factor: u32, crop: Window, out: ArrayViewMut2<'_, f16>) {
    enlarge(source, factor, crop, out, HalfFloatSliceExt::convert_from_f32_slice);
}

/// Values that are rounded at once.
const CHUNK: usize = 256;

fn enlarge<T: Copy + Default + Send>(
    source: Source<'_>,
    factor: u32,
    crop: Window,
    mut out: ArrayViewMut2<'_, T>,
    convert: impl Fn(&mut [T], &[f32]) + Sync,
) {
    let (height, width) = source.whole;
    assert!(factor > 0, "an enlargement factor is at least 1");
    assert!(
        crop.x >= 0
            && crop.y >= 0
            && crop.right() <= (width * factor as usize) as i64
            && crop.bottom() <= (height * factor as usize) as i64,
        "{crop} is not within {width}x{height} enlarged {factor} times"
    );
    assert_eq!(out.dim(), (crop.height as usize, crop.width as usize), "the output has the size of the crop");
    if out.is_empty() {
        return;
    }

    let taps = |start: i64, n: u32, n_source: usize, n_missing: usize| -> Vec<Tap> {
        let tap = |out_idx| Tap::new(out_idx, factor, n_source, source.positions).without_first(n_missing);
        (start as u32..start as u32 + n).map(tap).collect()
    };
    let column_taps = taps(crop.x, crop.width, width, source.corner.1);
    let row_taps = taps(crop.y, crop.height, height, source.corner.0);

    // Along x first, once for each source row that the crop touches; then along y, as PyTorch does.
    let first_row = row_taps[0].near;
    let n_rows = row_taps[row_taps.len() - 1].far + 1 - first_row;
    let mut wide = vec![0.0_f32; n_rows * column_taps.len()];
    wide.par_chunks_exact_mut(column_taps.len()).enumerate().for_each(|(i, wide_row)| {
        let row = source.pixels.row(first_row + i);
        let copy;
        let pixels = if let Some(pixels) = row.as_slice() {
            pixels
        } else {
            copy = row.to_vec();
            &copy
        };
        for (value, tap) in wide_row.iter_mut().zip(&column_taps) {
            *value = tap.mix(pixels[tap.near], pixels[tap.far]);
        }
    });
    let wide_row = |row: usize| &wide[(row - first_row) * column_taps.len()..][..column_taps.len()];

    let mut out_rows: Vec<_> = out.rows_mut().into_iter().zip(row_taps).collect();
    out_rows.par_iter_mut().for_each(|(out_row, tap)| {
        let sources = wide_row(tap.near).chunks(CHUNK).zip(wide_row(tap.far).chunks(CHUNK));
        for (mut out, (near, far)) in out_row.axis_chunks_iter_mut(Axis(0), CHUNK).zip(sources) {
            let mut mixed = [0.0; CHUNK];
            let mixed = &mut mixed[..near.len()];
            // With the processor's widest vectors; the same operations in any case.
            pulp::Arch::new().dispatch(|| {
                for ((mixed, &near), &far) in mixed.iter_mut().zip(near).zip(far) {
                    *mixed = tap.mix(near, far);
                }
            });
            if let Some(out) = out.as_slice_mut() {
                convert(out, mixed);
            } else {
                let mut converted = [T::default(); CHUNK];
                convert(&mut converted[..mixed.len()], mixed);
                out.iter_mut().zip(converted).for_each(|(out, value)| *out = value);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_equals_the_crop_of_the_whole() {
        let image = Array2::from_shape_fn((9, 7), |(y, x)| ((y * 31 + x * 17) % 13) as f32 / 13.0);
        let whole = bilinear(&image, 3, Window::new(0, 0, 21, 27));
        for crop in [Window::new(4, 5, 10, 11), Window::new(0, 0, 1, 1), Window::new(20, 26, 1, 1)] {
            let part = bilinear(&image, 3, crop);
            let (x, y) = (crop.x as usize, crop.y as usize);
            let expected =
                whole.slice(ndarray::s![y..y + crop.height as usize, x..x + crop.width as usize]).to_owned();
            assert_eq!(part, expected, "{crop}");
        }
    }

    #[test]
    fn factor_one_changes_nothing() {
        let image = Array2::from_shape_fn((5, 4), |(y, x)| (y * 4 + x) as f32);
        assert_eq!(bilinear(&image, 1, Window::new(0, 0, 4, 5)), image);
    }

    #[test]
    fn a_crop_needs_no_more_than_its_source_window() {
        let image = Array2::from_shape_fn((40, 35), |(y, x)| ((y * 31 + x * 17) % 13) as f32 / 13.0);
        for factor in 1..5 {
            let n = |side: u32| side * factor;
            for crop in [
                Window::new(n(8).into(), n(8).into(), n(19), n(24)),
                Window::new(0, 0, n(35), n(40)),
                Window::new(n(8).into(), n(9).into(), 1, 2),
            ] {
                let window = source_window(image.dim(), factor, crop);
                let (y, x) = (window.y as usize, window.x as usize);
                let part =
                    image.slice(ndarray::s![y..y + window.height as usize, x..x + window.width as usize]);
                let source = Source {
                    pixels: &part,
                    corner: (y, x),
                    whole: image.dim(),
                    positions: Positions::Single,
                };
                let mut ours = Array2::from_elem((crop.height as usize, crop.width as usize), f16::ZERO);
                enlarge_f16(source, factor, crop, ours.view_mut());
                let expected = bilinear(&image, factor, crop).mapv(f16::from_f32);
                assert_eq!(ours, expected, "{crop} times {factor}");
            }
        }
    }

    #[test]
    fn far_from_the_origin_double_precision_keeps_weights() {
        // Pixel 300001 of a threefold enlargement has its centre on one of the slide's reduced pixels.
        for (out_idx, near, far_weight) in
            [(300_000, 99_999, 2.0 / 3.0), (300_001, 100_000, 0.0), (300_002, 100_000, 1.0 / 3.0)]
        {
            let tap = Tap::new(out_idx, 3, 200_000, Positions::Double);
            // The quotient may fall just short of a whole number, which is the same place.
            let position = tap.near as f64 + f64::from(tap.far_weight);
            let expected = f64::from(near) + far_weight;
            assert!((position - expected).abs() < 1e-6, "{out_idx}: {position}");
        }
    }
}
