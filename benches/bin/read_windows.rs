//! Reads windows of a slide and prints how long that took: our side of `compare/read.py`.
//!
//! Arguments: slide, windows (`x,y,width,height;…`), threads. Prints seconds, bytes and a checksum.
#![expect(clippy::expect_used, reason = "a bench that cannot read its slide has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::path::PathBuf;
use std::time::Instant;

use hubmap_io::{RasterReader as _, TiffSlide, Window};
use rayon::prelude::*;

fn window(text: &str) -> Window {
    let numbers: Vec<i64> = text.split(',').map(|part| part.parse().expect("a whole number")).collect();
    let [x, y, width, height] = numbers[..] else { panic!("{text} is not x,y,width,height") };
    Window::new(x, y, u32::try_from(width).expect("a width"), u32::try_from(height).expect("a height"))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [slide, windows, n_threads] = args.as_slice() else { panic!("SLIDE WINDOWS THREADS") };
    let windows: Vec<Window> = windows.split(';').map(window).collect();
    let n_threads: usize = n_threads.parse().expect("a number of threads");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
    let start = Instant::now();
    // As the rival's script does, opening the file is part of the work, and every window is a new array.
    let slide = TiffSlide::open(&PathBuf::from(slide)).expect("a slide");
    let read = |window: &Window| {
        let pixels = slide.read(*window).expect("pixels");
        let (height, width, bands) = pixels.dim();
        let centre = (0..bands).map(|band| u64::from(pixels[(height / 2, width / 2, band)])).sum::<u64>();
        (pixels.len() as u64, centre)
    };
    let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let (n_bytes, checksum) = if n_threads == 1 {
        pool.install(|| windows.iter().map(read).fold((0, 0), add))
    } else {
        pool.install(|| windows.par_iter().with_max_len(1).map(read).reduce(|| (0, 0), add))
    };
    println!("{:.6} {n_bytes} {checksum}", start.elapsed().as_secs_f64());
}
