//! What may happen to samples: the steps of a transform and how their numbers are drawn.

mod checks;
mod draws;

use serde::{Deserialize, Serialize};

/// One augmentation with its settings; `p` is the probability that it happens.
///
/// In TOML, `{ kind = "flip", p = 0.5 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Cuts the square in the middle.
    CenterCrop {
        /// Side of the square in pixels; left out, that of the data's crops.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_px: Option<u32>,
    },
    /// Cuts a square at a uniformly random place.
    RandomCrop {
        /// Side of the square in pixels; left out, that of the data's crops.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_px: Option<u32>,
    },
    /// Reduces the whole sample, which is a square, by area averaging; the side must divide that of the sample.
    Resize {
        /// Side of the result in pixels; left out, that of the data's crops.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_px: Option<u32>,
    },
    /// Mirrors horizontally, vertically or both, each as likely.
    Flip {
        /// Probability.
        p: f64,
    },
    /// Turns by 0, 90, 180 or 270 degrees counter-clockwise, each as likely.
    QuarterTurn {
        /// Probability that a turn is drawn at all.
        p: f64,
    },
    /// Shifts, scales and rotates around the centre, borders mirrored; each amount is drawn from `±limit`.
    ShiftScaleRotate {
        /// Probability.
        p: f64,
        /// Largest shift as a fraction of the side.
        shift: f64,
        /// Largest change of scale, below 1.
        scale: f64,
        /// Largest angle in degrees.
        angle_deg: f64,
    },
    /// One gamma for dark pixels, another for the others; see [`GammaPair`](super::GammaPair).
    GammaPair {
        /// Probability.
        p: f64,
        /// Gamma of dark pixels; over 1 brightens.
        dark_gamma: f64,
        /// Gamma of the others.
        other_gamma: f64,
        /// Pixels are dark this many standard deviations below the mean.
        dark_below_std: f64,
    },
    /// Shifts hue, saturation and value, each drawn from `±limit`.
    HueSaturationValue {
        /// Probability.
        p: f64,
        /// Largest shift of the hue in units of two degrees.
        hue: f64,
        /// Largest shift of the saturation in levels.
        saturation: f64,
        /// Largest shift of the value in levels.
        value: f64,
    },
    /// Contrast-limited adaptive histogram equalisation of the lightness.
    Clahe {
        /// Probability.
        p: f64,
        /// The limit is drawn from 1 to this.
        max_clip: f64,
        /// Tiles in each direction.
        n_tiles: u32,
    },
    /// Scales levels and adds to them, each drawn from `±limit`.
    BrightnessContrast {
        /// Probability.
        p: f64,
        /// Largest offset as a fraction of white.
        brightness: f64,
        /// Largest change of the factor.
        contrast: f64,
    },
    /// Puts the channels in a drawn order, each of the six as likely.
    ChannelShuffle {
        /// Probability.
        p: f64,
    },
    /// Hides squares of the image, which may be cut off by its edges.
    Cutout {
        /// Probability.
        p: f64,
        /// How many.
        n_holes: u32,
        /// Side of each in pixels.
        size_px: u32,
        /// Level that covers them.
        level: u8,
    },
    /// Hides a regular grid of squares of the image, ten to its width, at a drawn offset.
    GridDropout {
        /// Probability.
        p: f64,
        /// Side of a square as a fraction of the distance to the next.
        ratio: f64,
        /// Level that covers them.
        level: u8,
    },
    /// Hides rectangles of drawn number and sizes, whole inside the image.
    CoarseDropout {
        /// Probability.
        p: f64,
        /// Fewest rectangles.
        min_holes: u32,
        /// Most rectangles.
        max_holes: u32,
        /// Shortest side in pixels.
        min_px: u32,
        /// Longest side in pixels.
        max_px: u32,
        /// Level that covers them.
        level: u8,
    },
    /// Blurs the image by a Gaussian with a drawn odd kernel.
    ///
    /// As in albumentations 0.5 the kernel is drawn from all whole numbers of the range and even ones count as the
    /// next odd one, so that the smallest kernel is half as likely as the others.
    GaussianBlur {
        /// Probability.
        p: f64,
        /// Smallest kernel in pixels, odd.
        min_px: u32,
        /// Largest kernel in pixels, odd.
        max_px: u32,
    },
    /// Pastes bright jagged streaks over the image; the mask stays, because the tissue below is what it was.
    Lightning {
        /// Probability.
        p: f64,
        /// Fewest streaks.
        min_bolts: u32,
        /// Most streaks; each may have a branch.
        max_bolts: u32,
        /// Least width of a streak in pixels, where it is widest.
        min_width_px: f64,
        /// Largest width.
        max_width_px: f64,
        /// Colour.
        color: [u8; 3],
        /// How much of the image a streak hides, 0 to 1.
        alpha: f64,
    },
    /// Pastes round, wavy objects that look like glomeruli from afar.
    FakeGlomeruli {
        /// Probability.
        p: f64,
        /// Fewest objects.
        min_objects: u32,
        /// Most objects.
        max_objects: u32,
        /// Smallest mean radius in pixels.
        min_radius_px: f64,
        /// Largest mean radius.
        max_radius_px: f64,
        /// Mean colour.
        color: [u8; 3],
        /// Each channel of the colour is off by at most this.
        color_shift: u8,
        /// How much of the image an object hides, 0 to 1.
        alpha: f64,
        /// Whether the objects enter the mask. Otherwise the mask stays as it is, and they are decoys.
        in_mask: bool,
    },
    /// Applies exactly one of its members.
    OneOf {
        /// Probability.
        p: f64,
        /// The members; their weights need not sum to 1.
        choices: Vec<Choice>,
    },
    /// Applies all of its members, or none; each member then has its own probability.
    Group {
        /// Probability.
        p: f64,
        /// In the order in which they are applied.
        steps: Vec<Step>,
    },
    /// Applies another transform of the table, as a [`Step::Group`] of its steps.
    Apply {
        /// Probability.
        p: f64,
        /// Its name.
        transform: String,
    },
}

/// A member of [`Step::OneOf`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Relative frequency, positive.
    pub weight: f64,
    /// What is applied when this member is drawn.
    pub step: Step,
}
