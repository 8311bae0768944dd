//! The one definition of how 8-bit pixels become network input, for training and for prediction.

use anyhow::{Result, ensure};
use ndarray::{Array3, ArrayRef3};
use serde::{Deserialize, Serialize};

use crate::vectorize::vectorized;

/// Mean and standard deviation per channel of pixels scaled to `0..=1`, red first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean of each channel.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, positive.
    pub std: [f32; 3],
}

impl Normalization {
    /// The statistics of the kidney slides (pipeline, section 3, item 4).
    pub const KIDNEY: Self = Self { mean: [0.6226, 0.4284, 0.6705], std: [0.1246, 0.1719, 0.0956] };

    /// Refuses values that would give infinities.
    pub fn validate(&self) -> Result<()> {
        ensure!(self.mean.iter().all(|m| m.is_finite()), "normalization mean {:?} is not finite", self.mean);
        ensure!(
            self.std.iter().all(|s| s.is_finite() && *s > 0.0),
            "normalization std {:?} must be finite and positive in every channel",
            self.std
        );
        Ok(())
    }

    /// The value of one 8-bit level in one channel: `(level / 255 - mean) / std`.
    ///
    /// Rearranged to `(level - 255 mean) * (1 / (255 std))` in single precision, the order of operations of
    /// albumentations, so that networks see the same bits.
    #[inline]
    pub fn value(&self, level: u8, channel: usize) -> f32 {
        (f32::from(level) - self.mean[channel] * 255.0) * (1.0 / (self.std[channel] * 255.0))
    }

    /// The level whose normalised value is nearest: the inverse of [`Normalization::value`].
    pub fn level(&self, value: f32, channel: usize) -> u8 {
        (value * self.std[channel] * 255.0 + self.mean[channel] * 255.0).round().clamp(0.0, 255.0) as u8
    }

    /// Normalises an image `[height, width, 3]` to planes `[3, height, width]`.
    ///
    /// # Panics
    ///
    /// If the image does not have three channels.
    pub fn apply(&self, image: &ArrayRef3<u8>) -> Array3<f32> {
        let (height, width, channels) = image.dim();
        let mut planes = Array3::zeros((channels, height, width));
        if let Some(out) = planes.as_slice_mut() {
            self.apply_into(image, out);
        }
        planes
    }

    /// Like [`Normalization::apply`], into `out` of `3 * height * width` values, plane after plane.
    ///
    /// # Panics
    ///
    /// If the image does not have three channels or `out` has another length.
    pub fn apply_into(&self, image: &ArrayRef3<u8>, out: &mut [f32]) {
        let (height, width, channels) = image.dim();
        assert_eq!(channels, 3, "an image to normalise has three channels");
        assert_eq!(out.len(), 3 * height * width, "the output holds three planes of the image's size");
        let (red, rest) = out.split_at_mut(height * width);
        let (green, blue) = rest.split_at_mut(height * width);
        let standard = image.as_standard_layout();
        let pixels = standard.as_slice().unwrap_or_default().as_chunks::<3>().0;
        vectorized(|| {
            for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
                *red = self.value(pixel[0], 0);
                *green = self.value(pixel[1], 1);
                *blue = self.value(pixel[2], 2);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::*;

    #[test]
    fn planes_hold_the_value_of_each_pixel_also_for_views() {
        let image = Array3::from_shape_fn((5, 7, 3), |(y, x, c)| (y * 40 + x * 5 + c * 83) as u8);
        let view = image.slice(s![1..;2, ..;-1, ..]);
        let planes = Normalization::KIDNEY.apply(&view);
        assert_eq!(planes.dim(), (3, 2, 7));
        for ((c, y, x), &value) in planes.indexed_iter() {
            let exact = (f64::from(view[[y, x, c]]) / 255.0 - f64::from(Normalization::KIDNEY.mean[c]))
                / f64::from(Normalization::KIDNEY.std[c]);
            assert!((f64::from(value) - exact).abs() < 2e-6, "{value} {exact}");
        }
    }

    #[test]
    fn zero_deviation_is_refused() {
        let broken = Normalization { std: [0.1, 0.0, 0.1], ..Normalization::KIDNEY };
        assert!(broken.validate().unwrap_err().to_string().contains("positive"));
        assert!(Normalization::KIDNEY.validate().is_ok());
    }
}
