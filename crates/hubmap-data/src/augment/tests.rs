//! What holds for every sample; `statistics` has what holds on average.

mod statistics;

use std::collections::HashSet;

use ndarray::{Array2, Array3, Axis, s};
use proptest::prelude::*;

use super::*;
use crate::seed::{Purpose, stream};

/// A transform of the base config.
pub(crate) fn base(name: &str, crop_px: u32) -> Transform {
    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    let data: crate::config::DataConfig = base["data"].clone().try_into().unwrap();
    data.transforms.resolve(name, crop_px).unwrap()
}

const PRESETS: [&str; 6] = ["val", "resize", "light", "geometric", "light_scale", "ssl"];

/// The transform of steps in TOML.
fn steps(text: &str) -> Transform {
    let transforms: Transforms = toml::from_str(&format!("all = [{text}]")).unwrap();
    transforms.resolve("all", 8).unwrap()
}

fn rng(idx: u64) -> StreamRng {
    stream(3, Purpose::Augment, 0, idx)
}

/// A sample whose channels say where a pixel came from; the mask repeats the first one.
fn sample(height: usize, width: usize) -> Sample {
    let image = Array3::from_shape_fn((height, width, 3), |(y, x, c)| (y * 31 + x * 7 + c * 90) as u8);
    let mask = image.index_axis(Axis(2), 0).to_owned();
    Sample::new("s", image, mask).unwrap()
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::FlipHorizontal),
        Just(Operation::FlipVertical),
        (0..9_u32).prop_map(Operation::QuarterTurns),
        (0..4_u32, 0..4_u32, 1..8_u32, 1..8_u32).prop_map(|(x_px, y_px, width_px, height_px)| {
            Operation::Crop { x_px, y_px, width_px, height_px }
        }),
        (1..3_u32).prop_map(|factor| Operation::Reduce { factor }),
    ]
}

proptest! {
    #[test]
    fn image_and_mask_move_together(
        height in 8..24_usize,
        width in 8..24_usize,
        operations in prop::collection::vec(operation(), 0..8),
    ) {
        // Operations that the sizes do not allow are refused, and then nothing is left to compare.
        if let Ok(moved) = perform(sample(height, width), &operations) {
            prop_assert_eq!(moved.image.index_axis(Axis(2), 0), moved.mask.view());
            prop_assert!(moved.image.is_standard_layout() && moved.mask.is_standard_layout());
        }
    }

    #[test]
    fn warped_masks_lie_on_warped_images(
        (shift_x, shift_y) in (-0.4..0.4_f64, -0.4..0.4_f64),
        scale in 0.4..2.0_f64,
        angle_deg in -180.0..180.0_f64,
    ) {
        let inside = |y: usize, x: usize| (y as i32 - 14).pow(2) + (x as i32 - 9).pow(2) < 60;
        let mask = Array2::from_shape_fn((25, 31), |(y, x)| if inside(y, x) { 255 } else { 0 });
        let image = Array3::from_shape_fn((25, 31, 3), |(y, x, _)| mask[[y, x]]);
        let similarity = Similarity { shift_x, shift_y, scale, angle_deg };
        let warped = perform(Sample::new("s", image, mask).unwrap(), &[Operation::Warp(similarity)]).unwrap();
        for (level, color) in warped.mask.iter().zip(warped.image.lanes(Axis(2))) {
            // Away from edges all the pixels around are alike, and so is the nearest.
            if color[0] == 0 || color[0] == 255 {
                prop_assert_eq!(*level, color[0]);
            }
        }
    }

    #[test]
    fn views_give_what_owned_samples_give(idx in any::<u64>(), preset in prop::sample::select(&PRESETS)) {
        let transform = base(preset, 20);
        let owned = transform.apply(sample(40, 40), &mut rng(idx)).unwrap();
        let seen = transform.apply_to(&SampleView::from(&sample(40, 40)), &mut rng(idx)).unwrap();
        prop_assert_eq!(&owned, &seen);
        prop_assert_eq!((owned.image.dim(), owned.mask.dim()), ((20, 20, 3), (20, 20)));
    }
}

#[test]
fn the_eight_views_are_distinct_and_can_be_undone() {
    let mut views = HashSet::new();
    for n_turns in 0..4 {
        for is_flipped in [false, true] {
            let flip = vec![Operation::FlipHorizontal; usize::from(is_flipped)];
            let there = [flip.clone(), vec![Operation::QuarterTurns(n_turns)]].concat();
            let back = [vec![Operation::QuarterTurns(4 - n_turns)], flip].concat();
            for (height, width) in [(6, 6), (5, 8)] {
                let view = perform(sample(height, width), &there).unwrap();
                assert_eq!(perform(view.clone(), &back).unwrap(), sample(height, width), "{there:?}");
                views.insert(view.image);
            }
        }
    }
    assert_eq!(views.len(), 16);
}

