//! The text of one feature.

use std::borrow::Cow;
use std::fmt::{Formatter, Result as FmtResult};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::coordinates::{Coordinates, Geometry};
use super::properties::Properties;
use super::{Feature, ObjectKind};

/// The feature of a text, then the ones nested in it.
pub(super) fn parse_feature(text: &[u8]) -> Result<Vec<Feature>, serde_json::Error> {
    let feature = serde_json::from_slice::<FeatureJson>(text).or_else(|error| {
        // Only a text that cannot be read is searched for what JSON does not have.
        without_special_numbers(text).map_or(Err(error), |text| serde_json::from_slice(&text))
    })?;
    let mut features = Vec::with_capacity(1);
    feature.add_to(&mut features);
    Ok(features)
}

/// The text with `null` for every `NaN`, `Infinity` and `-Infinity`, or `None` if it has none of them.
fn without_special_numbers(text: &[u8]) -> Option<Vec<u8>> {
    const SPECIAL: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let mut plain = Vec::with_capacity(text.len());
    let (mut in_string, mut is_escaped, mut n_replaced) = (false, false, 0);
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        if !in_string && let Some(special) = SPECIAL.iter().find(|special| rest.starts_with(special)) {
            plain.extend_from_slice(b"null");
            rest = rest.get(special.len()..).unwrap_or_default();
            n_replaced += 1;
            continue;
        }
        if byte == b'"' && !is_escaped {
            in_string = !in_string;
        }
        is_escaped = byte == b'\\' && !is_escaped;
        plain.push(byte);
        rest = behind;
    }
    (n_replaced > 0).then_some(plain)
}

/// A member's name.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Key<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A feature as the file has it.
pub(super) struct FeatureJson {
    feature: Feature,
    /// Objects nested in this one, as QuPath writes a hierarchy.
    children: Vec<FeatureJson>,
}

impl FeatureJson {
    /// Appends the feature and then its children.
    ///
    /// Nesting is bounded by the parser, which goes 128 levels deep.
    fn add_to(self, features: &mut Vec<Feature>) {
        features.push(self.feature);
        self.children.into_iter().for_each(|child| child.add_to(features));
    }
}

impl<'de> Deserialize<'de> for FeatureJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FeatureVisitor;

        impl<'de> Visitor<'de> for FeatureVisitor {
            type Value = FeatureJson;

            fn expecting(&self, f: &mut Formatter<'_>) -> FmtResult {
                f.write_str("a feature")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FeatureJson, A::Error> {
                let mut members = Members::default();
                while let Some(Key(key)) = map.next_key()? {
                    match key.as_ref() {
                        "type" => members.type_ = map.next_value()?,
                        "id" => members.id = map.next_value()?,
                        "geometry" => {
                            members.has_geometry = true;
                            members.geometry = map.next_value()?;
                        }
                        "properties" => members.properties = map.next_value::<Option<_>>()?,
                        "coordinates" => members.coordinates = map.next_value()?,
                        "geometries" => members.geometries = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                members.into_feature().map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_map(FeatureVisitor)
    }
}

/// What a feature, or a geometry in its place, is made of.
#[derive(Default)]
struct Members {
    type_: Option<String>,
    id: Value,
    /// Whether there is such a member, be it null.
    has_geometry: bool,
    geometry: Option<Geometry>,
    properties: Option<Properties>,
    /// Of a bare geometry.
    coordinates: Option<Coordinates>,
    /// Of a bare collection of geometries.
    geometries: Option<Vec<Geometry>>,
}

impl Members {
    fn into_feature(self) -> Result<FeatureJson, String> {
        let is_feature = self.type_.as_deref().map_or(self.has_geometry, |name| name == "Feature");
        let geometry = if is_feature {
            self.geometry
        } else if self.coordinates.is_some() || self.geometries.is_some() {
            Some(Geometry { type_: self.type_, coordinates: self.coordinates, geometries: self.geometries })
        } else {
            return Err(match self.type_ {
                Some(other) => format!("a {other:?} where a Feature belongs"),
                None => "an object without a type or a geometry".to_owned(),
            });
        };
        let properties = self.properties.unwrap_or_default();
        let id = match self.id {
            Value::String(id) => Some(id),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        let feature = Feature {
            // QuPath 0.2 writes the kind where later versions write an identifier.
            kind: properties.kind.or(id.as_deref().and_then(kind_of)).unwrap_or_default(),
            id,
            class: properties.class,
            color: properties.color,
            polygons: geometry.map(Geometry::into_polygons).transpose()?.unwrap_or_default(),
            measurements: properties.measurements,
        };
        Ok(FeatureJson { feature, children: properties.children })
    }
}

/// The kind that QuPath means by a name; cells and tiles are detections.
pub(super) fn kind_of(name: &str) -> Option<ObjectKind> {
    match name {
        "detection" | "cell" | "tile" | "PathDetectionObject" | "PathCellObject" | "PathTileObject" => {
            Some(ObjectKind::Detection)
        }
        "annotation" | "PathAnnotationObject" => Some(ObjectKind::Annotation),
        _ => None,
    }
}
