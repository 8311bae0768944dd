//! Writes a mask pyramid and prints how long that took: our side of `compare/write.py`.
//!
//! Arguments: file, side of the mask in pixels, threads. Prints seconds of writing and seconds of drawing the mask.
#![expect(clippy::expect_used, reason = "a bench that cannot write its file has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::path::Path;
use std::time::{Duration, Instant};

use hubmap_io::{PyramidSpec, PyramidWriter, SampleKind, Size};
use ndarray::{ArrayViewMut3, s};

/// Objects on a mask of 20000 px a side, where they cover 5 %.
const N_OBJECTS: u64 = 180;

/// A round object; `compare/write.py` makes the same ones.
struct Disc {
    x: i64,
    y: i64,
    radius: i64,
}

fn discs(side: u32) -> Vec<Disc> {
    let mut state = 1_u64;
    let mut next = |n: u64| {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        ((state >> 8) % n) as i64
    };
    let n = N_OBJECTS * u64::from(side) * u64::from(side) / 400_000_000;
    (0..n).map(|_| Disc { x: next(side.into()), y: next(side.into()), radius: 140 + next(100) }).collect()
}

/// Paints the rows from `y0` on, which are 0.
fn draw(discs: &[Disc], y0: u32, mut rows: ArrayViewMut3<'_, u8>) {
    let (n_rows, width, _) = rows.dim();
    for disc in discs {
        for row in 0..n_rows {
            let dy = i64::from(y0) + row as i64 - disc.y;
            if dy.abs() <= disc.radius {
                let half = (disc.radius * disc.radius - dy * dy).isqrt();
                let x0 = (disc.x - half).max(0) as usize;
                let x1 = ((disc.x + half + 1) as usize).min(width);
                rows.slice_mut(s![row, x0..x1, 0]).fill(255);
            }
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, side, n_threads] = args.as_slice() else { panic!("FILE SIDE THREADS") };
    let side: u32 = side.parse().expect("a side in pixels");
    let n_threads: usize = n_threads.parse().expect("a number of threads");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
    let discs = discs(side);
    let start = Instant::now();
    let mut drawing = Duration::ZERO;
    pool.install(|| {
        let spec = PyramidSpec::mask(Size::new(side, side), SampleKind::U8);
        let writer = PyramidWriter::create(Path::new(path), spec).expect("a new file");
        let paint = |y: u32, rows: ArrayViewMut3<'_, u8>| {
            let start = Instant::now();
            draw(&discs, y, rows);
            drawing += start.elapsed();
            Ok(())
        };
        writer.write_with(paint).expect("all tiles");
        writer.finish().expect("a complete file");
    });
    let writing = start.elapsed().saturating_sub(drawing);
    println!("{:.6} {:.6}", writing.as_secs_f64(), drawing.as_secs_f64());
}
