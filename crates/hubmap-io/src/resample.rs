//! Reduction by whole factors, as `cv2.resize` does it to `(width / factor, height / factor)`.
#![expect(clippy::needless_pass_by_value, reason = "array views are made to be passed by value")]

mod area_table;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use area_table::AreaTable;

/// Outputs of at least this many samples are computed by several threads.
const PARALLEL_SAMPLES: usize = 1 << 16;

/// Reduces `[height, width, bands]` pixels by area averaging to `[height / factor, width / factor, bands]`.
///
/// Gives the bytes of OpenCV's `INTER_AREA`, its rounding included.
/// Where a side is no multiple of the factor, output pixels cover `side / (side / factor)` input pixels.
///
/// # Panics
/// If `factor` is 0.
pub fn area_downscale(pixels: ArrayView3<'_, u8>, factor: u32) -> Array3<u8> {
    assert!(factor > 0, "the factor must be positive");
    let (height, width, bands) = pixels.dim();
    let factor = factor as usize;
    let (out_height, out_width) = (height / factor, width / factor);
    let mut out = Array3::zeros((out_height, out_width, bands));
    if out.is_empty() {
        return out;
    }
    let pixels = pixels.as_standard_layout();
    let (Some(src), Some(dst)) = (pixels.as_slice(), out.as_slice_mut()) else { return out };
    if factor == 1 {
        dst.copy_from_slice(src);
    } else if height % factor == 0 && width % factor == 0 {
        let cells = Cells { factor, bands, row_len: width * bands };
        for_each_row(dst, out_width * bands, |y, row| {
            let first = y * factor * cells.row_len;
            average_cells(&cells, &src[first..first + factor * cells.row_len], row);
        });
    } else {
        let columns = AreaTable::new(width, out_width);
        let rows = AreaTable::new(height, out_height);
        for_each_row(dst, out_width * bands, |y, row| {
            let rows = rows.of(y);
            match bands {
                1 => average_weighted::<1>(&columns, rows, src, width, row),
                3 => average_weighted::<3>(&columns, rows, src, width, row),
                _ => average_weighted_any(&columns, rows, src, bands, width * bands, row),
            }
        });
    }
    out
}

/// [`area_downscale`] of a single-band `[height, width]` image; edges of a 0-255 mask become grey.
///
/// # Panics
/// If `factor` is 0.
pub fn area_downscale_2d(pixels: ArrayView2<'_, u8>, factor: u32) -> Array2<u8> {
    area_downscale(pixels.insert_axis(Axis(2)), factor).remove_axis(Axis(2))
}

/// Reduces `[height, width, bands]` pixels to `[height / factor, width / factor, bands]` by taking, for each
/// output pixel, the input pixel at its top-left corner, as OpenCV's `INTER_NEAREST` does.
///
/// # Panics
/// If `factor` is 0.
pub fn nearest_downscale(pixels: ArrayView3<'_, u8>, factor: u32) -> Array3<u8> {
    assert!(factor > 0, "the factor must be positive");
    let (height, width, bands) = pixels.dim();
    let ys = nearest_positions(height, height / factor as usize);
    let xs = nearest_positions(width, width / factor as usize);
    Array3::from_shape_fn((ys.len(), xs.len(), bands), |(y, x, band)| pixels[[ys[y], xs[x], band]])
}

/// [`nearest_downscale`] of a single-band `[height, width]` image.
///
/// # Panics
/// If `factor` is 0.
pub fn nearest_downscale_2d(pixels: ArrayView2<'_, u8>, factor: u32) -> Array2<u8> {
    nearest_downscale(pixels.insert_axis(Axis(2)), factor).remove_axis(Axis(2))
}

/// Input positions that OpenCV picks for `n_out` of `n_in` samples.
fn nearest_positions(n_in: usize, n_out: usize) -> Vec<usize> {
    let step = 1.0 / (n_out as f64 / n_in as f64);
    (0..n_out).map(|i| ((i as f64 * step).floor() as usize).min(n_in - 1)).collect()
}

/// Calls `fill(y, row)` for each row of `dst`, in parallel if there is enough to do.
fn for_each_row(dst: &mut [u8], row_len: usize, fill: impl Fn(usize, &mut [u8]) + Sync) {
    if dst.len() < PARALLEL_SAMPLES {
        dst.chunks_exact_mut(row_len).enumerate().for_each(|(y, row)| fill(y, row));
    } else {
        dst.par_chunks_exact_mut(row_len)
            .with_min_len((PARALLEL_SAMPLES / 4).div_ceil(row_len))
            .enumerate()
            .for_each(|(y, row)| fill(y, row));
    }
}

/// How whole cells of `factor` × `factor` pixels lie in rows of `row_len` samples.
struct Cells {
    factor: usize,
    bands: usize,
    row_len: usize,
}

