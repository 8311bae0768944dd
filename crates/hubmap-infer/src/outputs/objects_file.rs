//! Objects as annotations for QuPath.

use anyhow::{Result, ensure};
use hubmap_io::{Feature, Mask, trace_polygons};

use crate::objects::ObjectMeasurements;

/// Class of every predicted object, as in the competition's annotations.
pub const CLASS_NAME: &str = "glomerulus";

/// Colour of the class in QuPath, the overlay's.
const CLASS_COLOR: [u8; 3] = super::overlay::OBJECT_COLOR;

/// One feature for each connected object of a mask, with its area and mean probability.
///
/// `objects` are the measurements of the same mask, in the order of
/// [`ObjectMeter::finish`](crate::ObjectMeter::finish).
/// Areas are in square pixels, and in square micrometres where the slide states its resolution.
pub fn object_features(
    mask: &Mask,
    objects: &[ObjectMeasurements],
    microns_per_px: Option<f64>,
) -> Result<Vec<Feature>> {
    let polygons = trace_polygons(mask);
    ensure!(
        polygons.len() == objects.len(),
        "{} outlines for {} measured objects: they are not of the same mask",
        polygons.len(),
        objects.len()
    );
    let features = polygons.into_iter().zip(objects).map(|(polygon, object)| {
        let area_px = object.area_px as f64;
        let mut measurements = vec![("Area px^2".to_owned(), area_px)];
        if let Some(microns) = microns_per_px {
            measurements.push(("Area µm^2".to_owned(), area_px * microns * microns));
        }
        measurements.push(("Mean probability".to_owned(), object.mean_probability));
        Feature { color: Some(CLASS_COLOR), measurements, ..Feature::new(CLASS_NAME, polygon) }
    });
    Ok(features.collect())
}
