use half::f16;
use hubmap_io::{Mask, Size, Window};
use ndarray::{Array2, s};
use proptest::prelude::*;

use super::*;
use crate::outputs::NpyWriter;
use crate::postprocess::positive_pixels;
use crate::predictor::RowSink;

/// Masks of up to 12 × 12 px, of about a fifth to four fifths set pixels, or of none.
fn any_masks() -> impl Strategy<Value = (Mask, Mask)> {
    let bits = || (0_u8..5, prop::collection::vec(0_u8..5, 144));
    (1_u32..12, 1_u32..12, bits(), bits()).prop_map(|(width, height, a, b)| {
        let mask = |(level, bits): (u8, Vec<u8>)| {
            let mut mask = Mask::new(Size::new(width, height));
            for (i, &bit) in bits.iter().enumerate() {
                mask.set(i as u32 % 12, i as u32 / 12, bit < level);
            }
            mask
        };
        (mask(a), mask(b))
    })
}

fn pixels(mask: &Mask) -> Vec<(i64, i64)> {
    let Size { width, height } = mask.size();
    let all = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    all.filter(|&(x, y)| mask.get(x, y)).map(|(x, y)| (x.into(), y.into())).collect()
}

fn is_set(mask: &Mask, (x, y): (i64, i64)) -> bool {
    x >= 0 && y >= 0 && mask.get(x as u32, y as u32)
}

const SIDES: [(i64, i64); 4] = [(1, 0), (-1, 0), (0, 1), (0, -1)];

fn flooded_objects(mask: &Mask) -> Vec<Vec<(i64, i64)>> {
    let mut left: BTreeSet<(i64, i64)> = pixels(mask).into_iter().collect();
    let mut objects = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut object = vec![first];
        let mut done = 0;
        while done < object.len() {
            let (x, y) = object[done];
            object.extend(SIDES.map(|(dx, dy)| (x + dx, y + dy)).into_iter().filter(|p| left.remove(p)));
            done += 1;
        }
        objects.push(object);
    }
    objects
}

