//! A sample under way: crops, mirrors and turns only change how its pixels are looked at, and one copy settles
//! them when the first operation needs the pixels themselves.

use hubmap_io::Size;
use ndarray::{ArrayView2, ArrayView3, Axis, CowArray, Ix2, Ix3, Slice};

use crate::Sample;

/// A sample that somebody else keeps, such as a preloaded tile.
#[derive(Debug, Clone)]
pub struct SampleView<'a> {
    /// Where the sample comes from.
    pub name: &'a str,
    /// Pixels `[height, width, 3]`.
    pub image: ArrayView3<'a, u8>,
    /// Mask `[height, width]`.
    pub mask: ArrayView2<'a, u8>,
}

impl SampleView<'_> {
    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        let (height, width) = self.mask.dim();
        Size::new(width as u32, height as u32)
    }
}

impl<'a> From<&'a Sample> for SampleView<'a> {
    fn from(sample: &'a Sample) -> Self {
        Self { name: &sample.name, image: sample.image.view(), mask: sample.mask.view() }
    }
}

/// Pixels of an image, row by row.
#[derive(Debug)]
pub(super) struct Pixels<'a> {
    pub(super) colors: &'a mut [[u8; 3]],
    pub(super) width: usize,
}

impl Pixels<'_> {
    pub(super) const fn height(&self) -> usize {
        match self.colors.len().checked_div(self.width) {
            Some(height) => height,
            None => 0,
        }
    }

    /// Calls `change` on every pixel.
    pub(super) fn map(&mut self, change: impl Fn([u8; 3]) -> [u8; 3]) {
        for color in &mut *self.colors {
            *color = change(*color);
        }
    }
}

/// Image and mask, which always move together.
pub(super) struct Canvas<'a> {
    image: CowArray<'a, u8, Ix3>,
    mask: CowArray<'a, u8, Ix2>,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(
        image: impl Into<CowArray<'a, u8, Ix3>>,
        mask: impl Into<CowArray<'a, u8, Ix2>>,
    ) -> Self {
        Self { image: image.into(), mask: mask.into() }
    }

    /// Height and width.
    pub(super) fn dim(&self) -> (usize, usize) {
        self.mask.dim()
    }

    /// Keeps a part, which must be inside.
    pub(super) fn crop(&mut self, [x, y]: [usize; 2], [width, height]: [usize; 2]) {
        for (axis, part) in [(Axis(0), y..y + height), (Axis(1), x..x + width)] {
            self.image.slice_axis_inplace(axis, Slice::from(part.clone()));
            self.mask.slice_axis_inplace(axis, Slice::from(part));
        }
    }

    /// Mirrors left to right.
    pub(super) fn flip_horizontal(&mut self) {
        self.image.invert_axis(Axis(1));
        self.mask.invert_axis(Axis(1));
    }

    /// Mirrors top to bottom.
    pub(super) fn flip_vertical(&mut self) {
        self.image.invert_axis(Axis(0));
        self.mask.invert_axis(Axis(0));
    }

    /// Turns counter-clockwise by 90 degrees, as numpy's `rot90` does.
    pub(super) fn quarter_turn(&mut self) {
        self.image.swap_axes(0, 1);
        self.mask.swap_axes(0, 1);
        self.flip_vertical();
    }

    /// The pixels of the image, for changes in place.
    pub(super) fn pixels(&mut self) -> Pixels<'_> {
        settle_image(&mut self.image);
        let width = self.image.dim().1;
        let colors = self.image.as_slice_mut().unwrap_or_default().as_chunks_mut().0;
        Pixels { colors, width }
    }

    /// The levels of the mask, for changes in place.
    pub(super) fn mask_levels(&mut self) -> &mut [u8] {
        settle_mask(&mut self.mask);
        self.mask.as_slice_mut().unwrap_or_default()
    }

    /// Image and mask in standard layout, to be replaced by [`Canvas::replace`].
    pub(super) fn settled(&mut self) -> (ArrayView3<'_, u8>, ArrayView2<'_, u8>) {
        settle_image(&mut self.image);
        settle_mask(&mut self.mask);
        (self.image.view(), self.mask.view())
    }

    pub(super) fn replace(&mut self, image: ndarray::Array3<u8>, mask: ndarray::Array2<u8>) {
        (self.image, self.mask) = (image.into(), mask.into());
    }

    /// The sample, in standard layout.
    pub(super) fn into_sample(mut self, name: String) -> Sample {
        settle_image(&mut self.image);
        settle_mask(&mut self.mask);
        Sample { name, image: self.image.into_owned(), mask: self.mask.into_owned() }
    }
}

fn settle_image(image: &mut CowArray<'_, u8, Ix3>) {
    if !image.is_standard_layout() {
        *image = gathered::<3>(&image.view()).into();
    }
}

fn settle_mask(mask: &mut CowArray<'_, u8, Ix2>) {
    if !mask.is_standard_layout() {
        let levels = gathered::<1>(&mask.view().insert_axis(Axis(2)));
        *mask = levels.remove_axis(Axis(2)).into();
    }
}

