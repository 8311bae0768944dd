//! GeoJSON text to features.

use std::cell::Cell;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Feature, ObjectKind};
use crate::Polygon;

/// All features of a document, or what is wrong with it.
pub(super) fn parse_features(text: &[u8]) -> Result<Vec<Feature>, String> {
    let progress = Progress::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Document { progress: &progress }
        .deserialize(&mut deserializer)
        .and_then(|features| deserializer.end().map(|()| features))
        .map_err(|error| match progress.feature.get() {
            Some(idx) => format!("feature {idx}: {error}"),
            None => format!("not an annotation file: {error}"),
        })
}

/// Which feature is being read, for error messages.
#[derive(Default)]
struct Progress {
    feature: Cell<Option<usize>>,
}

/// The whole document: an array of features, a collection, or a feature.
struct Document<'a> {
    progress: &'a Progress,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Vec<Feature>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Feature>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<Feature>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of features, a FeatureCollection or a Feature")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<Feature>, A::Error> {
        FeatureList { progress: self.progress }.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Feature>, A::Error> {
        let (mut list, mut single) = (None, FeatureJson::default());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "features" => list = Some(map.next_value_seed(FeatureList { progress: self.progress })?),
                "type" => single.type_ = map.next_value()?,
                "id" => single.id = map.next_value()?,
                "geometry" => single.geometry = map.next_value()?,
                "properties" => single.properties = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match list {
            Some(features) => Ok(features),
            None if single.type_.as_deref() == Some("Feature") || single.geometry.is_some() => {
                self.progress.feature.set(Some(0));
                let feature = single.into_feature().map_err(serde::de::Error::custom)?;
                self.progress.feature.set(None);
                Ok(vec![feature])
            }
            None => Err(serde::de::Error::custom("an object without features or geometry")),
        }
    }
}

/// An array of features.
struct FeatureList<'a> {
    progress: &'a Progress,
}

impl<'de> DeserializeSeed<'de> for FeatureList<'_> {
    type Value = Vec<Feature>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Feature>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FeatureList<'_> {
    type Value = Vec<Feature>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of features")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Feature>, A::Error> {
        let mut features = Vec::new();
        loop {
            self.progress.feature.set(Some(features.len()));
            let Some(feature) = seq.next_element::<FeatureJson>()? else { break };
            features.push(feature.into_feature().map_err(serde::de::Error::custom)?);
        }
        self.progress.feature.set(None);
        Ok(features)
    }
}

/// A feature as the file has it.
#[derive(Default, Deserialize)]
struct FeatureJson {
    #[serde(rename = "type")]
    type_: Option<String>,
    id: Option<Value>,
    geometry: Option<GeometryJson>,
    properties: Option<PropertiesJson>,
}

#[derive(Deserialize)]
struct GeometryJson {
    #[serde(rename = "type")]
    type_: Option<String>,
    coordinates: Option<Coordinates>,
    /// Members of a `GeometryCollection`.
    geometries: Option<Vec<GeometryJson>>,
}

#[derive(Deserialize)]
struct PropertiesJson {
    #[serde(alias = "object_type", rename = "objectType")]
    object_type: Option<String>,
    classification: Option<Value>,
    measurements: Option<Value>,
}

impl FeatureJson {
    fn into_feature(self) -> Result<Feature, String> {
        if let Some(other) = self.type_.filter(|name| name != "Feature") {
            return Err(format!("a {other:?} where a Feature belongs"));
        }
        let id = match self.id {
            Some(Value::String(id)) => Some(id),
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        let mut feature = Feature { id, ..Feature::default() };
        if let Some(geometry) = self.geometry {
            geometry.add_polygons(&mut feature.polygons)?;
        }
        if let Some(properties) = self.properties {
            if properties.object_type.as_deref() == Some("detection") {
                feature.kind = ObjectKind::Detection;
            }
            (feature.class, feature.color) = classification(properties.classification.as_ref());
            feature.measurements = measurements(properties.measurements.as_ref());
        }
        Ok(feature)
    }
}

impl GeometryJson {
    fn add_polygons(self, polygons: &mut Vec<Polygon>) -> Result<(), String> {
        for geometry in self.geometries.into_iter().flatten() {
            geometry.add_polygons(polygons)?;
        }
        let Some(coordinates) = self.coordinates else { return Ok(()) };
        match (self.type_.as_deref(), coordinates.depth()) {
            // Some tools write the coordinates alone; a polygon is a list of rings of points.
            (Some("Polygon") | None, 3) => polygons.push(coordinates.into_polygon()?),
            (Some("MultiPolygon") | None, 4) => {
                for part in coordinates.into_list()? {
                    polygons.push(part.into_polygon()?);
                }
            }
            (Some("Polygon" | "MultiPolygon"), 1) if coordinates.is_empty() => {}
            (Some(name @ ("Polygon" | "MultiPolygon")), depth) => {
                return Err(format!("a {name} with coordinates nested {depth} deep"));
            }
            (Some("Point" | "MultiPoint" | "LineString" | "MultiLineString"), _) => {}
            (Some(name), _) => return Err(format!("unknown geometry {name:?}")),
            (None, depth) => return Err(format!("a geometry without type, nested {depth} deep")),
        }
        Ok(())
    }
}

/// Nested arrays of points.
enum Coordinates {
    Number(f64),
    Point([f64; 2]),
    List(Vec<Coordinates>),
}

impl Coordinates {
    /// How many arrays enclose a number: 1 for a point, 2 for a line, 3 for a polygon.
    fn depth(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Point(_) => 1,
            Self::List(items) => 1 + items.first().map_or(0, Self::depth),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::List(items) if items.is_empty())
    }

