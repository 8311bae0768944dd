//! Shift, scale and rotation around the centre, in one resampling, in the fixed point of OpenCV's `warpAffine`.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3};

use super::border::reflect;

/// A similarity of the plane, applied around the centre of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// Shift to the right, as a fraction of the width.
    pub shift_x: f64,
    /// Shift downwards, as a fraction of the height.
    pub shift_y: f64,
    /// Enlargement.
    pub scale: f64,
    /// Counter-clockwise rotation in degrees.
    pub angle_deg: f64,
}

/// Parts of a pixel that coordinates are computed in.
const COORDINATE_BITS: u32 = 10;
/// Parts of a pixel that the interpolation knows.
const WEIGHT_BITS: u32 = 5;
const WEIGHT_ONE: i32 = 1 << WEIGHT_BITS;

/// Where the pixels of the result come from, in parts of a pixel.
struct Source {
    /// What a column adds to x and y.
    columns: Vec<[i32; 2]>,
    /// What a row adds to x and y.
    rows: Vec<[i32; 2]>,
}

impl Source {
    fn new(similarity: Similarity, width: usize, height: usize) -> Self {
        let (center_x, center_y) = (width as f64 / 2.0, height as f64 / 2.0);
        let to_x = center_x + similarity.shift_x * width as f64;
        let to_y = center_y + similarity.shift_y * height as f64;
        let (sin, cos) = similarity.angle_deg.to_radians().sin_cos();
        let (cos, sin) = (cos / similarity.scale, sin / similarity.scale);
        // The inverse map: x comes from center_x + cos (x - to_x) - sin (y - to_y), and y alike.
        let offset = [center_x - cos * to_x + sin * to_y, center_y - sin * to_x - cos * to_y];
        let fixed = |value: f64| (value * f64::from(1 << COORDINATE_BITS)).round_ties_even() as i32;
        let column = |x: usize| [fixed(cos * x as f64), fixed(sin * x as f64)];
        let row = |y: usize| [fixed(offset[0] - sin * y as f64), fixed(offset[1] + cos * y as f64)];
        Self { columns: (0..width).map(column).collect(), rows: (0..height).map(row).collect() }
    }
}

/// Image `[height, width, 3]` and mask `[height, width]` under a similarity, borders mirrored: the image by bilinear
/// interpolation, the mask by its nearest pixel.
pub(super) fn warp(
    image: &ArrayView3<'_, u8>,
    mask: &ArrayView2<'_, u8>,
    similarity: Similarity,
) -> (Array3<u8>, Array2<u8>) {
    let (height, width) = mask.dim();
    let source = Source::new(similarity, width, height);
    let (mut warped, mut warped_mask) = (Array3::zeros(image.dim()), Array2::zeros(mask.dim()));
    let colors = image.to_slice().unwrap_or_default().as_chunks::<3>().0;
    let levels = mask.to_slice().unwrap_or_default();
    let out_colors = warped.as_slice_mut().unwrap_or_default().as_chunks_mut::<3>().0;
    let out_levels = warped_mask.as_slice_mut().unwrap_or_default();
    let out_rows = out_colors.chunks_exact_mut(width.max(1)).zip(out_levels.chunks_exact_mut(width.max(1)));
    for ((out_colors, out_levels), &[row_x, row_y]) in out_rows.zip(&source.rows) {
        for ((color, level), &[column_x, column_y]) in
            out_colors.iter_mut().zip(out_levels).zip(&source.columns)
        {
            let (x, y) = (row_x + column_x, row_y + column_y);
            *color = bilinear(colors, width, height, x, y);
            *level = levels[nearest(y, height) * width + nearest(x, width)];
        }
    }
    (warped, warped_mask)
}

/// The pixel at a coordinate, rounded to the nearest.
fn nearest(coordinate: i32, length: usize) -> usize {
    inside((coordinate + (1 << (COORDINATE_BITS - 1))) >> COORDINATE_BITS, length)
}

/// The pixel that stands for a position, which seldom is outside.
fn inside(position: i32, length: usize) -> usize {
    if (position as usize) < length { position as usize } else { reflect(i64::from(position), length) }
}

fn bilinear(colors: &[[u8; 3]], width: usize, height: usize, x: i32, y: i32) -> [u8; 3] {
    let part = |coordinate: i32| {
        // To the nearest of the parts that the interpolation knows.
        let fine =
            (coordinate + (1 << (COORDINATE_BITS - WEIGHT_BITS - 1))) >> (COORDINATE_BITS - WEIGHT_BITS);
        (fine >> WEIGHT_BITS, (fine & (WEIGHT_ONE - 1)) as u64)
    };
    let ((left, right_part), (top, lower_part)) = (part(x), part(y));
    let [[a, b], [c, d]] = if (left as usize) < width - 1 && (top as usize) < height - 1 {
        let start = top as usize * width + left as usize;
        [pair(&colors[start..]), pair(&colors[start + width..])]
    } else {
        let columns = [inside(left, width), inside(left + 1, width)];
        let rows = [inside(top, height), inside(top + 1, height)];
        rows.map(|row| columns.map(|column| spread(colors[row * width + column])))
    };
    let (left_part, upper_part) = (WEIGHT_ONE as u64 - right_part, WEIGHT_ONE as u64 - lower_part);
    let upper = a * (left_part * upper_part) + b * (right_part * upper_part);
    let lower = c * (left_part * lower_part) + d * (right_part * lower_part);
    let sum = upper + lower + spread([1; 3]) * (1 << (2 * WEIGHT_BITS - 1));
    [0, 1, 2].map(|channel| (sum >> (channel * LANE_BITS + 2 * WEIGHT_BITS)) as u8)
}

/// Room for the weighted sum of one channel: the three are computed at once.
const LANE_BITS: u32 = 21;

/// The channels of a pixel in lanes of one number.
fn spread([r, g, b]: [u8; 3]) -> u64 {
    u64::from(r) | u64::from(g) << LANE_BITS | u64::from(b) << (2 * LANE_BITS)
}

/// The first two pixels.
fn pair(colors: &[[u8; 3]]) -> [u64; 2] {
    [spread(colors[0]), spread(colors[1])]
}
