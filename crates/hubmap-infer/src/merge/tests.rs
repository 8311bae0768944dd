use super::*;
use hubmap_io::Size;
use proptest::prelude::*;

use crate::upsample::{Positions, Source, enlarge_f16};

/// Settings of a merge alone; the networks' multiple of 32 does not matter here.
fn config(blend: Blend, scale: u32, block: u32, context: u32, overlap: u32) -> PredictConfig {
    PredictConfig { scale, block, context, blend, overlap, ..PredictConfig::original() }
}

/// The map that blocks make, where `tile(block)` is the result of a block with its context.
fn merged(config: &PredictConfig, size: Size, tile: impl Fn(Block) -> Option<Array2<f32>>) -> Array2<f16> {
    let grid = config.grid(size);
    let mut merger = Merger::new(config, grid);
    let mut rows = Vec::new();
    let mut emit = |strip: Strip| {
        assert_eq!(strip.y0 as usize, rows.iter().map(Array2::nrows).sum::<usize>());
        rows.push(strip.rows);
        true
    };
    for block in grid.row_major() {
        let kept = tile(block).map(|tile| {
            let Window { x, y, width, height } = Merger::kept(config, block);
            let (x, y) = (x as usize, y as usize);
            tile.slice(ndarray::s![y..y + height as usize, x..x + width as usize]).to_owned()
        });
        assert!(merger.push(block, kept, &mut emit));
    }
    let views: Vec<_> = rows.iter().map(|rows| rows.view()).collect();
    ndarray::concatenate(ndarray::Axis(0), &views).unwrap()
}

/// The definition: all sums and weights of the slide at once, in double precision.
fn naive(config: &PredictConfig, size: Size, tile: impl Fn(Block) -> Option<Array2<f32>>) -> Array2<f16> {
    let reduced = |side: u32| side.div_ceil(config.scale) as usize;
    let shape = (reduced(size.height), reduced(size.width));
    let (mut sums, mut weights) = (Array2::<f64>::zeros(shape), Array2::<f64>::zeros(shape));
    for block in config.grid(size).row_major() {
        let tile = tile(block);
        let corner = |px: i64| (px / i64::from(config.scale)) as usize;
        let (x0, y0) = (corner(block.paste.x), corner(block.paste.y));
        for y in y0..(y0 + config.block as usize).min(shape.0) {
            for x in x0..(x0 + config.block as usize).min(shape.1) {
                let along = |i: usize| {
                    let from_centre = (i as f64 + 0.5) / f64::from(config.block) - 0.5;
                    if config.blend == Blend::Gaussian {
                        (-32.0 * from_centre * from_centre).exp()
                    } else {
                        1.0
                    }
                };
                let weight = along(x - x0) * along(y - y0);
                let context = config.context as usize;
                let probability =
                    tile.as_ref().map_or(0.0, |tile| tile[[y - y0 + context, x - x0 + context]]);
                sums[[y, x]] += weight * f64::from(probability);
                weights[[y, x]] += weight;
            }
        }
    }
    let means = (sums / weights).mapv(|mean| mean as f32);
    let source = Source { pixels: &means, corner: (0, 0), whole: shape, positions: Positions::Double };
    let mut out = Array2::from_elem((size.height as usize, size.width as usize), f16::ZERO);
    enlarge_f16(source, config.scale, size.window(), out.view_mut());
    out
}

fn any_blend() -> impl Strategy<Value = Blend> {
    prop_oneof![Just(Blend::Crop), Just(Blend::Mean), Just(Blend::Gaussian)]
}

