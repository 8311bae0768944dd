//! Tiles by the definition, from whole images; shares no code with the library.

use std::fmt::Write;
use std::path::Path;

use hubmap_io::Size;
use ndarray::{Array2, Array3, s};

use super::{SCALE, TILE, WINDOW};

/// A slide as whole arrays.
pub(super) struct Truth {
    pub(super) id: String,
    pub(super) image: Array3<u8>,
    pub(super) mask: Array2<bool>,
    /// Polygons of the features, holes not included.
    pub(super) features: Vec<Vec<Vec<[f64; 2]>>>,
}

impl Truth {
    pub(super) fn new(id: &str, width: usize, height: usize, features: Vec<Vec<Vec<[f64; 2]>>>) -> Self {
        let noise = |x: usize, y: usize, c: usize| {
            let mut h = (x * 0x9e37_79b1 + y * 0x85eb_ca6b + c * 0xc2b2_ae35 + id.len()) as u64;
            h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d_1234_5677);
            (h >> 40) as u8
        };
        let mut image = Array3::from_shape_fn((height, width, 3), |(y, x, c)| 60 + noise(x, y, c) % 130);
        // Columns of bright glass and of black, so that the grid has background of both kinds.
        image.slice_mut(s![.., ..WINDOW + 3, ..]).fill(230);
        image.slice_mut(s![height - 30.., .., ..]).fill(2);
        let mask =
            Array2::from_shape_fn((height, width), |(y, x)| (x / 7 + y / 5) % 3 == 0 && noise(x, y, 3) > 20);
        Self { id: id.to_owned(), image, mask, features }
    }

    /// A slide of a competition folder: whole pixels, mask and outlines from the files.
    pub(super) fn read(folder: &Path, id: &str) -> Self {
        let slide = hubmap_io::open(&folder.join(format!("train/{id}.tiff"))).unwrap();
        let image = slide.read(slide.size().window()).unwrap();
        let (height, width, _) = image.dim();
        let table = std::fs::read_to_string(folder.join("train.csv")).unwrap();
        let row = table.lines().find_map(|line| line.strip_prefix(id)).unwrap();
        let numbers =
            row[1..].split_whitespace().map(|number| number.parse().unwrap()).collect::<Vec<usize>>();
        let mut mask = Array2::from_elem((height, width), false);
        for run in numbers.chunks(2) {
            for pixel in run[0] - 1..run[0] - 1 + run[1] {
                mask[[pixel % height, pixel / height]] = true;
            }
        }
        let text = std::fs::read_to_string(folder.join(format!("train/{id}.json"))).unwrap();
        let features: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rings = |coordinates: &serde_json::Value| {
            let mut ring: Vec<[f64; 2]> = serde_json::from_value(coordinates[0].clone()).unwrap();
            ring.pop();
            ring
        };
        let polygons = |feature: &serde_json::Value| match &feature["geometry"] {
            multi if multi["type"] == "MultiPolygon" => {
                multi["coordinates"].as_array().unwrap().iter().map(rings).collect()
            }
            single => vec![rings(&single["coordinates"])],
        };
        let features = features.as_array().unwrap().iter().map(polygons).collect();
        Self { id: id.to_owned(), image, mask, features }
    }

    pub(super) fn size(&self) -> Size {
        Size::new(self.image.dim().1 as u32, self.image.dim().0 as u32)
    }

    pub(super) fn pixel(&self, x: i64, y: i64) -> ([u8; 3], u8) {
        let inside =
            (0..i64::from(self.size().width)).contains(&x) && (0..i64::from(self.size().height)).contains(&y);
        if !inside {
            return ([0; 3], 0);
        }
        let (x, y) = (x as usize, y as usize);
        (std::array::from_fn(|c| self.image[[y, x, c]]), if self.mask[[y, x]] { 255 } else { 0 })
    }

    pub(super) fn encoding(&self) -> String {
        let column_major = self.mask.t().iter().copied().collect::<Vec<_>>();
        let mut text = String::new();
        let mut start = 0;
        for run in column_major.chunk_by(|a, b| a == b) {
            if run[0] {
                write!(text, "{} {} ", start + 1, run.len()).unwrap();
            }
            start += run.len();
        }
        text
    }

    pub(super) fn geojson(&self) -> String {
        let features = self.features.iter().map(|polygons| {
            let rings = polygons.iter().map(|polygon| {
                let closed = polygon.iter().chain(polygon.first()).collect::<Vec<_>>();
                serde_json::json!([closed])
            });
            let rings = rings.collect::<Vec<_>>();
            let geometry = match rings.as_slice() {
                [one] => serde_json::json!({"type": "Polygon", "coordinates": one}),
                all => serde_json::json!({"type": "MultiPolygon", "coordinates": all}),
            };
            serde_json::json!({"type": "Feature", "geometry": geometry, "properties": {}})
        });
        serde_json::Value::Array(features.collect()).to_string()
    }

    /// The tile whose window starts at `(x0, y0)`, from the definition.
    pub(super) fn tile(&self, x0: i64, y0: i64, average_mask: bool) -> (Array3<u8>, Array2<u8>) {
        let cell = |x: usize, y: usize| {
            (0..SCALE * SCALE).map(move |i| {
                self.pixel(x0 + (x * SCALE + i % SCALE) as i64, y0 + (y * SCALE + i / SCALE) as i64)
            })
        };
        let mean = |values: &mut dyn Iterator<Item = u8>| {
            (values.map(f64::from).sum::<f64>() / (SCALE * SCALE) as f64).round() as u8
        };
        let image =
            Array3::from_shape_fn((TILE, TILE, 3), |(y, x, c)| mean(&mut cell(x, y).map(|(rgb, _)| rgb[c])));
        let mask = Array2::from_shape_fn((TILE, TILE), |(y, x)| {
            if average_mask { mean(&mut cell(x, y).map(|(_, m)| m)) } else { cell(x, y).next().unwrap().1 }
        });
        (image, mask)
    }

    pub(super) fn object_corners(&self) -> Vec<(i64, i64)> {
        let half = (WINDOW / 2) as i64;
        // Python's round: halves to even.
        let round = |v: f64| {
            let floor = v.floor();
            match (v - floor).total_cmp(&0.5) {
                std::cmp::Ordering::Less => floor as i64,
                std::cmp::Ordering::Equal => floor as i64 + (floor as i64).rem_euclid(2),
                std::cmp::Ordering::Greater => floor as i64 + 1,
            }
        };
        self.features
            .iter()
            .flatten()
            .map(|polygon| area_centroid(polygon))
            .map(|[x, y]| (round(x) - half, round(y) - half))
            .collect()
    }

    pub(super) fn is_background(&self, x0: i64, y0: i64) -> bool {
        let pixels = (0..WINDOW * WINDOW)
            .map(|i| self.pixel(x0 + (i % WINDOW) as i64, y0 + (i / WINDOW) as i64).0.map(f64::from))
            .collect::<Vec<_>>();
        let values = pixels.as_flattened();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        let dark =
            pixels.iter().filter(|p| p.iter().sum::<f64>() / 3.0 < 10.0).count() as f64 / pixels.len() as f64;
        mean < 10.0 || (mean > 205.0 && std < 20.0) || dark > 0.1
    }

    pub(super) fn grid_corners(&self) -> Vec<(i64, i64)> {
        let Size { width, height } = self.size();
        let starts = |side: u32| (0..i64::from(side)).step_by(WINDOW);
        starts(height).flat_map(|y| starts(width).map(move |x| (x, y))).collect()
    }
}

