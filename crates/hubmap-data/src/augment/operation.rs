//! What happens to one sample, with every number drawn.

use anyhow::{Result, ensure};
use hubmap_io::{Size, Window, area_downscale, area_downscale_2d};

use super::canvas::{Canvas, SampleView};
use super::{Bolt, FakeGlomerulus, GammaPair, Hole, Similarity};
use super::{affine, blur, clahe, glomerulus, holes, hsv, levels, lightning};
use crate::Sample;

/// One change of a sample; the mask moves where pixels move, and keeps its levels unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Keeps a part.
    Crop {
        /// First column.
        x_px: u32,
        /// First row.
        y_px: u32,
        /// Columns.
        width_px: u32,
        /// Rows.
        height_px: u32,
    },
    /// Area averages of squares of `factor` pixels, also of the mask, whose edges become grey.
    Reduce {
        /// Pixels before per pixel after, in each direction.
        factor: u32,
    },
    /// Mirrors left to right.
    FlipHorizontal,
    /// Mirrors top to bottom.
    FlipVertical,
    /// Turns counter-clockwise by so many times 90 degrees.
    QuarterTurns(u32),
    /// Shift, scale and rotation; the image by bilinear interpolation, the mask by its nearest pixel.
    Warp(Similarity),
    /// Two gammas.
    GammaPair(GammaPair),
    /// Shifts in OpenCV's 8-bit HSV: hue around the circle of 180, the others clipped to 0 to 255.
    ShiftHsv {
        /// Shift of the hue.
        hue: f64,
        /// Shift of the saturation.
        saturation: f64,
        /// Shift of the value.
        value: f64,
    },
    /// Contrast-limited adaptive equalisation of L in CIE L\*a\*b\*.
    EqualizeLightness {
        /// Histograms are cut at this times their mean height.
        clip_limit: f64,
        /// Tiles in each direction.
        n_tiles: u32,
    },
    /// `level * factor + 255 * offset`, clipped.
    ScaleLevels {
        /// Contrast around black.
        factor: f64,
        /// Brightness as a fraction of white.
        offset: f64,
    },
    /// Channel `i` becomes what channel `order[i]` was.
    PermuteChannels([usize; 3]),
    /// Covers parts of the image.
    Fill {
        /// The parts; what leaves the image is ignored.
        holes: Vec<Hole>,
        /// What covers them.
        level: u8,
    },
    /// Gaussian blur; the deviation follows from the kernel as in OpenCV.
    Blur {
        /// Side of the kernel in pixels, odd.
        kernel_px: u32,
    },
    /// Pastes bright streaks over the image.
    Lightning {
        /// The streaks.
        bolts: Vec<Bolt>,
        /// Their colour.
        color: [u8; 3],
        /// How much they hide, 0 to 1.
        alpha: f64,
    },
    /// Pastes objects over the image, and into the mask if asked to.
    FakeGlomeruli {
        /// The objects.
        objects: Vec<FakeGlomerulus>,
        /// How much they hide, 0 to 1.
        alpha: f64,
        /// Whether the mask becomes 255 where they are.
        in_mask: bool,
    },
}

/// The sample after these operations.
///
/// # Errors
///
/// A part leaves the sample, a factor does not divide its sides, or a kernel is even; the message names the sample.
pub fn perform(sample: Sample, operations: &[Operation]) -> Result<Sample> {
    let mut canvas = Canvas::new(sample.image, sample.mask);
    for operation in operations {
        operation.perform(&mut canvas, &sample.name)?;
    }
    Ok(canvas.into_sample(sample.name))
}

/// A copy of a sample after these operations; of a crop, only what is left is copied.
///
/// # Errors
///
/// As [`perform`].
pub fn perform_on(sample: &SampleView<'_>, operations: &[Operation]) -> Result<Sample> {
    let mut canvas = Canvas::new(sample.image, sample.mask);
    for operation in operations {
        operation.perform(&mut canvas, sample.name)?;
    }
    Ok(canvas.into_sample(sample.name.to_owned()))
}

/// The part of a sample of `size` that the crops at the beginning keep, and the operations after them; the whole sample
/// if there are none.
///
/// A crop that leaves what is there stays among the operations, which then fail as they do on the whole sample.
pub(crate) fn leading_crop(size: Size, operations: &[Operation]) -> (Window, &[Operation]) {
    let (mut part, mut rest) = (size.window(), operations);
    while let [Operation::Crop { x_px, y_px, width_px, height_px }, after @ ..] = rest {
        let (x, y) = (part.x + i64::from(*x_px), part.y + i64::from(*y_px));
        let inner = Window::new(x, y, *width_px, *height_px);
        if part.intersect(&inner) != Some(inner) {
            break;
        }
        (part, rest) = (inner, after);
    }
    (part, rest)
}

