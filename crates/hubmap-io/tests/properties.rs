//! Laws that hold for every window, picture, layout, codec and mask.

#![expect(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "helpers of tests fail like tests")]

use std::path::Path;

use hubmap_io::{
    Compression, Feature, Layout, Mask, ObjectKind, Polygon, RasterReader as _, Rle, RleEncoder, Size,
    TiffFile, TiffSlide, TiffSpec, TiffWriter, Window, area_downscale, read_annotations, write_annotations,
};
use ndarray::{Array2, Array3, ArrayView3, Axis, s};
use proptest::prelude::*;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

mod windows {
    use super::*;

    /// Windows near each other, so that most pairs share something.
    fn near() -> impl Strategy<Value = Window> {
        (-20..20_i64, -20..20_i64, 0..30_u32, 0..30_u32).prop_map(|(x, y, w, h)| Window::new(x, y, w, h))
    }

    /// Windows anywhere, at the ends of the number range above all.
    fn anywhere() -> impl Strategy<Value = Window> {
        let corner = || prop_oneof![any::<i64>(), -9..9_i64, i64::MIN..i64::MIN + 9, i64::MAX - 9..=i64::MAX];
        let side = || prop_oneof![any::<u32>(), 0..9_u32, u32::MAX - 9..=u32::MAX];
        (corner(), corner(), side(), side()).prop_map(|(x, y, w, h)| Window::new(x, y, w, h))
    }

    fn contains(window: &Window, x: i64, y: i64) -> bool {
        (window.x..window.right()).contains(&x) && (window.y..window.bottom()).contains(&y)
    }

    fn encloses(outer: &Window, inner: &Window) -> bool {
        outer.x <= inner.x
            && outer.y <= inner.y
            && inner.right() <= outer.right()
            && inner.bottom() <= outer.bottom()
    }

    proptest! {
        #![proptest_config(cases(500))]

        #[test]
        fn an_intersection_has_the_pixels_of_both(a in near(), b in near()) {
            let both = a.intersect(&b);
            for y in -20..50 {
                for x in -20..50 {
                    let expected = contains(&a, x, y) && contains(&b, x, y);
                    prop_assert_eq!(both.is_some_and(|both| contains(&both, x, y)), expected, "({}, {})", x, y);
                }
            }
            prop_assert!(both.is_none_or(|both| both.size().area() > 0));
        }

        #[test]
        fn intersecting_is_commutative_contained_and_idempotent(a in anywhere(), b in anywhere()) {
            let both = a.intersect(&b);
            prop_assert_eq!(both, b.intersect(&a));
            if let Some(both) = both {
                prop_assert!(encloses(&a, &both) && encloses(&b, &both));
                prop_assert_eq!(both.intersect(&a), Some(both));
                prop_assert_eq!(both.intersect(&both), Some(both));
            }
        }

        #[test]
        fn the_order_of_intersections_does_not_matter(a in near(), b in near(), c in near()) {
            let left = a.intersect(&b).and_then(|ab| ab.intersect(&c));
            let right = b.intersect(&c).and_then(|bc| a.intersect(&bc));
            prop_assert_eq!(left, right);
        }

        #[test]
        fn growing_adds_the_margin_on_every_side(window in near(), a in 0..1000_u32, b in 0..1000_u32) {
            let grown = window.grow(a);
            let margin = i64::from(a);
            prop_assert_eq!((window.x - grown.x, window.y - grown.y), (margin, margin));
            prop_assert_eq!((grown.right() - window.right(), grown.bottom() - window.bottom()), (margin, margin));
            prop_assert_eq!(grown.grow(b), window.grow(a + b));
            prop_assert_eq!(window.grow(0), window);
            if window.size().area() > 0 {
                prop_assert_eq!(grown.intersect(&window), Some(window));
            }
        }

        #[test]
        fn growing_never_overflows(window in anywhere(), margin in prop_oneof![any::<u32>(), Just(u32::MAX)]) {
            let grown = window.grow(margin);
            prop_assert!(grown.x <= window.x && grown.y <= window.y);
            prop_assert!(grown.width >= window.width && grown.height >= window.height);
        }

        #[test]
        fn tiles_cover_every_pixel_once(width in 1..90_u32, height in 1..90_u32, tile_w in 1..40_u32, tile_h in 1..40_u32) {
            let size = Size::new(width, height);
            let mut n_covers = Array2::<u8>::zeros((height as usize, width as usize));
            for y in (0..height).step_by(tile_h as usize) {
                for x in (0..width).step_by(tile_w as usize) {
                    let tile = Window::new(x.into(), y.into(), tile_w, tile_h);
                    let tile = tile.intersect(&size.window()).unwrap();
                    let (rows, columns) = (tile.y as usize..tile.bottom() as usize, tile.x as usize..tile.right() as usize);
                    n_covers.slice_mut(s![rows, columns]).mapv_inplace(|n| n + 1);
                }
            }
            prop_assert!(n_covers.iter().all(|&n| n == 1));
        }
    }
}

