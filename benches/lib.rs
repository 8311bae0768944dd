//! What the benches of augmentation share; the other benches stand alone.

use anyhow::{Context, Result};
use hubmap_data::Normalization;
use hubmap_data::Sample;
use hubmap_data::augment::{GammaPair, Hole, Operation, SampleView, Similarity, Transform};
use hubmap_data::config::DataConfig;
use hubmap_data::seed::{Purpose, stream};
use ndarray::{Array2, Array3};

/// The table `[data]` of `configs/base.toml`.
///
/// # Errors
///
/// The file is no valid config.
pub fn base_data() -> Result<DataConfig> {
    let base: toml::Table = include_str!("../configs/base.toml").parse()?;
    Ok(base.get("data").context("no [data] in the base config")?.clone().try_into()?)
}

/// A tile of smooth noise with a disc as its mask, like that of `compare/augment.py`.
pub fn noisy_tile(side: usize, seed: u32) -> Sample {
    let noise = |y: usize, x: usize, c: usize| {
        // Bilinear between random levels eight pixels apart.
        let level = |v: usize, u: usize| {
            let mut hash = (v as u32).wrapping_mul(0x9e37_79b1) ^ (u as u32).wrapping_mul(0x85eb_ca6b);
            hash ^= (c as u32 + 3 * seed).wrapping_mul(0xc2b2_ae35);
            hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
            f64::from((hash ^ (hash >> 13)) & 255)
        };
        let (v, u, down, right) = (y / 8, x / 8, (y % 8) as f64 / 8.0, (x % 8) as f64 / 8.0);
        let along = |v: usize| level(v, u) * (1.0 - right) + level(v, u + 1) * right;
        (along(v) * (1.0 - down) + along(v + 1) * down) as u8
    };
    let image = Array3::from_shape_fn((side, side, 3), |(y, x, c)| noise(y, x, c));
    let mask = Array2::from_shape_fn((side, side), |(y, x)| {
        let (dy, dx) = (y as f64 - side as f64 / 2.0, x as f64 - side as f64 / 2.0);
        if dy.hypot(dx) < 0.2 * side as f64 { 255 } else { 0 }
    });
    Sample { name: "tile".into(), image, mask }
}

/// What a loader does to a preloaded tile: augments it and writes planes of floats for image and mask.
///
/// # Errors
///
/// The transform does not fit the tile.
pub fn normalized_sample(
    tile: &Sample,
    transform: &Transform,
    idx: u64,
) -> Result<(Array3<f32>, Array2<f32>)> {
    let mut rng = stream(0, Purpose::Augment, 0, idx);
    let sample = transform.apply_to(&SampleView::from(tile), &mut rng)?;
    Ok((Normalization::KIDNEY.apply(&sample.image), sample.mask.mapv(|level| f32::from(level) / 255.0)))
}

/// One operation of each kind, with amounts in the middle of what `light_scale` draws, under the names of its steps.
pub fn single_operations() -> Vec<(&'static str, Operation)> {
    let similarity = Similarity { shift_x: 0.05, shift_y: -0.05, scale: 1.1, angle_deg: 22.5 };
    let pair = GammaPair { dark_gamma: 2.5, other_gamma: 4.0, dark_below_std: 0.8 };
    let holes = (0..10_u32).flat_map(|j| {
        (0..10).map(move |i| Hole { x_px: 51 * i + 9, y_px: 51 * j + 9, width_px: 25, height_px: 25 })
    });
    vec![
        ("flip", Operation::FlipHorizontal),
        ("quarter_turn", Operation::QuarterTurns(1)),
        ("shift_scale_rotate", Operation::Warp(similarity)),
        ("gamma_pair", Operation::GammaPair(pair)),
        ("hue_saturation_value", Operation::ShiftHsv { hue: 5.0, saturation: 7.0, value: -5.0 }),
        ("clahe", Operation::EqualizeLightness { clip_limit: 2.5, n_tiles: 8 }),
        ("brightness_contrast", Operation::ScaleLevels { factor: 1.2, offset: -0.2 }),
        ("channel_shuffle", Operation::PermuteChannels([2, 0, 1])),
        ("grid_dropout", Operation::Fill { holes: holes.collect(), level: 230 }),
        ("gaussian_blur", Operation::Blur { kernel_px: 7 }),
    ]
}
