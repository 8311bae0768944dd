//! Sizes and windows on a slide, in full-resolution pixels.

use serde::{Deserialize, Serialize};

/// Width and height of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels per row.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl Size {
    /// A size from its width and height in pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Number of pixels; does not overflow for any size.
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// The window that covers an image of this size.
    pub const fn window(self) -> Window {
        Window { x: 0, y: 0, width: self.width, height: self.height }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A rectangle of pixels: columns `x..x + width`, rows `y..y + height`.
///
/// The origin is signed because windows may leave the slide on any side (boundless reads).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Column of the left edge.
    pub x: i64,
    /// Row of the top edge.
    pub y: i64,
    /// Pixels per row.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl Window {
    /// A window from its top-left corner and its extent in pixels.
    pub const fn new(x: i64, y: i64, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// Width and height.
    pub const fn size(&self) -> Size {
        Size { width: self.width, height: self.height }
    }

    /// First column to the right of the window.
    pub const fn right(&self) -> i64 {
        self.x.saturating_add(self.width as i64)
    }

    /// First row below the window.
    pub const fn bottom(&self) -> i64 {
        self.y.saturating_add(self.height as i64)
    }

    /// The part that two windows share, or `None` if it is empty.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        // Windows at both ends of the number range are further apart than numbers reach.
        let (right, bottom) = (self.right().min(other.right()), self.bottom().min(other.bottom()));
        let width = u32::try_from(right.saturating_sub(x)).ok().filter(|&w| w > 0)?;
        let height = u32::try_from(bottom.saturating_sub(y)).ok().filter(|&h| h > 0)?;
        Some(Self { x, y, width, height })
    }

    /// The window with `margin` more pixels on every side.
    #[must_use]
    pub const fn grow(&self, margin: u32) -> Self {
        Self {
            x: self.x.saturating_sub(margin as i64),
            y: self.y.saturating_sub(margin as i64),
            width: self.width.saturating_add(margin.saturating_mul(2)),
            height: self.height.saturating_add(margin.saturating_mul(2)),
        }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} at ({}, {})", self.width, self.height, self.x, self.y)
    }
}
