//! Settings that cannot work are refused before anything is drawn.

use anyhow::{Context, Result, bail, ensure};

use super::{Choice, Step};

/// Most tiles in a direction for adaptive equalisation: its tables take 16 KiB per tile of a row.
const MAX_CLAHE_TILES: u32 = 64;

impl Step {
    /// The step's `kind`.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::CenterCrop { .. } => "center_crop",
            Self::RandomCrop { .. } => "random_crop",
            Self::Resize { .. } => "resize",
            Self::Flip { .. } => "flip",
            Self::QuarterTurn { .. } => "quarter_turn",
            Self::ShiftScaleRotate { .. } => "shift_scale_rotate",
            Self::GammaPair { .. } => "gamma_pair",
            Self::HueSaturationValue { .. } => "hue_saturation_value",
            Self::Clahe { .. } => "clahe",
            Self::BrightnessContrast { .. } => "brightness_contrast",
            Self::ChannelShuffle { .. } => "channel_shuffle",
            Self::Cutout { .. } => "cutout",
            Self::GridDropout { .. } => "grid_dropout",
            Self::CoarseDropout { .. } => "coarse_dropout",
            Self::GaussianBlur { .. } => "gaussian_blur",
            Self::Lightning { .. } => "lightning",
            Self::FakeGlomeruli { .. } => "fake_glomeruli",
            Self::OneOf { .. } => "one_of",
            Self::Group { .. } => "group",
            Self::Apply { .. } => "apply",
        }
    }

    /// Probability that the step does anything; crops and reductions always do.
    pub(super) const fn probability(&self) -> f64 {
        match *self {
            Self::CenterCrop { .. } | Self::RandomCrop { .. } | Self::Resize { .. } => 1.0,
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
            | Self::Lightning { p, .. }
            | Self::FakeGlomeruli { p, .. }
            | Self::OneOf { p, .. }
            | Self::Group { p, .. }
            | Self::Apply { p, .. } => p,
        }
    }

    /// See [`Transform::new`](crate::augment::Transform::new).
    pub(crate) fn validate(&self) -> Result<()> {
        self.check().context(self.kind())
    }

    fn check(&self) -> Result<()> {
        fraction("probability", self.probability())?;
        match self {
            Self::CenterCrop { size_px } | Self::RandomCrop { size_px } | Self::Resize { size_px } => {
                match size_px {
                    None => bail!("size_px is missing"),
                    Some(0) => bail!("size_px is 0"),
                    Some(_) => {}
                }
            }
            Self::ShiftScaleRotate { shift, scale, angle_deg, .. } => {
                limit("shift", *shift)?;
                limit("angle_deg", *angle_deg)?;
                ensure!((0.0..1.0).contains(scale), "scale {scale} is not from 0 to below 1");
            }
            Self::GammaPair { dark_gamma, other_gamma, dark_below_std, .. } => {
                positive("dark_gamma", *dark_gamma)?;
                positive("other_gamma", *other_gamma)?;
                ensure!(dark_below_std.is_finite(), "dark_below_std {dark_below_std} is not finite");
            }
            Self::HueSaturationValue { hue, saturation, value, .. } => {
                limit("hue", *hue)?;
                limit("saturation", *saturation)?;
                limit("value", *value)?;
            }
            Self::Clahe { max_clip, n_tiles, .. } => {
                range("the clip limit", 1.0, *max_clip)?;
                ensure!(
                    (1..=MAX_CLAHE_TILES).contains(n_tiles),
                    "n_tiles {n_tiles} is not from 1 to {MAX_CLAHE_TILES}"
                );
            }
            Self::BrightnessContrast { brightness, contrast, .. } => {
                limit("brightness", *brightness)?;
                limit("contrast", *contrast)?;
            }
            Self::GridDropout { ratio, .. } => fraction("ratio", *ratio)?,
            Self::CoarseDropout { min_holes, max_holes, min_px, max_px, .. } => {
                ensure!(min_holes <= max_holes, "min_holes {min_holes} is over max_holes {max_holes}");
                ensure!(min_px <= max_px, "min_px {min_px} is over max_px {max_px}");
            }
            Self::GaussianBlur { min_px, max_px, .. } => {
                let odd = !min_px.is_multiple_of(2) && !max_px.is_multiple_of(2);
                ensure!(odd && min_px <= max_px, "kernels {min_px} to {max_px} are not odd and ascending");
            }
            Self::Lightning { min_bolts, max_bolts, min_width_px, max_width_px, alpha, .. } => {
                ensure!(min_bolts <= max_bolts, "min_bolts {min_bolts} is over max_bolts {max_bolts}");
                range("the width", *min_width_px, *max_width_px)?;
                fraction("alpha", *alpha)?;
            }
            Self::FakeGlomeruli { min_objects, max_objects, min_radius_px, max_radius_px, alpha, .. } => {
                ensure!(
                    min_objects <= max_objects,
                    "min_objects {min_objects} is over max_objects {max_objects}"
                );
                range("the radius", *min_radius_px, *max_radius_px)?;
                fraction("alpha", *alpha)?;
            }
            Self::OneOf { choices, .. } => {
                ensure!(!choices.is_empty(), "there are no choices");
                for Choice { weight, step } in choices {
                    positive("weight", *weight)?;
                    step.validate()?;
                }
            }
            Self::Group { steps, .. } => steps.iter().try_for_each(Self::validate)?,
            Self::Apply { transform, .. } => bail!("`{transform}` is a name without a table of transforms"),
            Self::Flip { .. }
            | Self::QuarterTurn { .. }
            | Self::ChannelShuffle { .. }
            | Self::Cutout { .. } => {}
        }
        Ok(())
    }
}

fn fraction(name: &str, value: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&value), "{name} {value} is not between 0 and 1");
    Ok(())
}

fn limit(name: &str, value: f64) -> Result<()> {
    ensure!(value.is_finite() && value >= 0.0, "{name} {value} is not a number from 0 up");
    Ok(())
}

fn positive(name: &str, value: f64) -> Result<()> {
    ensure!(value.is_finite() && value > 0.0, "{name} {value} is not a number over 0");
    Ok(())
}

/// A range of positive numbers.
fn range(name: &str, min: f64, max: f64) -> Result<()> {
    ensure!(
        min > 0.0 && min <= max && max.is_finite(),
        "{name} of {min} to {max} is no ascending range over 0"
    );
    Ok(())
}
