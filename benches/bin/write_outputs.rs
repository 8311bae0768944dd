//! Pushes rows of probabilities through the files of a slide and prints how long that took.
//!
//! Arguments: folder for the files, width and height of the slide in pixels, threads, kinds of files with commas between.
//! Prints seconds and megapixels per second. The probabilities are those of round objects of 400 px, 5 % of the slide, with
//! soft edges on a background of almost 0; they are made before the clock starts, and the slide is grey and takes no time
//! to read.
#![expect(clippy::expect_used, reason = "a bench that cannot write its files has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::time::Instant;

use half::f16;
use hubmap_infer::{OutputKind, OutputPlan, Postprocess, RowSink as _, SlideWriter};
use hubmap_io::Size;
use hubmap_synth::PlainSlide;
use ndarray::{Array2, s};

/// Rows that come at a time: a row of blocks of the original's size.
const STRIP_ROWS: u32 = 3072;
/// Radius of an object in pixels.
const RADIUS: f32 = 200.0;
/// Pixels over which the probability falls from 1 to 0 at its edge.
const EDGE: f32 = 12.0;
/// Side of the square in whose middle an object lies.
const SPACING: u32 = 1536;
/// Probability far from any object.
const BACKGROUND: f32 = 1e-4;

/// Probability at a pixel, with a little of the unevenness that networks have.
fn probability(x: u32, y: u32) -> f16 {
    let from_middle = |v: u32| (v % SPACING) as f32 - SPACING as f32 / 2.0;
    let outside = from_middle(x).hypot(from_middle(y)) - RADIUS;
    let smooth = 1.0 / (1.0 + (outside / EDGE * 4.0).exp());
    let uneven = 1.0 - 0.04 * (0.5 + 0.5 * (x as f32 / 23.0).sin() * (y as f32 / 31.0).cos());
    f16::from_f32(BACKGROUND + smooth * uneven * (1.0 - BACKGROUND))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, width, height, n_threads, kinds] = args.as_slice() else {
        panic!("FOLDER WIDTH HEIGHT THREADS KINDS")
    };
    let size = Size::new(width.parse().expect("a width"), height.parse().expect("a height"));
    let n_threads = n_threads.parse().expect("a number of threads");
    let kinds: Vec<OutputKind> = match kinds.as_str() {
        "all" => OutputKind::ALL.to_vec(),
        list => list.split(',').map(|kind| kind.parse().expect("a kind of file")).collect(),
    };
    let plan = OutputPlan {
        folder: folder.into(),
        kinds,
        order: Vec::new(),
        reuse_finished: false,
        part: None,
        scratch: None,
    };
    let strip = Array2::from_shape_fn((STRIP_ROWS as usize, size.width as usize), |(y, x)| {
        probability(x as u32, y as u32)
    });
    let slide = PlainSlide { size, grey: 128 };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
    let start = Instant::now();
    let n_objects = pool.install(|| {
        let mut writer =
            SlideWriter::create(&slide, "slide", 0.5, Postprocess::default(), &plan).expect("new files");
        for y0 in (0..size.height).step_by(STRIP_ROWS as usize) {
            let n_rows = STRIP_ROWS.min(size.height - y0) as usize;
            writer.write_rows(y0, &strip.slice(s![..n_rows, ..])).expect("room for rows");
        }
        let files = writer.finish().expect("room for files");
        let n_objects = files.n_objects;
        files.commit().expect("names for files");
        n_objects
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{seconds:.3} s, {:.1} MP/s, {n_objects} objects", size.area() as f64 / 1e6 / seconds);
}