fn brute_hausdorff_95(a: &Mask, b: &Mask) -> Option<f64> {
    let outline = |mask: &Mask| -> Vec<(i64, i64)> {
        let is_edge = |&(x, y): &(i64, i64)| SIDES.iter().any(|(dx, dy)| !is_set(mask, (x + dx, y + dy)));
        pixels(mask).into_iter().filter(is_edge).collect()
    };
    let (a, b) = (outline(a), outline(b));
    if a.is_empty() || b.is_empty() {
        return (a.len() == b.len()).then_some(0.0);
    }
    let nearest = |from: &[(i64, i64)], to: &[(i64, i64)]| -> Vec<f64> {
        let distance = |p: &(i64, i64), q: &(i64, i64)| ((p.0 - q.0) as f64).hypot((p.1 - q.1) as f64);
        from.iter().map(|p| to.iter().map(|q| distance(p, q)).fold(f64::INFINITY, f64::min)).collect()
    };
    let mut all = [nearest(&a, &b), nearest(&b, &a)].concat();
    all.sort_by(f64::total_cmp);
    let rank = 0.95 * (all.len() - 1) as f64;
    let next = all[(rank as usize + 1).min(all.len() - 1)];
    Some(all[rank as usize] + rank.fract() * (next - all[rank as usize]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn objects_match_as_those_found_by_flooding((a, b) in any_masks()) {
        let (objects_a, objects_b) = (flooded_objects(&a), flooded_objects(&b));
        let is_match = |a: &[(i64, i64)], b: &[(i64, i64)]| {
            let shared = a.iter().filter(|p| b.contains(p)).count();
            shared as f64 / (a.len() + b.len() - shared) as f64 > 0.5
        };
        let matched = objects_a.iter().filter(|a| objects_b.iter().any(|b| is_match(a, b))).count();
        let score = count_matches(&Rle::encode(&a), &Rle::encode(&b), a.size());
        let counts = [objects_a.len(), objects_b.len(), matched].map(|n| n as u64);
        prop_assert_eq!([score.predicted, score.truth, score.matched], counts);
    }

    #[test]
    fn outlines_are_as_far_apart_as_by_brute_force((a, b) in any_masks()) {
        let ours = hausdorff_95(&Rle::encode(&a), &Rle::encode(&b), a.size());
        let expected = brute_hausdorff_95(&a, &b);
        prop_assert_eq!(ours.is_some(), expected.is_some());
        let difference = ours.unwrap_or_default() - expected.unwrap_or_default();
        prop_assert!(difference.abs() < 1e-9, "{:?} for {:?}", ours, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_sweep_is_the_dice_of_each_threshold(
        (truth, _) in any_masks(), values in prop::collection::vec((0_u16..=20, any::<bool>()), 144)
    ) {
        let Size { width, height } = truth.size();
        // Every other value lies on a threshold.
        let map = Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
            let (twentieths, is_between) = values[y * 12 + x];
            f16::from_f32(f32::from(twentieths) / 20.0 + if is_between { 0.02 } else { 0.0 })
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.npy");
        let mut writer = NpyWriter::create(&path, truth.size()).unwrap();
        writer.write_rows(0, &map).unwrap();
        writer.finish().unwrap().commit().unwrap();
        let truth = Rle::encode(&truth);
        let counts = SweepCounts::of_slide(&path, Size::new(width, height), &truth, &()).unwrap();
        let sweep = Sweep::of(vec!["s".to_owned()], &[counts]);
        for (i, &threshold) in sweep.thresholds.iter().enumerate() {
            let positive = positive_pixels(&map, threshold as f32);
            let dice = crate::set_dice(&Rle::encode_array(positive.view()), &truth);
            prop_assert_eq!(sweep.slides[0].dice[i].to_bits(), dice.to_bits());
            prop_assert_eq!(sweep.mean_dice[i].to_bits(), dice.to_bits());
            prop_assert_eq!(sweep.pooled_dice[i].to_bits(), dice.to_bits());
        }
    }
}

#[test]
fn an_iou_of_a_half_is_no_match() {
    // One true object of two pixels, two predicted ones of one pixel each would both have IoU 0.5.
    let size = Size::new(3, 3);
    let truth = Rle::parse("1 2").unwrap();
    let half = count_matches(&Rle::parse("1 1").unwrap(), &truth, size);
    assert_eq!((half.matched, half.f1), (0, 0.0));
    let most = count_matches(&Rle::parse("1 3").unwrap(), &truth, size);
    assert_eq!((most.matched, most.precision, most.recall), (1, Some(1.0), Some(1.0)));
    let nothing = count_matches(&Rle::default(), &Rle::default(), size);
    assert_eq!((nothing.precision, nothing.recall, nothing.f1), (None, None, 1.0));
}

#[test]
fn runs_over_the_end_of_a_column_are_cut() {
    let runs = column_runs(&Rle::parse("3 7").unwrap(), 4);
    let rows: Vec<_> = runs.iter().map(|run| (run.x, run.y0, run.y1)).collect();
    assert_eq!(rows, [(0, 2, 4), (1, 0, 4), (2, 0, 1)]);
}

#[test]
fn long_outlines_far_apart_take_little() {
    // Two squares at opposite corners of a large slide.
    let size = Size::new(40_000, 30_000);
    let square = |x: i64, y: i64| {
        let mut mask = Mask::new(size);
        let window = Window::new(x, y, 2000, 2000);
        (window.y..window.bottom()).for_each(|y| mask.fill_run(y as u32, x as u32, x as u32 + 2000));
        Rle::encode(&mask)
    };
    let distance = hausdorff_95(&square(0, 0), &square(38_000, 28_000), size).unwrap();
    // From the outline of one square to the nearest corner of the other: 36 001 and 26 001 px at least.
    assert!(distance > 36_001_f64.hypot(26_001.0) && distance < 38_000_f64.hypot(28_000.0), "{distance}");
}

#[test]
fn the_best_threshold_is_the_first_of_the_best() {
    let sweep = Sweep {
        thresholds: vec![0.1, 0.2, 0.3],
        mean_dice: vec![0.5, 0.75, 0.75],
        pooled_dice: vec![0.9, 0.5, 0.5],
        slides: Vec::new(),
    };
    assert_eq!(sweep.best(), (0.2, 0.75));
}

#[test]
fn bands_of_a_sweep_cover_the_slide() {
    // Wider than high, and of several bands.
    let size = Size::new(1 << 14, 2500);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.npy");
    let mut writer = NpyWriter::create(&path, size).unwrap();
    let rows = Array2::from_shape_fn((500, 1 << 14), |(y, x)| {
        f16::from_f32(if (x + y) % 3 == 0 { 0.7 } else { 0.1 })
    });
    for y0 in (0..2500).step_by(500) {
        writer.write_rows(y0, &rows.slice(s![.., ..])).unwrap();
    }
    writer.finish().unwrap().commit().unwrap();
    let mut truth = Mask::new(size);
    (1000..1100).for_each(|y| truth.fill_run(y, 0, 1 << 14));
    let counts = SweepCounts::of_slide(&path, size, &Rle::encode(&truth), &()).unwrap();
    let n_positive = |rows: std::ops::Range<usize>| {
        let pixels = rows.flat_map(|y| (0..1_usize << 14).map(move |x| (x, y % 500)));
        pixels.filter(|(x, y)| (x + y) % 3 == 0).count() as u64
    };
    let dice = Sweep::of(vec!["s".to_owned()], &[counts]).mean_dice[9];
    let expected = count_dice(n_positive(1000..1100), n_positive(0..2500), 100 << 14);
    assert!((dice - expected).abs() < 1e-12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn objects_are_those_of_the_traced_mask((a, b) in any_masks()) {
        let size = a.size();
        let (objects, others) = (MaskObjects::new(&Rle::encode(&a), size), MaskObjects::new(&Rle::encode(&b), size));
        // The flood starts from columns, the numbers go by rows.
        let mut flooded = flooded_objects(&a);
        flooded.sort_by_key(|object| object.iter().map(|&(x, y)| (y, x)).min());
        prop_assert_eq!(objects.as_slice().len(), flooded.len());
        for (place, (object, pixels)) in objects.as_slice().iter().zip(&flooded).enumerate() {
            prop_assert_eq!(object.area_px, pixels.len() as u64);
            let mut filled = Mask::new(size);
            filled.fill_polygon(&objects.outline(place).unwrap());
            prop_assert_eq!(self::pixels(&filled).len(), pixels.len());
            prop_assert!(pixels.iter().all(|&pixel| is_set(&filled, pixel)));
            let in_bounds = |&(x, y): &(i64, i64)| object.bounds.intersect(&Window::new(x, y, 1, 1)).is_some();
            prop_assert!(pixels.iter().all(in_bounds));
            let mean = |part: fn(&(i64, i64)) -> i64| {
                pixels.iter().map(|p| part(p) as f64 + 0.5).sum::<f64>() / pixels.len() as f64
            };
            let off = [object.centroid[0] - mean(|p| p.0), object.centroid[1] - mean(|p| p.1)];
            prop_assert!(off.iter().all(|off| off.abs() < 1e-9));
        }
        prop_assert!(objects.outline(flooded.len()).is_none());

        let pairs = objects.pairs(&others);
        let n_matched = pairs.iter().filter(|pair| pair.iou > 0.5).count() as u64;
        prop_assert_eq!(n_matched, count_matches(&Rle::encode(&a), &Rle::encode(&b), size).matched);
        let mut theirs = flooded_objects(&b);
        theirs.sort_by_key(|object| object.iter().map(|&(x, y)| (y, x)).min());
        let mut expected = Vec::new();
        for (i, ours) in flooded.iter().enumerate() {
            for (j, theirs) in theirs.iter().enumerate() {
                let n = ours.iter().filter(|pixel| theirs.contains(pixel)).count();
                if n > 0 {
                    expected.push((i, j, n as f64 / (ours.len() + theirs.len() - n) as f64));
                }
            }
        }
        prop_assert_eq!(pairs.iter().map(|pair| (pair.a, pair.b, pair.iou)).collect::<Vec<_>>(), expected);
    }
}