    fn into_list(self) -> Result<Vec<Self>, String> {
        match self {
            Self::List(items) => Ok(items),
            Self::Number(_) | Self::Point(_) => Err("a point where a list belongs".to_owned()),
        }
    }

    fn into_polygon(self) -> Result<Polygon, String> {
        let mut rings = self.into_list()?.into_iter().map(Self::into_ring);
        let exterior = rings.next().transpose()?.unwrap_or_default();
        Ok(Polygon { exterior, holes: rings.collect::<Result<_, _>>()? })
    }

    /// A ring without its closing vertex, however often the file repeats it.
    fn into_ring(self) -> Result<Vec<[f64; 2]>, String> {
        let mut ring = Vec::new();
        for item in self.into_list()? {
            let Self::Point(point) = item else { return Err("a vertex is not [x, y]".to_owned()) };
            ring.push(point);
        }
        while ring.len() > 1 && ring.first() == ring.last() {
            ring.pop();
        }
        Ok(ring)
    }
}

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CoordinatesVisitor;

        impl<'de> Visitor<'de> for CoordinatesVisitor {
            type Value = Coordinates;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number or nested arrays of numbers")
            }

            fn visit_f64<E>(self, v: f64) -> Result<Coordinates, E> {
                Ok(Coordinates::Number(v))
            }

            fn visit_i64<E>(self, v: i64) -> Result<Coordinates, E> {
                Ok(Coordinates::Number(v as f64))
            }

            fn visit_u64<E>(self, v: u64) -> Result<Coordinates, E> {
                Ok(Coordinates::Number(v as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Coordinates, A::Error> {
                let Some(first) = seq.next_element()? else { return Ok(Coordinates::List(Vec::new())) };
                if let Coordinates::Number(x) = first {
                    let y: Option<f64> = seq.next_element()?;
                    let y = y.ok_or_else(|| serde::de::Error::custom("a point with one coordinate"))?;
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Coordinates::Point([x, y]));
                }
                let mut items = vec![first];
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Coordinates::List(items))
            }
        }

        deserializer.deserialize_any(CoordinatesVisitor)
    }
}

/// Name and colour of a classification: `{name, color: [r, g, b]}`, `{name, colorRGB}`, `{names}` or a name.
fn classification(value: Option<&Value>) -> (Option<String>, Option<[u8; 3]>) {
    let Some(value) = value else { return (None, None) };
    if let Some(name) = value.as_str() {
        return (Some(name.to_owned()), None);
    }
    let name = match (&value["name"], value["names"].as_array()) {
        (Value::String(name), _) => Some(name.clone()),
        (_, Some(names)) => Some(names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(": ")),
        _ => None,
    };
    let component = |i: usize| value["color"].get(i)?.as_u64().and_then(|v| u8::try_from(v).ok());
    let color = match (component(0), component(1), component(2)) {
        (Some(r), Some(g), Some(b)) => Some([r, g, b]),
        // Java's packed ARGB as a signed number.
        _ => value["colorRGB"].as_i64().map(|packed| {
            let [_, r, g, b] = (packed as u32).to_be_bytes();
            [r, g, b]
        }),
    };
    (name, color)
}

/// Measurements as `[{name, value}]` (QuPath 0.2) or `{name: value}`; what is no number is left out.
fn measurements(value: Option<&Value>) -> Vec<(String, f64)> {
    match value {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| Some((item["name"].as_str()?.to_owned(), item["value"].as_f64()?)))
            .collect(),
        Some(Value::Object(map)) => {
            map.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        }
        _ => Vec::new(),
    }
}