mod tiff {
    use super::*;

    fn layout() -> impl Strategy<Value = Layout> {
        let tile = || (1..=5_u32).prop_map(|n| 16 * n);
        prop_oneof![
            (tile(), any::<bool>()).prop_map(|(tile, planar)| Layout::Tiled { tile, planar }),
            (1..70_u32, any::<bool>()).prop_map(|(rows, planar)| Layout::Strips { rows, planar }),
            any::<bool>().prop_map(|planar| Layout::Strips { rows: u32::MAX, planar }),
            tile().prop_map(|tile| Layout::Pages { tile }),
        ]
    }

    /// Bands, and bits of each.
    fn samples() -> impl Strategy<Value = (u8, u8)> {
        prop_oneof![3 => Just((3, 8)), 1 => Just((1, 8)), 1 => Just((1, 1))]
    }

    /// A file's form but for its codec.
    fn form() -> impl Strategy<Value = TiffSpec> {
        (1..100_u32, 1..100_u32, layout(), samples(), any::<bool>()).prop_map(
            |(width, height, layout, (bands, bits), big)| {
                let size = Size::new(width, height);
                TiffSpec { layout, bands, bits, big, ..TiffSpec::rgb(size) }
            },
        )
    }

    /// The form with every codec and predictor that can go with it.
    fn with_lossless_codecs(form: &TiffSpec) -> Vec<TiffSpec> {
        let codecs = [Compression::Lzw, Compression::Deflate, Compression::Zstd];
        let both = codecs.iter().flat_map(|&codec| [(codec, false), (codec, true)]);
        std::iter::once((Compression::None, false))
            .chain(both)
            .filter(|&(_, predictor)| form.bits == 8 || !predictor)
            .map(|(compression, predictor)| TiffSpec { compression, predictor, ..form.clone() })
            .collect()
    }

    /// The form as JPEG with reduced and with full chroma; strips are rounded up to whole blocks.
    fn with_jpeg(form: &TiffSpec) -> Vec<TiffSpec> {
        let layout = match form.layout {
            Layout::Strips { rows, planar } if rows < form.size.height => {
                Layout::Strips { rows: rows.next_multiple_of(16), planar }
            }
            layout => layout,
        };
        let compressions = [70, 95].map(|quality| Compression::Jpeg { quality });
        let spec = |compression| TiffSpec { compression, layout, predictor: false, ..form.clone() };
        if form.bits == 8 { compressions.map(spec).to_vec() } else { Vec::new() }
    }

