//! One window per annotated object.

use anyhow::{Context, Result};
use hubmap_io::{Feature, Window};

/// Area centroids `[x, y]`, one per polygon in the order of the features.
///
/// # Errors
///
/// A polygon without vertices; the message counts features and polygons from 0.
pub fn object_centroids(features: &[Feature]) -> Result<Vec<[f64; 2]>> {
    let polygons = features.iter().enumerate().flat_map(|(feature_idx, feature)| {
        feature
            .polygons
            .iter()
            .enumerate()
            .map(move |(polygon_idx, polygon)| (feature_idx, polygon_idx, polygon))
    });
    polygons
        .map(|(feature_idx, polygon_idx, polygon)| {
            polygon
                .centroid()
                .with_context(|| format!("polygon {polygon_idx} of feature {feature_idx} has no vertices"))
        })
        .collect()
}

/// Coordinates are not taken further off than this: off any slide, and near enough to count on from there.
const FAR_PX: f64 = (1_u64 << 40) as f64;

/// The square window of `side_px` around a point `[x, y]`, which may leave the slide.
///
/// The point is rounded to whole pixels (halves to even) and becomes pixel `side_px / 2` of the window.
pub fn window_around(point: [f64; 2], side_px: u32) -> Window {
    // Nothing bounds the coordinates in a file.
    let [x, y] =
        point.map(|center| center.clamp(-FAR_PX, FAR_PX).round_ties_even() as i64 - i64::from(side_px / 2));
    Window::new(x, y, side_px, side_px)
}

#[cfg(test)]
mod tests {
    use hubmap_io::Polygon;

    use super::*;

    fn square(x: f64, y: f64, side: f64) -> Polygon {
        Polygon::new(vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]])
    }

    fn object_windows(features: &[Feature], side_px: u32) -> Vec<Window> {
        let centroids = object_centroids(features).unwrap();
        centroids.into_iter().map(|centroid| window_around(centroid, side_px)).collect()
    }

    #[test]
    fn windows_are_centred_in_file_order_with_one_per_polygon() {
        let mut pair = Feature::new("glomerulus", square(0.0, 0.0, 4.0));
        pair.polygons.push(square(100.0, 50.0, 5.0));
        let features = [Feature::new("glomerulus", square(10.25, 20.75, 7.0)), Feature::default(), pair];
        let windows = object_windows(&features, 30);
        // Centres (13.75, 24.25), (2, 2) and (102.5, 52.5); halves go to the even neighbour.
        let corner = |x: i64, y: i64| Window::new(x - 15, y - 15, 30, 30);
        assert_eq!(windows, [corner(14, 24), corner(2, 2), corner(102, 52)]);
        assert_eq!(object_windows(&features[..1], 31)[0], Window::new(-1, 9, 31, 31));
    }

    #[test]
    fn centroid_is_that_of_the_area_not_of_the_vertices() {
        let mut polygon = square(0.0, 0.0, 10.0);
        polygon.exterior.splice(1..1, (1..10).map(|x| [f64::from(x), 0.0]));
        let windows = object_windows(&[Feature::new("g", polygon)], 2);
        assert_eq!(windows, [Window::new(4, 4, 2, 2)]);
    }

    #[test]
    fn a_polygon_without_vertices_is_named() {
        let features = [Feature::default(), Feature::new("g", Polygon::default())];
        let error = object_centroids(&features).unwrap_err().to_string();
        assert_eq!(error, "polygon 0 of feature 1 has no vertices");
    }
}
