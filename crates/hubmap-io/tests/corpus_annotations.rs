//! Annotations and encodings of real slides, in the folder that `HUBMAP_CORPUS` names.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

use std::path::{Path, PathBuf};

use hubmap_io::{
    Feature, Mask, Rle, RleDecoder, RleEncoder, Size, read_annotations, trace_polygons, write_annotations,
};
use ndarray::Array2;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The annotation folder of the corpus.
fn annotations() -> PathBuf {
    let corpus = std::env::var_os("HUBMAP_CORPUS").expect("HUBMAP_CORPUS must name the corpus folder");
    let folder = Path::new(&corpus).join("annotations");
    assert!(folder.is_dir(), "{} is missing", folder.display());
    folder
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Rows of a CSV file without quotes, as columns by name of the header.
fn csv_column<'a>(text: &'a str, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut lines = text.lines();
    let idx = lines.next().unwrap().split(',').position(|column| column == name).unwrap();
    lines.map(move |line| {
        let columns: Vec<_> = line.split(',').collect();
        (columns[0], columns[idx])
    })
}

#[test]
fn every_annotation_file_reads_as_expected() {
    let folder = annotations();
    let manifest = read_json(&folder.join("manifest.json"));
    let temporary = tempfile::tempdir().unwrap();
    let (mut n_files, mut n_polygons) = (0, 0);
    for entry in manifest["files"].as_array().unwrap() {
        let name = entry["file"].as_str().unwrap();
        if Path::new(name).extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let expected = &entry["expected"];
        if expected["features"].is_null() {
            continue;
        }
        let features = read_annotations(&folder.join(name)).unwrap();
        check_features(name, &features, expected);
        n_files += 1;
        n_polygons += features.iter().map(|feature| feature.polygons.len()).sum::<usize>();

        let copy = temporary.path().join("copy.geojson.gz");
        write_annotations(&copy, &features).unwrap();
        let drawable: Vec<_> = features.into_iter().filter(|f| !f.polygons.is_empty()).collect();
        assert_eq!(read_annotations(&copy).unwrap(), drawable, "{name}");
    }
    assert_eq!((n_files, n_polygons), (65, 2129));
}

fn check_features(name: &str, features: &[Feature], expected: &Value) {
    assert_eq!(features.len() as u64, expected["features"].as_u64().unwrap(), "{name}");
    let polygons: Vec<_> = features.iter().flat_map(|feature| &feature.polygons).collect();
    if expected["geometry_types"]["None"].is_null() {
        let n_rings: usize = polygons.iter().map(|polygon| polygon.rings().count()).sum();
        let n_points: usize = polygons.iter().flat_map(|polygon| polygon.rings()).map(<[_]>::len).sum();
        let n_lines = expected["geometry_types"]["LineString"].as_u64().unwrap_or(0);
        assert_eq!(polygons.len() as u64, expected["polygons"].as_u64().unwrap(), "{name}");
        assert_eq!((n_rings - polygons.len()) as u64, expected["holes"].as_u64().unwrap(), "{name}");
        if n_lines == 0 {
            // All rings are closed in the files and open here.
            assert_eq!((n_points + n_rings) as u64, expected["points"].as_u64().unwrap(), "{name}");
        }
        let area: f64 = polygons.iter().map(|polygon| polygon.area()).sum();
        assert!((area - expected["area_px"].as_f64().unwrap()).abs() <= 0.1, "{name}: {area}");
        let vertices = || polygons.iter().flat_map(|polygon| polygon.rings()).flatten();
        for (i, expected) in
            expected["bbox_xyxy"].as_array().unwrap().iter().enumerate().filter(|_| n_lines == 0)
        {
            let values = vertices().map(|point| point[i % 2]);
            let bound = if i < 2 { values.fold(f64::MAX, f64::min) } else { values.fold(f64::MIN, f64::max) };
            assert!((bound - expected.as_f64().unwrap()).abs() < 0.01, "{name}: {bound} for {expected}");
        }
        let n_flat = polygons.iter().filter(|polygon| polygon.area() < 1.0).count();
        assert_eq!(n_flat as u64, expected["degenerate_polygons_area_below_1"].as_u64().unwrap(), "{name}");
    } else {
        // Geometries without a type, which the manifest does not count: all are polygons.
        assert_eq!(polygons.len(), features.len(), "{name}");
        assert!(polygons.iter().all(|polygon| polygon.area() > 100.0), "{name}");
    }
    for (class, count) in expected["classes"].as_object().unwrap() {
        let class = Some(class.as_str()).filter(|&class| class != "None");
        let n = features.iter().filter(|feature| feature.class.as_deref() == class).count();
        assert_eq!(n as u64, count.as_u64().unwrap(), "{name} {class:?}");
    }
    for polygon in polygons {
        let (centroid, bounds) = (polygon.centroid().unwrap(), polygon.bounds().unwrap());
        for (v, (min, max)) in centroid.iter().zip(bounds.min.iter().zip(bounds.max)) {
            assert!((min - 1e-3..=max + 1e-3).contains(v), "{name}");
        }
    }
}

