//! Annotation files: what is read, what is refused, and what is written.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::cell::Cell;
use std::io::{self, Read, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use hubmap_io::{
    AnnotationReader, AnnotationWriter, Error, Feature, ObjectKind, Polygon, read_annotations,
    write_annotations,
};

fn read(bytes: &[u8]) -> Result<Vec<Feature>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.json");
    std::fs::write(&path, bytes).unwrap();
    read_annotations(&path).map_err(|error| {
        assert_eq!(error.path(), path);
        error.to_string()
    })
}

const POLYGON: &str = r#"{"type":"Polygon","coordinates":[[[1,2],[5.5,2,0],[5,9],[1,2]]]}"#;

#[test]
fn every_root_gives_the_same_features() {
    let feature = format!(
        r#"{{"geometry":{POLYGON},"type":"Feature","id":"a","properties":{{"objectType":"detection",
        "classification":{{"name":"glomerulus","colorRGB":-3140401}},
        "measurements":[{{"name":"p","value":0.5}},{{"name":"bad","value":"NaN"}}]}}}}"#
    );
    let expected = Feature {
        id: Some("a".into()),
        color: Some([208, 20, 207]),
        kind: ObjectKind::Detection,
        measurements: vec![("p".into(), 0.5)],
        ..Feature::new("glomerulus", Polygon::new(vec![[1.0, 2.0], [5.5, 2.0], [5.0, 9.0]]))
    };
    let roots = [
        format!("[{feature}]"),
        format!("\u{feff}  [{feature}]\n"),
        feature.clone(),
        format!(r#"{{"features":[{feature}],"type":"FeatureCollection"}}"#),
    ];
    for root in roots {
        assert_eq!(read(root.as_bytes()).unwrap(), std::slice::from_ref(&expected), "{root}");
    }
    assert_eq!(read(b"[]").unwrap(), []);
}

