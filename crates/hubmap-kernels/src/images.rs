//! Batches of feature maps, channels last.

use crate::KernelError;

/// Size of a batch of feature maps, stored row by row with the channels of a pixel side by side (NHWC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Images.
    pub count: usize,
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Numbers in a pixel.
    pub channels: usize,
}

impl Extent {
    /// Pixels in all images.
    pub const fn pixels(&self) -> usize {
        self.count * self.height * self.width
    }

    /// Numbers in all images.
    pub const fn len(&self) -> usize {
        self.pixels() * self.channels
    }

    /// Whether there is no number at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} x {} x {}", self.count, self.height, self.width, self.channels)
    }
}

/// Feature maps to read, `[n, h, w, c]`.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    data: &'a [f32],
    extent: Extent,
}

impl<'a> Images<'a> {
    /// Feature maps of this extent in `data`, which must have exactly that many numbers.
    pub fn new(data: &'a [f32], extent: Extent) -> Result<Self, KernelError> {
        if data.len() == extent.len() {
            Ok(Self { data, extent })
        } else {
            Err(KernelError::Length { found: data.len(), extent })
        }
    }

    /// The numbers, `[n, h, w, c]`.
    pub const fn data(&self) -> &'a [f32] {
        self.data
    }

    /// The size.
    pub const fn extent(&self) -> Extent {
        self.extent
    }
}
