//! Objects and rows of the stream against computations on whole images.

use std::collections::VecDeque;

use anyhow::Result;
use half::f16;
use hubmap_infer::{
    BAND_ROWS, DetectedObject, FillHoles, ObjectSink, ObjectStream, Postprocess, PostprocessConfig, Within,
    positive_pixels,
};
use hubmap_io::{Mask, MemorySlide, Size, Window, trace_polygons};
use ndarray::{Array2, Array3, s};
use proptest::prelude::*;

/// All that comes out of a stream.
struct Collected {
    mask: Array2<u8>,
    objects: Vec<DetectedObject>,
    next_row: u32,
}

impl ObjectSink for Collected {
    fn write_rows(&mut self, y0: u32, rows: &Mask) -> Result<()> {
        let Size { width, height } = rows.size();
        assert_eq!((y0, width as usize), (self.next_row, self.mask.ncols()));
        let is_last = y0 + height == self.mask.nrows() as u32;
        assert!(y0.is_multiple_of(BAND_ROWS) && (height == BAND_ROWS || is_last));
        self.mask.slice_mut(s![y0 as usize..(y0 + height) as usize, ..]).assign(&rows.to_array());
        self.next_row += height;
        Ok(())
    }

    fn write_object(&mut self, object: &DetectedObject) -> Result<()> {
        assert!(object.runs[0].y >= self.next_row, "an object comes before the rows that it is in");
        self.objects.push(object.clone());
        Ok(())
    }
}

/// Streams a map in steps of so many rows, again and again.
fn stream(map: &Array2<f16>, postprocess: Postprocess, steps: &[usize]) -> Collected {
    let (height, width) = map.dim();
    let mut collected = Collected { mask: Array2::ones((height, width)), objects: Vec::new(), next_row: 0 };
    let size = Size::new(width as u32, height as u32);
    let mut stream = ObjectStream::new(size, 0.5, postprocess).unwrap();
    let (mut y, mut steps) = (0, steps.iter().cycle());
    while y < height {
        let end = height.min(y + steps.next().unwrap());
        stream.push_rows(y as u32, &map.slice(s![y..end, ..]), &mut collected).unwrap();
        y = end;
    }
    let n_objects = stream.finish(&mut collected).unwrap();
    assert_eq!((n_objects, collected.next_row), (collected.objects.len() as u64, height as u32));
    collected
}

/// What the stream knows of an object, from all of its pixels.
#[derive(Debug, Clone)]
struct Naive {
    pixels: Vec<(usize, usize)>,
    mean_probability: f64,
}

/// The pixels of a value that are connected to a seed through their sides.
fn flood(image: &mut Array2<u8>, seed: (usize, usize), to: u8) -> Vec<(usize, usize)> {
    let from = std::mem::replace(&mut image[seed], to);
    let (mut found, mut queue) = (vec![seed], VecDeque::from([seed]));
    while let Some((y, x)) = queue.pop_front() {
        for (v, u) in [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)] {
            if image.get((v, u)) == Some(&from) {
                image[[v, u]] = to;
                found.push((v, u));
                queue.push_back((v, u));
            }
        }
    }
    found
}

/// Connected components in the order of their first pixels.
fn naive_objects(map: &Array2<f16>) -> Vec<Naive> {
    let mut positive = positive_pixels(map, 0.5);
    let mut objects = Vec::new();
    for y in 0..map.nrows() {
        for x in 0..map.ncols() {
            if positive[[y, x]] == 1 {
                let mut pixels = flood(&mut positive, (y, x), 2);
                pixels.sort_unstable();
                let sum: f64 = pixels.iter().map(|&at| map[at].to_f64()).sum();
                objects.push(Naive { mean_probability: sum / pixels.len() as f64, pixels });
            }
        }
    }
    objects
}

/// Fills what an object surrounds, part by part, and returns the pixels that were filled.
fn naive_fill(object: &mut Naive, (height, width): (usize, usize), max_px: usize) -> Vec<(usize, usize)> {
    // A border of background all around.
    let mut image = Array2::<u8>::zeros((height + 2, width + 2));
    object.pixels.iter().for_each(|&(y, x)| image[[y + 1, x + 1]] = 1);
    flood(&mut image, (0, 0), 2);
    let mut filled = Vec::new();
    for y in 0..height {
        for x in 0..width {
            if image[[y + 1, x + 1]] == 0 {
                let hole = flood(&mut image, (y + 1, x + 1), 2);
                if hole.len() <= max_px {
                    filled.extend(hole.into_iter().map(|(y, x)| (y - 1, x - 1)));
                }
            }
        }
    }
    object.pixels.extend(&filled);
    object.pixels.sort_unstable();
    filled
}

