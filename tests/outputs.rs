use std::path::{Path, PathBuf};

use hubmap_infer::NpyReader;
use hubmap_io::{Mask, Rle, read_annotations, read_mask};
use serde_json::Value;

/// An executable of this workspace, beside the tests; `cargo test --workspace` builds them all.
pub(crate) fn executable(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built: run cargo test --workspace", path.display());
    path
}

/// The table, the mask TIFF, the probabilities and the outlines of a slide say the same.
pub(crate) fn check_outputs_agree(out: &Path, id: &str, threshold: f32) {
    let mask = read_mask(&out.join(format!("predicts/masks/{id}.tiff"))).unwrap();
    let table = std::fs::read_to_string(out.join(format!("submission__{threshold}.csv"))).unwrap();
    let line = table.lines().find_map(|line| line.strip_prefix(&format!("{id},"))).unwrap();
    assert_eq!(table.lines().next(), Some("id,predicted"));
    assert_eq!(Rle::parse(line).unwrap().decode(mask.size()).unwrap(), mask, "run lengths and mask TIFF");

    let mut drawn = Mask::new(mask.size());
    for feature in read_annotations(&out.join(format!("predicts/objects/{id}.geojson"))).unwrap() {
        feature.polygons.iter().for_each(|polygon| drawn.fill_polygon(polygon));
    }
    assert_eq!(drawn, mask, "outlines and mask TIFF");

    let mut npy = NpyReader::open(&out.join(format!("predicts/raw/{id}.npy"))).unwrap();
    assert_eq!(npy.size(), mask.size());
    let threshold = half::f16::from_f32(threshold);
    let probabilities = npy.read_rows(0, mask.size().height).unwrap();
    let n_positive = probabilities.iter().filter(|&&p| p > threshold).count() as u64;
    assert_eq!(n_positive, mask.count_ones(), "probabilities and mask TIFF");

    let overlay = std::fs::read(out.join(format!("predicts/overlays/{id}.png"))).unwrap();
    assert!(overlay.starts_with(b"\x89PNG"), "the overlay is a PNG");
}

/// What QuPath asks of GeoJSON: closed rings of finite numbers, no `MultiPolygon` of one polygon.
pub(crate) fn check_geojson(path: &Path) -> usize {
    let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(json["type"], "FeatureCollection");
    let features = json["features"].as_array().unwrap();
    for feature in features {
        assert_eq!(feature["type"], "Feature");
        assert!(feature["properties"]["classification"]["name"].is_string(), "{feature}");
        let polygons: Vec<&Value> = match feature["geometry"]["type"].as_str() {
            Some("Polygon") => vec![&feature["geometry"]["coordinates"]],
            Some("MultiPolygon") => {
                let polygons = feature["geometry"]["coordinates"].as_array().unwrap();
                assert!(polygons.len() > 1, "a MultiPolygon of one polygon");
                polygons.iter().collect()
            }
            other => panic!("geometry {other:?}"),
        };
        for ring in polygons.iter().flat_map(|polygon| polygon.as_array().unwrap()) {
            let ring = ring.as_array().unwrap();
            assert!(ring.len() >= 4 && ring.first() == ring.last(), "ring is not closed: {ring:?}");
            assert!(ring.iter().flat_map(|p| p.as_array().unwrap()).all(|v| v.as_f64().unwrap().is_finite()));
        }
    }
    features.len()
}