proptest! {
    #[test]
    fn a_constant_stays_constant(
        (width, height) in (1_u32..90, 1_u32..90),
        (scale, block, context) in (1_u32..5, 1_u32..20, 0_u32..6),
        overlap in 0_u32..20,
        blend in any_blend(),
        probability in 0.0_f32..=1.0,
    ) {
        // Enlarging crops takes pixels of the context, or repeats the tile's own at its border.
        let overlap = if blend == Blend::Crop { 0 } else { overlap % block };
        let config = config(blend, scale, block, context, overlap);
        let side = config.tile_side() as usize;
        let map = merged(&config, Size::new(width, height), |_| Some(Array2::from_elem((side, side), probability)));
        prop_assert_eq!(map.dim(), (height as usize, width as usize));
        let expected = f16::from_f32(probability).to_bits();
        for p in &map {
            prop_assert!(p.to_bits().abs_diff(expected) <= 1, "{} instead of {}", p, probability);
        }
    }

    #[test]
    fn blends_equal_their_definition(
        (width, height) in (1_u32..90, 1_u32..90),
        (scale, block, context) in (1_u32..5, 1_u32..20, 0_u32..6),
        overlap in 0_u32..20,
        is_gaussian: bool,
        seed in 0_u32..1000,
    ) {
        let blend = if is_gaussian { Blend::Gaussian } else { Blend::Mean };
        let config = config(blend, scale, block, context, overlap % block);
        let side = config.tile_side() as usize;
        let tile = |block: Block| {
            let number = |y: usize, x: usize| {
                let place = (block.paste.x * 31 + block.paste.y * 57) as u32;
                (place + seed + (y * 131 + x * 17) as u32).wrapping_mul(2_654_435_761) >> 22
            };
            // Some blocks are left out.
            (number(3, 5) % 4 != 0)
                .then(|| Array2::from_shape_fn((side, side), |(y, x)| number(y, x) as f32 / 1024.0))
        };
        let size = Size::new(width, height);
        let (ours, expected) = (merged(&config, size, tile), naive(&config, size, tile));
        prop_assert_eq!(ours.dim(), expected.dim());
        for (a, b) in ours.iter().zip(&expected) {
            // Differences in the last bits of single precision, seen in half precision.
            prop_assert!((a.to_f32() - b.to_f32()).abs() <= 1e-3, "{} {}", a, b);
            prop_assert!(a.to_bits().abs_diff(b.to_bits()) <= 1 || b.to_f32() < 1e-3, "{} {}", a, b);
        }
    }
}

#[test]
fn crops_are_those_of_whole_tiles_in_strips_of_any_height() {
    let config = config(Blend::Crop, 3, 30, 4, 0);
    let size = Size::new(200, 250);
    let tile = |block: Block| {
        let place = (block.paste.x + 3 * block.paste.y) as usize;
        (!place.is_multiple_of(7)).then(|| {
            Array2::from_shape_fn((38, 38), |(y, x)| ((place + y * 31 + x * 17) % 101) as f32 / 101.0)
        })
    };
    let mut expected = Array2::from_elem((250, 200), f16::ZERO);
    for block in config.grid(size).row_major() {
        let Window { x, y, width, height } = block.paste;
        let (x, y) = (x as usize, y as usize);
        if let Some(tile) = tile(block) {
            let crop = crate::bilinear(&tile, 3, Window::new(12, 12, width, height)).mapv(f16::from_f32);
            expected.slice_mut(ndarray::s![y..y + height as usize, x..x + width as usize]).assign(&crop);
        }
    }
    const { assert!(200 * 90 > STRIP_PX, "rows of blocks take several strips") };
    assert_eq!(merged(&config, size, tile), expected);
}

#[test]
fn blends_keep_their_places_far_from_the_origin() {
    // Columns of 0 and 1 in turn: an enlarged pixel shows the part of a pixel by which it is off.
    let config = config(Blend::Mean, 3, 1000, 0, 0);
    let tile = |_| Some(Array2::from_shape_fn((1000, 1000), |(_, x)| (x % 2) as f32));
    let map = merged(&config, Size::new(600_000, 2), tile);
    for x in 12..600_000 - 12 {
        assert_eq!(map[[0, x]].to_bits().abs_diff(map[[0, 12 + x % 6]].to_bits()) / 2, 0, "column {x}");
    }
}

#[test]
fn strips_have_few_rows_where_slides_are_wide() {
    let mut starts = Vec::new();
    let mut emit = |strip: Strip| {
        assert!(strip.rows.len() <= STRIP_PX as usize);
        starts.push((strip.y0, strip.rows.nrows()));
        true
    };
    assert!(strips((10, 20), STRIP_PX / 4, &mut emit, |y, rows| rows.fill(f16::from_f32(y as f32))));
    assert_eq!(starts, [(10, 4), (14, 4), (18, 2)]);
    assert!(!strips((0, 2), STRIP_PX, &mut |_| false, |_, _| ()));
}