impl Operation {
    fn perform(&self, canvas: &mut Canvas<'_>, name: &str) -> Result<()> {
        match *self {
            Self::Crop { x_px, y_px, width_px, height_px } => {
                let (height, width) = canvas.dim();
                let [x, y, part_width, part_height] =
                    [x_px, y_px, width_px, height_px].map(|length| length as usize);
                ensure!(
                    x.saturating_add(part_width) <= width && y.saturating_add(part_height) <= height,
                    "{name}: cannot crop {width_px}x{height_px} at ({x_px}, {y_px}) from {}",
                    Size::new(width as u32, height as u32)
                );
                canvas.crop([x, y], [part_width, part_height]);
            }
            Self::Reduce { factor } => {
                let (height, width) = canvas.dim();
                let divides = |length: usize| length.checked_rem(factor as usize) == Some(0);
                ensure!(
                    divides(height) && divides(width),
                    "{name}: {width}x{height} cannot be reduced by {factor}"
                );
                if factor > 1 {
                    let (image, mask) = canvas.settled();
                    let reduced = (area_downscale(image, factor), area_downscale_2d(mask, factor));
                    canvas.replace(reduced.0, reduced.1);
                }
            }
            Self::FlipHorizontal => canvas.flip_horizontal(),
            Self::FlipVertical => canvas.flip_vertical(),
            Self::QuarterTurns(n_turns) => (0..n_turns % 4).for_each(|_| canvas.quarter_turn()),
            Self::Warp(similarity) => {
                let (image, mask) = canvas.settled();
                let (image, mask) = affine::warp(&image, &mask, similarity);
                canvas.replace(image, mask);
            }
            Self::GammaPair(pair) => levels::gamma_pair(&mut canvas.pixels(), pair),
            Self::ShiftHsv { hue, saturation, value } => {
                hsv::shift(&mut canvas.pixels(), [hue, saturation, value]);
            }
            Self::EqualizeLightness { clip_limit, n_tiles } => {
                clahe::equalize_lightness(&mut canvas.pixels(), clip_limit, n_tiles as usize);
            }
            Self::ScaleLevels { factor, offset } => levels::scale(&mut canvas.pixels(), factor, offset),
            Self::PermuteChannels(order) => {
                canvas.pixels().map(|color| order.map(|channel| color[channel]));
            }
            Self::Fill { ref holes, level } => holes::fill(&mut canvas.pixels(), holes, level),
            Self::Blur { kernel_px } => {
                ensure!(
                    !kernel_px.is_multiple_of(2),
                    "{name}: a blur needs an odd kernel, not {kernel_px} px"
                );
                blur::gaussian(&mut canvas.pixels(), kernel_px as usize);
            }
            Self::Lightning { ref bolts, color, alpha } => {
                lightning::paint(&mut canvas.pixels(), bolts, color, alpha);
            }
            Self::FakeGlomeruli { ref objects, alpha, in_mask } => {
                glomerulus::paint(canvas, objects, alpha, in_mask);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, s};

    use super::*;

    const fn crop(x_px: u32, y_px: u32, width_px: u32, height_px: u32) -> Operation {
        Operation::Crop { x_px, y_px, width_px, height_px }
    }

    #[test]
    fn crops_at_the_beginning_are_one_part_and_the_rest_follows() {
        let image = Array3::from_shape_fn((8, 10, 3), |(y, x, c)| (y * 31 + x * 3 + c) as u8);
        let mask = Array2::from_shape_fn((8, 10), |(y, x)| (y * 10 + x) as u8);
        let sample = Sample::new("s", image, mask).unwrap();
        let (size, whole) = (sample.size(), sample.size().window());
        let all = [
            crop(2, 1, 6, 5),
            crop(1, 2, 4, 3),
            Operation::QuarterTurns(1),
            crop(0, 0, 1, 2),
            crop(0, 0, 1, 1),
        ];
        assert_eq!(leading_crop(size, &all), (Window::new(3, 3, 4, 3), &all[2..]));
        assert_eq!(leading_crop(size, &all[2..]), (whole, &all[2..]));
        assert_eq!(leading_crop(size, &[]), (whole, &[][..]));

        let part = Sample {
            image: sample.image.slice(s![3..6, 3..7, ..]).to_owned(),
            mask: sample.mask.slice(s![3..6, 3..7]).to_owned(),
            ..sample.clone()
        };
        assert_eq!(perform(part, &all[2..]).unwrap(), perform(sample, &all).unwrap());

        // The second leaves the first, though not the sample.
        let leaving = [crop(2, 1, 6, 5), crop(1, 2, 6, 3)];
        assert_eq!(leading_crop(size, &leaving), (Window::new(2, 1, 6, 5), &leaving[1..]));
    }
}
