//! Bilinear enlargement by a whole factor, with half-pixel centres (spec section 6).

use half::f16;
use hubmap_io::Window;
use ndarray::{Array2, ArrayRef2, ArrayViewMut2};
use rayon::prelude::*;

/// Where an enlarged pixel takes its value from: two neighbours and the weight of the second.
#[derive(Debug, Clone, Copy)]
struct Tap {
    near: usize,
    far: usize,
    far_weight: f32,
}

impl Tap {
    /// The taps of pixel `out_idx` of a line of `n_source` pixels enlarged by `factor`.
    fn new(out_idx: u32, factor: u32, n_source: usize) -> Self {
        let position = ((out_idx as f32 + 0.5) * (1.0 / factor as f32) - 0.5).max(0.0);
        let near = (position as usize).min(n_source - 1);
        let far = (near + 1).min(n_source - 1);
        Self { near, far, far_weight: (position - near as f32).clamp(0.0, 1.0) }
    }

    fn mix(self, near: f32, far: f32) -> f32 {
        (1.0 - self.far_weight) * near + self.far_weight * far
    }
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
    bilinear_into(image, factor, crop, out.view_mut(), |value| value);
    out
}

/// As [`bilinear`], rounded to half precision and written to `out` of the size of `crop`.
pub fn bilinear_f16_into(image: &ArrayRef2<f32>, factor: u32, crop: Window, out: ArrayViewMut2<'_, f16>) {
    bilinear_into(image, factor, crop, out, f16::from_f32);
}

fn bilinear_into<T: Send>(
    image: &ArrayRef2<f32>,
    factor: u32,
    crop: Window,
    mut out: ArrayViewMut2<'_, T>,
    convert: impl Fn(f32) -> T + Sync,
) {
    let (height, width) = image.dim();
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

    let taps = |start: i64, n: u32, n_source: usize| -> Vec<Tap> {
        (start as u32..start as u32 + n).map(|out_idx| Tap::new(out_idx, factor, n_source)).collect()
    };
    let column_taps = taps(crop.x, crop.width, width);
    let row_taps = taps(crop.y, crop.height, height);

    // Along x first, once for each source row that the crop touches; then along y, as PyTorch does.
    let first_row = row_taps[0].near;
    let n_rows = row_taps[row_taps.len() - 1].far + 1 - first_row;
    let mut wide = vec![0.0_f32; n_rows * column_taps.len()];
    wide.par_chunks_exact_mut(column_taps.len()).enumerate().for_each(|(i, wide_row)| {
        let source = image.row(first_row + i);
        for (value, tap) in wide_row.iter_mut().zip(&column_taps) {
            *value = tap.mix(source[tap.near], source[tap.far]);
        }
    });
    let wide_row = |row: usize| &wide[(row - first_row) * column_taps.len()..][..column_taps.len()];

    let mut out_rows: Vec<_> = out.rows_mut().into_iter().zip(row_taps).collect();
    out_rows.par_iter_mut().for_each(|(out_row, tap)| {
        let (near, far) = (wide_row(tap.near), wide_row(tap.far));
        for ((value, &near), &far) in out_row.iter_mut().zip(near).zip(far) {
            *value = convert(tap.mix(near, far));
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
}