/// Fills and drops as the stream should.
fn naive_postprocess(map: &Array2<f16>, max_hole_px: usize, min_area_px: usize) -> Vec<Naive> {
    let mut objects = naive_objects(map);
    let mut covered = Array2::<u8>::zeros(map.dim());
    for object in &mut objects {
        for at in naive_fill(object, map.dim(), max_hole_px) {
            covered[at] = 1;
        }
    }
    // An object in a filled hole lies in it with all of its pixels.
    objects.retain(|object| {
        object.pixels.iter().any(|&at| covered[at] == 0) && object.pixels.len() >= min_area_px
    });
    objects
}

fn check(map: &Array2<f16>, found: &Collected, expected: &[Naive]) {
    let mut mask = Array2::<u8>::zeros(map.dim());
    assert_eq!(found.objects.len(), expected.len());
    for (number, (object, naive)) in (1..).zip(found.objects.iter().zip(expected)) {
        let pixels: Vec<(usize, usize)> = object
            .runs
            .iter()
            .flat_map(|run| (run.x0..run.x1).map(|x| (run.y as usize, x as usize)))
            .collect();
        assert_eq!(pixels, naive.pixels);
        let n = pixels.len() as f64;
        let mean =
            |of: fn(&(usize, usize)) -> usize| pixels.iter().map(|at| of(at) as f64 + 0.5).sum::<f64>() / n;
        assert_eq!((object.number, object.area_px), (number, pixels.len() as u64));
        assert!((object.mean_probability - naive.mean_probability).abs() < 1e-12);
        assert!((object.centroid[0] - mean(|at| at.1)).abs() < 1e-9);
        assert!((object.centroid[1] - mean(|at| at.0)).abs() < 1e-9);
        let bound = |of: fn(&(usize, usize)) -> usize| {
            let values = pixels.iter().map(of);
            (values.clone().min().unwrap() as i64, values.max().unwrap() as i64 + 1)
        };
        let ((x0, x1), (y0, y1)) = (bound(|at| at.1), bound(|at| at.0));
        assert_eq!(object.bounds, Window::new(x0, y0, (x1 - x0) as u32, (y1 - y0) as u32));
        for &at in &pixels {
            mask[at] = 1;
        }
    }
    assert_eq!(found.mask, mask);
}

/// Probabilities with nested objects: rectangles over each other, in turn above and below the threshold, and noise.
fn maps(
    heights: std::ops::Range<usize>,
    widths: std::ops::Range<usize>,
) -> impl Strategy<Value = Array2<f16>> {
    let rectangle = (0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64, any::<bool>());
    let noise = (any::<u32>(), prop_oneof![Just(0_u32), 1..60_u32, Just(500)]);
    (heights, widths, prop::collection::vec(rectangle, 0..9), noise).prop_map(
        |(height, width, parts, (seed, share))| {
            let mut above = Array2::from_elem((height, width), false);
            for (top, left, bottom, right, is_above) in parts {
                let range = |a: f64, b: f64, side: usize| {
                    let (a, b) = ((a * side as f64) as usize, (b * side as f64) as usize);
                    a.min(b)..a.max(b).max(a.min(b) + 1).min(side)
                };
                above.slice_mut(s![range(top, bottom, height), range(left, right, width)]).fill(is_above);
            }
            Array2::from_shape_fn((height, width), |(y, x)| {
                let random = ((y as u32) << 12 ^ x as u32 ^ seed).wrapping_mul(0x9E37_79B1).rotate_left(15);
                let random = random.wrapping_mul(0x85EB_CA77);
                let is_above = above[[y, x]] != (random >> 16 & 1023 < share);
                // The threshold itself is below; 64 values on either side.
                let step = (random & 63) as u16;
                f16::from_bits(if is_above { 0x3801 + step } else { 0x3800 - step })
            })
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..8_usize, Just(64), Just(700)], 1..6)
}

