//! Probabilities and amounts over 10 000 draws.
//!
//! Bounds are so many standard deviations wide; with the seeds as they are, every test holds or fails for good.

use super::*;

const N_DRAWS: u64 = 10_000;
/// A right implementation is outside with a probability of 1 in 15 000 per comparison.
const SIGMAS: f64 = 4.0;
const SIZE: Size = Size::new(300, 240);

/// What a transform draws for a sample of a size.
fn draws_of(transform: &Transform, size: Size) -> Vec<Vec<Operation>> {
    (0..N_DRAWS).map(|idx| transform.draw(size, &mut stream(9, Purpose::Augment, 1, idx)).unwrap()).collect()
}

/// Draws of a step that always happens: one operation each.
fn always(step: &str) -> Vec<Operation> {
    draws_of(&steps(&format!("{{ {step}, p = 1.0 }}")), SIZE)
        .into_iter()
        .map(|mut operations| {
            assert_eq!(operations.len(), 1);
            operations.remove(0)
        })
        .collect()
}

#[track_caller]
fn assert_frequency(n_seen: usize, n_draws: usize, p: f64, what: &str) {
    let (n, seen) = (n_draws as f64, n_seen as f64);
    let sigma = (n * p * (1.0 - p)).sqrt();
    assert!((seen - n * p).abs() <= SIGMAS * sigma, "{what}: {seen} of {n}, expected {} ± {sigma}", n * p);
}

/// Checks that values are equally likely anywhere from `min` to `max`, tenth by tenth, and never outside.
#[track_caller]
fn assert_uniform(values: impl Iterator<Item = f64>, min: f64, max: f64) {
    let mut tenths = [0; 10];
    for value in values {
        assert!((min..=max).contains(&value), "{value} is not from {min} to {max}");
        tenths[(((value - min) / (max - min) * 10.0) as usize).min(9)] += 1;
    }
    let n_values = tenths.iter().sum();
    for (idx, &n_seen) in tenths.iter().enumerate() {
        assert_frequency(n_seen, n_values, 0.1, &format!("tenth {idx} of {min} to {max}"));
    }
}

/// Checks that each whole number from `min` to `max` is equally likely.
#[track_caller]
fn assert_equally_likely(values: impl Iterator<Item = u32>, min: u32, max: u32) {
    let mut counts = vec![0; (max - min + 1) as usize];
    for value in values {
        assert!((min..=max).contains(&value), "{value} is not from {min} to {max}");
        counts[(value - min) as usize] += 1;
    }
    let (n_values, p) = (counts.iter().sum(), 1.0 / counts.len() as f64);
    for (idx, &n_seen) in counts.iter().enumerate() {
        assert_frequency(n_seen, n_values, p, &format!("{} of {min} to {max}", min + idx as u32));
    }
}

/// The payload of a variant, for every operation.
macro_rules! all {
    ($operations:expr, $pattern:pat => $value:expr) => {
        $operations.iter().map(|operation| match operation {
            $pattern => $value,
            other => panic!("unexpected {other:?}"),
        })
    };
}

/// Checks how often a transform has an operation that matches.
macro_rules! assert_often {
    ($draws:expr, $pattern:pat, $p:expr) => {
        let n_seen = $draws.iter().filter(|one| one.iter().any(|op| matches!(op, $pattern))).count();
        assert_frequency(n_seen, $draws.len(), $p, stringify!($pattern));
    };
}