#[test]
fn quarter_turns_are_those_of_numpy_and_flips_are_what_they_say() {
    let mask = ndarray::array![[1_u8, 2, 3], [4, 5, 6]];
    let image = Array3::from_shape_fn((2, 3, 3), |(y, x, c)| mask[[y, x]] * 10 + c as u8);
    let source = Sample::new("s", image, mask).unwrap();
    for (operation, expected) in [
        (Operation::QuarterTurns(1), "[[3, 6],\n [2, 5],\n [1, 4]]"),
        (Operation::QuarterTurns(2), "[[6, 5, 4],\n [3, 2, 1]]"),
        (Operation::QuarterTurns(3), "[[4, 1],\n [5, 2],\n [6, 3]]"),
        (Operation::QuarterTurns(4), "[[1, 2, 3],\n [4, 5, 6]]"),
        (Operation::FlipHorizontal, "[[3, 2, 1],\n [6, 5, 4]]"),
        (Operation::FlipVertical, "[[4, 5, 6],\n [1, 2, 3]]"),
    ] {
        let moved = perform(source.clone(), std::slice::from_ref(&operation)).unwrap();
        assert_eq!(moved.mask.to_string(), expected, "{operation:?}");
        for c in 0..3 {
            assert_eq!(moved.image.index_axis(Axis(2), c), moved.mask.mapv(|v| v * 10 + c as u8));
        }
    }
}

