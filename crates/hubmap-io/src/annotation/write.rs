//! Writing annotation files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use hubmap_files::PendingFile;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Feature, ObjectKind};
use crate::{Error, Polygon, Result};

/// Writes a `FeatureCollection` that QuPath (0.3 and later) opens; see [`AnnotationWriter`].
pub fn write_annotations<'a>(path: &Path, features: impl IntoIterator<Item = &'a Feature>) -> Result<()> {
    let mut writer = AnnotationWriter::create(path)?;
    features.into_iter().try_for_each(|feature| writer.write(feature))?;
    writer.finish()
}

/// Writes a `FeatureCollection` feature by feature, of which QuPath (0.3 and later) opens the file.
///
/// Rings are closed, a single polygon is a `Polygon` and several are a `MultiPolygon`, whole coordinates are
/// written without a fraction, and measurements that are not finite are left out.
/// Polygons of fewer than three vertices, and features without any other, are left out too.
/// A feature without an `id` gets none: QuPath makes one up.
/// A path that ends in `.gz` is compressed.
///
/// The file appears under its name with [`AnnotationWriter::finish`]; an old one stays until then, and a writer
/// that is dropped without it leaves nothing.
#[derive(Debug)]
pub struct AnnotationWriter {
    path: PathBuf,
    out: Out,
    /// Features that arrived, and those of them that were written.
    n_features: usize,
    n_written: usize,
    text: Vec<u8>,
}

#[derive(Debug)]
enum Out {
    Plain(PendingFile),
    Gzip(Box<GzEncoder<PendingFile>>),
}

impl AnnotationWriter {
    /// Begins a file in the folder of `path`, which must exist.
    pub fn create(path: &Path) -> Result<Self> {
        let file = PendingFile::create(path).map_err(|source| Error::io(path, "create", source))?;
        let is_gzip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let out = if is_gzip {
            Out::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Out::Plain(file)
        };
        let text = b"{\"type\":\"FeatureCollection\",\"features\":[".to_vec();
        Ok(Self { path: path.to_owned(), out, n_features: 0, n_written: 0, text })
    }

    /// Appends a feature.
    ///
    /// A vertex that is not finite is an error that names the number of the feature, from 0; nothing of that
    /// feature is written.
    pub fn write(&mut self, feature: &Feature) -> Result<()> {
        let idx = self.n_features;
        self.n_features += 1;
        let mut points = drawable(feature).flat_map(|polygon| polygon.rings().flatten().flatten());
        if !points.all(|v| v.is_finite()) {
            let problem = format!("feature {idx} has a vertex that is not a finite number");
            return Err(Error::usage(&self.path, problem));
        }
        if drawable(feature).next().is_none() {
            return Ok(());
        }
        self.text.extend_from_slice(if self.n_written == 0 { b"\n" } else { b",\n" });
        self.n_written += 1;
        let written = serde_json::to_writer(&mut self.text, &FeatureJson(feature)).map_err(io::Error::from);
        written.and_then(|()| self.flush()).map_err(|source| Error::io(&self.path, "write", source))
    }

    /// Completes the file and gives it its name.
    pub fn finish(self) -> Result<()> {
        let path = self.path.clone();
        self.finish_unnamed()?.commit().map_err(|source| Error::io(&path, "rename", source))
    }

    /// Completes the file, but leaves the naming to the caller, who has files that shall appear together.
    pub fn finish_unnamed(mut self) -> Result<PendingFile> {
        self.text.extend_from_slice(b"\n]}\n");
        let path = self.path.clone();
        let write_error = |source| Error::io(&path, "write", source);
        self.flush().map_err(write_error)?;
        let mut file = match self.out {
            Out::Plain(file) => file,
            Out::Gzip(gzip) => gzip.finish().map_err(write_error)?,
        };
        file.flush().map_err(write_error)?;
        Ok(file)
    }

    /// Hands on the text that was made.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(file) => file.write_all(&self.text)?,
            Out::Gzip(gzip) => gzip.write_all(&self.text)?,
        }
        self.text.clear();
        Ok(())
    }
}

/// The polygons of a feature that have enough vertices to be drawn.
fn drawable(feature: &Feature) -> impl Iterator<Item = &Polygon> {
    feature.polygons.iter().filter(|polygon| polygon.exterior.len() >= 3)
}

/// A feature in QuPath's form.
struct FeatureJson<'a>(&'a Feature);

struct GeometryJson<'a>(&'a Feature);

struct PropertiesJson<'a>(&'a Feature);

struct ClassificationJson<'a> {
    name: &'a str,
    color: Option<[u8; 3]>,
}

struct MeasurementsJson<'a>(&'a [(String, f64)]);

/// Closed rings of `[x, y]`.
struct PolygonJson<'a>(&'a Polygon);

struct RingJson<'a>(&'a [[f64; 2]]);

/// A number without `.0` where it is whole.
struct NumberJson(f64);

impl Serialize for FeatureJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "Feature")?;
        if let Some(id) = &self.0.id {
            map.serialize_entry("id", id)?;
        }
        map.serialize_entry("geometry", &GeometryJson(self.0))?;
        map.serialize_entry("properties", &PropertiesJson(self.0))?;
        map.end()
    }
}

impl Serialize for GeometryJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let polygons: Vec<_> = drawable(self.0).map(PolygonJson).collect();
        let mut map = serializer.serialize_map(Some(2))?;
        if let [polygon] = polygons.as_slice() {
            map.serialize_entry("type", "Polygon")?;
            map.serialize_entry("coordinates", polygon)?;
        } else {
            map.serialize_entry("type", "MultiPolygon")?;
            map.serialize_entry("coordinates", &polygons)?;
        }
        map.end()
    }
}

impl Serialize for PropertiesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Feature { class, color, kind, measurements, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        let object_type = match kind {
            ObjectKind::Annotation => "annotation",
            ObjectKind::Detection => "detection",
        };
        map.serialize_entry("objectType", object_type)?;
        if let Some(name) = class {
            map.serialize_entry("classification", &ClassificationJson { name, color: *color })?;
        }
        if measurements.iter().any(|(_, value)| value.is_finite()) {
            map.serialize_entry("measurements", &MeasurementsJson(measurements))?;
        }
        map.end()
    }
}

impl Serialize for ClassificationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name)?;
        if let Some(color) = self.color {
            map.serialize_entry("color", &color)?;
        }
        map.end()
    }
}

impl Serialize for MeasurementsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let finite = self.0.iter().filter(|(_, value)| value.is_finite());
        serializer.collect_map(finite.map(|(name, value)| (name, NumberJson(*value))))
    }
}

impl Serialize for PolygonJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rings().map(RingJson))
    }
}

impl Serialize for RingJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let is_closed = self.0.len() > 1 && self.0.first() == self.0.last();
        let closing = if is_closed { None } else { self.0.first() };
        serializer.collect_seq(self.0.iter().chain(closing).map(|point| point.map(NumberJson)))
    }
}

impl Serialize for NumberJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // Whole numbers up to 2^53 are exact in both forms.
        if self.0.fract() == 0.0 && self.0.abs() < 9.0e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
