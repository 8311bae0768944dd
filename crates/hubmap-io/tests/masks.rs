//! Masks, run-length encoding, resampling and polygons against OpenCV's and numpy's results, and their laws.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use hubmap_io::{
    Mask, Polygon, Rle, RleDecoder, RleEncoder, RleError, Size, TiffSpec, TiffWriter, Window, area_downscale,
    area_downscale_2d, nearest_downscale, nearest_downscale_2d, read_mask, trace_polygons, write_mask_tiff,
};
use hubmap_test_support::{json, npy};
use ndarray::{Array2, Array3, Axis, Ix3, concatenate, s};
use proptest::prelude::*;

mod fixtures {
    use super::*;

    #[test]
    fn rle_cases_encode_and_decode() {
        let fixture = json("numerics/08_rle.json");
        let cases = fixture["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 17);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let size = Size::new(case["w"].as_u64().unwrap() as u32, case["h"].as_u64().unwrap() as u32);
            let rows: Vec<&str> =
                case["rows"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
            let pixels = Array2::from_shape_fn((size.height as usize, size.width as usize), |(y, x)| {
                if rows[y].as_bytes()[x] == b'#' { 200 } else { 0 }
            });
            let mask = Mask::from_array(pixels.view());
            let text = case["rle"].as_str().unwrap();
            assert_eq!(Rle::encode(&mask).to_string(), text, "{name}");
            assert_eq!(Rle::parse(text).unwrap().decode(size).unwrap(), mask, "{name}");
            assert_eq!(mask.count_ones(), case["pixels"].as_u64().unwrap(), "{name}");
            let mut encoder = RleEncoder::new(size);
            encoder.push_rows(pixels.view());
            assert_eq!(encoder.finish().to_string(), text, "{name}");
            let on = pixels.mapv(|v| if v == 0 { 0 } else { 255 });
            assert_eq!(Rle::encode_array(on.view()).to_string(), text, "{name}");
            assert_eq!(Rle::parse(text).unwrap().decode_array(size, 255).unwrap(), on, "{name}");

            // The Kaggle notebook loses the first and the last pixel of the image.
            let mut cleared = mask.clone();
            cleared.set(0, 0, false);
            cleared.set(size.width - 1, size.height - 1, false);
            assert_eq!(
                Rle::encode(&cleared).to_string(),
                case["rle_kaggle_notebook"].as_str().unwrap(),
                "{name}"
            );
        }
    }

    #[test]
    fn resized_images_are_those_of_opencv() {
        let index = json("numerics/05_resize/index.json");
        let cases = index["cases"].as_array().unwrap();
        let (mut n_area, mut n_nearest) = (0, 0);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let input = npy::<u8, Ix3>(&format!("numerics/05_resize/{name}_in.npy"));
            let expected = npy::<u8, Ix3>(&format!("numerics/05_resize/{name}_out.npy"));
            let factor: u32 = name.split("_s").nth(1).unwrap()[..1].parse().unwrap();
            if case["kind"] == "INTER_AREA" {
                assert_eq!(area_downscale(input.view(), factor), expected, "{name}");
                for band in 0..input.dim().2 {
                    let out = area_downscale_2d(input.index_axis(Axis(2), band), factor);
                    assert_eq!(out, expected.index_axis(Axis(2), band), "{name} band {band}");
                }
                // Two bands take the way for any number of bands, where ties of 2 × 2 cells go to even.
                let pair = area_downscale(input.slice(s![.., .., ..2]), factor);
                for (&a, &b) in pair.iter().zip(expected.slice(s![.., .., ..2])) {
                    let tolerance = u8::from(factor == 2 && case["exact_factor"] != false);
                    assert!(a.abs_diff(b) <= tolerance, "{name} two bands");
                }
                n_area += 1;
            } else {
                assert_eq!(nearest_downscale(input.view(), factor), expected, "{name}");
                let out = nearest_downscale_2d(input.index_axis(Axis(2), 1), factor);
                assert_eq!(out, expected.index_axis(Axis(2), 1), "{name}");
                n_nearest += 1;
            }
        }
        assert_eq!((n_area, n_nearest), (20, 3));
    }
}

