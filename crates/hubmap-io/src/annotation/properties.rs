//! What a feature says about itself: kind, class and measurements.

use std::fmt::{Formatter, Result as FmtResult};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::ObjectKind;
use super::geojson::{FeatureJson, Key, kind_of};

/// The `properties` of a feature.
#[derive(Default)]
pub(super) struct Properties {
    pub(super) kind: Option<ObjectKind>,
    pub(super) class: Option<String>,
    pub(super) color: Option<[u8; 3]>,
    pub(super) measurements: Vec<(String, f64)>,
    pub(super) children: Vec<FeatureJson>,
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PropertiesVisitor;

        impl<'de> Visitor<'de> for PropertiesVisitor {
            type Value = Properties;

            fn expecting(&self, f: &mut Formatter<'_>) -> FmtResult {
                f.write_str("an object of properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut properties = Properties::default();
                // Other tools say "type" and mean what they like, so it counts least.
                let mut kind_by_type = None;
                while let Some(Key(key)) = map.next_key()? {
                    match key.as_ref() {
                        "objectType" | "object_type" => {
                            properties.kind = map.next_value::<Value>()?.as_str().and_then(kind_of);
                        }
                        "type" => kind_by_type = map.next_value::<Value>()?.as_str().and_then(kind_of),
                        "classification" => {
                            (properties.class, properties.color) = classification(&map.next_value()?);
                        }
                        "measurements" => properties.measurements = map.next_value::<Measurements>()?.0,
                        "childObjects" | "children" => {
                            properties.children = map.next_value::<Option<_>>()?.unwrap_or_default();
                        }
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                properties.kind = properties.kind.or(kind_by_type);
                Ok(properties)
            }

            /// An empty object is an empty array in some languages.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Properties, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Properties::default())
            }
        }

        deserializer.deserialize_any(PropertiesVisitor)
    }
}

/// Name and colour of a classification: `{name, color: [r, g, b]}`, `{name, colorRGB}`, `{names}` or a name.
fn classification(value: &Value) -> (Option<String>, Option<[u8; 3]>) {
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
        _ => value["colorRGB"].as_i64().or(value["color"].as_i64()).map(|packed| {
            let [_, r, g, b] = (packed as u32).to_be_bytes();
            [r, g, b]
        }),
    };
    (name, color)
}

/// Measurements as `[{name, value}]` (QuPath before 0.4) or `{name: value}`, in the order of the file.
///
/// What is no number is left out.
struct Measurements(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Measurements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MeasurementsVisitor;

        impl<'de> Visitor<'de> for MeasurementsVisitor {
            type Value = Measurements;

            fn expecting(&self, f: &mut Formatter<'_>) -> FmtResult {
                f.write_str("measurements")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Measurements, A::Error> {
                let mut measurements = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    measurements.extend(value.as_f64().map(|value| (name, value)));
                }
                Ok(Measurements(measurements))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Measurements, A::Error> {
                let mut measurements = Vec::new();
                while let Some(item) = seq.next_element::<Value>()? {
                    if let (Some(name), Some(value)) = (item["name"].as_str(), item["value"].as_f64()) {
                        measurements.push((name.to_owned(), value));
                    }
                }
                Ok(Measurements(measurements))
            }

            fn visit_unit<E>(self) -> Result<Measurements, E> {
                Ok(Measurements(Vec::new()))
            }
        }

        deserializer.deserialize_any(MeasurementsVisitor)
    }
}
