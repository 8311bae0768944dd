//! One tile in host memory.

use anyhow::{Result, ensure};
use hubmap_io::Size;
use ndarray::{Array2, Array3};

/// An image and its mask, as read from disk or as an augmentation made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Where the sample comes from, such as `train_0e_33/2f6ecfcdf/000012`; used in messages.
    pub name: String,
    /// Pixels `[height, width, 3]`, red first.
    pub image: Array3<u8>,
    /// Mask `[height, width]`: 0 outside, 255 inside, grey where the edge was averaged.
    pub mask: Array2<u8>,
}

impl Sample {
    /// Pairs an image with its mask; they must have the same size and the image three channels.
    pub fn new(name: impl Into<String>, image: Array3<u8>, mask: Array2<u8>) -> Result<Self> {
        let name = name.into();
        let ((height, width, channels), (mask_height, mask_width)) = (image.dim(), mask.dim());
        ensure!(channels == 3, "{name}: image has {channels} channels, expected 3 (RGB)");
        ensure!(
            (height, width) == (mask_height, mask_width),
            "{name}: image is {width}x{height} but its mask is {mask_width}x{mask_height}"
        );
        Ok(Self { name, image, mask })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        let (height, width) = self.mask.dim();
        Size::new(width as u32, height as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_pairs_that_do_not_fit() {
        let error = Sample::new("a", Array3::zeros((4, 5, 3)), Array2::zeros((5, 4))).unwrap_err();
        assert_eq!(error.to_string(), "a: image is 5x4 but its mask is 4x5");
        let error = Sample::new("a", Array3::zeros((4, 5, 1)), Array2::zeros((4, 5))).unwrap_err();
        assert_eq!(error.to_string(), "a: image has 1 channels, expected 3 (RGB)");
    }
}