mod rle {
    use super::*;

    fn error(text: &str) -> RleError {
        Rle::parse(text).unwrap_err()
    }

    #[test]
    fn broken_texts_are_refused_with_the_token() {
        assert_eq!(error("1 2 x 4"), RleError::NotANumber { position: 3, token: "x".into() });
        assert_eq!(error("1 -2"), RleError::NotANumber { position: 2, token: "-2".into() });
        assert_eq!(error("1.0 2"), RleError::NotANumber { position: 1, token: "1.0".into() });
        assert_eq!(error("0 2"), RleError::Zero { position: 1, what: "starts" });
        assert_eq!(error("3 0"), RleError::Zero { position: 2, what: "lengths" });
        assert_eq!(error("3 1 7"), RleError::OddCount { count: 3 });
        assert_eq!(error("9 1 3 1"), RleError::Unsorted { position: 3, start: 3, previous_last: 9 });
        assert_eq!(error("3 4 6 1"), RleError::Unsorted { position: 3, start: 6, previous_last: 6 });
        assert_eq!(error("18446744073709551616 1"), RleError::Overflow { position: 1 });
        assert_eq!(error("18446744073709551615 1"), RleError::Overflow { position: 2 });
        assert!(error("1 x").to_string().contains("token 2 (\"x\")"));
    }

    #[test]
    fn touching_runs_are_joined_and_space_is_free() {
        let rle: Rle = "  3 2\t5 1\n9 1 ".parse().unwrap();
        assert_eq!(rle.to_string(), "3 3 9 1");
        assert_eq!(rle.count_ones(), 4);
        assert_eq!(Rle::parse(" \n").unwrap(), Rle::default());
    }

    #[test]
    fn runs_off_the_image_are_refused() {
        let rle = Rle::parse("1 2 11 2").unwrap();
        let size = Size::new(2, 5);
        assert_eq!(rle.decode(size), Err(RleError::OutOfRange { start: 11, length: 2, size }));
        assert!(rle.decode(Size::new(3, 4)).is_ok());
        let huge = Rle::parse("1 18446744073709551614").unwrap();
        assert!(matches!(huge.decode(size), Err(RleError::OutOfRange { .. })));
        assert!(Rle::parse("1 1").unwrap().decode(Size::new(0, 5)).is_err());
    }

    #[test]
    fn positions_beyond_32_bits_are_exact() {
        let size = Size::new(70_000, 70_000);
        let mut mask = Mask::new(size);
        mask.fill_run(69_998, 69_990, 70_000);
        mask.fill_run(69_999, 69_990, 70_000);
        mask.set(69_999, 0, true);
        let rle = Rle::encode(&mask);
        assert_eq!(rle.runs()[0].start, 69_990 * 70_000 + 69_999);
        // The pixel at the top of the last column continues the run of the column before.
        assert_eq!(rle.runs()[8].start, 69_998 * 70_000 + 69_999);
        assert_eq!(rle.runs()[8].length, 3);
        assert_eq!(rle.count_ones(), 21);
        assert_eq!(rle.decode(size).unwrap(), mask);
    }

    #[test]
    fn missing_rows_count_as_empty() {
        let mut encoder = RleEncoder::new(Size::new(2, 3));
        encoder.push_rows(Array2::ones((2, 2)).view());
        assert_eq!(encoder.finish().to_string(), "1 2 4 2");
    }

    #[test]
    fn padding_bits_are_ignored() {
        let mut encoder = RleEncoder::new(Size::new(3, 2));
        encoder.push_row_bytes(&[0xff]);
        encoder.push_row_bytes(&[0x1f]);
        assert_eq!(encoder.finish().to_string(), "1 1 3 1 5 1");
    }

