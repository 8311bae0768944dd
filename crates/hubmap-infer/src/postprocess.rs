//! From probabilities to a mask.

use anyhow::Result;
use half::f16;
use hubmap_io::{Mask, Size};
use ndarray::{Array2, ArrayRef2};
use rayon::prelude::*;

use crate::predictor::RowSink;

/// Ones where a probability is strictly greater than the threshold, zeros elsewhere.
///
/// The threshold is rounded to half precision first, as comparing a half-precision array does in numpy.
pub fn positive_pixels(probabilities: &ArrayRef2<f16>, threshold: f32) -> Array2<u8> {
    let threshold = f16::from_f32(threshold);
    let mut pixels = Array2::zeros(probabilities.dim());
    let mut rows: Vec<_> = pixels.outer_iter_mut().zip(probabilities.outer_iter()).collect();
    rows.par_iter_mut().for_each(|(pixels, probabilities)| {
        for (pixel, &probability) in pixels.iter_mut().zip(&*probabilities) {
            *pixel = u8::from(probability > threshold);
        }
    });
    drop(rows);
    pixels
}

/// Builds the mask of a slide from its probabilities as they come, one bit a pixel.
#[derive(Debug, Clone)]
pub struct MaskBuilder {
    /// The mask so far.
    pub mask: Mask,
    threshold: f32,
}

impl MaskBuilder {
    /// A builder for a slide of this size; pixels above `threshold` will be set.
    pub fn new(size: Size, threshold: f32) -> Self {
        Self { mask: Mask::new(size), threshold }
    }
}

impl RowSink for MaskBuilder {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        self.mask.set_rows(y0, positive_pixels(probabilities, self.threshold).view());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_background() {
        let row = ndarray::array![[0.0, 0.5, 0.500_5, 1.0]].mapv(f16::from_f64);
        assert_eq!(positive_pixels(&row, 0.5), ndarray::array![[0, 0, 1, 1]]);
        // 0.3 lies below its neighbour in half precision; that neighbour is still not above the threshold.
        let row = Array2::from_elem((1, 1), f16::from_f32(0.3));
        assert_eq!(positive_pixels(&row, 0.3), ndarray::array![[0]]);
    }
}