#[test]
fn every_probability_is_that_of_its_setting() {
    for step in [
        r#"kind = "flip""#,
        r#"kind = "quarter_turn""#,
        r#"kind = "shift_scale_rotate", shift = 0.1, scale = 0.2, angle_deg = 45.0"#,
        r#"kind = "gamma_pair", dark_gamma = 2.5, other_gamma = 4.0, dark_below_std = 0.8"#,
        r#"kind = "hue_saturation_value", hue = 10.0, saturation = 15.0, value = 10.0"#,
        r#"kind = "clahe", max_clip = 4.0, n_tiles = 8"#,
        r#"kind = "brightness_contrast", brightness = 0.4, contrast = 0.4"#,
        r#"kind = "channel_shuffle""#,
        r#"kind = "cutout", n_holes = 3, size_px = 9, level = 0"#,
        r#"kind = "grid_dropout", ratio = 0.5, level = 230"#,
        r#"kind = "coarse_dropout", min_holes = 1, max_holes = 4, min_px = 3, max_px = 60, level = 220"#,
        r#"kind = "gaussian_blur", min_px = 3, max_px = 9"#,
        r#"kind = "lightning", min_bolts = 1, max_bolts = 1, min_width_px = 2.0, max_width_px = 6.0, color = [9, 9, 9], alpha = 0.8"#,
        r#"kind = "fake_glomeruli", min_objects = 1, max_objects = 1, min_radius_px = 5.0, max_radius_px = 9.0, color = [9, 9, 9], color_shift = 30, alpha = 0.8, in_mask = false"#,
        r#"kind = "one_of", choices = [{ weight = 2.0, step = { kind = "flip", p = 1.0 } }]"#,
        r#"kind = "group", steps = [{ kind = "flip", p = 1.0 }]"#,
    ] {
        for p in [0.3, 0.85] {
            let draws = draws_of(&steps(&format!("{{ {step}, p = {p} }}")), SIZE);
            let n_seen = draws.iter().filter(|operations| !operations.is_empty()).count();
            assert_frequency(n_seen, draws.len(), p, step);
        }
    }
}

