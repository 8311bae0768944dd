//! Laws that hold for every window, picture, layout, codec and mask.

use hubmap_io::{
    Feature, ObjectKind, Polygon, Size, Window, read_annotations, write_annotations,
};
use ndarray::{Array2, s};
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
