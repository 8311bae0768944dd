//! Objects as annotations for QuPath.

use hubmap_io::{Feature, Polygon};

use super::object_id::object_uuid;
use crate::objects::DetectedObject;

/// Class of every predicted object, as in the competition's annotations.
pub const CLASS_NAME: &str = "glomerulus";

/// Colour of the class in QuPath, the overlay's.
const CLASS_COLOR: [u8; 3] = super::overlay::OBJECT_COLOR;

/// An object of a slide with its area, in square micrometres too where the slide states its resolution, and mean
/// probability.
pub(super) fn feature(
    object: &DetectedObject,
    outline: Polygon,
    slide_id: &str,
    microns_per_px: Option<f64>,
) -> Feature {
    let area_px = object.area_px as f64;
    let mut measurements =
        vec![("Object number".to_owned(), object.number as f64), ("Area px^2".to_owned(), area_px)];
    if let Some(microns) = microns_per_px {
        measurements.push(("Area µm^2".to_owned(), area_px * microns * microns));
    }
    measurements.push(("Mean probability".to_owned(), object.mean_probability));
    Feature {
        id: Some(object_uuid(slide_id, object.number)),
        color: Some(CLASS_COLOR),
        measurements,
        ..Feature::new(CLASS_NAME, outline)
    }
}
