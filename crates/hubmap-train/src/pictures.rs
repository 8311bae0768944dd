//! Pictures of validation samples for the logs.

use hubmap_data::{Batch, Normalization};
use ndarray::{Array3, s};

/// Samples in a picture, at most.
const N_SAMPLES: usize = 4;
/// White pixels between the parts.
const GAP_PX: usize = 4;

/// The first samples of a batch below one another, each as image, target and prediction side by side.
///
/// `logits` are those of the batch, `[n, 1, h, w]` row by row; a prediction is drawn as gray from 0 to 1. The picture is
/// `[height, width, 3]`.
pub(crate) fn samples_picture(batch: &Batch, logits: &[f32], normalization: &Normalization) -> Array3<u8> {
    let (n, _, height, width) = batch.masks.dim();
    let n = n.min(N_SAMPLES);
    let (row, column) = (height + GAP_PX, width + GAP_PX);
    let mut picture = Array3::from_elem((n * row + GAP_PX, 3 * column + GAP_PX, 3), 255);
    let gray = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
    for i in 0..n {
        let top = GAP_PX + i * row;
        let mut paint = |place: usize, level: &dyn Fn(usize, usize, usize) -> u8| {
            let left = GAP_PX + place * column;
            let mut part = picture.slice_mut(s![top..top + height, left..left + width, ..]);
            for ((y, x, channel), value) in part.indexed_iter_mut() {
                *value = level(y, x, channel);
            }
        };
        paint(0, &|y, x, channel| normalization.level(batch.images[[i, channel, y, x]], channel));
        paint(1, &|y, x, _| gray(batch.masks[[i, 0, y, x]]));
        paint(2, &|y, x, _| gray(1.0 / (1.0 + (-logits[(i * height + y) * width + x]).exp())));
    }
    picture
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    #[test]
    fn parts_are_where_they_belong() {
        let normalization = Normalization::KIDNEY;
        let images = Array4::from_shape_fn((6, 3, 2, 5), |(n, c, y, x)| {
            normalization.value((n * 40 + c * 10 + y * 5 + x) as u8, c)
        });
        let masks = Array4::from_shape_fn((6, 1, 2, 5), |(n, _, _, x)| ((n + x) % 2) as f32);
        let batch = Batch { images, masks, names: vec![String::new(); 6] };
        let logits: Vec<f32> = (0..60).map(|i| if i % 3 == 0 { 50.0 } else { -50.0 }).collect();
        let picture = samples_picture(&batch, &logits, &normalization);
        assert_eq!(picture.dim(), (4 + 4 * 6, 4 + 3 * 9, 3));
        // Sample 2, row 1, column 3.
        let (y, x) = (4 + 2 * 6 + 1, 4 + 3);
        assert_eq!(picture.slice(s![y, x, ..]).to_vec(), [88, 98, 108]);
        assert_eq!(picture.slice(s![y, x + 9, ..]).to_vec(), [255; 3]);
        // Its logit is number 28.
        assert_eq!(picture.slice(s![y, x + 18, ..]).to_vec(), [0; 3]);
        assert_eq!(picture.slice(s![y, x + 17, ..]).to_vec(), [255; 3]);
        assert!(picture.slice(s![..4, .., ..]).iter().all(|&level| level == 255));
    }
}
