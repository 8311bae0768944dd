//! Single steps against the fixtures of the real libraries.

use half::f16;
use hubmap_data::DiceSums;
use hubmap_infer::{BlockGrid, Dihedral, Merge, PredictConfig, Predictor, Tta, bilinear, bilinear_f16_into};
use hubmap_io::{Size, Window};
use hubmap_test_support::{json, npy};
use ndarray::{Array2, Array4, Array5, ArrayD, Axis, Ix2, s};
use serde_json::Value;

use crate::pipeline::predictor;

fn number(value: &Value, key: &str) -> u32 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}")) as u32
}

#[test]
fn blocks_match_the_reference_grid() {
    let index = json("numerics/12_block_grid.json");
    let cases = index["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let size = Size::new(number(case, "w"), number(case, "h"));
        let grid = BlockGrid::new(size, number(case, "block"), number(case, "pad"));
        assert_eq!((grid.n_columns(), grid.n_rows()), (number(case, "nx"), number(case, "ny")));
        let blocks: Vec<_> = grid.column_major().collect();
        assert_eq!(blocks.len(), number(case, "n") as usize);
        assert_eq!(grid.len(), blocks.len());

        let origins: Vec<[i64; 2]> = serde_json::from_value(case["origins_yx"].clone()).unwrap();
        let ours: Vec<_> = blocks.iter().map(|block| [block.paste.y, block.paste.x]).collect();
        // The largest case lists the first and the last six only.
        let (head, tail) = if origins.len() == ours.len() { (ours.len(), 0) } else { (6, 6) };
        assert_eq!(origins[..head], ours[..head]);
        assert_eq!(origins[origins.len() - tail..], ours[ours.len() - tail..]);

        let (last, expected) = (blocks[blocks.len() - 1], &case["last"]);
        let at = |key: &str| expected[key].as_i64().unwrap();
        let read =
            Window::new(at("read_x"), at("read_y"), number(expected, "read_w"), number(expected, "read_h"));
        assert_eq!(last.read, read);
        assert_eq!(last.paste.size(), Size::new(number(expected, "paste_w"), number(expected, "paste_h")));

        let mut by_row: Vec<_> = grid.row_major().collect();
        by_row.sort_by_key(|block| (block.paste.x, block.paste.y));
        assert_eq!(by_row, blocks);
    }
}

#[test]
fn bilinear_matches_torch() {
    let index = json("numerics/06_bilinear/index.json");
    let cases = index["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let (name, scale) = (case["name"].as_str().unwrap(), number(case, "scale"));
        let file = |suffix: &str| format!("numerics/06_bilinear/{name}_{suffix}.npy");
        let input: Array4<f32> = npy(&file("in"));
        let expected: Array4<f32> = npy(&file("out"));
        let expected_f16 = npy_f16(&file("out_f16"));
        for ((n, c), image) in planes(&input) {
            let (height, width) = image.dim();
            let whole = Window::new(0, 0, width as u32 * scale, height as u32 * scale);
            let ours = bilinear(&image, scale, whole);
            for (a, b) in ours.iter().zip(expected.slice(s![n, c, .., ..])) {
                assert!((a - b).abs() <= 1e-6, "{name}: {a} {b}");
            }
            let mut halves = Array2::from_elem(ours.dim(), f16::ZERO);
            bilinear_f16_into(&image, scale, whole, halves.view_mut());
            // A last bit of single precision may tip the rounding of a value half way between two.
            let mut n_tipped = 0;
            for (a, b) in halves.iter().zip(expected_f16.slice(s![n, c, .., ..])) {
                let apart = a.to_bits().abs_diff(b.to_bits());
                assert!(apart <= 1, "{name}: {a} {b}");
                n_tipped += usize::from(apart);
            }
            assert!(n_tipped * 500 <= halves.len(), "{name}: {n_tipped} of {}", halves.len());
            assert_eq!(
                expected.slice(s![n, c, .., ..]).mapv(f16::from_f32),
                expected_f16.slice(s![n, c, .., ..])
            );
        }
    }
}

fn planes(images: &Array4<f32>) -> impl Iterator<Item = ((usize, usize), Array2<f32>)> {
    let (n, c, _, _) = images.dim();
    (0..n).flat_map(move |n| (0..c).map(move |c| ((n, c), images.slice(s![n, c, .., ..]).to_owned())))
}

/// A float16 `[n, c, h, w]` fixture.
fn npy_f16(relative: &str) -> Array4<f16> {
    let bytes = std::fs::read(hubmap_test_support::fixture(relative)).unwrap();
    let header_length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = String::from_utf8_lossy(&bytes[10..10 + header_length]);
    assert!(header.contains("<f2"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = shape.split(", ").map(|side| side.parse().unwrap()).collect();
    let values =
        bytes[10 + header_length..].chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
    ArrayD::from_shape_vec(shape, values).unwrap().into_dimensionality().unwrap()
}

/// The network of fixture 07, which is not symmetric in any way.
fn asymmetric_logits(images: &Array4<f32>, kernel: &Array4<f32>) -> Array4<f32> {
    let (n, _, height, width) = images.dim();
    Array4::from_shape_fn((n, 1, height, width), |(n, _, y, x)| {
        let mut sum = 0.0;
        for ((_, c, ky, kx), weight) in kernel.indexed_iter() {
            let (v, u) = ((y + ky).wrapping_sub(1), (x + kx).wrapping_sub(1));
            if v < height && u < width {
                sum += weight * images[[n, c, v, u]];
            }
        }
        let (row, column) = (y as f32 / height as f32, x as f32 / width as f32);
        1.5 * sum + 0.7 * row - 1.3 * column * column
    })
}

fn assert_close<D: ndarray::Dimension>(
    ours: &ndarray::Array<f32, D>,
    expected: &ndarray::Array<f32, D>,
    what: &str,
) {
    assert_eq!(ours.shape(), expected.shape(), "{what}");
    for (a, b) in ours.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-5, "{what}: {a} {b}");
    }
}

