//! Geometries: nested arrays of points.

use std::fmt::{Formatter, Result as FmtResult};

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::geojson::Key;
use crate::Polygon;

/// A geometry as the file has it.
pub(super) struct Geometry {
    pub(super) type_: Option<String>,
    pub(super) coordinates: Option<Coordinates>,
    /// Members of a `GeometryCollection`.
    pub(super) geometries: Option<Vec<Geometry>>,
}

impl Geometry {
    /// The polygons of all parts; points and lines have none.
    pub(super) fn into_polygons(self) -> Result<Vec<Polygon>, String> {
        let mut polygons = Vec::new();
        self.add_to(&mut polygons)?;
        Ok(polygons)
    }

    fn add_to(self, polygons: &mut Vec<Polygon>) -> Result<(), String> {
        for geometry in self.geometries.into_iter().flatten() {
            geometry.add_to(polygons)?;
        }
        let Some(coordinates) = self.coordinates else { return Ok(()) };
        match (self.type_.as_deref(), coordinates.depth()) {
            // Some tools write the coordinates alone; a polygon is a list of rings of points.
            (Some("Polygon"), _) | (None, 3) => polygons.extend(coordinates.into_polygon()?),
            (Some("MultiPolygon"), _) | (None, 4) => {
                for part in coordinates.into_list("MultiPolygon")? {
                    polygons.extend(part.into_polygon()?);
                }
            }
            (Some("Point" | "MultiPoint" | "LineString" | "MultiLineString" | "GeometryCollection"), _) => {}
            (Some(name), _) => return Err(format!("unknown geometry {name:?}")),
            (None, depth) => return Err(format!("a geometry without type, nested {depth} deep")),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Geometry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GeometryVisitor;

        impl<'de> Visitor<'de> for GeometryVisitor {
            type Value = Geometry;

            fn expecting(&self, f: &mut Formatter<'_>) -> FmtResult {
                f.write_str("a geometry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Geometry, A::Error> {
                let mut geometry = Geometry { type_: None, coordinates: None, geometries: None };
                while let Some(Key(key)) = map.next_key()? {
                    match key.as_ref() {
                        "type" => geometry.type_ = map.next_value()?,
                        "coordinates" => geometry.coordinates = map.next_value()?,
                        "geometries" => geometry.geometries = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(geometry)
            }
        }

        deserializer.deserialize_map(GeometryVisitor)
    }
}

/// Nested arrays of points.
pub(super) enum Coordinates {
    Number(f64),
    Point([f64; 2]),
    Points(Vec<[f64; 2]>),
    Lists(Vec<Coordinates>),
    Empty,
}

impl Coordinates {
    /// How many arrays enclose a number: 1 for a point, 2 for a line, 3 for a polygon.
    fn depth(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Point(_) | Self::Empty => 1,
            Self::Points(_) => 2,
            Self::Lists(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
        }
    }

    fn into_list(self, what: &str) -> Result<Vec<Self>, String> {
        match self {
            Self::Lists(items) => Ok(items),
            Self::Empty => Ok(Vec::new()),
            _ => Err(format!("a {what} with coordinates nested {} deep", self.depth())),
        }
    }

    /// A polygon, or `None` without an outer ring.
    fn into_polygon(self) -> Result<Option<Polygon>, String> {
        let rings = self.into_list("Polygon")?.into_iter().map(Self::into_ring);
        let mut rings = rings.collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(exterior) = rings.next().filter(|ring| !ring.is_empty()) else { return Ok(None) };
        Ok(Some(Polygon { exterior, holes: rings.filter(|ring| !ring.is_empty()).collect() }))
    }

    /// A ring without its closing vertex.
    fn into_ring(self) -> Result<Vec<[f64; 2]>, String> {
        let mut ring = match self {
            Self::Points(points) => points,
            Self::Empty => Vec::new(),
            _ => return Err(format!("a ring with coordinates nested {} deep", self.depth())),
        };
        // Some files close a ring more than once.
        while ring.len() > 1 && ring.first() == ring.last() {
            ring.pop();
        }
        Ok(ring)
    }
}

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CoordinatesVisitor)
    }
}

struct CoordinatesVisitor;

impl<'de> Visitor<'de> for CoordinatesVisitor {
    type Value = Coordinates;

    fn expecting(&self, f: &mut Formatter<'_>) -> FmtResult {
        f.write_str("a finite number or nested arrays of them")
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
        match seq.next_element()? {
            None => Ok(Coordinates::Empty),
            Some(Coordinates::Number(x)) => {
                let Some(Coordinates::Number(y)) = seq.next_element()? else {
                    return Err(A::Error::custom("a point is not [x, y]"));
                };
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Coordinates::Point([x, y]))
            }
            Some(Coordinates::Point(first)) => {
                let mut points = vec![first];
                while let Some(point) = seq.next_element()? {
                    let Coordinates::Point(point) = point else {
                        return Err(A::Error::custom("something else among points"));
                    };
                    points.push(point);
                }
                Ok(Coordinates::Points(points))
            }
            Some(first) => {
                let mut lists = vec![first];
                while let Some(list) = seq.next_element()? {
                    lists.push(list);
                }
                Ok(Coordinates::Lists(lists))
            }
        }
    }
}