    /// Areas of one colour, gradients and noise.
    fn picture(spec: &TiffSpec, seed: u32) -> Array3<u8> {
        let shape = (spec.size.height as usize, spec.size.width as usize, usize::from(spec.bands));
        let max = if spec.bits == 1 { 1 } else { 255 };
        Array3::from_shape_fn(shape, |(y, x, band)| {
            let noise = (x * 31 + y * 17 + band * 101 + seed as usize).wrapping_mul(2_654_435_761) >> 7;
            let value = match (x / 24 + y / 24 + seed as usize) % 3 {
                0 => seed as usize + band * 60,
                1 => x * 3 + y * 2 + band * 40,
                _ => noise,
            };
            if max == 1 { (value >> 2 & 1) as u8 } else { value as u8 }
        })
    }

    /// Writes `picture` in bands of rows of the given heights, over and over.
    fn write(path: &Path, spec: &TiffSpec, picture: &Array3<u8>, heights: &[usize]) {
        let mut writer = TiffWriter::create(path, spec.clone()).unwrap();
        let mut rest = picture.view();
        for &height in heights.iter().cycle() {
            let (now, later) = rest.split_at(Axis(0), height.min(rest.len_of(Axis(0))));
            writer.write_rows(&now).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        writer.finish().unwrap();
    }

    /// What a boundless read of `window` has to give.
    fn pad_then_crop(picture: ArrayView3<'_, u8>, window: Window) -> Array3<u8> {
        let (height, width, bands) = picture.dim();
        Array3::from_shape_fn(
            (window.height as usize, window.width as usize, bands),
            |(row, column, band)| {
                let y = usize::try_from(window.y + row as i64).ok().filter(|&y| y < height);
                let x = usize::try_from(window.x + column as i64).ok().filter(|&x| x < width);
                y.zip(x).map_or(0, |(y, x)| picture[(y, x, band)])
            },
        )
    }

    fn window() -> impl Strategy<Value = Window> {
        (-40..110_i64, -40..110_i64, 1..120_u32, 1..120_u32).prop_map(|(x, y, w, h)| Window::new(x, y, w, h))
    }

    proptest! {
        #![proptest_config(cases(96))]

        #[test]
        fn what_is_written_is_read(
            form in form(), seed in any::<u32>(), heights in proptest::collection::vec(1..50_usize, 1..5),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("picture.tiff");
            let picture = picture(&form, seed);
            for spec in with_lossless_codecs(&form) {
                write(&path, &spec, &picture, &heights);
                let slide = TiffSlide::open(&path).unwrap();
                prop_assert_eq!((slide.size(), slide.bands()), (spec.size, usize::from(spec.bands)));
                prop_assert!(slide.read(spec.size.window()).unwrap() == picture, "{:?}", spec);

                let file = TiffFile::open(&path).unwrap();
                prop_assert!(file.damage().is_none());
                let n_pages = if matches!(spec.layout, Layout::Pages { .. }) { usize::from(spec.bands) } else { 1 };
                prop_assert_eq!((file.pages().len(), file.is_big()), (n_pages, spec.big));
                for (idx, info) in file.pages().iter().enumerate() {
                    let page = file.read_page(idx).unwrap();
                    prop_assert_eq!((page.size, info.bits), (spec.size, u32::from(spec.bits)));
                    let bands = idx..idx + page.bands;
                    prop_assert!(page.bytes == picture.slice(s![.., .., bands]), "page {} of {:?}", idx, spec);
                }
            }
        }

        #[test]
        fn a_boundless_read_is_pad_then_crop(
            form in form(), seed in any::<u32>(), windows in [window(), window(), window()],
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("picture.tiff");
            let picture = picture(&form, seed);
            for spec in with_lossless_codecs(&form).into_iter().chain(with_jpeg(&form)) {
                write(&path, &spec, &picture, &[33]);
                let slide = TiffSlide::open(&path).unwrap();
                let whole = slide.read(spec.size.window()).unwrap();
                if !matches!(spec.compression, Compression::Jpeg { .. }) {
                    prop_assert!(whole == picture, "{:?}", spec);
                }
                for window in windows {
                    let pixels = slide.read(window).unwrap();
                    prop_assert!(pixels == pad_then_crop(whole.view(), window), "{} of {:?}", window, spec);
                    // A step through memory that is not one row after the other, with old content.
                    let (height, width, bands) = pixels.dim();
                    let mut wide = Array3::from_elem((height, width, 2 * bands), 77_u8);
                    slide.read_into(window, wide.slice_mut(s![.., .., ..;2])).unwrap();
                    prop_assert!(wide.slice(s![.., .., ..;2]) == pixels, "{} of {:?} into an array", window, spec);
                    prop_assert!(wide.slice(s![.., .., 1..;2]).iter().all(|&pixel| pixel == 77));
                }
            }
        }
    }
}

mod run_lengths {
    use super::*;

