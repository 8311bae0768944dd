//! Crops, mirrors and quarter turns: pixels move, values stay.

use anyhow::{Result, ensure};
use ndarray::{Array, ArrayView, Axis, Dimension, RemoveAxis, Slice};
use rand::RngExt;

use crate::{Sample, seed::StreamRng};

/// The part of the sample whose top-left corner is at `(x_px, y_px)`.
///
/// # Errors
///
/// The part leaves the sample.
pub fn crop(sample: Sample, x_px: u32, y_px: u32, width_px: u32, height_px: u32) -> Result<Sample> {
    let size = sample.size();
    let fits =
        |start: u32, length: u32, total: u32| start.checked_add(length).is_some_and(|end| end <= total);
    ensure!(
        fits(x_px, width_px, size.width) && fits(y_px, height_px, size.height),
        "{}: cannot crop {width_px}x{height_px} from {size}; use a smaller crop or cut larger tiles",
        sample.name
    );
    if (width_px, height_px) == (size.width, size.height) {
        return Ok(sample);
    }
    let rows = Slice::from(y_px as usize..(y_px + height_px) as usize);
    let columns = Slice::from(x_px as usize..(x_px + width_px) as usize);
    Ok(Sample {
        image: sample.image.slice_axis(Axis(0), rows).slice_axis(Axis(1), columns).to_owned(),
        mask: sample.mask.slice_axis(Axis(0), rows).slice_axis(Axis(1), columns).to_owned(),
        name: sample.name,
    })
}

/// The square of `size_px` in the middle; an odd remainder leaves the larger border right and below.
///
/// # Errors
///
/// The square is larger than the sample.
pub fn center_crop(sample: Sample, size_px: u32) -> Result<Sample> {
    let size = sample.size();
    let start = |total: u32| total.saturating_sub(size_px) / 2;
    crop(sample, start(size.width), start(size.height), size_px, size_px)
}

/// A square of `size_px` at a uniformly random place.
pub(super) fn random_crop(sample: Sample, size_px: u32, rng: &mut StreamRng) -> Result<Sample> {
    let size = sample.size();
    let y_px = rng.random_range(0..=size.height.saturating_sub(size_px));
    let x_px = rng.random_range(0..=size.width.saturating_sub(size_px));
    crop(sample, x_px, y_px, size_px, size_px)
}

/// Mirrored left to right.
pub fn flip_horizontal(sample: Sample) -> Sample {
    rearranged(sample, |view| view.invert_axis(Axis(1)), |view| view.invert_axis(Axis(1)))
}

/// Mirrored top to bottom.
pub fn flip_vertical(sample: Sample) -> Sample {
    rearranged(sample, |view| view.invert_axis(Axis(0)), |view| view.invert_axis(Axis(0)))
}

/// Turned counter-clockwise by `n_turns` times 90 degrees.
pub fn quarter_turns(sample: Sample, n_turns: u32) -> Sample {
    if n_turns.is_multiple_of(4) {
        return sample;
    }
    rearranged(sample, |view| turn(view, n_turns), |view| turn(view, n_turns))
}

/// Turns the first two axes of a view, as numpy's `rot90` does.
fn turn<D: Dimension>(view: &mut ArrayView<'_, u8, D>, n_turns: u32) {
    match n_turns % 4 {
        1 => {
            view.swap_axes(0, 1);
            view.invert_axis(Axis(0));
        }
        2 => {
            view.invert_axis(Axis(0));
            view.invert_axis(Axis(1));
        }
        3 => {
            view.swap_axes(0, 1);
            view.invert_axis(Axis(1));
        }
        _ => {}
    }
}

/// Applies the same change of axes to image and mask.
fn rearranged(
    sample: Sample,
    image_axes: impl FnOnce(&mut ArrayView<'_, u8, ndarray::Ix3>),
    mask_axes: impl FnOnce(&mut ArrayView<'_, u8, ndarray::Ix2>),
) -> Sample {
    Sample {
        image: contiguous(&sample.image, image_axes),
        mask: contiguous(&sample.mask, mask_axes),
        name: sample.name,
    }
}

/// A copy in standard layout of the array seen through changed axes.
fn contiguous<D: Dimension + RemoveAxis>(
    array: &Array<u8, D>,
    change: impl FnOnce(&mut ArrayView<'_, u8, D>),
) -> Array<u8, D> {
    let mut view = array.view();
    change(&mut view);
    view.as_standard_layout().into_owned()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};

    use super::*;

    fn sample(mask: Array2<u8>) -> Sample {
        let (height, width) = mask.dim();
        let image = Array3::from_shape_fn((height, width, 3), |(y, x, _)| mask[[y, x]]);
        Sample::new("s", image, mask).unwrap()
    }

    #[test]
    fn quarter_turns_are_those_of_numpy() {
        let source = sample(array![[1, 2, 3], [4, 5, 6]]);
        let turned = |n| quarter_turns(source.clone(), n).mask;
        assert_eq!(turned(0), source.mask);
        assert_eq!(turned(1), array![[3, 6], [2, 5], [1, 4]]);
        assert_eq!(turned(2), array![[6, 5, 4], [3, 2, 1]]);
        assert_eq!(turned(3), array![[4, 1], [5, 2], [6, 3]]);
        assert_eq!(turned(5), turned(1));
    }

    #[test]
    fn flips() {
        let source = sample(array![[1, 2, 3], [4, 5, 6]]);
        let horizontal = flip_horizontal(source.clone());
        assert_eq!(horizontal.mask, array![[3, 2, 1], [6, 5, 4]]);
        assert_eq!(horizontal.image[[0, 0, 2]], 3);
        assert_eq!(flip_vertical(source).mask, array![[4, 5, 6], [1, 2, 3]]);
        assert!(horizontal.image.is_standard_layout());
    }

    #[test]
    fn centre_of_odd_remainders_is_rounded_to_the_top_left() {
        let source = sample(Array2::from_shape_fn((6, 7), |(y, x)| (y * 10 + x) as u8));
        let centre = center_crop(source.clone(), 4).unwrap();
        assert_eq!(centre.mask[[0, 0]], 11);
        let part = crop(source.clone(), 3, 1, 2, 5).unwrap();
        assert_eq!(part.mask.dim(), (5, 2));
        assert_eq!(part.image[[4, 1, 1]], 54);
        assert!(crop(source, u32::MAX, 0, 2, 2).is_err());
    }
}
