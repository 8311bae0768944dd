//! Sheets of samples for the eye: are masks still on their objects after all that augmentation does?

use std::path::Path;

use anyhow::{Result, ensure};
use hubmap_io::{area_downscale, area_downscale_2d};
use ndarray::{Array2, Array3, ArrayRef2, ArrayViewMut3, s};
use rayon::prelude::*;

use crate::augment::Transform;
use crate::seed::{Purpose, stream};
use crate::tile_file::write_image;
use crate::{Dataset, Sample};

/// Longest side of a sheet in pixels; samples are reduced by a whole factor to fit.
pub const SHEET_MAX_SIDE: usize = 4096;

/// Pixels between samples.
const GAP_PX: usize = 4;
const GAP_LEVEL: u8 = 255;

/// A cell of this side gets contours of one pixel; larger ones in proportion.
const SIDE_PER_CONTOUR_PX: usize = 256;
/// Colour of the outermost pixels of objects: far from anything that a stain gives.
const CONTOUR_COLOR: [u8; 3] = [0, 229, 160];
/// Colour of the pixels around them, which keeps contours visible on pale tissue.
const HALO_COLOR: [u8; 3] = [16, 24, 32];

/// Writes a PNG of `n_samples` samples as `transform` makes them, row by row, masks outlined.
///
/// Samples are spread evenly over the dataset, and each is what a [`Loader`](crate::Loader) with this seed gives in
/// epoch 0. If there are fewer samples than asked for, epoch 1 follows, and so on.
///
/// # Errors
///
/// `n_samples` is 0, the dataset is empty, a tile cannot be read or transformed, or the file cannot be written.
pub fn contact_sheet(
    dataset: &Dataset,
    transform: &Transform,
    n_samples: usize,
    seed: u64,
    path: &Path,
) -> Result<()> {
    ensure!(n_samples > 0, "{}: a sheet needs at least one sample", path.display());
    ensure!(!dataset.is_empty(), "{}: there are no samples to show", path.display());
    let n_columns = n_samples.isqrt() + usize::from(n_samples.isqrt().pow(2) < n_samples);
    let n_rows = n_samples.div_ceil(n_columns);
    // The first sample decides by how much all are reduced before they are kept.
    let first = sample(dataset, transform, n_samples, seed, 0)?.size();
    let side = first.width.max(first.height) as usize;
    let room = (SHEET_MAX_SIDE / n_columns).saturating_sub(GAP_PX).max(1);
    let factor = side.div_ceil(room).clamp(1, first.width.min(first.height).max(1) as usize) as u32;
    let cells = (0..n_samples)
        .into_par_iter()
        .with_max_len(1)
        .map(|i| Ok(outlined(&sample(dataset, transform, n_samples, seed, i)?, factor)))
        .collect::<Result<Vec<_>>>()?;

    let height = cells.iter().map(|cell| cell.dim().0).max().unwrap_or(0) + GAP_PX;
    let width = cells.iter().map(|cell| cell.dim().1).max().unwrap_or(0) + GAP_PX;
    let shape = (n_rows * height + GAP_PX, n_columns * width + GAP_PX, 3);
    let mut sheet = Array3::from_elem(shape, GAP_LEVEL);
    for (i, cell) in cells.iter().enumerate() {
        let (y, x) = (i / n_columns * height + GAP_PX, i % n_columns * width + GAP_PX);
        let (cell_height, cell_width, _) = cell.dim();
        sheet.slice_mut(s![y..y + cell_height, x..x + cell_width, ..]).assign(cell);
    }
    write_image(path, &sheet)
}

/// The sample at place `i` of a sheet.
fn sample(dataset: &Dataset, transform: &Transform, n_samples: usize, seed: u64, i: usize) -> Result<Sample> {
    let (epoch_idx, place) = (i / dataset.len(), i % dataset.len());
    let sample_idx = place * dataset.len() / n_samples.min(dataset.len());
    let mut rng = stream(seed, Purpose::Augment, epoch_idx as u64, sample_idx as u64);
    dataset.read_transformed(sample_idx, transform, &mut rng)
}

/// The image, reduced, with the mask's outline drawn over it.
fn outlined(sample: &Sample, factor: u32) -> Array3<u8> {
    let mut image = area_downscale(sample.image.view(), factor);
    let inside = area_downscale_2d(sample.mask.view(), factor).mapv(|level| level >= 128);
    let (height, width) = inside.dim();
    let thickness = (height.max(width) / SIDE_PER_CONTOUR_PX).max(1);
    draw_outline(&inside, thickness, image.view_mut());
    image
}