/// Side of the squares that a turned image is gathered by.
const SQUARE: usize = 16;

/// A copy in standard layout of `view` `[height, width, N]`.
///
/// What ndarray would do element by element goes row by row here, because crops, mirrors and turns of an image in
/// standard layout leave the rows or the columns of the source in one piece.
fn gathered<const N: usize>(view: &ArrayView3<'_, u8>) -> ndarray::Array3<u8> {
    let (height, width, _) = view.dim();
    let mut source = *view;
    let is_turned = source.strides()[0].abs() < source.strides()[1].abs();
    if is_turned {
        source.swap_axes(0, 1);
    }
    let [is_upside_down, is_backwards] = [0, 1].map(|axis| {
        let is_inverted = source.strides()[axis] < 0;
        if is_inverted {
            source.invert_axis(Axis(axis));
        }
        is_inverted
    });
    let rows = source.axis_iter(Axis(0)).map(|row| row.to_slice().map(|row| row.as_chunks::<N>().0));
    let Some(mut rows) = rows.collect::<Option<Vec<&[[u8; N]]>>>() else {
        return view.as_standard_layout().into_owned();
    };
    if is_upside_down {
        rows.reverse();
    }
    let mut pixels = Vec::with_capacity(height * width);
    if is_turned {
        pixels.resize(height * width, [0; N]);
        turn(&rows, &mut pixels, is_backwards);
    } else {
        for row in rows {
            if is_backwards {
                pixels.extend(row.iter().rev());
            } else {
                pixels.extend_from_slice(row);
            }
        }
    }
    ndarray::Array3::from_shape_vec((height, width, N), pixels.into_flattened())
        .unwrap_or_else(|_| view.as_standard_layout().into_owned())
}

/// Makes columns of rows: `rows[x][y]` becomes pixel `(x, y)`, counted from below if `is_backwards`.
///
/// Square by square, because a whole column of either side is too far apart for the cache.
fn turn<const N: usize>(rows: &[&[[u8; N]]], pixels: &mut [[u8; N]], is_backwards: bool) {
    let (width, height) = (rows.len(), rows[0].len());
    let mut square = [[[0; N]; SQUARE]; SQUARE];
    for (block_idx, block) in rows.chunks(SQUARE).enumerate() {
        for start in (0..height).step_by(SQUARE) {
            let n_lines = SQUARE.min(height - start);
            for (x, row) in block.iter().enumerate() {
                let part = &row[start..start + n_lines];
                if let Ok(part) = <&[[u8; N]; SQUARE]>::try_from(part) {
                    for (y, pixel) in part.iter().enumerate() {
                        square[y][x] = *pixel;
                    }
                } else {
                    for (line, pixel) in square.iter_mut().zip(part) {
                        line[x] = *pixel;
                    }
                }
            }
            for (idx, line) in square[..n_lines].iter().enumerate() {
                let y = if is_backwards { height - 1 - start - idx } else { start + idx };
                let place = y * width + block_idx * SQUARE;
                pixels[place..place + block.len()].copy_from_slice(&line[..block.len()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::*;

    fn picture(height: usize, width: usize) -> Array3<u8> {
        Array3::from_shape_fn((height, width, 3), |(y, x, c)| (y * 71 + x * 13 + c * 5) as u8)
    }

    #[test]
    fn gathering_equals_the_plain_copy_for_every_view() {
        for (height, width) in [(70, 41), (1, 9), (9, 1), (1, 1), (0, 4), (33, 65)] {
            let picture = picture(height, width);
            for bits in 0..16 {
                let mut view = picture.view();
                if bits & 1 != 0 {
                    view.swap_axes(0, 1);
                }
                if bits & 2 != 0 {
                    view.invert_axis(Axis(0));
                }
                if bits & 4 != 0 {
                    view.invert_axis(Axis(1));
                }
                if bits & 8 != 0 {
                    // Neither rows nor columns in one piece.
                    view = view.slice_move(s![..;2, ..;3, ..]);
                }
                assert_eq!(gathered::<3>(&view), view.as_standard_layout().into_owned(), "{bits}");
                let plane = view.slice(s![.., .., ..1]);
                assert_eq!(gathered::<1>(&plane), plane.as_standard_layout().into_owned(), "{bits}");
            }
        }
    }

    #[test]
    fn a_crop_of_a_view_leaves_the_source_alone() {
        let source = Sample::new("s", picture(8, 8), picture(8, 8).slice(s![.., .., 0]).to_owned()).unwrap();
        let before = source.clone();
        let view = SampleView::from(&source);
        let mut canvas = Canvas::new(view.image, view.mask);
        canvas.pixels().map(|_| [0; 3]);
        canvas.mask_levels().fill(9);
        let changed = canvas.into_sample("t".into());
        assert_eq!(source, before);
        assert!(
            changed.image.iter().all(|&level| level == 0) && changed.mask.iter().all(|&level| level == 9)
        );
    }
}