/// One output row from `factor` whole input rows.
fn average_cells(cells: &Cells, src: &[u8], out: &mut [u8]) {
    match (cells.factor, cells.bands) {
        (2, 1) => average_fixed::<2, 1>(src, cells.row_len, out),
        (2, 3) => average_fixed::<2, 3>(src, cells.row_len, out),
        (3, 1) => average_fixed::<3, 1>(src, cells.row_len, out),
        (3, 3) => average_fixed::<3, 3>(src, cells.row_len, out),
        (4, 1) => average_fixed::<4, 1>(src, cells.row_len, out),
        (4, 3) => average_fixed::<4, 3>(src, cells.row_len, out),
        _ => average_any(cells, src, out),
    }
}

/// Columns of the blocks in which [`average_fixed`] sums rows: small enough for the first-level cache.
const BLOCK_CELLS: usize = 256;

/// [`average_cells`] with the sizes known to the compiler: rows are summed first, then columns.
fn average_fixed<const FACTOR: usize, const BANDS: usize>(src: &[u8], row_len: usize, out: &mut [u8]) {
    let mut sums = [0_u16; BLOCK_CELLS * 4 * 3];
    let block_len = BLOCK_CELLS * FACTOR * BANDS;
    for (block, out) in out.chunks_mut(BLOCK_CELLS * BANDS).enumerate() {
        let first = block * block_len;
        let len = out.len() * FACTOR;
        let sums = &mut sums[..len];
        for (sum, &value) in sums.iter_mut().zip(&src[first..first + len]) {
            *sum = value as u16;
        }
        for row in 1..FACTOR {
            let from = row * row_len + first;
            for (sum, &value) in sums.iter_mut().zip(&src[from..from + len]) {
                *sum += value as u16;
            }
        }
        for (cell, out) in sums.chunks_exact(FACTOR * BANDS).zip(out.chunks_exact_mut(BANDS)) {
            for (band, out) in out.iter_mut().enumerate() {
                let sum: u16 = (0..FACTOR).map(|i| cell[i * BANDS + band]).sum();
                *out = rounded_mean::<FACTOR>(sum);
            }
        }
    }
}

/// Mean of `FACTOR`² samples: OpenCV rounds halves up for 2 × 2, and to even otherwise.
fn rounded_mean<const FACTOR: usize>(sum: u16) -> u8 {
    let area = (FACTOR * FACTOR) as u16;
    if FACTOR == 2 || !area.is_multiple_of(2) {
        return ((sum + area / 2) / area) as u8;
    }
    let floor = sum / area;
    let twice_rest = 2 * (sum % area);
    (floor + u16::from(twice_rest > area || (twice_rest == area && floor % 2 == 1))) as u8
}

/// [`average_cells`] for any factor and number of bands.
fn average_any(cells: &Cells, src: &[u8], out: &mut [u8]) {
    let scale = 1.0 / (cells.factor * cells.factor) as f32;
    for (i, out) in out.iter_mut().enumerate() {
        let first = i / cells.bands * cells.factor * cells.bands + i % cells.bands;
        let mut sum = 0_u64;
        for row in src.chunks_exact(cells.row_len) {
            sum += (0..cells.factor).map(|j| row[first + j * cells.bands] as u64).sum::<u64>();
        }
        *out = if cells.factor == 2 && cells.bands == 4 {
            ((sum + 2) / 4) as u8
        } else {
            (sum as f32 * scale).round_ties_even() as u8
        };
    }
}

/// One output row as a weighted sum of input rows and columns, in OpenCV's order of operations.
fn average_weighted<const BANDS: usize>(
    columns: &AreaTable,
    rows: &[(usize, f32)],
    src: &[u8],
    width: usize,
    out: &mut [u8],
) {
    let mut sums = vec![[0_f32; BANDS]; out.len() / BANDS];
    for (i, &(row_idx, row_weight)) in rows.iter().enumerate() {
        let row = &src[row_idx * width * BANDS..][..width * BANDS];
        for (x, sum) in sums.iter_mut().enumerate() {
            let mut cell = [0_f32; BANDS];
            for &(column, weight) in columns.of(x) {
                let pixel = &row[column * BANDS..][..BANDS];
                for (value, &sample) in cell.iter_mut().zip(pixel) {
                    *value += sample as f32 * weight;
                }
            }
            for (sum, value) in sum.iter_mut().zip(cell) {
                *sum = if i == 0 { row_weight * value } else { *sum + row_weight * value };
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums.as_flattened()) {
        *out = sum.round_ties_even() as u8;
    }
}

/// [`average_weighted`] for any number of bands.
fn average_weighted_any(
    columns: &AreaTable,
    rows: &[(usize, f32)],
    src: &[u8],
    bands: usize,
    row_len: usize,
    out: &mut [u8],
) {
    for (x, out) in out.chunks_exact_mut(bands).enumerate() {
        for (band, out) in out.iter_mut().enumerate() {
            let mut sum = 0.0;
            for (i, &(row_idx, row_weight)) in rows.iter().enumerate() {
                let samples = columns
                    .of(x)
                    .iter()
                    .map(|&(column, weight)| src[row_idx * row_len + column * bands + band] as f32 * weight);
                let value = samples.fold(0.0, |sum, sample| sum + sample);
                sum = if i == 0 { row_weight * value } else { sum + row_weight * value };
            }
            *out = sum.round_ties_even() as u8;
        }
    }
}
