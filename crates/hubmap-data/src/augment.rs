//! Seeded transforms of samples, described as data.
//!
//! A [`Transform`] is a list of [`Step`]s; each is a pure function of the sample and of the random stream, so
//! one stream always gives one result.

mod affine;
mod blur;
mod border;
mod clahe;
mod color;
mod dropout;
mod geometric;

use anyhow::{Result, ensure};
use rand::RngExt;
use serde::{Deserialize, Serialize};

pub use affine::{Similarity, warp};
pub use blur::gaussian_blur;
pub use clahe::equalize;
pub use color::{equalize_lightness, gamma_pair, shift_hsv};
pub use geometric::{center_crop, crop, flip_horizontal, flip_vertical, quarter_turns};

use crate::{Sample, seed::StreamRng};

/// Steps applied one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Transform {
    /// In the order in which they are applied.
    pub steps: Vec<Step>,
}

/// One augmentation with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Cuts the square in the middle.
    CenterCrop {
        /// Side of the square in pixels.
        size_px: u32,
    },
    /// Cuts a square at a uniformly random place.
    RandomCrop {
        /// Side of the square in pixels.
        size_px: u32,
    },
    /// Mirrors horizontally, vertically or both, each as likely.
    Flip {
        /// Probability that anything happens.
        p: f64,
    },
    /// Turns by 0, 90, 180 or 270 degrees counter-clockwise, each as likely.
    QuarterTurn {
        /// Probability that a turn is drawn at all.
        p: f64,
    },
    /// Shifts, scales and rotates around the centre, borders mirrored; each amount is drawn from `±limit`.
    ShiftScaleRotate {
        /// Probability that anything happens.
        p: f64,
        /// Largest shift as a fraction of the side.
        shift: f64,
        /// Largest change of scale, below 1.
        scale: f64,
        /// Largest angle in degrees.
        angle_deg: f64,
    },
    /// One gamma for dark pixels, another for the others.
    GammaPair {
        /// Probability that anything happens.
        p: f64,
        /// Exponent for dark pixels; over 1 darkens.
        dark_gamma: f64,
        /// Exponent for the others.
        other_gamma: f64,
        /// Pixels are dark this many standard deviations below the mean.
        dark_below_std: f64,
    },
    /// Shifts hue, saturation and value, each drawn from `±limit`.
    HueSaturationValue {
        /// Probability that anything happens.
        p: f64,
        /// Largest shift of the hue in half degrees.
        hue: f64,
        /// Largest shift of the saturation in levels.
        saturation: f64,
        /// Largest shift of the value in levels.
        value: f64,
    },
    /// Contrast-limited adaptive histogram equalisation of the lightness.
    Clahe {
        /// Probability that anything happens.
        p: f64,
        /// The limit is drawn from 1 to this.
        max_clip: f64,
        /// Tiles in each direction.
        n_tiles: u32,
    },
    /// Scales levels and adds to them, each drawn from `±limit`.
    BrightnessContrast {
        /// Probability that anything happens.
        p: f64,
        /// Largest offset as a fraction of white.
        brightness: f64,
        /// Largest change of the factor.
        contrast: f64,
    },
    /// Puts the channels in a drawn order.
    ChannelShuffle {
        /// Probability that anything happens.
        p: f64,
    },
    /// Hides squares of the image.
    Cutout {
        /// Probability that anything happens.
        p: f64,
        /// How many.
        n_holes: u32,
        /// Side of each in pixels.
        size_px: u32,
        /// Level that covers them.
        level: u8,
    },
    /// Hides a regular grid of squares of the image.
    GridDropout {
        /// Probability that anything happens.
        p: f64,
        /// Side of a square as a fraction of the distance to the next.
        ratio: f64,
        /// Level that covers them.
        level: u8,
    },
    /// Hides rectangles of drawn number and sizes of the image.
    CoarseDropout {
        /// Probability that anything happens.
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
    GaussianBlur {
        /// Probability that anything happens.
        p: f64,
        /// Smallest kernel in pixels, odd.
        min_px: u32,
        /// Largest kernel in pixels, odd.
        max_px: u32,
    },
    /// Applies exactly one of its members.
    OneOf {
        /// Probability that anything happens.
        p: f64,
        /// The members; their weights need not sum to 1.
        choices: Vec<Choice>,
    },
    /// Applies all of its members, or none.
    Group {
        /// Probability that anything happens.
        p: f64,
        /// In the order in which they are applied.
        steps: Vec<Step>,
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

/// The transforms of the pipeline (section 3), by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Centre crop only.
    Validation,
    /// Centre or random crop, then flips and quarter turns.
    Geometric,
    /// The same, then changes of place, colour, sharpness and holes: the winning solution's.
    LightScale,
}

impl Preset {
    /// The steps of the preset for square crops of `crop_px`.
    pub fn transform(self, crop_px: u32) -> Transform {
        let steps = match self {
            Self::Validation => vec![Step::CenterCrop { size_px: crop_px }],
            Self::Geometric => crop_and_d4(crop_px),
            Self::LightScale => {
                let mut steps = crop_and_d4(crop_px);
                steps.push(Step::Group { p: 0.4, steps: light() });
                steps
            }
        };
        Transform { steps }
    }
}

/// Items 1 and 2 of the training transform.
fn crop_and_d4(crop_px: u32) -> Vec<Step> {
    let choices = vec![
        Choice { weight: 0.2, step: Step::CenterCrop { size_px: crop_px } },
        Choice { weight: 0.8, step: Step::RandomCrop { size_px: crop_px } },
    ];
    vec![Step::OneOf { p: 1.0, choices }, Step::Flip { p: 0.5 }, Step::QuarterTurn { p: 0.5 }]
}

/// Item 3 of the training transform.
fn light() -> Vec<Step> {
    let evenly = |steps: Vec<Step>| steps.into_iter().map(|step| Choice { weight: 1.0, step }).collect();
    let colors = evenly(vec![
        Step::HueSaturationValue { p: 1.0, hue: 10.0, saturation: 15.0, value: 10.0 },
        Step::Clahe { p: 1.0, max_clip: 4.0, n_tiles: 8 },
        Step::BrightnessContrast { p: 1.0, brightness: 0.4, contrast: 0.4 },
        Step::ChannelShuffle { p: 1.0 },
    ]);
    let holes = evenly(vec![
        Step::Cutout { p: 1.0, n_holes: 24, size_px: 64, level: 0 },
        Step::GridDropout { p: 1.0, ratio: 0.5, level: 230 },
        Step::CoarseDropout { p: 1.0, min_holes: 1, max_holes: 24, min_px: 16, max_px: 64, level: 220 },
    ]);
    vec![
        Step::ShiftScaleRotate { p: 0.2, shift: 0.1, scale: 0.2, angle_deg: 45.0 },
        Step::GammaPair { p: 0.1, dark_gamma: 2.5, other_gamma: 4.0, dark_below_std: 0.8 },
        Step::OneOf { p: 0.3, choices: colors },
        Step::OneOf { p: 0.1, choices: holes },
        Step::GaussianBlur { p: 0.2, min_px: 3, max_px: 9 },
    ]
}

impl Transform {
    /// Refuses probabilities outside `0..=1`, weights that are not positive and empty crops.
    pub fn validate(&self) -> Result<()> {
        self.steps.iter().try_for_each(Step::validate)
    }

    /// The transformed sample; draws from `rng` only as many numbers as its steps need.
    ///
    /// # Errors
    ///
    /// A crop larger than the sample; nothing is padded, because invented borders would be learned as tissue.
    pub fn apply(&self, sample: Sample, rng: &mut StreamRng) -> Result<Sample> {
        self.steps.iter().try_fold(sample, |sample, step| step.apply(sample, rng))
    }
}

impl Step {
    /// Probability that the step does anything; crops always do.
    const fn probability(&self) -> f64 {
        match *self {
            Self::CenterCrop { .. } | Self::RandomCrop { .. } => 1.0,
            Self::Flip { p }
            | Self::QuarterTurn { p }
            | Self::ShiftScaleRotate { p, .. }
            | Self::GammaPair { p, .. }
            | Self::HueSaturationValue { p, .. }
            | Self::Clahe { p, .. }
            | Self::BrightnessContrast { p, .. }
            | Self::ChannelShuffle { p }
            | Self::Cutout { p, .. }
            | Self::GridDropout { p, .. }
            | Self::CoarseDropout { p, .. }
            | Self::GaussianBlur { p, .. }
            | Self::OneOf { p, .. }
            | Self::Group { p, .. } => p,
        }
    }

    /// See [`Transform::validate`].
    fn validate(&self) -> Result<()> {
        let p = self.probability();
        ensure!((0.0..=1.0).contains(&p), "probability {p} of {self:?} is not between 0 and 1");
        match self {
            Self::CenterCrop { size_px } | Self::RandomCrop { size_px } => {
                ensure!(*size_px > 0, "a crop of 0 pixels is empty");
            }
            Self::ShiftScaleRotate { shift, scale, angle_deg, .. } => {
                ensure!((0.0..1.0).contains(scale), "scale {scale} is not from 0 to below 1");
                ensure!(shift.is_finite() && angle_deg.is_finite(), "{self:?} is not finite");
            }
            Self::GammaPair { dark_gamma, other_gamma, dark_below_std, .. } => {
                ensure!(*dark_gamma > 0.0 && *other_gamma > 0.0, "gammas of {self:?} must be positive");
                ensure!(dark_below_std.is_finite(), "{self:?} is not finite");
            }
            Self::HueSaturationValue { hue, saturation, value, .. } => {
                ensure!([hue, saturation, value].iter().all(|v| v.is_finite()), "{self:?} is not finite");
            }
            Self::Clahe { max_clip, n_tiles, .. } => {
                ensure!(*max_clip >= 1.0 && max_clip.is_finite(), "max_clip {max_clip} is below 1");
                ensure!((1..=64).contains(n_tiles), "n_tiles {n_tiles} is not from 1 to 64");
            }
            Self::BrightnessContrast { brightness, contrast, .. } => {
                ensure!(brightness.is_finite() && contrast.is_finite(), "{self:?} is not finite");
            }
            Self::GridDropout { ratio, .. } => {
                ensure!((0.0..=1.0).contains(ratio), "ratio {ratio} is not between 0 and 1");
            }
            Self::CoarseDropout { min_holes, max_holes, min_px, max_px, .. } => {
                ensure!(min_holes <= max_holes && min_px <= max_px, "an empty range in {self:?}");
            }
            Self::GaussianBlur { min_px, max_px, .. } => {
                let odd = !min_px.is_multiple_of(2) && !max_px.is_multiple_of(2);
                ensure!(odd && min_px <= max_px, "kernels {min_px} to {max_px} are not odd and ascending");
            }
            Self::OneOf { choices, .. } => {
                ensure!(!choices.is_empty(), "one_of needs at least one choice");
                for Choice { weight, step } in choices {
                    ensure!(
                        weight.is_finite() && *weight > 0.0,
                        "weight {weight} of a choice must be positive"
                    );
                    step.validate()?;
                }
            }
            Self::Group { steps, .. } => steps.iter().try_for_each(Self::validate)?,
            Self::Flip { .. }
            | Self::QuarterTurn { .. }
            | Self::ChannelShuffle { .. }
            | Self::Cutout { .. } => {}
        }
        Ok(())
    }

    /// See [`Transform::apply`].
    fn apply(&self, mut sample: Sample, rng: &mut StreamRng) -> Result<Sample> {
        match *self {
            Self::CenterCrop { size_px } => return center_crop(sample, size_px),
            Self::RandomCrop { size_px } => return geometric::random_crop(sample, size_px, rng),
            _ if rng.random::<f64>() >= self.probability() => return Ok(sample),
            _ => {}
        }
        let image = &mut sample.image;
        match *self {
            Self::CenterCrop { .. } | Self::RandomCrop { .. } => {}
            Self::Flip { .. } => {
                return Ok(match rng.random_range(0..3) {
                    0 => flip_horizontal(sample),
                    1 => flip_vertical(sample),
                    _ => quarter_turns(sample, 2),
                });
            }
            Self::QuarterTurn { .. } => return Ok(quarter_turns(sample, rng.random_range(0..4))),
            Self::ShiftScaleRotate { shift, scale, angle_deg, .. } => {
                return Ok(warp(&sample, Similarity::draw(shift, scale, angle_deg, rng)));
            }
            Self::GammaPair { dark_gamma, other_gamma, dark_below_std, .. } => {
                gamma_pair(image, dark_gamma, other_gamma, dark_below_std);
            }
            Self::HueSaturationValue { hue, saturation, value, .. } => {
                color::hue_saturation_value(image, [hue, saturation, value], rng);
            }
            Self::Clahe { max_clip, n_tiles, .. } => color::clahe(image, max_clip, n_tiles as usize, rng),
            Self::BrightnessContrast { brightness, contrast, .. } => {
                color::brightness_contrast(image, brightness, contrast, rng);
            }
            Self::ChannelShuffle { .. } => color::channel_shuffle(image, rng),
            Self::Cutout { n_holes, size_px, level, .. } => {
                dropout::cutout(image, n_holes, size_px, level, rng);
            }
            Self::GridDropout { ratio, level, .. } => dropout::grid_dropout(image, ratio, level, rng),
            Self::CoarseDropout { min_holes, max_holes, min_px, max_px, level, .. } => {
                dropout::coarse_dropout(image, min_holes..=max_holes, min_px..=max_px, level, rng);
            }
            Self::GaussianBlur { min_px, max_px, .. } => {
                let kernel_px = min_px + 2 * rng.random_range(0..=(max_px - min_px) / 2);
                *image = gaussian_blur(image, kernel_px);
            }
            Self::OneOf { ref choices, .. } => {
                if let Some(choice) = draw(choices, rng) {
                    return choice.step.apply(sample, rng);
                }
            }
            Self::Group { ref steps, .. } => {
                return steps.iter().try_fold(sample, |sample, step| step.apply(sample, rng));
            }
        }
        Ok(sample)
    }
}

/// A member drawn by weight.
fn draw<'a>(choices: &'a [Choice], rng: &mut StreamRng) -> Option<&'a Choice> {
    let total: f64 = choices.iter().map(|choice| choice.weight).sum();
    let mut left = rng.random::<f64>() * total;
    choices
        .iter()
        .find(|choice| {
            left -= choice.weight;
            left < 0.0
        })
        .or(choices.last())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ndarray::{Array2, Array3};

    use super::*;
    use crate::seed::{Purpose, stream};

    fn sample(height: usize, width: usize) -> Sample {
        let image = Array3::from_shape_fn((height, width, 3), |(y, x, c)| (y * 31 + x * 7 + c) as u8);
        let mask = Array2::from_shape_fn((height, width), |(y, x)| (y * 31 + x * 7) as u8);
        Sample::new("s", image, mask).unwrap()
    }

    #[test]
    fn image_and_mask_move_together_and_the_stream_decides() {
        let transform = Preset::Geometric.transform(5);
        for idx in 0..200 {
            let once = transform.apply(sample(9, 11), &mut stream(3, Purpose::Augment, 0, idx)).unwrap();
            let again = transform.apply(sample(9, 11), &mut stream(3, Purpose::Augment, 0, idx)).unwrap();
            assert_eq!(once, again);
            assert_eq!(once.image.dim(), (5, 5, 3));
            for ((y, x), &value) in once.mask.indexed_iter() {
                assert_eq!(once.image[[y, x, 0]], value);
            }
        }
    }

    #[test]
    fn d4_reaches_all_eight_views_with_the_expected_frequencies() {
        let transform = Transform { steps: vec![Step::Flip { p: 0.5 }, Step::QuarterTurn { p: 0.5 }] };
        let mut seen = HashMap::<Vec<u8>, u32>::new();
        for idx in 0..8000 {
            let mut rng = stream(0, Purpose::Augment, 0, idx);
            let view = transform.apply(sample(3, 3), &mut rng).unwrap();
            *seen.entry(view.mask.into_raw_vec_and_offset().0).or_default() += 1;
        }
        assert_eq!(seen.len(), 8);
        // Identity: no flip and no turn (.5 * .625), or a half turn undoes flipping both (.5 / 3 * .125).
        let identity = seen[sample(3, 3).mask.as_slice().unwrap()];
        assert!((f64::from(identity) / 8000.0 - 0.3333).abs() < 0.02, "{identity}");
    }

    #[test]
    fn light_scale_is_seeded_valid_and_reaches_every_step() {
        let transform = Preset::LightScale.transform(24);
        transform.validate().unwrap();
        let mut n_changed = 0;
        for idx in 0..300 {
            let apply = |transform: &Transform| {
                transform.apply(sample(40, 33), &mut stream(3, Purpose::Augment, 0, idx)).unwrap()
            };
            let once = apply(&transform);
            assert_eq!(once, apply(&transform));
            assert_eq!((once.image.dim(), once.mask.dim()), ((24, 24, 3), (24, 24)));
            assert!(once.image.is_standard_layout() && once.mask.is_standard_layout());
            // Both begin with the same draws, so they differ only where the group did something.
            n_changed += usize::from(once != apply(&Preset::Geometric.transform(24)));
        }
        // .4 * (1 - .8 * .9 * .7 * .9 * .8) of them, less the shuffles that change nothing.
        assert!((55..110).contains(&n_changed), "{n_changed}");
    }

    #[test]
    fn every_step_changes_the_image_and_only_movement_the_mask() {
        let colors_and_holes = light().into_iter().flat_map(|step| match step {
            Step::OneOf { choices, .. } => choices.into_iter().map(|choice| choice.step).collect(),
            step => vec![step],
        });
        for mut step in colors_and_holes {
            let moves = matches!(step, Step::ShiftScaleRotate { .. });
            if let Step::ShiftScaleRotate { p, .. }
            | Step::GammaPair { p, .. }
            | Step::GaussianBlur { p, .. } = &mut step
            {
                *p = 1.0;
            }
            let transform = Transform { steps: vec![step.clone()] };
            transform.validate().unwrap();
            let outcomes = (0..20).map(|idx| {
                transform.apply(sample(48, 50), &mut stream(0, Purpose::Augment, 0, idx)).unwrap()
            });
            let before = sample(48, 50);
            let outcomes = outcomes.collect::<Vec<_>>();
            assert!(outcomes.iter().any(|after| after.image != before.image), "{step:?}");
            assert_eq!(outcomes.iter().any(|after| after.mask != before.mask), moves, "{step:?}");
        }
    }

    #[test]
    fn one_of_follows_its_weights() {
        let transform = Preset::Geometric.transform(1);
        let Step::OneOf { choices, .. } = &transform.steps[0] else { panic!("first step is the crop") };
        let centre = (0..10_000)
            .filter(|&idx| {
                let choice = draw(choices, &mut stream(1, Purpose::Augment, 0, idx)).unwrap();
                matches!(choice.step, Step::CenterCrop { .. })
            })
            .count();
        assert!((1850..2150).contains(&centre), "{centre}");
    }

    #[test]
    fn crop_larger_than_the_sample_is_an_error_that_says_so() {
        for preset in [Preset::Geometric, Preset::Validation] {
            let error = preset
                .transform(10)
                .apply(sample(12, 9), &mut stream(0, Purpose::Augment, 0, 0))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("s: cannot crop 10x10 from 9x12"), "{error}");
        }
    }

    #[test]
    fn unknown_settings_and_bad_numbers_are_refused() {
        let parse = |text: &str| serde_json::from_str::<Transform>(text);
        assert!(parse(r#"[{"kind": "flip", "p": 0.5, "q": 1}]"#).is_err());
        assert!(parse(r#"[{"kind": "twirl"}]"#).is_err());
        let transform =
            parse(r#"[{"kind": "group", "p": 0.5, "steps": [{"kind": "flip", "p": 1.5}]}]"#).unwrap();
        assert!(transform.validate().unwrap_err().to_string().contains("1.5"));
        let transform = parse(r#"[{"kind": "one_of", "p": 1.0, "choices": []}]"#).unwrap();
        assert!(transform.validate().is_err());
    }
}
