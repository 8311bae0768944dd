//! Annotations as QuPath exports them: GeoJSON features with a class and polygons.

mod coordinates;
mod geojson;
mod properties;
mod read;
mod scan;
mod source;
mod write;

pub use read::{AnnotationReader, read_annotations};
pub use write::{AnnotationWriter, write_annotations};

use crate::Polygon;

/// An annotated object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feature {
    /// Identifier; QuPath 0.2 writes the kind here (`PathAnnotationObject`), 0.4 and later a UUID.
    pub id: Option<String>,
    /// Name of the classification, such as `glomerulus`.
    pub class: Option<String>,
    /// Colour of the classification, red, green, blue.
    pub color: Option<[u8; 3]>,
    /// What QuPath takes the object for.
    pub kind: ObjectKind,
    /// One polygon, or the parts of a `MultiPolygon`, in full-resolution pixels.
    ///
    /// Empty for points and lines, which enclose nothing.
    pub polygons: Vec<Polygon>,
    /// Names and values of the measurements; values that are no finite numbers are left out.
    pub measurements: Vec<(String, f64)>,
}

/// QuPath's `objectType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// Drawn by a person, or to be edited by one.
    #[default]
    Annotation,
    /// Found by a program, cells and tiles included; QuPath shows millions of them.
    Detection,
}

impl Feature {
    /// A feature of one class and one polygon, and nothing else known.
    pub fn new(class: &str, polygon: Polygon) -> Self {
        Self { class: Some(class.to_owned()), polygons: vec![polygon], ..Self::default() }
    }

    /// Enclosed area of all polygons in square pixels.
    pub fn area(&self) -> f64 {
        self.polygons.iter().map(Polygon::area).sum()
    }
}
