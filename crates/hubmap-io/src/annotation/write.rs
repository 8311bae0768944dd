//! Writing annotation files.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use hubmap_files::PendingFile;
use serde_json::{Map, Value, json};

use super::{Feature, ObjectKind};
use crate::{Error, Polygon, Result};

/// Writes a `FeatureCollection` that QuPath (0.3 and later) opens.
///
/// Rings are closed, a single polygon is a `Polygon` and several are a `MultiPolygon`, whole coordinates are
/// written without a fraction, and measurements that are not finite are left out.
/// Polygons of fewer than three vertices, and features without any other, are left out too.
/// A feature without an `id` gets none: QuPath makes one up.
/// A path that ends in `.gz` is compressed.
///
/// The file appears under its name only when it is complete, and an old one stays until then.
/// A vertex that is not finite is an error that names the feature.
pub fn write_annotations<'a>(path: &Path, features: impl IntoIterator<Item = &'a Feature>) -> Result<()> {
    let mut out = PendingFile::create(path).map_err(|source| Error::io(path, "create", source))?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")) {
        let mut gzip = GzEncoder::new(&mut out, Compression::default());
        write_collection(path, &mut gzip, features)?;
        gzip.finish().map_err(|source| Error::io(path, "write", source))?;
    } else {
        write_collection(path, &mut out, features)?;
    }
    out.flush().map_err(|source| Error::io(path, "write", source))?;
    out.commit().map_err(|source| Error::io(path, "rename", source))
}

fn write_collection<'a>(
    path: &Path,
    out: &mut impl Write,
    features: impl IntoIterator<Item = &'a Feature>,
) -> Result<()> {
    let io_error = |source| Error::io(path, "write", source);
    out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[").map_err(io_error)?;
    let features = features.into_iter().enumerate();
    let features = features.filter(|(_, feature)| feature.polygons.iter().any(is_drawable));
    for (n_written, (idx, feature)) in features.enumerate() {
        let separator = if n_written == 0 { "\n" } else { ",\n" };
        out.write_all(separator.as_bytes()).map_err(io_error)?;
        let value = feature_json(feature).ok_or_else(|| {
            Error::usage(path, format!("feature {idx} has a vertex that is not a finite number"))
        })?;
        serde_json::to_writer(&mut *out, &value).map_err(|error| io_error(error.into()))?;
    }
    out.write_all(b"\n]}\n").map_err(io_error)
}

/// A feature in QuPath's form, or `None` if a vertex is not finite.
fn feature_json(feature: &Feature) -> Option<Value> {
    let polygons = feature.polygons.iter().filter(|polygon| is_drawable(polygon));
    let mut parts = polygons.map(polygon_json).collect::<Option<Vec<_>>>()?;
    let geometry = if parts.len() == 1 {
        json!({ "type": "Polygon", "coordinates": parts.remove(0) })
    } else {
        json!({ "type": "MultiPolygon", "coordinates": parts })
    };
    let mut properties = Map::new();
    let kind = match feature.kind {
        ObjectKind::Annotation => "annotation",
        ObjectKind::Detection => "detection",
    };
    properties.insert("objectType".to_owned(), kind.into());
    if let Some(class) = &feature.class {
        let mut classification = Map::new();
        classification.insert("name".to_owned(), class.as_str().into());
        if let Some(color) = feature.color {
            classification.insert("color".to_owned(), json!(color));
        }
        properties.insert("classification".to_owned(), classification.into());
    }
    let measurements: Map<String, Value> = feature
        .measurements
        .iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.clone(), number(*value)))
        .collect();
    if !measurements.is_empty() {
        properties.insert("measurements".to_owned(), measurements.into());
    }
    let mut json = Map::new();
    json.insert("type".to_owned(), "Feature".into());
    if let Some(id) = &feature.id {
        json.insert("id".to_owned(), id.as_str().into());
    }
    json.insert("geometry".to_owned(), geometry);
    json.insert("properties".to_owned(), properties.into());
    Some(json.into())
}

/// Whether a polygon has enough vertices to be a ring.
fn is_drawable(polygon: &Polygon) -> bool {
    polygon.exterior.len() >= 3
}

/// Closed rings of `[x, y]`.
fn polygon_json(polygon: &Polygon) -> Option<Value> {
    let ring_json = |ring: &[[f64; 2]]| {
        let closing = if ring.first() == ring.last() && ring.len() > 1 { None } else { ring.first() };
        let points = ring.iter().chain(closing);
        points
            .map(|point| point.iter().all(|v| v.is_finite()).then(|| json!(point.map(number))))
            .collect::<Option<Vec<Value>>>()
    };
    Some(polygon.rings().map(ring_json).collect::<Option<Vec<_>>>()?.into())
}

/// A number without `.0` where it is whole.
fn number(value: f64) -> Value {
    // Whole numbers up to 2^53 are exact in both forms.
    if value.fract() == 0.0 && value.abs() < 9.0e15 { Value::from(value as i64) } else { Value::from(value) }
}
