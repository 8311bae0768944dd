//! Encodes and decodes a mask and prints how long that took: our side of `compare/rle.py`.
//!
//! Arguments: mask (one byte per pixel, row by row), width, height, text of its runs, threads, repeats.
//! Checks every result against the mask and the text, and prints a name and the best seconds a line.
#![expect(clippy::expect_used, reason = "a bench that cannot read its mask has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::hint::black_box;
use std::time::Instant;

use hubmap_io::{Mask, Rle, RleDecoder, RleEncoder, Size};
use ndarray::{Array2, Axis};

/// Rows that the streaming sides take and give at a time.
const BAND_ROWS: usize = 1024;

struct Stopwatch {
    n_repeats: usize,
}

impl Stopwatch {
    /// Prints the best time of `work`, and hands its last result to `check`.
    ///
    /// A result is dropped before the next repeat and outside the time.
    fn measure<T>(&self, name: &str, mut work: impl FnMut() -> T, check: impl FnOnce(T) -> bool) {
        let mut best = f64::INFINITY;
        let mut result = None;
        for _ in 0..self.n_repeats {
            drop(result.take());
            let start = Instant::now();
            let output = black_box(work());
            best = best.min(start.elapsed().as_secs_f64());
            result = Some(output);
        }
        assert!(result.is_some_and(check), "{name}: a wrong result");
        println!("{name} {best:.6}");
    }
}

fn stream_encode(pixels: &Array2<u8>, size: Size) -> String {
    let mut encoder = RleEncoder::new(size);
    for band in pixels.axis_chunks_iter(Axis(0), BAND_ROWS) {
        encoder.push_rows(band);
    }
    encoder.finish().to_string()
}

/// Decodes band by band into the same memory; whether the bands are those of `pixels`, if they are compared.
fn stream_decode(text: &str, size: Size, band: &mut Array2<u8>, pixels: Option<&Array2<u8>>) -> bool {
    let rle = Rle::parse(text).expect("runs");
    let mut decoder = RleDecoder::new(&rle, size).expect("runs on the mask");
    let mut is_equal = true;
    let mut y = 0;
    while decoder.rows_left() > 0 {
        let n_rows = BAND_ROWS.min(decoder.rows_left() as usize);
        let mut rows = band.slice_mut(ndarray::s![..n_rows, ..]);
        decoder.fill_rows(rows.view_mut(), 255);
        is_equal &= pixels.is_none_or(|pixels| pixels.slice(ndarray::s![y..y + n_rows, ..]) == rows);
        y += n_rows;
    }
    is_equal
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mask, width, height, text, n_threads, n_repeats] = args.as_slice() else {
        panic!("MASK WIDTH HEIGHT TEXT THREADS REPEATS")
    };
    let size = Size::new(width.parse().expect("a width"), height.parse().expect("a height"));
    let bytes = std::fs::read(mask).expect("a mask");
    let text = std::fs::read_to_string(text).expect("a text");
    let shape = (size.height as usize, size.width as usize);
    let pixels = Array2::from_shape_vec(shape, bytes).expect("a byte for every pixel");
    let n_threads = n_threads.parse().expect("a number of threads");
    let watch = Stopwatch { n_repeats: n_repeats.parse().expect("a number of repeats") };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
    pool.install(|| measure_all(&watch, &pixels, size, &text));
}

fn measure_all(watch: &Stopwatch, pixels: &Array2<u8>, size: Size, text: &str) {
    let is_text = |result: String| result == text;
    let parse = || Rle::parse(text).expect("runs");
    let mask = Mask::from_array(pixels.view());
    watch.measure("encode", || Rle::encode_array(pixels.view()).to_string(), is_text);
    watch.measure("encode_stream", || stream_encode(pixels, size), is_text);
    watch.measure("encode_packed", || Rle::encode(&mask).to_string(), is_text);
    watch.measure("decode_packed", || parse().decode(size).expect("a mask"), |result| result == mask);
    watch.measure(
        "decode_fresh",
        || parse().decode_array(size, 255).expect("a mask"),
        |result| result == *pixels,
    );
    let mut array = Array2::from_elem(pixels.dim(), 7);
    let into = || parse().decode_into(array.view_mut(), 255).expect("a mask");
    watch.measure("decode_into", into, |()| true);
    assert!(array == *pixels, "decode_into: a wrong result");
    let mut band = Array2::zeros((BAND_ROWS, size.width as usize));
    watch.measure("decode_stream", || stream_decode(text, size, &mut band, None), |is_equal| is_equal);
    assert!(stream_decode(text, size, &mut band, Some(pixels)), "decode_stream: a wrong result");

    // The limits: one pass over the bytes, read, copied to memory that exists, and copied to new memory.
    let bytes = pixels.as_slice().expect("rows one after the other");
    let sum = || bytes.as_chunks::<8>().0.iter().fold(0, |sum: u64, &word| sum ^ u64::from_ne_bytes(word));
    watch.measure("limit_read", sum, |_| true);
    let target = array.as_slice_mut().expect("rows one after the other");
    watch.measure("limit_write", || black_box(&mut *target).fill(255), |()| true);
    watch.measure("limit_copy", || black_box(&mut *target).copy_from_slice(bytes), |()| true);
    watch.measure("limit_copy_fresh", || bytes.to_vec(), |copy| copy == bytes);
    watch.measure("text_parse", parse, |rle| rle.to_string() == text);
    let rle = parse();
    watch.measure("text_write", || rle.to_string(), is_text);
}
