//! From settings to drawn numbers.

use anyhow::{Result, ensure};
use hubmap_io::Size;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Choice, Step};
use crate::augment::{Bolt, FakeGlomerulus, GammaPair, Hole, Operation, Similarity};
use crate::seed::StreamRng;

impl Step {
    /// Adds what happens to a sample of `size`, and changes `size` to that of the result.
    ///
    /// Draws only as many numbers as are needed. The step is a valid one.
    pub(crate) fn draw(
        &self,
        size: &mut Size,
        rng: &mut StreamRng,
        operations: &mut Vec<Operation>,
    ) -> Result<()> {
        // Crops leave no choice of whether.
        let always = matches!(self, Self::CenterCrop { .. } | Self::RandomCrop { .. } | Self::Resize { .. });
        if !always && rng.random::<f64>() >= self.probability() {
            return Ok(());
        }
        let operation = match *self {
            Self::CenterCrop { size_px } => crop(size, size_px, |total, side| (total - side) / 2)?,
            Self::RandomCrop { size_px } => {
                crop(size, size_px, |total, side| rng.random_range(0..=total - side))?
            }
            Self::Resize { size_px } => reduce(size, size_px)?,
            Self::Flip { .. } => match rng.random_range(0..3) {
                0 => Operation::FlipHorizontal,
                1 => Operation::FlipVertical,
                _ => Operation::QuarterTurns(2),
            },
            Self::QuarterTurn { .. } => {
                let n_turns = rng.random_range(0..4);
                if n_turns % 2 == 1 {
                    *size = Size::new(size.height, size.width);
                }
                Operation::QuarterTurns(n_turns)
            }
            Self::ShiftScaleRotate { shift, scale, angle_deg, .. } => Operation::Warp(Similarity {
                angle_deg: within(angle_deg, rng),
                scale: 1.0 + within(scale, rng),
                shift_x: within(shift, rng),
                shift_y: within(shift, rng),
            }),
            Self::GammaPair { dark_gamma, other_gamma, dark_below_std, .. } => {
                Operation::GammaPair(GammaPair { dark_gamma, other_gamma, dark_below_std })
            }
            Self::HueSaturationValue { hue, saturation, value, .. } => {
                let [hue, saturation, value] = [hue, saturation, value].map(|limit| within(limit, rng));
                Operation::ShiftHsv { hue, saturation, value }
            }
            Self::Clahe { max_clip, n_tiles, .. } => {
                Operation::EqualizeLightness { clip_limit: between(1.0, max_clip, rng), n_tiles }
            }
            Self::BrightnessContrast { brightness, contrast, .. } => {
                let factor = 1.0 + within(contrast, rng);
                Operation::ScaleLevels { factor, offset: within(brightness, rng) }
            }
            Self::ChannelShuffle { .. } => {
                let mut order = [0, 1, 2];
                order.shuffle(rng);
                Operation::PermuteChannels(order)
            }
            Self::Cutout { n_holes, size_px, level, .. } => {
                let holes = (0..n_holes).map(|_| Hole::around(*size, size_px, rng)).collect();
                Operation::Fill { holes, level }
            }
            Self::GridDropout { ratio, level, .. } => {
                Operation::Fill { holes: Hole::grid(*size, ratio, rng), level }
            }
            Self::CoarseDropout { min_holes, max_holes, min_px, max_px, level, .. } => {
                let n_holes = rng.random_range(min_holes..=max_holes);
                let holes = (0..n_holes).map(|_| Hole::inside(*size, min_px..=max_px, rng)).collect();
                Operation::Fill { holes, level }
            }
            Self::GaussianBlur { min_px, max_px, .. } => {
                Operation::Blur { kernel_px: rng.random_range(min_px..=max_px) | 1 }
            }
            Self::Lightning { min_bolts, max_bolts, min_width_px, max_width_px, color, alpha, .. } => {
                let n_bolts = rng.random_range(min_bolts..=max_bolts);
                let bolts = (0..n_bolts).flat_map(|_| {
                    let width_px = between(min_width_px, max_width_px, rng);
                    Bolt::across(*size, width_px, rng)
                });
                Operation::Lightning { bolts: bolts.collect(), color, alpha }
            }
            Self::FakeGlomeruli {
                min_objects,
                max_objects,
                min_radius_px,
                max_radius_px,
                color,
                color_shift,
                alpha,
                in_mask,
                ..
            } => {
                let n_objects = rng.random_range(min_objects..=max_objects);
                let objects = (0..n_objects).map(|_| {
                    let radius_px = between(min_radius_px, max_radius_px, rng);
                    let color = color.map(|level| shifted(level, color_shift, rng));
                    FakeGlomerulus::somewhere(*size, radius_px, color, rng)
                });
                Operation::FakeGlomeruli { objects: objects.collect(), alpha, in_mask }
            }
            Self::OneOf { ref choices, .. } => {
                return draw_choice(choices, rng).step.draw(size, rng, operations);
            }
            Self::Group { ref steps, .. } => {
                return steps.iter().try_for_each(|step| step.draw(size, rng, operations));
            }
            // Refused by `validate`, like crops without a size.
            Self::Apply { .. } => return Ok(()),
        };
        operations.push(operation);
        Ok(())
    }
}

/// A uniform draw from `-limit` to `limit`.
fn within(limit: f64, rng: &mut StreamRng) -> f64 {
    limit * (2.0 * rng.random::<f64>() - 1.0)
}

/// A uniform draw from `min` to `max`.
fn between(min: f64, max: f64, rng: &mut StreamRng) -> f64 {
    min + (max - min) * rng.random::<f64>()
}

/// A level at most `shift` away, and within 0 to 255.
fn shifted(level: u8, shift: u8, rng: &mut StreamRng) -> u8 {
    let shift = i16::from(shift);
    (i16::from(level) + rng.random_range(-shift..=shift)).clamp(0, 255) as u8
}

/// A square part; `start` finds its first pixel from the lengths of the whole and of the part.
fn crop(size: &mut Size, size_px: Option<u32>, mut start: impl FnMut(u32, u32) -> u32) -> Result<Operation> {
    let side = size_px.unwrap_or(0);
    ensure!(
        side <= size.width && side <= size.height,
        "cannot crop {side}x{side} from {size}; use a smaller crop or cut larger tiles"
    );
    let y_px = start(size.height, side);
    let x_px = start(size.width, side);
    *size = Size::new(side, side);
    Ok(Operation::Crop { x_px, y_px, width_px: side, height_px: side })
}

/// The reduction to a square.
fn reduce(size: &mut Size, size_px: Option<u32>) -> Result<Operation> {
    let side = size_px.unwrap_or(0);
    let factor = size.width.checked_div(side).unwrap_or(0);
    ensure!(
        factor > 0 && size.width == factor * side && size.height == factor * side,
        "cannot reduce {size} to {side}x{side} by a whole factor; use a crop size that divides the tile size"
    );
    *size = Size::new(side, side);
    Ok(Operation::Reduce { factor })
}

/// A member drawn by weight; there is at least one.
fn draw_choice<'a>(choices: &'a [Choice], rng: &mut StreamRng) -> &'a Choice {
    let total: f64 = choices.iter().map(|choice| choice.weight).sum();
    let mut left = rng.random::<f64>() * total;
    choices
        .iter()
        .find(|choice| {
            left -= choice.weight;
            left < 0.0
        })
        .unwrap_or(&choices[choices.len() - 1])
}