#[test]
fn encodings_of_real_slides_round_trip_to_the_letter() {
    let folder = annotations();
    let text = std::fs::read_to_string(folder.join("rle_hpa_hubmap2022.csv")).unwrap();
    let expected = read_json(&folder.join("rle_hpa_hubmap2022.expected.json"));
    let expected = expected["rows"].as_array().unwrap();
    let rows: Vec<_> = csv_column(&text, "rle").collect();
    assert_eq!(rows.len(), 76);
    assert_eq!(rows.len(), expected.len());
    for ((id, encoding), expected) in rows.into_iter().zip(expected) {
        assert_eq!(id, expected["id"].as_str().unwrap());
        let mask = check_encoding(id, encoding, expected);
        let n_polygons = trace_polygons(&mask).len() as u64;
        assert!(n_polygons >= expected["components_8conn"].as_u64().unwrap(), "{id}");
    }
}

#[test]
fn a_slide_of_the_competition_matches_its_outlines() {
    let folder = annotations();
    let text = std::fs::read_to_string(folder.join("rle_hubmap2021_2f6ecfcdf.csv")).unwrap();
    let rows: Vec<_> = csv_column(&text, "encoding").collect();
    assert_eq!(rows.len(), 1);
    let (id, encoding) = rows[0];
    let manifest = read_json(&folder.join("manifest.json"));
    let mut entries = manifest["files"].as_array().unwrap().iter().map(|entry| &entry["rle_expected"]);
    let expected = entries.find(|expected| expected["id"] == id).unwrap();
    let mask = check_encoding(id, encoding, expected);

    let mut drawn = Mask::new(mask.size());
    for feature in read_annotations(&folder.join("hubmap_kidney/2f6ecfcdf.json")).unwrap() {
        feature.polygons.iter().for_each(|polygon| drawn.fill_polygon(polygon));
    }
    let mut common = drawn.clone();
    common.intersect(&mask);
    let dice = 2.0 * common.count_ones() as f64 / (drawn.count_ones() + mask.count_ones()) as f64;
    // The manifest's 0.988 was taken at a quarter of the size; read row by row it would be about 0.
    assert!(dice > 0.99, "Dice {dice}");
}

/// Decodes, encodes and traces in every way, and returns the mask.
fn check_encoding(id: &str, encoding: &str, expected: &Value) -> Mask {
    let number = |name: &str| expected[name].as_u64().unwrap();
    let size = Size::new(number("width") as u32, number("height") as u32);
    let rle = Rle::parse(encoding).unwrap();
    let mask = rle.decode(size).unwrap();
    assert_eq!(rle.runs().len() as u64, number("runs"), "{id}");
    assert_eq!(rle.runs()[0].start, number("min_start"), "{id}");
    assert_eq!(rle.runs().last().unwrap().last(), number("max_end"), "{id}");
    assert_eq!(mask.count_ones(), number("area"), "{id}");
    assert!(Rle::encode(&mask).to_string() == encoding, "{id}: encoded differently");

    let (digest, encoded) = check_bands(&rle, &mask);
    assert_eq!(digest, expected["mask_sha256_hw_uint8_01"].as_str().unwrap(), "{id}");
    assert!(encoded == encoding, "{id}: encoded differently band by band");

    let (mut filled, mut min, mut max) = (Mask::new(size), [u64::MAX; 2], [0; 2]);
    for polygon in trace_polygons(&mask) {
        filled.fill_polygon(&polygon);
        let bounds = polygon.bounds().unwrap();
        for axis in 0..2 {
            min[axis] = min[axis].min(bounds.min[axis] as u64);
            max[axis] = max[axis].max(bounds.max[axis] as u64 - 1);
        }
    }
    assert!(filled == mask, "{id}: outlines do not fill the mask");
    let bbox: Vec<_> =
        expected["bbox_xyxy_inclusive"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert_eq!([min, max].concat(), bbox, "{id}");
    mask
}

/// SHA-256 of the rows of zeros and ones, and the text of their runs, made without the whole image.
fn check_bands(rle: &Rle, mask: &Mask) -> (String, String) {
    const BAND_ROWS: u32 = 1000;
    let size = mask.size();
    let (mut decoder, mut encoder) = (RleDecoder::new(rle, size).unwrap(), RleEncoder::new(size));
    let mut hash = Sha256::new();
    while decoder.rows_left() > 0 {
        let n_rows = decoder.rows_left().min(BAND_ROWS) as usize;
        let mut band = Array2::zeros((n_rows, size.width as usize));
        decoder.fill_rows(band.view_mut(), 1);
        hash.update(band.as_slice().unwrap());
        encoder.push_rows(band.view());
    }
    let hex = hash.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    (hex, encoder.finish().to_string())
}
