//! Augments tiles on one thread and prints how long that took: our side of `compare/augment.py`.
//!
//! Arguments: samples per repeat, repeats. Prints a name and the best seconds of one sample a line: whole transforms of
//! the base config from a tile of 1024 px to planes of floats of 512 px, then single operations on a sample of 512 px.
#![expect(clippy::expect_used, reason = "a bench whose transforms do not fit has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::hint::black_box;
use std::time::Instant;

use hubmap_benches::{base_data, noisy_tile, normalized_sample, single_operations};
use hubmap_data::Normalization;
use hubmap_data::augment::{Operation, SampleView, perform_on};

const TILE_PX: usize = 1024;
const N_TILES: u32 = 8;
const CROP_PX: u32 = 512;

/// Best seconds per call of `work`, which is called with 0, 1, 2 and so on.
fn best_of(n_repeats: usize, n_calls: usize, mut work: impl FnMut(u64)) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..n_repeats {
        let start = Instant::now();
        (0..n_calls as u64).for_each(&mut work);
        best = best.min(start.elapsed().as_secs_f64() / n_calls as f64);
    }
    best
}

fn main() {
    let args: Vec<usize> = std::env::args().skip(1).map(|arg| arg.parse().expect("a number")).collect();
    let [n_samples, n_repeats] = args.as_slice() else { panic!("SAMPLES REPEATS") };
    let tiles: Vec<_> = (0..N_TILES).map(|seed| noisy_tile(TILE_PX, seed)).collect();
    let data = base_data().expect("the base config");
    for name in ["light_scale", "geometric", "val", "resize", "ssl"] {
        let transform = data.transforms.resolve(name, CROP_PX).expect("a transform");
        let seconds = best_of(*n_repeats, *n_samples, |idx| {
            let tile = &tiles[idx as usize % tiles.len()];
            let (image, mask) = black_box(normalized_sample(tile, &transform, idx).expect("a sample"));
            assert_eq!((image.dim(), mask.dim()), ((3, 512, 512), (512, 512)));
        });
        println!("{name} {seconds:.9}");
    }
    let crop = Operation::Crop { x_px: 0, y_px: 0, width_px: CROP_PX, height_px: CROP_PX };
    let crop = perform_on(&SampleView::from(&tiles[0]), &[crop]).expect("a crop");
    for (name, operation) in single_operations() {
        let seconds = best_of(*n_repeats, 20, |_| {
            let view = SampleView::from(black_box(&crop));
            black_box(perform_on(&view, std::slice::from_ref(&operation)).expect("a sample"));
        });
        println!("{name} {seconds:.9}");
    }
    let seconds = best_of(*n_repeats, 20, |_| {
        black_box(Normalization::KIDNEY.apply(black_box(&crop.image)));
    });
    println!("normalize {seconds:.9}");
}
