//! Laws that hold for every window, picture, layout, codec and mask.

use hubmap_io::{Feature, ObjectKind, Polygon, read_annotations, write_annotations};
use proptest::prelude::*;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
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