    #[test]
    fn bands_in_parallel_join_at_their_seams() {
        // Larger than what one thread takes at a time, with objects across every seam.
        let size = Size::new(4100, 2500);
        let mut mask = Mask::new(size);
        for x in (0..4100).step_by(97) {
            let x = f64::from(x);
            mask.fill_polygon(&Polygon::new(vec![[x, -10.0], [x + 60.0, 1200.0], [x + 5.0, 2600.0]]));
        }
        let rle = Rle::encode(&mask);
        let pixels = mask.to_array();
        assert_eq!(Rle::encode_array(pixels.view()), rle);
        for n_rows in [1, 1000, 1500, 2499] {
            let mut encoder = RleEncoder::new(size);
            encoder.push_rows(pixels.slice(s![..n_rows, ..]));
            encoder.push_rows(pixels.slice(s![n_rows.., ..]));
            assert_eq!(encoder.finish(), rle, "{n_rows}");
        }
        assert!(rle.decode(size).unwrap() == mask);
        assert_eq!(rle.decode_array(size, 1).unwrap(), pixels);
        // A column-major image has no rows to write into.
        let mut columns = Array2::from_elem((4100, 2500), 9);
        rle.decode_into(columns.view_mut().reversed_axes(), 1).unwrap();
        assert_eq!(columns.t(), pixels);
        assert_eq!(Rle::encode_array(columns.t()), rle);
    }

    #[test]
    fn images_without_pixels_have_no_runs() {
        for size in [Size::new(0, 0), Size::new(0, 5), Size::new(5, 0)] {
            let pixels = Array2::zeros((size.height as usize, size.width as usize));
            assert_eq!(Rle::encode_array(pixels.view()), Rle::default());
            assert_eq!(Rle::default().decode_array(size, 1).unwrap(), pixels);
            assert_eq!(Rle::encode(&Rle::default().decode(size).unwrap()), Rle::default());
        }
    }
}

mod polygons {
    use super::*;

    fn square(x: f64, y: f64, side: f64) -> Vec<[f64; 2]> {
        vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
    }

    #[test]
    fn measures_of_a_square_with_a_hole() {
        let polygon =
            Polygon { exterior: square(1e6, 2e6, 10.0), holes: vec![square(1e6 + 1.0, 2e6 + 1.0, 2.0)] };
        assert!((polygon.area() - 96.0).abs() < 1e-6);
        let [x, y] = polygon.centroid().unwrap();
        let expected = (100.0 * 5.0 - 4.0 * 2.0) / 96.0;
        assert!((x - 1e6 - expected).abs() < 1e-6 && (y - 2e6 - expected).abs() < 1e-6);
        let bounds = polygon.bounds().unwrap();
        assert_eq!((bounds.min, bounds.max), ([1e6, 2e6], [1e6 + 10.0, 2e6 + 10.0]));
        assert!(polygon.contains([1e6 + 0.5, 2e6 + 0.5]));
        assert!(!polygon.contains([1e6 + 1.5, 2e6 + 1.5]));
    }

    #[test]
    fn outlines_without_area_have_a_centre() {
        let line = Polygon::new(vec![[2.0, 1.0], [4.0, 1.0], [6.0, 1.0]]);
        assert_eq!(line.centroid(), Some([4.0, 1.0]));
        assert_eq!(Polygon::default().centroid(), None);
        assert_eq!(Polygon::default().bounds(), None);
    }

    #[test]
    fn pixel_centres_decide() {
        let mut mask = Mask::new(Size::new(8, 4));
        mask.fill_polygon(&Polygon::new(square(1.5, 0.5, 2.0)));
        // Left and upper edges through a centre belong to the square, right and lower do not.
        assert_eq!(Rle::encode(&mask).to_string(), "5 2 9 2");
        let mut mask = Mask::new(Size::new(8, 4));
        mask.fill_polygon(&Polygon::new(square(0.51, 0.51, 0.98)));
        assert_eq!(mask.count_ones(), 0);
    }

