//! Any bytes as an annotation file: an error that names it, or features that read back as they were written.
//!
//! Outlines are also measured and drawn, and the outlines of the drawing are drawn again.
#![no_main]

use std::collections::BTreeMap;

use hubmap_io::{
    Error, Feature, Mask, Polygon, Size, Window, read_annotations, trace_polygons, write_annotations,
};
use hubmap_io_fuzz::{Dice, scratch_folder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = scratch_folder().join("any.json");
    std::fs::write(&path, bytes).expect("the scratch file can be written");
    let features = match read_annotations(&path) {
        Ok(features) => features,
        Err(error) => {
            assert_eq!(error.path(), path);
            assert!(matches!(error, Error::Format { .. }), "{error}");
            return;
        }
    };
    let mut dice = Dice::new(bytes);
    let name = if dice.below(8) == 0 { "copy.json.gz" } else { "copy.json" };
    let copy = scratch_folder().join(name);
    write_annotations(&copy, &features).expect("what was read can be written");
    let expected: Vec<_> = features.iter().filter_map(as_written).collect();
    assert_eq!(read_annotations(&copy).expect("what was written can be read"), expected);
    draw(&features);
});

/// What a file keeps of a feature: drawable polygons, each measurement once and by name, no colour without
/// a class.
fn as_written(feature: &Feature) -> Option<Feature> {
    let is_drawable = |polygon: &&Polygon| polygon.exterior.len() >= 3;
    let polygons: Vec<_> = feature.polygons.iter().filter(is_drawable).cloned().collect();
    let measurements: BTreeMap<_, _> = feature.measurements.iter().cloned().collect();
    let color = feature.color.filter(|_| feature.class.is_some());
    let measurements = measurements.into_iter().collect();
    (!polygons.is_empty()).then(|| Feature { polygons, measurements, color, ..feature.clone() })
}

fn draw(features: &[Feature]) {
    let size = Size::new(70, 40);
    let mut mask = Mask::new(size);
    for polygon in features.iter().flat_map(|feature| &feature.polygons).take(50) {
        let _ = (polygon.area(), polygon.centroid(), polygon.contains([3.5, 4.5]));
        if let Some(bounds) = polygon.bounds() {
            assert!(bounds.min[0] <= bounds.max[0] && bounds.min[1] <= bounds.max[1]);
            // The corner of the outline, which may lie anywhere, or else the mask stays empty.
            let corner = bounds.min.map(|v| v.floor() as i64);
            let window = Window::new(corner[0], corner[1], 50, 50);
            polygon.spans(window, |y, x0, x1| {
                assert!((window.y..window.bottom()).contains(&y));
                assert!(window.x <= x0 && x0 < x1 && x1 <= window.right());
            });
        }
        mask.fill_polygon(polygon);
    }
    let mut again = Mask::new(size);
    for polygon in trace_polygons(&mask) {
        again.fill_polygon(&polygon);
    }
    assert!(mask == again, "outlines of a mask draw it");
}