/// Colours the pixels within `thickness` of an edge, along rows or columns, on either side of it.
fn draw_outline(inside: &ArrayRef2<bool>, thickness: usize, mut image: ArrayViewMut3<'_, u8>) {
    let edges = Array2::from_shape_fn(inside.dim(), |(y, x)| {
        let differs = |v: Option<usize>, u: Option<usize>| {
            let there = v.zip(u).and_then(|place| inside.get(place));
            there.is_some_and(|&there| there != inside[[y, x]])
        };
        (1..=thickness).any(|step| {
            differs(y.checked_sub(step), Some(x))
                || differs(y.checked_add(step), Some(x))
                || differs(Some(y), x.checked_sub(step))
                || differs(Some(y), x.checked_add(step))
        })
    });
    for (place, _) in edges.indexed_iter().filter(|&(_, &is_edge)| is_edge) {
        let color = if inside[place] { CONTOUR_COLOR } else { HALO_COLOR };
        for (band, level) in color.into_iter().enumerate() {
            image[(place.0, place.1, band)] = level;
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::augment::tests::base;
    use crate::tile_file::{read_image, write_mask};

    const SIDE: usize = 40;

    /// `n_tiles` tiles, each of its own level, with a mask of rows and columns 10 to 29 if `has_object`.
    fn tiles(n_tiles: usize, has_object: bool) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for kind in ["imgs", "masks"] {
            std::fs::create_dir_all(folder.path().join(kind).join("s")).unwrap();
        }
        for idx in 0..n_tiles {
            let image = Array3::from_shape_fn((SIDE, SIDE, 3), |(y, x, c)| {
                (idx * 50 + usize::from(y < 5) * 20 + usize::from(x < 9) * 10 + c) as u8
            });
            let is_object = |v: usize| has_object && (10..30).contains(&v);
            let mask =
                Array2::from_shape_fn(
                    (SIDE, SIDE),
                    |(y, x)| {
                        if is_object(y) && is_object(x) { 255 } else { 0 }
                    },
                );
            write_image(&folder.path().join(format!("imgs/s/{idx:06}.png")), &image).unwrap();
            write_mask(&folder.path().join(format!("masks/s/{idx:06}.png")), &mask).unwrap();
        }
        folder
    }

    fn sheet(folder: &TempDir, transform: &Transform, n_samples: usize, seed: u64) -> Array3<u8> {
        let path = folder.path().join("sheet.png");
        let dataset = Dataset::open_dir(folder.path(), "d").unwrap();
        contact_sheet(&dataset, transform, n_samples, seed, &path).unwrap();
        read_image(&path).unwrap()
    }

    /// The pixels of the cell in a column and row of a sheet.
    fn cell(sheet: &Array3<u8>, column: usize, row: usize) -> Array3<u8> {
        let [y, x] = [row, column].map(|i| i * (SIDE + GAP_PX) + GAP_PX);
        sheet.slice(s![y..y + SIDE, x..x + SIDE, ..]).to_owned()
    }

    #[test]
    fn samples_are_those_of_the_loaders_epochs() {
        let folder = tiles(5, false);
        let dataset = Dataset::open_dir(folder.path(), "d").unwrap();
        let transform = base("light_scale", SIDE as u32);
        let expected = |epoch_idx, sample_idx| {
            let mut rng = stream(7, Purpose::Augment, epoch_idx, sample_idx as u64);
            transform.apply(dataset.read(sample_idx).unwrap(), &mut rng).unwrap().image
        };
        let few = sheet(&folder, &transform, 3, 7);
        assert_eq!(few.dim(), (2 * (SIDE + GAP_PX) + GAP_PX, 2 * (SIDE + GAP_PX) + GAP_PX, 3));
        for (i, sample_idx) in [0, 1, 3].into_iter().enumerate() {
            assert_eq!(cell(&few, i % 2, i / 2), expected(0, sample_idx), "{i}");
        }
        assert!(cell(&few, 1, 1).iter().all(|&level| level == GAP_LEVEL));
        let many = sheet(&folder, &transform, 7, 7);
        assert_eq!(cell(&many, 1, 1), expected(0, 4));
        assert_eq!(cell(&many, 2, 1), expected(1, 0));
        assert_eq!(many, sheet(&folder, &transform, 7, 7));
        assert_ne!(many, sheet(&folder, &transform, 7, 8));
    }

    #[test]
    fn outlines_follow_the_mask() {
        let folder = tiles(1, true);
        let sheet = sheet(&folder, &base("val", SIDE as u32), 1, 0);
        let cell = cell(&sheet, 0, 0);
        let pixel = |y: usize, x: usize| cell.slice(s![y, x, ..]).to_vec();
        for (y, x) in [(10, 10), (29, 29), (10, 20), (20, 29)] {
            assert_eq!(pixel(y, x), CONTOUR_COLOR, "{y} {x}");
        }
        for (y, x) in [(9, 20), (30, 20), (20, 9), (20, 30)] {
            assert_eq!(pixel(y, x), HALO_COLOR, "{y} {x}");
        }
        for (y, x) in [(11, 11), (20, 20), (8, 20), (20, 31), (9, 9)] {
            assert_eq!(pixel(y, x), [0, 1, 2], "{y} {x}");
        }
    }

    #[test]
    fn sheets_stay_small_and_empty_ones_are_refused() {
        let folder = tiles(1, true);
        let transform = base("val", SIDE as u32);
        // 110 columns leave 33 px to each sample of 40 px.
        let large = sheet(&folder, &transform, 110 * 110, 0);
        assert_eq!(large.dim(), (110 * 24 + GAP_PX, 110 * 24 + GAP_PX, 3));
        let dataset = Dataset::open_dir(folder.path(), "d").unwrap();
        let path = folder.path().join("none.png");
        assert!(contact_sheet(&dataset, &transform, 0, 0, &path).is_err());
        assert!(contact_sheet(&Dataset::from_tiles(Vec::new()), &transform, 1, 0, &path).is_err());
        let error = contact_sheet(&dataset, &base("val", 41), 1, 0, &path).unwrap_err();
        assert!(format!("{error:#}").contains("cannot crop"), "{error:#}");
        assert!(!path.exists());
    }
}