/// By triangles from the first vertex.
fn area_centroid(polygon: &[[f64; 2]]) -> [f64; 2] {
    let origin = polygon[0];
    let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
    for pair in polygon[1..].windows(2) {
        let [a, b] = [pair[0], pair[1]].map(|p| [p[0] - origin[0], p[1] - origin[1]]);
        let twice = a[0] * b[1] - b[0] * a[1];
        area += twice;
        x += twice * (a[0] + b[0]) / 3.0;
        y += twice * (a[1] + b[1]) / 3.0;
    }
    [origin[0] + x / area, origin[1] + y / area]
}

pub(super) fn truths() -> Vec<Truth> {
    let square = |x: f64, y: f64, side: f64| vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]];
    let first = vec![
        // Window over the top-left corner of the slide, centroid at halves.
        vec![square(0.0, 0.0, 5.0)],
        // Fractional and not convex.
        vec![vec![[30.3, 20.7], [50.9, 22.2], [47.1, 44.8], [39.6, 30.1], [31.2, 41.4]]],
        // Two parts, the second over the bottom-right corner.
        vec![square(40.0, 50.0, 9.0), square(95.0, 80.0, 6.0)],
    ];
    vec![
        Truth::new("aa11", 103, 89, first),
        Truth::new("bb22", 72, 96, vec![vec![square(20.25, 30.5, 10.0)]]),
        Truth::new("cc33", 50, 130, Vec::new()),
    ]
}