    #[test]
    fn whatever_leaves_the_mask_is_cut() {
        let mut mask = Mask::new(Size::new(4, 3));
        mask.fill_polygon(&Polygon::new(square(-1e9, -1e9, 2e9)));
        assert_eq!(mask.count_ones(), 12);
        mask.fill_polygon(&Polygon::new(vec![[f64::NAN, 0.0], [1.0, f64::INFINITY], [0.0, 1.0]]));
        assert_eq!(mask.count_ones(), 12);
        // Two edges are lost with their common vertex, so that rows are crossed once.
        let mut mask = Mask::new(Size::new(4, 4));
        mask.fill_polygon(&Polygon::new(vec![[1.0, f64::NAN], [1.0, 0.0], [3.0, 4.0]]));
        assert_eq!(mask.count_ones(), 0);
    }

    #[test]
    fn components_that_touch_at_a_corner_stay_apart() {
        let pixels = ndarray::array![[1, 1, 1], [1, 0, 1], [1, 1, 0]];
        let polygons = trace_polygons(&Mask::from_array(pixels.view()));
        // The hole touches the outline at one corner and is still cut out of it.
        assert_eq!(polygons.len(), 1);
        assert_eq!(polygons[0].holes.len(), 1);
        assert!((polygons[0].area() - 7.0).abs() < 1e-9);
        let diagonal = ndarray::array![[1, 0], [0, 1]];
        assert_eq!(trace_polygons(&Mask::from_array(diagonal.view())).len(), 2);
    }
}

mod files {
    use super::*;

    #[test]
    fn masks_of_both_depths_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut mask = Mask::new(Size::new(1037, 1301));
        mask.fill_polygon(&Polygon::new(vec![[3.0, 5.0], [1037.0, 40.0], [700.5, 1301.0]]));
        mask.set(1036, 1300, true);
        for bits in [1, 8] {
            let path = folder.path().join(format!("{bits}.tiff"));
            write_mask_tiff(&path, &mask, bits).unwrap();
            assert!(read_mask(&path).unwrap() == mask, "{bits} bits");
            let pixels = hubmap_io::open(&path).unwrap().read(Window::new(1030, 1295, 9, 9)).unwrap();
            assert_eq!(pixels[(5, 6, 0)], if bits == 8 { 255 } else { 1 });
        }
        assert!(write_mask_tiff(&folder.path().join("4.tiff"), &mask, 4).is_err());
        assert!(read_mask(&folder.path().join("none.tiff")).is_err());
    }

    #[test]
    fn a_slide_is_no_mask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rgb.tiff");
        let mut writer = TiffWriter::create(&path, TiffSpec::rgb(Size::new(4, 4))).unwrap();
        writer.write_rows(&Array3::zeros((4, 4, 3))).unwrap();
        writer.finish().unwrap();
        let error = read_mask(&path).unwrap_err().to_string();
        assert!(error.contains("rgb.tiff") && error.contains("3 bands"), "{error}");
    }
}

mod laws {
    use super::*;