fn with(config: &PostprocessConfig) -> Postprocess {
    let slide = MemorySlide::new(std::path::Path::new("s.tiff"), Array3::zeros((1, 1, 3)), None).unwrap();
    Postprocess::for_slide(config, &slide, "s").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn small_maps_equal_whole_image_labels(map in maps(1..50, 1..70), steps in steps()) {
        let found = stream(&map, Postprocess::default(), &steps);
        check(&map, &found, &naive_objects(&map));
        prop_assert_eq!(&found.mask, &positive_pixels(&map, 0.5));
        // The outlines are those of the whole mask, and fill it exactly.
        let mask = Mask::from_array(found.mask.view());
        let outlines: Vec<_> = found.objects.iter().map(DetectedObject::polygon).collect();
        prop_assert_eq!(&outlines, &trace_polygons(&mask));
        let mut drawn = Mask::new(mask.size());
        for outline in &outlines {
            drawn.fill_polygon(outline);
        }
        prop_assert_eq!(drawn, mask);
    }

    #[test]
    fn holes_and_areas_equal_whole_image_steps(
        map in maps(1..40, 1..50), steps in steps(),
        max_hole_px in prop_oneof![Just(0_u64), 1..30_u64, Just(u64::MAX)],
        min_area_px in prop_oneof![Just(0_u64), 1..40_u64],
    ) {
        let fill_holes = FillHoles::UpToPx(max_hole_px);
        let postprocess = with(&PostprocessConfig { fill_holes, min_area_px, ..PostprocessConfig::OFF });
        let max_hole_px = usize::try_from(max_hole_px).unwrap();
        let expected = naive_postprocess(&map, max_hole_px, min_area_px as usize);
        check(&map, &stream(&map, postprocess, &steps), &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn objects_may_span_many_bands(map in maps(400..1700, 1..24), steps in steps()) {
        check(&map, &stream(&map, Postprocess::default(), &steps), &naive_objects(&map));
        let postprocess = with(&PostprocessConfig { fill_holes: FillHoles::All, min_area_px: 3, ..PostprocessConfig::OFF });
        check(&map, &stream(&map, postprocess, &steps), &naive_postprocess(&map, usize::MAX, 3));
    }
}

#[test]
fn an_arm_from_far_above_holds_rows_back_whatever_it_joins() {
    // One column from the first row on meets a comb of five teeth, which starts in the second band and has more runs.
    let comb_row = |y: usize, x: usize| match y {
        600 | 900 => true,
        601..900 => x.is_multiple_of(2),
        _ => false,
    };
    let map = Array2::from_shape_fn((1200, 12), |(y, x)| {
        let is_set = if x < 2 { (x == 0 || y == 900) && y < 1100 } else { x < 11 && comb_row(y, x) };
        f16::from_f32(if is_set { 0.75 } else { 0.25 })
    });
    let found = stream(&map, Postprocess::default(), &[64]);
    assert_eq!(found.objects.len(), 1);
    check(&map, &found, &naive_objects(&map));
}

/// A map that is 1 where a row of text has a `#`.
fn drawn(rows: &[&str]) -> Array2<f16> {
    let pixel = |(y, x): (usize, usize)| f16::from_f32(f32::from(u8::from(rows[y].as_bytes()[x] == b'#')));
    Array2::from_shape_fn((rows.len(), rows[0].len()), pixel)
}

#[test]
fn objects_in_filled_holes_become_part_of_the_one_around_them() {
    let map =
        drawn(&["#######..", "#.....#.#", "#.###.#..", "#.#.#.#..", "#.###.#..", "#.....#..", "#######.."]);
    let areas = |fill_holes, min_area_px| {
        let config = PostprocessConfig { fill_holes, min_area_px, ..PostprocessConfig::OFF };
        let found = stream(&map, with(&config), &[3]);
        found.objects.iter().map(|object| object.area_px).collect::<Vec<_>>()
    };
    assert_eq!(areas(FillHoles::None, 0), [24, 1, 8]);
    assert_eq!(areas(FillHoles::UpToPx(1), 0), [24, 1, 9]);
    assert_eq!(areas(FillHoles::UpToPx(24), 0), [24, 1, 9]);
    assert_eq!(areas(FillHoles::UpToPx(25), 0), [49, 1]);
    assert_eq!(areas(FillHoles::All, 9), [49]);
    assert_eq!(areas(FillHoles::None, 9), [24]);
}

/// A slide with outlines of a structure beside it: a rectangle from (2, 1) to (6, 5), and one of another class.
fn slide_with_anatomy(folder: &std::path::Path, microns_per_px: Option<f64>) -> MemorySlide {
    let rectangle = |class: &str, [x0, y0, x1, y1]: [u32; 4]| {
        format!(
            "{{\"type\":\"Feature\",\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":\
             [[[{x0},{y0}],[{x1},{y0}],[{x1},{y1}],[{x0},{y1}],[{x0},{y0}]]]}},\
             \"properties\":{{\"classification\":{{\"name\":\"{class}\"}}}}}}"
        )
    };
    let text = format!("[{},{}]", rectangle("Cortex", [2, 1, 6, 5]), rectangle("Medulla", [0, 0, 9, 9]));
    std::fs::write(folder.join("s-anatomical-structure.json"), text).unwrap();
    MemorySlide::new(&folder.join("s.tiff"), Array3::zeros((7, 9, 3)), microns_per_px).unwrap()
}