    /// Set pixels in blocks of the given share of the rows and columns.
    fn pixels() -> impl Strategy<Value = Array2<u8>> {
        (1..80_usize, 1..140_usize, 1..12_usize, 1..4_usize, any::<u32>()).prop_map(
            |(height, width, block, n_shades, seed)| {
                Array2::from_shape_fn((height, width), |(y, x)| {
                    let hash =
                        (x / block * 97 + y / block * 57 + seed as usize).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    u8::from((hash >> 20).is_multiple_of(n_shades + 1))
                })
            },
        )
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn do_not_depend_on_how_rows_arrive(
            pixels in pixels(),
            parts in proptest::collection::vec((1..30_usize, 0..3_u8), 1..8),
            n_missing in 0..6_usize,
        ) {
            let (height, width) = pixels.dim();
            let mut mask = Mask::from_array(pixels.view());
            let n_rows = height - n_missing.min(height);
            mask.set_rows(n_rows as u32, Array2::zeros((height - n_rows, width)).view());
            let mut encoder = RleEncoder::new(mask.size());
            let columns_first = pixels.t().as_standard_layout().into_owned();
            let mut y = 0;
            for (n, form) in parts.into_iter().cycle() {
                let rows = y..(y + n).min(n_rows);
                y = rows.end;
                match form {
                    0 => encoder.push_rows(pixels.slice(s![rows, ..])),
                    1 => encoder.push_rows(columns_first.t().slice(s![rows, ..])),
                    _ => rows.for_each(|y| encoder.push_row_bytes(mask.row_bytes(y as u32))),
                }
                if y == n_rows {
                    break;
                }
            }
            let rle = encoder.finish();
            prop_assert_eq!(&rle, &Rle::encode(&mask));
            prop_assert!(Rle::parse(&rle.to_string()).unwrap().decode(mask.size()).unwrap() == mask);
        }

        #[test]
        fn of_a_drawn_text_are_that_text(
            gaps_and_lengths in proptest::collection::vec((1..60_u64, 1..90_u64), 0..40),
            first_gap in 0..60_u64,
            height in 1..70_u32,
            n_columns_more in 0..20_u64,
        ) {
            let mut next = first_gap;
            let mut numbers = Vec::new();
            for (gap, length) in gaps_and_lengths {
                numbers.extend([next + 1, length]);
                next += length + gap;
            }
            let text = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
            let width = next.div_ceil(height.into()) + n_columns_more;
            let size = Size::new(width as u32, height);
            let mask = Rle::parse(&text).unwrap().decode(size).unwrap();
            prop_assert_eq!(mask.count_ones(), numbers.iter().skip(1).step_by(2).sum::<u64>());
            prop_assert_eq!(Rle::encode(&mask).to_string(), text);
        }
    }
}

mod annotations {
    use super::*;

    /// Numbers with a few decimals, and any other finite ones.
    fn coordinate() -> impl Strategy<Value = f64> {
        use proptest::num::f64::{NORMAL, SUBNORMAL, ZERO};
        prop_oneof![
            (-4000..400_000_i32).prop_map(|v| f64::from(v) / 8.0),
            0.0..50_000.0,
            NORMAL | SUBNORMAL | ZERO
        ]
    }