    /// Blobs and noise: a mask with long runs, single pixels, holes and corners that touch.
    fn pixels() -> impl Strategy<Value = Array2<u8>> {
        (1..90_usize, 1..150_usize, 0..=4_usize, 0.0..1.0_f64, any::<u64>()).prop_map(
            |(height, width, n_blocks, density, seed)| {
                let mut state = seed | 1;
                let mut next = move |n: usize| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as usize % n.max(1)
                };
                let threshold = (density * density * 1000.0) as usize;
                let mut pixels = Array2::from_shape_fn((height, width), |_| u8::from(next(1000) < threshold));
                for _ in 0..n_blocks {
                    let (y, x, value) = (next(height), next(width), next(3) as u8);
                    let (y1, x1) = ((y + next(40)).min(height), (x + next(70)).min(width));
                    pixels.slice_mut(s![y..y1, x..x1]).fill(value);
                }
                pixels
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn arrays_round_trip(pixels in pixels()) {
            let mask = Mask::from_array(pixels.view());
            let ones = pixels.mapv(|v| u8::from(v != 0));
            prop_assert_eq!(mask.to_array(), &ones);
            prop_assert_eq!(mask.count_ones(), ones.iter().map(|&v| v as u64).sum::<u64>());
            prop_assert_eq!(Mask::from_array(pixels.t()).to_array(), ones.t());
        }

        #[test]
        fn windows_count_their_pixels(
            pixels in pixels(), x in -70_i64..200, y in -20_i64..60, width in 1_u32..200, height in 1_u32..30,
        ) {
            let mask = Mask::from_array(pixels.view());
            let window = Window::new(x, y, width, height);
            let read = mask.read(window);
            prop_assert_eq!(mask.count_ones_in(window), read.iter().map(|&v| v as u64).sum::<u64>());
        }

        #[test]
        fn rle_is_that_of_the_definition_and_round_trips(pixels in pixels()) {
            let mask = Mask::from_array(pixels.view());
            let rle = Rle::encode(&mask);
            let mut expected: Vec<(u64, u64)> = Vec::new();
            for (i, _) in pixels.t().iter().enumerate().filter(|(_, v)| **v != 0) {
                match expected.last_mut() {
                    Some((start, length)) if *start + *length == i as u64 + 1 => *length += 1,
                    _ => expected.push((i as u64 + 1, 1)),
                }
            }
            let runs: Vec<_> = rle.runs().iter().map(|run| (run.start, run.length)).collect();
            prop_assert_eq!(runs, expected);
            prop_assert_eq!(rle.decode(mask.size()).unwrap(), mask);
            prop_assert_eq!(Rle::parse(&rle.to_string()).unwrap(), rle);
        }

        #[test]
        fn rows_in_blocks_give_the_same_runs(pixels in pixels(), block in 1..20_usize) {
            let mask = Mask::from_array(pixels.view());
            let mut by_block = RleEncoder::new(mask.size());
            let mut by_row = RleEncoder::new(mask.size());
            for rows in pixels.axis_chunks_iter(Axis(0), block) {
                by_block.push_rows(rows);
            }
            for y in 0..mask.size().height {
                by_row.push_row_bytes(mask.row_bytes(y));
            }
            prop_assert_eq!(by_block.finish(), Rle::encode(&mask));
            prop_assert_eq!(by_row.finish(), Rle::encode(&mask));
        }

        #[test]
        fn rows_of_every_split_decode(pixels in pixels(), block in 1..20_usize, on in 1..=255_u8) {
            let expected = pixels.mapv(|v| if v == 0 { 0 } else { on });
            let rle: Rle = Rle::encode_array(pixels.view()).to_string().parse().unwrap();
            let size = Size::new(pixels.ncols() as u32, pixels.nrows() as u32);
            prop_assert_eq!(&rle.decode_array(size, on).unwrap(), &expected);
            let mut into = Array2::from_elem(pixels.dim(), 77);
            rle.decode_into(into.view_mut(), on).unwrap();
            prop_assert_eq!(&into, &expected);
            let mut by_block = Array2::from_elem(pixels.dim(), 77);
            let mut decoder = RleDecoder::new(&rle, size).unwrap();
            for rows in by_block.axis_chunks_iter_mut(Axis(0), block) {
                decoder.fill_rows(rows, on);
            }
            prop_assert_eq!(decoder.rows_left(), 0);
            prop_assert_eq!(&by_block, &expected);
        }

        #[test]
        fn a_broken_token_is_found(
            gaps in proptest::collection::vec(1..1000_u64, 1..40), at in any::<prop::sample::Index>(), kind in 0..6_u32,
        ) {
            let mut tokens: Vec<String> = Vec::new();
            let mut end = 0;
            for gap in &gaps {
                tokens.extend([(end + gap + 1).to_string(), gap.to_string()]);
                end += 2 * gap;
            }
            let idx = at.index(tokens.len());
            let position = idx + 1;
            let is_start = idx % 2 == 0;
            let (token, expected) = match kind {
                0 => ("0".to_owned(), RleError::Zero { position, what: if is_start { "starts" } else { "lengths" } }),
                1 => ("-3".to_owned(), RleError::NotANumber { position, token: "-3".to_owned() }),
                2 => (format!("{}.", tokens[idx]), RleError::NotANumber { position, token: format!("{}.", tokens[idx]) }),
                3 => (format!("{}0", u64::MAX), RleError::Overflow { position }),
                4 if is_start && idx > 0 => {
                    let previous_last = gaps[..idx / 2].iter().map(|gap| 2 * gap).sum();
                    (format!("{previous_last}"), RleError::Unsorted { position, start: previous_last, previous_last })
                }
                _ => {
                    tokens.truncate(idx / 2 * 2 + 1);
                    (tokens[idx / 2 * 2].clone(), RleError::OddCount { count: tokens.len() })
                }
            };
            let last = tokens.len() - 1;
            tokens[idx.min(last)] = token;
            prop_assert_eq!(Rle::parse(&tokens.join(" ")), Err(expected));
        }

        #[test]
        fn windows_are_cut_from_the_mask(
            pixels in pixels(), x in -30..160_i64, y in -30..100_i64, width in 1..80_u32, height in 1..80_u32,
        ) {
            let mask = Mask::from_array(pixels.view());
            let window = mask.read(Window::new(x, y, width, height));
            for ((dy, dx), &value) in window.indexed_iter() {
                let (x, y) = (x + dx as i64, y + dy as i64);
                let set = x >= 0 && y >= 0 && mask.get(x as u32, y as u32);
                prop_assert_eq!(value, u8::from(set));
            }
        }

        #[test]
        fn runs_fill_what_pixels_fill(y in 0..3_u32, x0 in 0..80_u32, x1 in 0..80_u32) {
            let (mut by_run, mut by_pixel) = (Mask::new(Size::new(70, 2)), Mask::new(Size::new(70, 2)));
            by_run.fill_run(y, x0, x1);
            (x0..x1).for_each(|x| by_pixel.set(x, y, true));
            prop_assert_eq!(by_run, by_pixel);
        }

        #[test]
        fn traced_polygons_fill_the_mask(pixels in pixels()) {
            let mask = Mask::from_array(pixels.view());
            let polygons = trace_polygons(&mask);
            let mut filled = Mask::new(mask.size());
            for polygon in &polygons {
                filled.fill_polygon(polygon);
                for ring in polygon.rings() {
                    prop_assert!(ring.len() >= 4);
                    let mut corners: Vec<_> = ring.iter().map(|p| p.map(|v| v as i64)).collect();
                    corners.sort_unstable();
                    corners.dedup();
                    prop_assert_eq!(corners.len(), ring.len(), "no ring passes a corner twice");
                }
            }
            prop_assert_eq!(&filled, &mask);
            let area: f64 = polygons.iter().map(Polygon::area).sum();
            prop_assert_eq!(area as u64, mask.count_ones());
        }

        #[test]
        fn polygons_fill_by_pixel_centres(
            ring in proptest::collection::vec([-5.0..45.0_f64, -5.0..45.0_f64], 3..12), snap in any::<bool>(),
        ) {
            let ring: Vec<_> = ring
                .into_iter()
                .map(|p| if snap { p.map(|v| (v * 2.0).round() / 2.0) } else { p })
                .collect();
            let polygon = Polygon::new(ring);
            let mut mask = Mask::new(Size::new(40, 40));
            mask.fill_polygon(&polygon);
            for y in 0..40 {
                for x in 0..40 {
                    let inside = polygon.contains([x as f64 + 0.5, y as f64 + 0.5]);
                    prop_assert_eq!(mask.get(x, y), inside, "({}, {})", x, y);
                }
            }
        }

        #[test]
        fn polygons_with_holes_fill_by_exact_arithmetic(
            rings in proptest::collection::vec(proptest::collection::vec([-4..44_i64, -4..44_i64], 0..9), 1..4),
        ) {
            // Vertices on halves of pixels, doubled: pixel centres are odd numbers and every product is exact.
            let halves = |ring: &Vec<[i64; 2]>| ring.iter().map(|p| p.map(|v| v as f64 / 2.0)).collect::<Vec<_>>();
            let polygon = Polygon { exterior: halves(&rings[0]), holes: rings[1..].iter().map(halves).collect() };
            let mut mask = Mask::new(Size::new(20, 20));
            mask.fill_polygon(&polygon);
            for (x, y) in (0..400).map(|i| (i % 20, i / 20)) {
                let [cx, cy] = [2 * x + 1, 2 * y + 1];
                let n_left = rings.iter().flat_map(|ring| (0..ring.len()).map(move |i| [ring[i], ring[(i + 1) % ring.len()]]));
                let n_left = n_left.filter(|&[p, q]| {
                    let [a, b] = if p[1] <= q[1] { [p, q] } else { [q, p] };
                    // Does the edge cross the row of the centre, at the centre or left of it?
                    a[1] <= cy && cy < b[1] && a[0] * (b[1] - a[1]) + (cy - a[1]) * (b[0] - a[0]) <= cx * (b[1] - a[1])
                });
                prop_assert_eq!(mask.get(x as u32, y as u32), n_left.count() % 2 == 1, "({}, {})", x, y);
            }
        }

        #[test]
        fn halves_of_a_polygon_share_no_pixel(
            ring in proptest::collection::vec([0.0..40.0_f64, 0.0..40.0_f64], 3..4), t in 0.1..0.9_f64,
        ) {
            let cut = [ring[1][0] + t * (ring[2][0] - ring[1][0]), ring[1][1] + t * (ring[2][1] - ring[1][1])];
            let (mut a, mut b) = (Mask::new(Size::new(40, 40)), Mask::new(Size::new(40, 40)));
            a.fill_polygon(&Polygon::new(vec![ring[0], ring[1], cut]));
            b.fill_polygon(&Polygon::new(vec![cut, ring[2], ring[0]]));
            let n_separate = a.count_ones() + b.count_ones();
            a.union(&b);
            prop_assert_eq!(a.count_ones(), n_separate);
        }

        #[test]
        fn whole_factors_average_exactly(
            height in 1..20_usize, width in 1..70_usize, bands in 1..5_usize, factor in 1..7_u32, seed in any::<u8>(),
        ) {
            let f = factor as usize;
            let pixels = Array3::from_shape_fn((height * f, width * f, bands), |(y, x, c)| {
                ((y * 31 + x * 17 + c * 101) as u8).wrapping_mul(seed | 1)
            });
            let out = area_downscale(pixels.view(), factor);
            prop_assert_eq!(out.dim(), (height, width, bands));
            for ((y, x, c), &value) in out.indexed_iter() {
                let cell = pixels.slice(s![y * f..(y + 1) * f, x * f..(x + 1) * f, c]);
                let mean = cell.iter().map(|&v| v as f64).sum::<f64>() / (f * f) as f64;
                prop_assert!((mean - value as f64).abs() <= 0.5 + 1e-9);
            }
        }
    }

    #[test]
    fn large_images_are_reduced_like_their_parts() {
        let pixels =
            Array3::from_shape_fn((900, 1536, 3), |(y, x, c)| (y * 7 + x * x * 3 + c * 50 + y * x) as u8);
        let whole = area_downscale(pixels.view(), 3);
        let parts: Vec<_> =
            pixels.axis_chunks_iter(Axis(0), 30).map(|rows| area_downscale(rows, 3)).collect();
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        assert_eq!(whole, concatenate(Axis(0), &views).unwrap());
        assert_eq!(area_downscale(pixels.slice(s![..2, .., ..]), 3).dim(), (0, 512, 3));
    }
}