#[test]
fn predictions_outside_the_cortex_are_cut_off_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let slide = slide_with_anatomy(folder.path(), None);
    let map =
        drawn(&["..##.....", "..##....#", "......##.", "#####....", "........#", "..###....", "........."]);
    let found = |within| {
        let config =
            PostprocessConfig { within, within_labels: vec!["cortex".into()], ..PostprocessConfig::OFF };
        stream(&map, Postprocess::for_slide(&config, &slide, "s").unwrap(), &[2])
    };
    assert_eq!(found(Within::Anywhere).objects.len(), 6);
    let cut = found(Within::Pixels);
    let expected =
        drawn(&[".........", "..##.....", ".........", "..###....", ".........", ".........", "........."]);
    assert_eq!(cut.mask, positive_pixels(&expected, 0.5));
    assert_eq!(cut.objects.len(), 2);
    // Centroids: (3, 1), (8.5, 1.5), (7, 2.5), (2.5, 3.5), (8.5, 4.5) and (3.5, 5.5).
    let whole = found(Within::Objects);
    let areas: Vec<u64> = whole.objects.iter().map(|object| object.area_px).collect();
    assert_eq!(areas, [4, 5]);
}

#[test]
fn what_post_processing_needs_of_a_slide_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let slide = slide_with_anatomy(folder.path(), None);
    let message = |config: PostprocessConfig, id: &str| {
        format!("{:#}", Postprocess::for_slide(&config, &slide, id).unwrap_err())
    };
    let off = PostprocessConfig::OFF;
    let within =
        PostprocessConfig { within: Within::Pixels, within_labels: vec!["Pyramid".into()], ..off.clone() };
    let text = message(within.clone(), "s");
    assert!(text.contains("s-anatomical-structure.json") && text.contains("class Pyramid"), "{text}");
    assert!(message(within, "other").contains("other-anatomical-structure.json beside it"));
    let text = message(PostprocessConfig { min_area_um2: 5.0, ..off.clone() }, "s");
    assert!(text.contains("resolution") && text.contains("min_area_px"), "{text}");

    // Areas are rounded up to whole pixels: 5 µm² at 0.5 µm/px are 20 px.
    let slide = slide_with_anatomy(folder.path(), Some(0.5));
    for (area, n_objects) in [(1.0, 1), (1.01, 0)] {
        let config = PostprocessConfig { min_area_um2: area, ..off.clone() };
        let map = drawn(&["##.......", "##......."]);
        let postprocess = Postprocess::for_slide(&config, &slide, "s").unwrap();
        assert_eq!(stream(&map, postprocess, &[1]).objects.len(), n_objects, "{area}");
    }
}

#[test]
fn rows_out_of_order_and_missing_rows_are_refused() {
    let map = drawn(&["##", "##"]);
    let mut sink = Collected { mask: Array2::zeros((3, 2)), objects: Vec::new(), next_row: 0 };
    let mut stream = ObjectStream::new(Size::new(2, 3), 0.5, Postprocess::default()).unwrap();
    assert!(stream.push_rows(1, &map, &mut sink).is_err());
    stream.push_rows(0, &map, &mut sink).unwrap();
    assert!(stream.push_rows(2, &map, &mut sink).is_err(), "one row too many");
    assert!(stream.finish(&mut sink).unwrap_err().to_string().contains("2 of 3 rows"));
    for threshold in [-0.1, 1.1, f32::NAN] {
        assert!(ObjectStream::new(Size::new(2, 3), threshold, Postprocess::default()).is_err());
    }
}