    /// A ring that is not closed.
    fn ring() -> impl Strategy<Value = Vec<[f64; 2]>> {
        proptest::collection::vec([coordinate(), coordinate()], 3..9)
            .prop_filter("closed", |ring| ring.first() != ring.last())
    }

    fn polygon() -> impl Strategy<Value = Polygon> {
        (ring(), proptest::collection::vec(ring(), 0..3))
            .prop_map(|(exterior, holes)| Polygon { exterior, holes })
    }

    fn feature() -> impl Strategy<Value = Feature> {
        let polygons = proptest::collection::vec(polygon(), 1..4);
        let class = proptest::option::of((".{0,8}", proptest::option::of(any::<[u8; 3]>())));
        let kind = prop_oneof![Just(ObjectKind::Annotation), Just(ObjectKind::Detection)];
        let measurements = proptest::collection::btree_map(".{0,5}", coordinate(), 0..4);
        (proptest::option::of(".{0,8}"), class, kind, polygons, measurements).prop_map(
            |(id, class, kind, polygons, measurements)| {
                let (class, color) = class.map_or((None, None), |(class, color)| (Some(class), color));
                Feature { id, class, color, kind, polygons, measurements: measurements.into_iter().collect() }
            },
        )
    }

    #[test]
    fn a_ring_closed_twice_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slide.json");
        let ring = "[[1, 2], [5.5, 2], [5, 9], [1, 2], [1, 2]]";
        let text = format!(r#"[{{"geometry": {{"type": "Polygon", "coordinates": [{ring}]}}}}]"#);
        std::fs::write(&path, text).unwrap();
        let features = read_annotations(&path).unwrap();
        assert_eq!(features[0].polygons[0].exterior, [[1.0, 2.0], [5.5, 2.0], [5.0, 9.0]]);
        write_annotations(&path, &features).unwrap();
        assert_eq!(read_annotations(&path).unwrap(), features);
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn read_back_as_they_were_written(
            features in proptest::collection::vec(feature(), 0..4), gzip in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(if gzip { "slide.json.gz" } else { "slide.json" });
            write_annotations(&path, &features).unwrap();
            prop_assert_eq!(read_annotations(&path).unwrap(), features);
        }
    }
}

mod resampling {
    use super::*;

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn area_averages_are_weighted_means(
            height in 1..60_usize, width in 1..60_usize, bands in 1..5_usize, factor in 1..9_u32, seed in any::<u32>(),
        ) {
            let pixels = Array3::from_shape_fn((height, width, bands), |(y, x, band)| {
                ((x * 31 + y * 17 + band * 101 + seed as usize).wrapping_mul(2_654_435_761) >> 9) as u8
            });
            let out = area_downscale(pixels.view(), factor);
            let (out_height, out_width) = (height / factor as usize, width / factor as usize);
            prop_assert_eq!(out.dim(), (out_height, out_width, bands));
            for ((y, x, band), &value) in out.indexed_iter() {
                let (rows, columns) = (shares(height, out_height, y), shares(width, out_width, x));
                let mut mean = 0.0;
                for &(row, row_share) in &rows {
                    for &(column, share) in &columns {
                        mean += row_share * share * f64::from(pixels[(row, column, band)]);
                    }
                }
                // Halves may go either way, and sums are of single precision.
                prop_assert!((mean - f64::from(value)).abs() < 0.5 + 2e-4, "{} at {:?}: {}", value, (y, x), mean);
            }
        }
    }

    /// Input samples under output sample `idx` and the share of it that each covers.
    fn shares(n_in: usize, n_out: usize, idx: usize) -> Vec<(usize, f64)> {
        // In units of 1 / n_out of an input sample, so that all ends are whole numbers.
        let (start, end) = (idx * n_in, (idx + 1) * n_in);
        let covered = |sample: usize| end.min((sample + 1) * n_out) - start.max(sample * n_out);
        (start / n_out..end.div_ceil(n_out)).map(|i| (i, covered(i) as f64 / n_in as f64)).collect()
    }
}