#[test]
fn crops_are_uniform() {
    let crop = draws_of(&steps(r#"{ kind = "random_crop", size_px = 230 }"#), SIZE).concat();
    assert_equally_likely(all!(crop, Operation::Crop { x_px, .. } => *x_px), 0, 70);
    assert_equally_likely(all!(crop, Operation::Crop { y_px, .. } => *y_px), 0, 10);
}

#[test]
fn amounts_of_movements_are_uniform() {
    let turns = always(r#"kind = "quarter_turn""#);
    assert_equally_likely(all!(turns, Operation::QuarterTurns(n) => *n), 0, 3);
    let flips = always(r#"kind = "flip""#);
    let flips = flips.iter().map(|operation| match operation {
        Operation::FlipHorizontal => 0,
        Operation::FlipVertical => 1,
        Operation::QuarterTurns(2) => 2,
        other => panic!("unexpected {other:?}"),
    });
    assert_equally_likely(flips, 0, 2);
    let warps = always(r#"kind = "shift_scale_rotate", shift = 0.1, scale = 0.2, angle_deg = 45.0"#);
    let warps = all!(warps, Operation::Warp(similarity) => *similarity).collect::<Vec<_>>();
    assert_uniform(warps.iter().map(|warp| warp.shift_x), -0.1, 0.1);
    assert_uniform(warps.iter().map(|warp| warp.shift_y), -0.1, 0.1);
    assert_uniform(warps.iter().map(|warp| warp.scale), 0.8, 1.2);
    assert_uniform(warps.iter().map(|warp| warp.angle_deg), -45.0, 45.0);
    let n_alike = warps.iter().filter(|warp| (warp.shift_x < 0.0) == (warp.shift_y < 0.0)).count();
    assert_frequency(n_alike, warps.len(), 0.5, "shifts are independent");
}

#[test]
fn amounts_of_colour_changes_are_uniform() {
    let shifts = always(r#"kind = "hue_saturation_value", hue = 10.0, saturation = 15.0, value = 5.0"#);
    assert_uniform(all!(shifts, Operation::ShiftHsv { hue, .. } => *hue), -10.0, 10.0);
    assert_uniform(all!(shifts, Operation::ShiftHsv { saturation, .. } => *saturation), -15.0, 15.0);
    assert_uniform(all!(shifts, Operation::ShiftHsv { value, .. } => *value), -5.0, 5.0);
    let scales = always(r#"kind = "brightness_contrast", brightness = 0.3, contrast = 0.4"#);
    assert_uniform(all!(scales, Operation::ScaleLevels { factor, .. } => *factor), 0.6, 1.4);
    assert_uniform(all!(scales, Operation::ScaleLevels { offset, .. } => *offset), -0.3, 0.3);
    let limits = always(r#"kind = "clahe", max_clip = 4.0, n_tiles = 8"#);
    assert_uniform(
        all!(limits, Operation::EqualizeLightness { clip_limit, n_tiles: 8 } => *clip_limit),
        1.0,
        4.0,
    );
    let orders = always(r#"kind = "channel_shuffle""#);
    let first = all!(orders, Operation::PermuteChannels(order) => order[0] as u32);
    assert_equally_likely(first, 0, 2);
    let is_even = all!(orders, Operation::PermuteChannels([a, b, _]) => u32::from((a + 1) % 3 == *b));
    assert_equally_likely(is_even, 0, 1);
    let pair = always(r#"kind = "gamma_pair", dark_gamma = 2.5, other_gamma = 4.0, dark_below_std = 0.8"#);
    let expected = GammaPair { dark_gamma: 2.5, other_gamma: 4.0, dark_below_std: 0.8 };
    assert_eq!(pair[0], Operation::GammaPair(expected));
}

#[test]
fn kernels_are_drawn_as_in_albumentations() {
    let blurs = always(r#"kind = "gaussian_blur", min_px = 3, max_px = 9"#);
    for (kernel, p) in [(3, 1.0 / 7.0), (5, 2.0 / 7.0), (7, 2.0 / 7.0), (9, 2.0 / 7.0)] {
        let n_seen =
            all!(blurs, Operation::Blur { kernel_px } => *kernel_px).filter(|k| *k == kernel).count();
        assert_frequency(n_seen, blurs.len(), p, &format!("kernel {kernel}"));
    }
}

#[test]
fn squares_lie_around_uniform_centres() {
    let cutouts = always(r#"kind = "cutout", n_holes = 5, size_px = 64, level = 3"#);
    let holes = all!(cutouts, Operation::Fill { holes, level: 3 } => {
        assert_eq!(holes.len(), 5);
        holes
    });
    let holes = holes.flatten().copied().collect::<Vec<_>>();
    assert!(holes.iter().all(|hole| (hole.width_px, hole.height_px) == (64, 64)));
    // Centres within half a square of the first edge give a square that begins there.
    assert_frequency(holes.iter().filter(|h| h.x_px == 0).count(), holes.len(), 33.0 / 301.0, "left");
    assert_frequency(holes.iter().filter(|h| h.y_px == 0).count(), holes.len(), 33.0 / 241.0, "top");
    let off_edge = |v: &u32| *v > 0;
    assert_equally_likely(holes.iter().map(|hole| hole.x_px).filter(off_edge), 1, 268);
    assert_equally_likely(holes.iter().map(|hole| hole.y_px).filter(off_edge), 1, 208);
}

#[test]
fn grids_are_those_of_albumentations_at_every_offset() {
    let grids = always(r#"kind = "grid_dropout", ratio = 0.6, level = 230"#);
    let grids = all!(grids, Operation::Fill { holes, level: 230 } => holes).collect::<Vec<_>>();
    // A tenth of the width, and six tenths of that.
    let (unit, side) = (30, 18);
    assert_equally_likely(grids.iter().map(|holes| holes[0].x_px), 0, unit - side);
    assert_equally_likely(grids.iter().map(|holes| holes[0].y_px), 0, unit - side);
    for holes in grids {
        // `GridDropout.get_params_dependent_on_targets` of 0.5.2, without its empty holes.
        let Hole { x_px: shift_x, y_px: shift_y, .. } = holes[0];
        let mut expected = Vec::new();
        for j in 0..=SIZE.height / unit {
            for i in 0..=SIZE.width / unit {
                let (x_px, y_px) = (shift_x + unit * i, shift_y + unit * j);
                if x_px < SIZE.width && y_px < SIZE.height {
                    expected.push(Hole { x_px, y_px, width_px: side, height_px: side });
                }
            }
        }
        assert_eq!(*holes, expected);
    }
}

#[test]
fn rectangles_are_uniform_in_number_size_and_place() {
    let coarse =
        r#"kind = "coarse_dropout", min_holes = 1, max_holes = 24, min_px = 16, max_px = 64, level = 220"#;
    let drops = always(coarse);
    let drops = all!(drops, Operation::Fill { holes, level: 220 } => holes).collect::<Vec<_>>();
    assert_equally_likely(drops.iter().map(|holes| holes.len() as u32), 1, 24);
    let holes = drops.into_iter().flatten().collect::<Vec<_>>();
    assert_equally_likely(holes.iter().map(|hole| hole.width_px), 16, 64);
    assert_equally_likely(holes.iter().map(|hole| hole.height_px), 16, 64);
    // Middles of pixels, 250 and 200 of them, so that tenths are equally wide.
    let of_width = |width: u32| holes.iter().filter(move |hole| hole.width_px == width);
    assert_uniform(of_width(51).map(|hole| f64::from(hole.x_px) + 0.5), 0.0, 250.0);
    let of_height = |height: u32| holes.iter().filter(move |hole| hole.height_px == height);
    assert_uniform(of_height(41).map(|hole| f64::from(hole.y_px) + 0.5), 0.0, 200.0);
}

#[test]
fn streaks_are_drawn_within_their_settings() {
    let storms = always(
        r#"kind = "lightning", min_bolts = 1, max_bolts = 3, min_width_px = 4.0, max_width_px = 24.0, color = [9, 8, 7], alpha = 0.9"#,
    );
    let storms =
        all!(storms, Operation::Lightning { bolts, color: [9, 8, 7], .. } => bolts).collect::<Vec<_>>();
    // Branches have half of the pieces.
    let is_main = |bolt: &&Bolt| bolt.points.len() == 33;
    assert_equally_likely(storms.iter().map(|bolts| bolts.iter().filter(is_main).count() as u32), 1, 3);
    let bolts = storms.into_iter().flatten().collect::<Vec<_>>();
    let main = bolts.iter().copied().filter(is_main).collect::<Vec<_>>();
    assert_frequency(bolts.len() - main.len(), main.len(), 0.5, "branches");
    assert_uniform(main.iter().map(|bolt| f64::from(bolt.width_px)), 4.0, 24.0);
    let middle = |bolt: &Bolt, axis: usize| {
        f64::from(bolt.points[0][axis] + bolt.points[bolt.points.len() - 1][axis]) / 2.0
    };
    assert_uniform(main.iter().map(|bolt| middle(bolt, 0).clamp(0.0, 300.0)), 0.0, 300.0);
    assert_uniform(main.iter().map(|bolt| middle(bolt, 1).clamp(0.0, 240.0)), 0.0, 240.0);
}

#[test]
fn fake_glomeruli_are_drawn_within_their_settings() {
    let crowds = always(
        r#"kind = "fake_glomeruli", min_objects = 1, max_objects = 3, min_radius_px = 45.0, max_radius_px = 90.0, color = [145, 85, 10], color_shift = 30, alpha = 0.7, in_mask = false"#,
    );
    let crowds = all!(crowds, Operation::FakeGlomeruli { objects, .. } => objects).collect::<Vec<_>>();
    assert_equally_likely(crowds.iter().map(|objects| objects.len() as u32), 1, 3);
    let objects = crowds.into_iter().flatten().collect::<Vec<_>>();
    assert_uniform(objects.iter().map(|object| f64::from(object.radius_px)), 45.0, 90.0);
    assert_uniform(objects.iter().map(|object| f64::from(object.center[0])), 0.0, 300.0);
    assert_uniform(objects.iter().map(|object| f64::from(object.center[1])), 0.0, 240.0);
    assert_equally_likely(objects.iter().map(|object| u32::from(object.color[0])), 115, 175);
    assert_equally_likely(objects.iter().map(|object| u32::from(object.color[1])), 55, 115);
    // Clipped at black.
    let n_black = objects.iter().filter(|object| object.color[2] == 0).count();
    assert_frequency(n_black, objects.len(), 21.0 / 61.0, "black");
}

#[test]
fn presets_that_only_move() {
    let crop = Operation::Crop { x_px: 118, y_px: 88, width_px: 64, height_px: 64 };
    assert_eq!(draws_of(&base("val", 64), SIZE).concat(), vec![crop.clone(); N_DRAWS as usize]);

    let light = draws_of(&base("light", 64), SIZE);
    assert!(light.iter().all(|operations| operations[0] == crop));
    assert_d4(&light);

    let resize = draws_of(&base("resize", 64), Size::new(192, 192));
    assert!(resize.iter().all(|operations| operations[0] == Operation::Reduce { factor: 3 }));
    assert_d4(&resize);

    // 11 x 7 places, of which the centre is favoured.
    let geometric = draws_of(&base("geometric", 64), Size::new(74, 70));
    let n_centre = geometric
        .iter()
        .filter(|operations| matches!(operations[0], Operation::Crop { x_px: 5, y_px: 3, .. }));
    assert_frequency(n_centre.count(), geometric.len(), 0.2 + 0.8 / 77.0, "centre");
    assert_d4(&geometric);
}

/// Flip with probability .5, each of its three kinds as likely, then a turn with probability .5.
#[track_caller]
fn assert_d4(draws: &[Vec<Operation>]) {
    assert_often!(draws, Operation::FlipHorizontal, 0.5 / 3.0);
    assert_often!(draws, Operation::FlipVertical, 0.5 / 3.0);
    assert_often!(draws, Operation::QuarterTurns(0), 0.125);
    assert_often!(draws, Operation::QuarterTurns(1), 0.125);
    assert_often!(draws, Operation::QuarterTurns(3), 0.125);
    assert_often!(draws, Operation::QuarterTurns(2), 1.0 - (1.0 - 0.5 / 3.0) * 0.875);
}

#[test]
fn light_scale_is_that_of_the_winning_solution() {
    let draws = draws_of(&base("light_scale", 200), SIZE);
    assert_often!(draws, Operation::Crop { width_px: 200, height_px: 200, .. }, 1.0);
    assert_d4(&draws);
    assert_often!(draws, Operation::Warp(_), 0.4 * 0.2);
    assert_often!(draws, Operation::GammaPair(_), 0.4 * 0.1);
    assert_often!(draws, Operation::ShiftHsv { .. }, 0.4 * 0.3 / 4.0);
    assert_often!(draws, Operation::EqualizeLightness { n_tiles: 8, .. }, 0.4 * 0.3 / 4.0);
    assert_often!(draws, Operation::ScaleLevels { .. }, 0.4 * 0.3 / 4.0);
    assert_often!(draws, Operation::PermuteChannels(_), 0.4 * 0.3 / 4.0);
    assert_holes(&draws, 0.4 * 0.1);
    assert_often!(draws, Operation::Blur { .. }, 0.4 * 0.2);
    assert_often!(draws, Operation::Lightning { .. }, 0.0);
    assert_often!(draws, Operation::FakeGlomeruli { .. }, 0.0);
    // All of the group happens or nothing: members are not independent.
    let n_both = draws.iter().filter(|operations| {
        operations.iter().any(|op| matches!(op, Operation::Warp(_)))
            && operations.iter().any(|op| matches!(op, Operation::Blur { .. }))
    });
    assert_frequency(n_both.count(), draws.len(), 0.4 * 0.2 * 0.2, "warp and blur");
    // Colours are one of several, so two of them never meet.
    let is_color = |op: &&Operation| {
        matches!(
            op,
            Operation::ShiftHsv { .. }
                | Operation::EqualizeLightness { .. }
                | Operation::ScaleLevels { .. }
                | Operation::PermuteChannels(_)
        )
    };
    assert!(draws.iter().all(|operations| operations.iter().filter(is_color).count() <= 1));
    let amounts = draws.concat();
    for operation in &amounts {
        match operation {
            Operation::Warp(warp) => {
                assert!(warp.angle_deg.abs() <= 45.0 && (warp.scale - 1.0).abs() <= 0.2);
                assert!(warp.shift_x.abs() <= 0.1 && warp.shift_y.abs() <= 0.1);
            }
            Operation::ShiftHsv { hue, saturation, value } => {
                assert!(hue.abs() <= 10.0 && saturation.abs() <= 15.0 && value.abs() <= 10.0);
            }
            Operation::ScaleLevels { factor, offset } => {
                assert!((factor - 1.0).abs() <= 0.4 && offset.abs() <= 0.4);
            }
            Operation::EqualizeLightness { clip_limit, .. } => assert!((1.0..=4.0).contains(clip_limit)),
            Operation::Blur { kernel_px } => assert!([3, 5, 7, 9].contains(kernel_px)),
            Operation::GammaPair(pair) => {
                assert_eq!(*pair, GammaPair { dark_gamma: 2.5, other_gamma: 4.0, dark_below_std: 0.8 });
            }
            _ => {}
        }
    }
    assert!(amounts.iter().any(|op| matches!(op, Operation::Warp(warp) if warp.angle_deg > 40.0)));
    assert!(
        amounts.iter().any(|op| matches!(op, Operation::ShiftHsv { saturation, .. } if *saturation > 12.0))
    );
    assert!(amounts.iter().any(|op| matches!(op, Operation::ScaleLevels { offset, .. } if *offset > 0.3)));
    assert!(
        amounts
            .iter()
            .any(|op| matches!(op, Operation::EqualizeLightness { clip_limit, .. } if *clip_limit > 3.5))
    );
}

/// Weights .3, .3 and .4, told apart by their levels.
#[track_caller]
fn assert_holes(draws: &[Vec<Operation>], p: f64) {
    assert_often!(draws, Operation::Fill { level: 0, .. }, 0.3 * p);
    assert_often!(draws, Operation::Fill { level: 230, .. }, 0.3 * p);
    assert_often!(draws, Operation::Fill { level: 220, .. }, 0.4 * p);
    for operation in draws.iter().flatten() {
        let Operation::Fill { holes, level } = operation else { continue };
        match level {
            0 => assert!(holes.len() == 24 && holes.iter().all(|hole| hole.width_px == 64)),
            230 => assert!(holes.iter().all(|hole| hole.width_px == 10)),
            _ => assert!((1..=24).contains(&holes.len())),
        }
    }
}

#[test]
fn ssl_pastes_decoys_and_streaks() {
    let draws = draws_of(&base("ssl", 200), SIZE);
    assert_d4(&draws);
    assert_often!(draws, Operation::FakeGlomeruli { in_mask: false, .. }, 0.3);
    assert_often!(draws, Operation::Lightning { .. }, 0.7);
    assert_often!(draws, Operation::ShiftHsv { .. }, 0.5 / 3.0);
    assert_often!(draws, Operation::EqualizeLightness { .. }, 0.5 / 3.0);
    assert_often!(draws, Operation::ScaleLevels { .. }, 0.5 / 3.0);
    assert_often!(draws, Operation::PermuteChannels(_), 0.0);
    assert_holes(&draws, 0.3);
    assert_often!(draws, Operation::Blur { .. }, 0.2);
}
