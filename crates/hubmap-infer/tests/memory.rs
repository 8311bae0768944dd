//! The memory that writing a slide's files takes does not grow with the slide's area.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use half::f16;
use hubmap_infer::{OutputKind, OutputPlan, Postprocess, RowSink as _, SlideWriter};
use hubmap_io::Size;
use hubmap_synth::PlainSlide;
use ndarray::{Array2, s};
use peak_alloc::PeakAlloc;

/// Counts every allocation of this process, which is why the file has one test.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Columns of the slides.
const WIDTH: u32 = 20_000;

/// Rows that come at a time.
const STEP: u32 = 600;

/// Megabytes that the writer takes at most for a slide of this height with a disc in every square of 200 px.
fn peak_mb(height: u32) -> f32 {
    let folder = tempfile::tempdir().unwrap();
    let disc = |y: u32, x: u32| (i64::from(x % 200) - 99).pow(2) + (i64::from(y % 200) - 99).pow(2) < 900;
    let rows = Array2::from_shape_fn((STEP as usize, WIDTH as usize), |(y, x)| {
        f16::from_f32(if disc(y as u32, x as u32) { 0.9 } else { 0.0 })
    });
    let slide = PlainSlide { size: Size::new(WIDTH, height), grey: 128 };
    // Run lengths run down the columns, so that all of them wait for the last row.
    let kinds = OutputKind::ALL.into_iter().filter(|kind| *kind != OutputKind::Rle).collect();
    let plan = OutputPlan {
        folder: folder.path().to_owned(),
        kinds,
        order: Vec::new(),
        reuse_finished: false,
        part: None,
        scratch: None,
    };
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    let mut writer = SlideWriter::create(&slide, "s", 0.5, Postprocess::default(), &plan).unwrap();
    for y0 in (0..height).step_by(STEP as usize) {
        let n_rows = STEP.min(height - y0) as usize;
        writer.write_rows(y0, &rows.slice(s![..n_rows, ..])).unwrap();
    }
    let finished = writer.finish().unwrap();
    assert_eq!(finished.n_objects, u64::from(WIDTH / 200 * (height / 200)));
    MEMORY.peak_usage_as_mb() - before
}

#[test]
fn memory_depends_on_the_width_and_not_on_the_height() {
    let (low, high) = (peak_mb(4_000), peak_mb(20_000));
    println!("{low:.0} MB for {WIDTH}x4000 px, {high:.0} MB for {WIDTH}x20000 px");
    assert!(high < 190.0, "{high} MB");
    assert!(high < low * 1.25 + 20.0, "{low} MB, then {high} MB");
}