#[test]
fn geometries_of_all_kinds() {
    let parts = |geometry: &str| {
        read(format!(r#"[{{"type":"Feature","geometry":{geometry}}}]"#).as_bytes())
            .map(|features| features[0].polygons.len())
    };
    assert_eq!(parts(POLYGON), Ok(1));
    assert_eq!(parts(r#"{"coordinates":[[[1,2],[5,2],[5,9]]]}"#), Ok(1));
    let multi = r"[[[[1,2],[5,2],[5,9],[1,2]],[[2,3],[3,3],[3,4]]],[[[8,8],[9,8],[9,9]]]]";
    assert_eq!(parts(&format!(r#"{{"type":"MultiPolygon","coordinates":{multi}}}"#)), Ok(2));
    assert_eq!(parts(r#"{"type":"Point","coordinates":[1,2]}"#), Ok(0));
    assert_eq!(parts(r#"{"type":"LineString","coordinates":[[1,2],[3,4]]}"#), Ok(0));
    assert_eq!(parts(r#"{"type":"Polygon","coordinates":[]}"#), Ok(0));
    assert_eq!(parts("null"), Ok(0));
    let members = format!(r#"{{"type":"GeometryCollection","geometries":[{POLYGON},{POLYGON}]}}"#);
    assert_eq!(parts(&members), Ok(2));
    for broken in [
        r#"{"type":"Polygon","coordinates":[[1,2],[3,4]]}"#,
        r#"{"type":"Circle","coordinates":[1,2]}"#,
        r#"{"type":"Polygon","coordinates":[[[1],[3,4]]]}"#,
        r#"{"type":"Polygon","coordinates":[[["a",1],[3,4]]]}"#,
        r#"{"type":"Polygon","coordinates":[[[1,2],3,4]]}"#,
    ] {
        assert!(parts(broken).unwrap_err().contains("feature 0: "), "{broken}");
    }
}

#[test]
fn errors_name_the_feature() {
    let good = format!(r#"{{"type":"Feature","geometry":{POLYGON}}}"#);
    let message = read(format!(r#"[{good},{good},{{"type":"Feture"}}]"#).as_bytes()).unwrap_err();
    assert!(message.contains("feature 2: a \"Feture\""), "{message}");
    let message = read(format!("[{good},{good}").as_bytes()).unwrap_err();
    assert!(message.contains("feature 2: the file ends"), "{message}");
    let comma = format!("[{good},]");
    let no_comma = format!("[{good} {good}]");
    let trailing = format!("[{good}] trailing");
    let twice = format!(r#"{{"features":[],"features":[{good}]}}"#);
    for text in ["", "12", "{}", "nonsense", r#"{"features":null}"#, &comma, &no_comma, &trailing, &twice] {
        assert!(read(text.as_bytes()).unwrap_err().contains("not an annotation file"), "{text}");
    }
    for text in
        ["[", "[1]", "[{}]", "[[]]", "[null]", "[,]", "[}]", r#"[{"x":1}]"#, "[[null,null,null,null]]"]
    {
        assert!(read(text.as_bytes()).unwrap_err().contains("feature 0"), "{text}");
    }
    // The place is that in the file, of a list as of a lone feature.
    let broken = "{\"type\":\"Feature\",\n  \"geometry\":{\"type\":1}}";
    let message = read(format!("[\n{good},\n  {broken}]").as_bytes()).unwrap_err();
    assert!(message.contains("feature 1: ") && message.contains("line 4 column 22"), "{message}");
    let message = read(b"[ 5]").unwrap_err();
    assert!(message.contains("line 1 column 3"), "{message}");
    assert!(read(&[0x1f, 0x8b, 8, 0, 1]).unwrap_err().contains("gzip"));
    assert!(read_annotations("no/such/file.json".as_ref()).unwrap_err().to_string().contains("open"));
}

#[test]
fn written_features_read_back() {
    let ring = |x: f64| vec![[x, 1.0], [x + 2.25, 1.0], [x, 7.0]];
    let features = [
        Feature {
            id: Some("7a0e8a8e-7c3c-4b9e-9a55-0d9f6b0f3c11".into()),
            color: Some([1, 2, 255]),
            kind: ObjectKind::Detection,
            measurements: vec![("area µm²".into(), 12.5), ("n".into(), 3.0)],
            ..Feature::new("glomerulus", Polygon { exterior: ring(0.0), holes: vec![ring(0.25)] })
        },
        Feature { polygons: vec![Polygon::new(ring(10.0)), Polygon::new(ring(20.0))], ..Feature::default() },
    ];
    let folder = tempfile::tempdir().unwrap();
    for name in ["out.geojson", "out.geojson.gz"] {
        let path = folder.path().join(name);
        write_annotations(&path, &features).unwrap();
        assert_eq!(read_annotations(&path).unwrap(), features, "{name}");
    }
    assert_eq!(std::fs::read(folder.path().join("out.geojson.gz")).unwrap()[..2], [0x1f, 0x8b]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn written_files_follow_the_rules_of_qupath() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.geojson");
    let mut feature = Feature::new("g", Polygon::new(vec![[1.0, 1.0], [2.5, 1.0], [1.0, 7.0]]));
    feature.measurements = vec![("nan".into(), f64::NAN), ("ok".into(), 1.5)];
    let line = Feature { polygons: vec![Polygon::new(vec![[0.0, 0.0]])], ..Feature::default() };
    write_annotations(&path, [&Feature::default(), &feature, &line]).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(json["type"], "FeatureCollection");
    assert_eq!(json["features"].as_array().unwrap().len(), 1);
    let feature_json = &json["features"][0];
    assert_eq!(
        feature_json["geometry"],
        serde_json::json!({"type": "Polygon", "coordinates": [[[1, 1], [2.5, 1], [1, 7], [1, 1]]]})
    );
    assert_eq!(
        feature_json["properties"],
        serde_json::json!({"objectType": "annotation", "classification": {"name": "g"},
                           "measurements": {"ok": 1.5}})
    );

    feature.polygons[0].exterior[1][0] = f64::INFINITY;
    let error = write_annotations(&path, [&line, &feature]).unwrap_err().to_string();
    assert!(error.contains("feature 1 has a vertex"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the old file alone stays");
    assert!(write_annotations("no/such/folder/out.json".as_ref(), &[]).is_err());
}

#[test]
fn every_version_of_qupath_is_understood() {
    let one = |members: &str| {
        let mut features =
            read(format!(r#"[{{"type":"Feature","geometry":{POLYGON},{members}}}]"#).as_bytes()).unwrap();
        assert_eq!(features.len(), 1, "{members}");
        features.remove(0)
    };
    // 0.2: the identifier is the kind, measurements are a list, colours are Java's.
    let old = one(
        r#""id":"PathCellObject","properties":{"isLocked":false,"classification":{"name":"a","colorRGB":-1},
        "measurements":[{"name":"z","value":1e2},{"name":"a","value":NaN},{"name":"NaN","value":-0}]}"#,
    );
    assert_eq!(
        (old.kind, old.class.as_deref(), old.color),
        (ObjectKind::Detection, Some("a"), Some([255; 3]))
    );
    assert_eq!(old.measurements, [("z".to_owned(), 100.0), ("NaN".to_owned(), 0.0)]);
    // 0.4 and later: measurements are an object, in the order of the file.
    let new = one(
        r#""id":"c5a1","properties":{"objectType":"tile","name":"x","color":[1,2,3],"metadata":{"k":["v"]},
        "classification":{"names":["a","b"],"color":[4,5,6]},
        "measurements":{"z":1,"\u00b5\\\"NaN":2.5,"b":Infinity,"c":-Infinity,"d":null,"e":"NaN","a":-3E-1}}"#,
    );
    assert_eq!(
        (new.kind, new.class.as_deref(), new.color),
        (ObjectKind::Detection, Some("a: b"), Some([4, 5, 6]))
    );
    let expected = [("z", 1.0), ("µ\\\"NaN", 2.5), ("a", -0.3)].map(|(name, v)| (name.to_owned(), v));
    assert_eq!(new.measurements, expected);
    // What is said twice counts as "objectType" says.
    assert_eq!(one(r#""properties":{"type":"cell"}"#).kind, ObjectKind::Detection);
    assert_eq!(one(r#""properties":{"objectType":"annotation","type":"cell"}"#).kind, ObjectKind::Annotation);
    assert_eq!(one(r#""properties":{"object_type":"detection","type":"x"},"id":7"#).id.as_deref(), Some("7"));
    for empty in ["null", "{}", "[]", r#"{"classification":null,"measurements":null}"#] {
        let feature = one(&format!(r#""properties":{empty}"#));
        assert_eq!((feature.class, feature.measurements.len()), (None, 0), "{empty}");
    }
    assert_eq!(one(r#""properties":{"classification":"a"}"#).class.as_deref(), Some("a"));
}

#[test]
fn nested_objects_follow_the_one_around_them() {
    let object = |class: &str, children: &str| {
        format!(
            r#"{{"type":"Feature","geometry":{POLYGON},"properties":{{"classification":"{class}","childObjects":[{children}]}}}}"#
        )
    };
    let tree = object("a", &format!("{},{}", object("b", &object("c", "")), object("d", "")));
    let features = read(format!("[{tree},{}]", object("e", "")).as_bytes()).unwrap();
    let classes: String = features.iter().filter_map(|feature| feature.class.as_deref()).collect();
    assert_eq!(classes, "abcde");
}

#[test]
fn bare_and_empty_geometries_are_features() {
    let count = |text: &str| {
        let features = read(text.as_bytes()).unwrap();
        (features.len(), features.iter().map(|feature| feature.polygons.len()).sum::<usize>())
    };
    assert_eq!(count(POLYGON), (1, 1));
    assert_eq!(count(&format!("[{POLYGON},{POLYGON}]")), (2, 2));
    let collection = format!(
        r#"{{"type":"GeometryCollection","geometries":[{POLYGON},{{"type":"Point","coordinates":[1,2]}}]}}"#
    );
    assert_eq!(count(&collection), (1, 1));
    for empty in [
        r#""Polygon","coordinates":[[]]"#,
        r#""MultiPolygon","coordinates":[]"#,
        r#""MultiPolygon","coordinates":[[],[[]]]"#,
    ] {
        assert_eq!(
            count(&format!(r#"[{{"type":"Feature","geometry":{{"type":{empty}}}}}]"#)),
            (1, 0),
            "{empty}"
        );
    }
    let empty_hole = r#"{"type":"Polygon","coordinates":[[[0,0],[2,0],[0,2]],[]]}"#;
    assert_eq!(read(empty_hole.as_bytes()).unwrap()[0].polygons[0].holes.len(), 0);
}

#[test]
fn what_cannot_be_a_coordinate_is_refused() {
    for value in ["NaN", "Infinity", "-Infinity", "null", "\"1\"", "true", "1e999", "[]", "{}"] {
        let text = format!(
            r#"[{{"type":"Feature","geometry":{{"type":"Polygon","coordinates":[[[1,{value}],[2,3],[4,5]]]}}}}]"#
        );
        assert!(read(text.as_bytes()).unwrap_err().contains("feature 0: "), "{value}");
    }
}

#[test]
fn depth_ends_in_an_error_and_not_in_the_stack() {
    let nested = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
    let deep = [
        format!(
            r#"[{{"type":"Feature","geometry":{{"type":"Polygon","coordinates":{}}}}}]"#,
            nested("[", "]", 1_000_000)
        ),
        format!(
            "[{}]",
            nested(r#"{"type":"Feature","geometry":null,"properties":{"childObjects":["#, "]}}", 100_000)
        ),
        format!(
            r#"[{{"type":"Feature","geometry":{}}}]"#,
            nested(r#"{"type":"GeometryCollection","geometries":["#, "]}", 100_000)
        ),
        nested("[", "]", 1_000_000),
        "[".repeat(1_000_000),
        "{\"a\":".repeat(1_000_000),
    ];
    for text in deep {
        assert!(read(text.as_bytes()).is_err());
    }
    // A member that is skipped may be as deep as it likes.
    let metadata = format!(
        r#"[{{"type":"Feature","geometry":{POLYGON},"properties":{{"metadata":{}}}}}]"#,
        nested("[", "]", 1_000_000)
    );
    assert_eq!(read(metadata.as_bytes()).unwrap().len(), 1);
}

#[test]
fn text_comes_in_utf8_only() {
    let feature = |class: &[u8]| {
        let start = format!(r#"[{{"type":"Feature","geometry":{POLYGON},"properties":{{"classification":""#);
        [start.as_bytes(), class, br#""}}]"#].concat()
    };
    assert_eq!(read(&feature("µ".as_bytes())).unwrap()[0].class.as_deref(), Some("µ"));
    assert!(read(&feature(b"\xb5")).unwrap_err().contains("feature 0: invalid unicode"));
    let utf16: Vec<u8> = "\u{feff}[]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read(&utf16).unwrap_err().contains("UTF-16"));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all("\u{feff}[]".as_bytes()).unwrap();
    assert_eq!(read(&gzip.finish().unwrap()).unwrap(), []);
}

/// A file of many features that is never whole in memory, and counts what was taken of it.
struct Endless<'a> {
    n_left: u32,
    text: Vec<u8>,
    n_bytes: &'a Cell<usize>,
}

impl Endless<'_> {
    fn feature(i: u32) -> String {
        let (x, y) = (i % 20_000, i / 20_000);
        format!(
            r#"{{"type":"Feature","id":"{i}","geometry":{{"type":"Polygon","coordinates":[[[{x},{y}.5],[{x}.25,{y}],[3,4]]]}},"properties":{{"objectType":"detection","measurements":{{"a":{x}}}}}}}"#
        )
    }
}

impl Read for Endless<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.text.is_empty() && self.n_left > 0 {
            self.n_left -= 1;
            let separator = if self.n_left == 0 { "]" } else { "," };
            self.text = (Self::feature(self.n_left) + separator).into_bytes();
        }
        let n = out.len().min(self.text.len());
        out[..n].copy_from_slice(&self.text[..n]);
        self.text.drain(..n);
        self.n_bytes.set(self.n_bytes.get() + n);
        Ok(n)
    }
}

#[test]
fn features_arrive_while_the_file_is_read() {
    const N_FEATURES: u32 = 200_000;
    let n_bytes = Cell::new(0);
    let source = Endless { n_left: N_FEATURES, text: b"[".to_vec(), n_bytes: &n_bytes };
    let (mut n_handed_out, mut n_read) = (0, 0);
    for feature in AnnotationReader::new(Path::new("endless"), source).unwrap() {
        let feature = feature.unwrap();
        n_read += 1;
        assert_eq!(feature.id, Some((N_FEATURES - n_read).to_string()));
        n_handed_out += Endless::feature(N_FEATURES - n_read).len() + 1;
        assert!(
            n_bytes.get() < n_handed_out + (1 << 20),
            "{n_read}: {} bytes were read ahead",
            n_bytes.get() - n_handed_out
        );
    }
    assert_eq!(n_read, N_FEATURES);
}

#[test]
fn a_source_that_fails_is_an_error_once() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let start = format!("[{POLYGON},");
    let mut reader = AnnotationReader::new(Path::new("disk"), start.as_bytes().chain(Failing)).unwrap();
    // What came in one block with the failure is lost; nothing panics and nothing repeats.
    let error = reader.find_map(Result::err).unwrap();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(reader.next().is_none());

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for i in 0..20_000 {
        write!(gzip, "{}{}", if i == 0 { '[' } else { ',' }, Endless::feature(i)).unwrap();
    }
    let bytes = gzip.finish().unwrap();
    let half = &bytes[..bytes.len() / 2];
    let mut reader = AnnotationReader::new(Path::new("half.gz"), half).unwrap();
    let n_whole = reader.by_ref().take_while(Result::is_ok).count();
    assert!(n_whole > 1000 && n_whole < 20_000, "{n_whole}");
    let error = read(half).unwrap_err();
    assert!(error.contains("broken gzip stream"), "{error}");
    assert!(reader.next().is_none());
}

#[test]
fn features_are_written_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let feature = |i: u32| Feature {
        id: Some(i.to_string()),
        measurements: vec![("z".into(), 1.0), ("a".into(), 0.5)],
        ..Feature::new("a \"b\"", Polygon::new(vec![[f64::from(i), 0.0], [5.5, 1e-7], [1e17, -3.0]]))
    };
    for name in ["a.geojson", "a.geojson.GZ"] {
        let path = folder.path().join(name);
        let mut writer = AnnotationWriter::create(&path).unwrap();
        for i in 0..1000 {
            writer.write(&feature(i)).unwrap();
        }
        assert!(!path.exists());
        writer.finish().unwrap();
        let expected: Vec<_> = (0..1000).map(feature).collect();
        assert_eq!(read_annotations(&path).unwrap(), expected, "{name}");
    }
    let path = folder.path().join("b.geojson");
    let mut writer = AnnotationWriter::create(&path).unwrap();
    writer.write(&feature(1)).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a dropped writer leaves nothing");

    // A feature that cannot be written leaves the rest as it is.
    let mut writer = AnnotationWriter::create(&path).unwrap();
    let bad = Feature::new("a", Polygon::new(vec![[f64::NAN, 0.0], [1.0, 0.0], [0.0, 1.0]]));
    assert!(writer.write(&bad).unwrap_err().to_string().contains("feature 0"));
    writer.write(&feature(2)).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_annotations(&path).unwrap(), [feature(2)]);
    AnnotationWriter::create(&path).unwrap().finish().unwrap();
    assert_eq!(read_annotations(&path).unwrap(), []);
}
