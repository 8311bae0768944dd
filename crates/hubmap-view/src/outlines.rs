//! Outlines as compact arrays, with as many vertices as a zoom shows.

use hubmap_io::Polygon;
use rayon::prelude::*;

/// How far outlines may be from the edges of pixels at full resolution: steps along slanted edges go.
pub(crate) const BASE_TOLERANCE_PX: f64 = 0.75;

/// The coarsest scale; at scale `s`, outlines are off by up to 2^s times the base tolerance.
pub(crate) const MAX_SCALE: u32 = 8;

/// How many times the tolerance an outline is wide at least, or the tolerance is less.
const LEAST_STEPS: f64 = 8.0;

/// Polygons as 32-bit little-endian integers: their number; for each the number of its rings; for each ring the
/// number of its vertices, and these as pairs of x and y in full-resolution pixels.
pub(crate) fn encode(polygons: &[Polygon], scale: u32) -> Vec<u8> {
    let tolerance = BASE_TOLERANCE_PX * f64::from(1_u32 << scale.min(MAX_SCALE));
    let words = |polygon: &Polygon| {
        let polygon = if scale > 0 { simplified(polygon, tolerance) } else { polygon.clone() };
        let mut words = vec![polygon.rings().count() as i32];
        for ring in polygon.rings() {
            words.push(ring.len() as i32);
            words.extend(ring.iter().flatten().map(|v| v.round() as i32));
        }
        words
    };
    let polygons: Vec<Vec<i32>> = polygons.par_iter().map(words).collect();
    let n_words = 1 + polygons.iter().map(Vec::len).sum::<usize>();
    let mut bytes = Vec::with_capacity(n_words * size_of::<i32>());
    bytes.extend((polygons.len() as i32).to_le_bytes());
    polygons.iter().flatten().for_each(|word| bytes.extend(word.to_le_bytes()));
    bytes
}

/// The polygon with a tolerance that leaves its shape: a ring that would lose it would stay as it is, with all vertices.
fn simplified(polygon: &Polygon, tolerance: f64) -> Polygon {
    let extent = polygon.bounds().map_or(0.0, |b| (b.max[0] - b.min[0]).min(b.max[1] - b.min[1]));
    polygon.simplified(tolerance.min(extent / LEAST_STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> Vec<i32> {
        bytes.as_chunks::<4>().0.iter().map(|&word| i32::from_le_bytes(word)).collect()
    }

    #[test]
    fn rings_come_with_their_lengths() {
        let exterior = vec![[0.0, 0.0], [90.0, 0.0], [90.0, 60.0], [0.0, 60.0]];
        let holes = vec![vec![[10.0, 10.0], [20.0, 10.0], [20.0, 20.0]]];
        let polygons = [Polygon { exterior, holes }, Polygon::new(vec![[1.0, 2.0], [5.0, 2.0], [1.0, 7.0]])];
        let expected = [
            2, 2, 4, 0, 0, 90, 0, 90, 60, 0, 60, 3, 10, 10, 20, 10, 20, 20, //
            1, 3, 1, 2, 5, 2, 1, 7,
        ];
        assert_eq!(words(&encode(&polygons, 0)), expected);
        assert_eq!(words(&encode(&[], 3)), [0]);
    }

    #[test]
    fn coarser_scales_have_fewer_vertices() {
        let circle = |i: i32| {
            let angle = f64::from(i) * std::f64::consts::TAU / 500.0;
            [1000.0 + 400.0 * angle.cos(), 1000.0 + 400.0 * angle.sin()]
        };
        let circle = [Polygon::new((0..500).map(circle).collect())];
        let n_vertices: Vec<i32> = (0..=MAX_SCALE).map(|scale| words(&encode(&circle, scale))[2]).collect();
        assert_eq!(n_vertices[0], 500);
        assert!(n_vertices.is_sorted_by(|a, b| a >= b) && n_vertices[3] < 40, "{n_vertices:?}");
        assert!((3..10).contains(n_vertices.last().unwrap()));
    }
}
