//! Seeded transforms of samples, described as data.
//!
//! A [`Transform`] is a list of [`Step`]s; each is a pure function of the sample and of the random stream, so
//! one stream always gives one result.

mod geometric;

use anyhow::{Result, ensure};
use rand::RngExt;
use serde::{Deserialize, Serialize};

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
}

impl Preset {
    /// The steps of the preset for square crops of `crop_px`.
    pub fn transform(self, crop_px: u32) -> Transform {
        let steps = match self {
            Self::Validation => vec![Step::CenterCrop { size_px: crop_px }],
            Self::Geometric => crop_and_d4(crop_px),
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
    /// See [`Transform::validate`].
    fn validate(&self) -> Result<()> {
        match self {
            Self::CenterCrop { size_px } | Self::RandomCrop { size_px } => {
                ensure!(*size_px > 0, "a crop of 0 pixels is empty");
                Ok(())
            }
            Self::Flip { p } | Self::QuarterTurn { p } => validate_probability(*p),
            Self::OneOf { p, choices } => {
                validate_probability(*p)?;
                ensure!(!choices.is_empty(), "one_of needs at least one choice");
                for Choice { weight, step } in choices {
                    ensure!(
                        weight.is_finite() && *weight > 0.0,
                        "weight {weight} of a choice must be positive"
                    );
                    step.validate()?;
                }
                Ok(())
            }
            Self::Group { p, steps } => {
                validate_probability(*p)?;
                steps.iter().try_for_each(Self::validate)
            }
        }
    }

    /// See [`Transform::apply`].
    fn apply(&self, sample: Sample, rng: &mut StreamRng) -> Result<Sample> {
        match self {
            Self::CenterCrop { size_px } => center_crop(sample, *size_px),
            Self::RandomCrop { size_px } => geometric::random_crop(sample, *size_px, rng),
            Self::Flip { p } if happens(*p, rng) => Ok(match rng.random_range(0..3) {
                0 => flip_horizontal(sample),
                1 => flip_vertical(sample),
                _ => quarter_turns(sample, 2),
            }),
            Self::QuarterTurn { p } if happens(*p, rng) => Ok(quarter_turns(sample, rng.random_range(0..4))),
            Self::OneOf { p, choices } if happens(*p, rng) => match draw(choices, rng) {
                Some(choice) => choice.step.apply(sample, rng),
                None => Ok(sample),
            },
            Self::Group { p, steps } if happens(*p, rng) => {
                steps.iter().try_fold(sample, |sample, step| step.apply(sample, rng))
            }
            Self::Flip { .. } | Self::QuarterTurn { .. } | Self::OneOf { .. } | Self::Group { .. } => {
                Ok(sample)
            }
        }
    }
}

/// A coin with probability `p` of heads.
fn happens(p: f64, rng: &mut StreamRng) -> bool {
    rng.random::<f64>() < p
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

fn validate_probability(p: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&p), "probability {p} is not between 0 and 1");
    Ok(())
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