#[test]
fn centre_of_odd_remainders_is_rounded_to_the_top_left() {
    let centre = steps(r#"{ kind = "center_crop", size_px = 4 }"#).apply(sample(6, 7), &mut rng(0)).unwrap();
    assert_eq!(centre.image, sample(6, 7).image.slice(s![1..5, 1..5, ..]));
}

#[test]
fn turns_change_the_size_that_later_steps_see() {
    let transform = steps(r#"{ kind = "quarter_turn", p = 1.0 }, { kind = "center_crop", size_px = 4 }"#);
    let centre = steps(r#"{ kind = "center_crop", size_px = 4 }"#).apply(sample(20, 6), &mut rng(0)).unwrap();
    for idx in 0..40 {
        let after = transform.apply(sample(20, 6), &mut rng(idx)).unwrap();
        let n_turns =
            (0..4).find(|&n| perform(centre.clone(), &[Operation::QuarterTurns(n)]).unwrap() == after);
        assert!(n_turns.is_some(), "the centre stays the centre");
    }
}

#[test]
fn results_depend_on_the_stream_alone() {
    for preset in PRESETS {
        let transform = base(preset, 16);
        let make = |idx: u64| transform.apply(sample(32, 32), &mut rng(idx)).unwrap();
        let forwards = (0..40).map(make).collect::<Vec<_>>();
        let mut backwards = (0..40).rev().map(make).collect::<Vec<_>>();
        backwards.reverse();
        assert_eq!(forwards, backwards, "{preset}");
        if preset != "val" {
            assert!(forwards.iter().any(|one| one != &forwards[0]), "{preset}");
        }
        // Each of seed, epoch and sample makes another stream.
        let drawn = |seed, epoch, idx| {
            let mut rng = stream(seed, Purpose::Augment, epoch, idx);
            let draws = (0..20).map(|_| transform.draw(Size::new(32, 32), &mut rng).unwrap());
            draws.collect::<Vec<_>>()
        };
        for other in [drawn(1, 0, 0), drawn(0, 1, 0), drawn(0, 0, 1)] {
            assert_eq!(other != drawn(0, 0, 0), preset != "val", "{preset}");
        }
    }
}

#[test]
fn every_step_changes_images_and_few_change_masks() {
    let hiding = "color = [200, 190, 210], alpha = 0.8";
    for (step, changes_mask) in [
        (r#"kind = "shift_scale_rotate", shift = 0.1, scale = 0.2, angle_deg = 45.0"#.to_owned(), true),
        (
            r#"kind = "gamma_pair", dark_gamma = 2.5, other_gamma = 4.0, dark_below_std = 0.8"#.to_owned(),
            false,
        ),
        (r#"kind = "hue_saturation_value", hue = 10.0, saturation = 15.0, value = 10.0"#.to_owned(), false),
        (r#"kind = "clahe", max_clip = 4.0, n_tiles = 8"#.to_owned(), false),
        (r#"kind = "brightness_contrast", brightness = 0.4, contrast = 0.4"#.to_owned(), false),
        (r#"kind = "channel_shuffle""#.to_owned(), false),
        (r#"kind = "cutout", n_holes = 3, size_px = 9, level = 0"#.to_owned(), false),
        (r#"kind = "grid_dropout", ratio = 0.5, level = 230"#.to_owned(), false),
        (
            r#"kind = "coarse_dropout", min_holes = 1, max_holes = 4, min_px = 3, max_px = 60, level = 220"#
                .to_owned(),
            false,
        ),
        (r#"kind = "gaussian_blur", min_px = 3, max_px = 9"#.to_owned(), false),
        (
            format!(
                r#"kind = "lightning", min_bolts = 1, max_bolts = 3, min_width_px = 2.0, max_width_px = 6.0, {hiding}"#
            ),
            false,
        ),
        (
            format!(
                r#"kind = "fake_glomeruli", min_objects = 1, max_objects = 3, min_radius_px = 5.0, max_radius_px = 9.0, color_shift = 30, in_mask = false, {hiding}"#
            ),
            false,
        ),
        (
            format!(
                r#"kind = "fake_glomeruli", min_objects = 1, max_objects = 3, min_radius_px = 5.0, max_radius_px = 9.0, color_shift = 30, in_mask = true, {hiding}"#
            ),
            true,
        ),
    ] {
        let transform = steps(&format!("{{ {step}, p = 1.0 }}"));
        let never = steps(&format!("{{ {step}, p = 0.0 }}"));
        for (height, width) in [(48, 50), (11, 30), (1, 1)] {
            let before = sample(height, width);
            assert_eq!(never.apply(before.clone(), &mut rng(0)).unwrap(), before);
            let outcomes = (0..30).map(|idx| transform.apply(before.clone(), &mut rng(idx)).unwrap());
            let outcomes = outcomes.collect::<Vec<_>>();
            if height > 1 {
                assert!(outcomes.iter().any(|after| after.image != before.image), "{step}");
                assert_eq!(outcomes.iter().any(|after| after.mask != before.mask), changes_mask, "{step}");
            }
        }
    }
}

#[test]
fn streaks_are_bright_where_they_run_and_nowhere_else() {
    let bolts = vec![Bolt { points: vec![[0.0, 10.0], [20.0, 10.0], [40.0, 10.0]], width_px: 6.0 }];
    let paint = |alpha| {
        let operation = Operation::Lightning { bolts: bolts.clone(), color: [250, 240, 230], alpha };
        let dark = Sample::new("s", Array3::from_elem((30, 41, 3), 50), Array2::zeros((30, 41))).unwrap();
        perform(dark, &[operation]).unwrap().image
    };
    let color = |image: &Array3<u8>, y: usize, x: usize| image.slice(s![y, x, ..]).to_vec();
    assert_eq!(color(&paint(1.0), 10, 20), [250, 240, 230]);
    assert_eq!(color(&paint(0.5), 10, 20), [150, 145, 140]);
    // Half of the width and half of the soft edge away.
    assert_eq!(color(&paint(1.0), 13, 20), [150, 145, 140]);
    assert_eq!(color(&paint(1.0), 15, 20), [50, 50, 50]);
    // It tapers.
    assert_eq!(color(&paint(1.0), 12, 1), [50, 50, 50]);
    assert!(paint(0.0).iter().all(|&level| level == 50));
}

#[test]
fn fake_glomeruli_are_painted_and_marked_where_they_are() {
    let object = FakeGlomerulus {
        center: [20.0, 15.0],
        radius_px: 10.0,
        waves: [[0.0, 0.0]; 4],
        color: [140, 80, 150],
        nuclei: vec![[0.4, 0.0]],
    };
    let paint = |alpha, in_mask| {
        let operation = Operation::FakeGlomeruli { objects: vec![object.clone()], alpha, in_mask };
        let plain = Sample::new("s", Array3::from_elem((30, 41, 3), 200), Array2::zeros((30, 41))).unwrap();
        perform(plain, &[operation]).unwrap()
    };
    let opaque = paint(1.0, true);
    let color = |y: usize, x: usize| opaque.image.slice(s![y, x, ..]).to_vec();
    assert_eq!(color(15, 20), [140, 80, 150]);
    assert_eq!(color(15, 24), [86, 49, 93], "a nucleus");
    assert!(color(15, 11)[1] > 120, "a pale rim {:?}", color(15, 11));
    assert_eq!(color(15, 31), [200, 200, 200]);
    assert_eq!(paint(0.5, true).image.slice(s![15, 20, ..]).to_vec(), [170, 140, 175]);
    for ((y, x), &level) in opaque.mask.indexed_iter() {
        let distance = (x as f64 - 20.0).hypot(y as f64 - 15.0);
        if distance < 9.0 {
            assert_eq!(level, 255);
        } else if distance > 11.0 {
            assert_eq!((level, color(y, x)), (0, vec![200; 3]));
        }
    }
    assert!(opaque.mask.iter().any(|&level| level > 0 && level < 255), "soft edges");
    assert_eq!(opaque.mask, paint(0.2, true).mask, "marked as a whole however faint");
    assert!(paint(1.0, false).mask.iter().all(|&level| level == 0));
}

#[test]
fn sizes_that_do_not_fit_are_errors_that_say_so() {
    let refused = |transform: &Transform, height, width| {
        format!("{:#}", transform.apply(sample(height, width), &mut rng(0)).unwrap_err())
    };
    for preset in ["val", "light", "geometric", "light_scale", "ssl"] {
        assert_eq!(
            refused(&base(preset, 10), 12, 9),
            "cannot transform s: cannot crop 10x10 from 9x12; use a smaller crop or cut larger tiles"
        );
    }
    for (height, width) in [(30, 25), (25, 20), (20, 30), (5, 5)] {
        let error = refused(&base("resize", 10), height, width);
        let expected =
            format!("cannot transform s: cannot reduce {width}x{height} to 10x10 by a whole factor");
        assert!(error.starts_with(&expected), "{error}");
    }
    assert!(base("resize", 10).apply(sample(10, 10), &mut rng(0)).is_ok());
}

#[test]
fn unknown_settings_and_bad_numbers_are_refused() {
    let parse = |text: &str| toml::from_str::<Transforms>(&format!("all = [{{ {text} }}]"));
    let error = |text: &str| format!("{:#}", parse(text).unwrap().resolve("all", 8).unwrap_err());
    assert!(parse(r#"kind = "flip", p = 0.5, q = 1"#).is_err());
    assert!(parse(r#"kind = "flip""#).is_err());
    assert!(parse(r#"kind = "twirl", p = 0.5"#).unwrap_err().to_string().contains("shift_scale_rotate"));
    for (text, expected) in [
        (r#"kind = "center_crop", size_px = 0"#, "center_crop: size_px is 0"),
        (r#"kind = "flip", p = nan"#, "flip: probability NaN"),
        (
            r#"kind = "shift_scale_rotate", p = 1.0, shift = 0.1, scale = 1.0, angle_deg = 45.0"#,
            "scale 1 is not",
        ),
        (
            r#"kind = "shift_scale_rotate", p = 1.0, shift = -0.1, scale = 0.1, angle_deg = 45.0"#,
            "shift -0.1",
        ),
        (
            r#"kind = "gamma_pair", p = 1.0, dark_gamma = 0.0, other_gamma = 4.0, dark_below_std = 0.8"#,
            "dark_gamma 0",
        ),
        (r#"kind = "hue_saturation_value", p = 1.0, hue = inf, saturation = 1.0, value = 1.0"#, "hue inf"),
        (r#"kind = "clahe", p = 1.0, max_clip = 0.5, n_tiles = 8"#, "clip limit of 1 to 0.5"),
        (r#"kind = "clahe", p = 1.0, max_clip = 4.0, n_tiles = 65"#, "n_tiles 65 is not from 1 to 64"),
        (r#"kind = "grid_dropout", p = 1.0, ratio = 1.5, level = 0"#, "ratio 1.5"),
        (
            r#"kind = "coarse_dropout", p = 1.0, min_holes = 2, max_holes = 1, min_px = 1, max_px = 1, level = 0"#,
            "min_holes 2 is over",
        ),
        (
            r#"kind = "coarse_dropout", p = 1.0, min_holes = 1, max_holes = 1, min_px = 3, max_px = 1, level = 0"#,
            "min_px 3 is over",
        ),
        (r#"kind = "gaussian_blur", p = 1.0, min_px = 2, max_px = 9"#, "not odd"),
        (
            r#"kind = "lightning", p = 1.0, min_bolts = 1, max_bolts = 1, min_width_px = 0.0, max_width_px = 1.0, color = [1, 1, 1], alpha = 1.0"#,
            "width of 0 to 1",
        ),
        (r#"kind = "one_of", p = 1.0, choices = []"#, "one_of: there are no choices"),
        (
            r#"kind = "one_of", p = 1.0, choices = [{ weight = 0.0, step = { kind = "flip", p = 1.0 } }]"#,
            "weight 0",
        ),
        (r#"kind = "group", p = 1.0, steps = [{ kind = "flip", p = 2.0 }]"#, "group: flip: probability 2"),
    ] {
        assert!(error(text).contains(expected), "{}", error(text));
    }
    let named = Step::Apply { p: 1.0, transform: "d4".into() };
    assert!(Transform::new(vec![named]).is_err());
    assert!(Transform::new(vec![Step::Resize { size_px: None }]).is_err());
}