#[test]
fn views_and_means_match_ttach() {
    let images: Array4<f32> = npy("numerics/07_tta/x.npy");
    let kernel: Array4<f32> = npy("numerics/07_tta/kernel.npy");
    assert_close(&asymmetric_logits(&images, &kernel), &npy("numerics/07_tta/plain.npy"), "plain");
    let flips = [Dihedral::new(false, 0), Dihedral::new(true, 0)];
    for (name, tta, views) in [
        ("d4", Some(Tta::D4), Tta::D4.views()),
        ("kaggle", Some(Tta::Kaggle), Tta::Kaggle.views()),
        ("hflip", None, &flips),
    ] {
        let n_views = views.len();
        let file = |what: &str| format!("numerics/07_tta/{name}_{what}.npy");
        let augmented: Array5<f32> = npy(&file("augmented_inputs"));
        let deaugmented: Array5<f32> = npy(&file("deaugmented_logits"));
        assert_eq!(augmented.dim().0, n_views);
        let mut sum = Array4::<f32>::zeros(npy::<f32, ndarray::Ix4>(&file("mean_logits")).dim());
        for (view_idx, view) in views.iter().enumerate() {
            let expected = augmented.index_axis(Axis(0), view_idx);
            let mut input = Array4::zeros(images.dim());
            for (mut slot, image) in input.outer_iter_mut().zip(images.outer_iter()) {
                slot.assign(&view.transform(&image));
            }
            assert_eq!(input.view(), expected, "{name} {view:?}");
            let logits = asymmetric_logits(&input, &kernel);
            let mut back = Array4::zeros(logits.dim());
            for (mut slot, image) in back.outer_iter_mut().zip(logits.outer_iter()) {
                slot.assign(&view.inverse(&image));
            }
            assert_close(&back, &deaugmented.index_axis(Axis(0), view_idx).to_owned(), name);
            sum += &back;
        }
        assert_close(&(sum / n_views as f32), &npy(&file("mean_logits")), name);

        // The same through the predictor, for every way to group the forward passes; it has no `hflip` mode.
        let Some(tta) = tta else { continue };
        let expected: Array4<f32> = npy(&file("prob"));
        for (batch, merge) in [(1, Merge::Logits), (3, Merge::Logits), (16, Merge::Probabilities)] {
            let config = PredictConfig { tta, batch, merge, ..PredictConfig::original() };
            let kernel = kernel.clone();
            let ours = predictor(config, move |tiles| Ok(asymmetric_logits(tiles, &kernel)));
            let tiles: Vec<_> = images.outer_iter().map(|image| image.to_owned()).collect();
            for (n, probabilities) in ours.probabilities(&tiles).unwrap().iter().enumerate() {
                let expected = expected.slice(s![n, 0, .., ..]).to_owned();
                assert_close(probabilities, &expected.into_dimensionality::<Ix2>().unwrap(), name);
            }
        }
    }
}

#[test]
fn merges_differ_as_they_should() {
    // Logits 4 and -1: the mean logit is 1.5, the mean probability (0.982 + 0.269) / 2.
    let constant = |logit: f32| {
        let model = move |tiles: &Array4<f32>| {
            let (n, _, h, w) = tiles.dim();
            Ok(Array4::from_elem((n, 1, h, w), logit))
        };
        Box::new(model) as Box<dyn hubmap_infer::SegmentTiles>
    };
    for (merge, expected) in [(Merge::Logits, 0.817_574_5), (Merge::Probabilities, 0.625_477_6)] {
        let config = PredictConfig { merge, ..PredictConfig::original() };
        let models = vec![constant(4.0), constant(-1.0)];
        let ours = Predictor::new(models, hubmap_data::Normalization::KIDNEY, config).unwrap();
        let tile = ndarray::Array3::zeros((3, 4, 6));
        let probabilities = ours.probabilities(&[tile]).unwrap();
        assert_eq!(probabilities[0].dim(), (4, 6));
        assert!(probabilities[0].iter().all(|p| (p - expected).abs() < 1e-6), "{probabilities:?}");
    }
}

#[test]
fn hard_dice_matches_the_reference() {
    let index = json("numerics/10_dice.json");
    let cases = index["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let values = |key: &str| serde_json::from_value::<Vec<f64>>(case[key].clone()).unwrap();
        let mut sums = DiceSums::default();
        for (probability, target) in values("prob").into_iter().zip(values("target")) {
            sums.add(probability, target, case["threshold"].as_f64().unwrap());
        }
        let expected = case["dice"].as_f64().unwrap();
        assert!((sums.dice() - expected).abs() <= 1e-12, "{}: {} {expected}", case["name"], sums.dice());
    }
}
