//! Windows at random places: free of objects, or inside given polygons.

use anyhow::{Result, ensure};
use hubmap_io::{Mask, Region, Window};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::window_around;
use crate::seed::{Purpose, StreamRng, hash_id, stream};

/// Smallest step that ends soon: a thousand steps permit anything.
const MIN_AREA_STEP: f64 = 1e-3;

/// The table `[data_gen.background_cuts]`: windows without objects at random places in the cortex.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackgroundCuts {
    /// Windows on each slide.
    pub per_slide: usize,
    /// Places that are tried before more of the window may be covered by objects.
    pub max_trials: u32,
    /// By how much of the window's area more may then be covered.
    pub object_area_step: f64,
}

impl BackgroundCuts {
    /// Refuses numbers that cannot work.
    ///
    /// # Errors
    ///
    /// Names the setting.
    pub fn validate(&self) -> Result<()> {
        ensure!(self.max_trials > 0, "background_cuts.max_trials is 0; 1 tries each area once");
        ensure!(
            (MIN_AREA_STEP..=1.0).contains(&self.object_area_step),
            "background_cuts.object_area_step = {} is not between {MIN_AREA_STEP} and 1",
            self.object_area_step
        );
        Ok(())
    }
}

/// The table `[data_gen.polygon_cuts]`: windows at random places inside the polygons of some classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolygonCuts {
    /// Windows on each slide that has such polygons.
    pub per_slide: usize,
    /// Classes in the annotation files of the slide, those of objects and those of the anatomy; letter case is ignored.
    pub labels: Vec<String>,
}

/// Square windows of `side_px` around uniformly drawn pixels of `region`, as free of objects as it has to be.
///
/// At first no pixel of `mask` may be set in a window. After [`BackgroundCuts::max_trials`] places with more, the
/// permitted share of the area grows by a step, and so on; every window begins with none again. A window depends on the
/// seed, the slide and its number alone.
///
/// A region without pixels has no windows.
pub fn background_windows(
    region: &Region,
    mask: &Mask,
    side_px: u32,
    cuts: &BackgroundCuts,
    seed: u64,
    slide_id: &str,
) -> Vec<Window> {
    let area = f64::from(side_px) * f64::from(side_px);
    let place = |window_idx: usize| {
        let mut rng = stream(seed, Purpose::BackgroundWindow, hash_id(slide_id), window_idx as u64);
        let step = cuts.object_area_step.max(MIN_AREA_STEP);
        let mut n_steps = 0;
        loop {
            let permitted = f64::from(n_steps) * step;
            for _ in 0..cuts.max_trials {
                let window = draw_window(region, side_px, &mut rng)?;
                if mask.count_ones_in(window) as f64 <= permitted * area {
                    return Some(window);
                }
            }
            n_steps += 1;
        }
    };
    (0..cuts.per_slide).map_while(place).collect()
}

/// `n_windows` square windows of `side_px` around uniformly drawn pixels of `region`.
///
/// A window depends on the seed, the slide and its number alone. A region without pixels has no windows.
pub fn polygon_windows(
    region: &Region,
    side_px: u32,
    n_windows: usize,
    seed: u64,
    slide_id: &str,
) -> Vec<Window> {
    let place = |window_idx: usize| {
        let mut rng = stream(seed, Purpose::PolygonWindow, hash_id(slide_id), window_idx as u64);
        draw_window(region, side_px, &mut rng)
    };
    (0..n_windows).map_while(place).collect()
}

fn draw_window(region: &Region, side_px: u32, rng: &mut StreamRng) -> Option<Window> {
    let n_pixels = Some(region.n_pixels()).filter(|&n| n > 0)?;
    let pixel = region.pixel(rng.random_range(0..n_pixels))?;
    Some(window_around(pixel.map(|v| v as f64), side_px))
}

#[cfg(test)]
mod tests {
    use hubmap_io::{Polygon, Size};

    use super::*;

    const CUTS: BackgroundCuts = BackgroundCuts { per_slide: 40, max_trials: 10, object_area_step: 0.05 };
    const SIZE: Size = Size::new(300, 200);

    fn rectangle(x0: f64, y0: f64, x1: f64, y1: f64) -> Polygon {
        Polygon::new(vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    }

    /// A square with a hole, and a small one apart.
    fn two_parts() -> Vec<Polygon> {
        let mut holed = rectangle(10.0, 10.0, 110.0, 110.0);
        holed.holes.push(vec![[40.0, 40.0], [80.0, 40.0], [80.0, 80.0], [40.0, 80.0]]);
        vec![holed, rectangle(200.0, 150.0, 230.0, 180.0)]
    }

    #[test]
    fn points_are_uniform_over_parts_and_around_holes() {
        let polygons = two_parts();
        let region = Region::new(&polygons, SIZE.window());
        let n_points = 40_000;
        let windows = polygon_windows(&region, 1, n_points, 3, "s");
        assert_eq!(windows.len(), n_points);
        // Cells of 10 px, none of which an outline cuts.
        let mut counts = std::collections::BTreeMap::new();
        for window in &windows {
            *counts.entry((window.x / 10, window.y / 10)).or_insert(0_usize) += 1;
        }
        let inside = |x: i64, y: i64| {
            let center = [x as f64 * 10.0 + 5.0, y as f64 * 10.0 + 5.0];
            polygons.iter().any(|polygon| polygon.contains(center))
        };
        let cells = (0..30).flat_map(|x| (0..20).map(move |y| (x, y))).filter(|&(x, y)| inside(x, y));
        let cells = cells.collect::<Vec<_>>();
        assert_eq!(cells.len(), 100 - 16 + 9);
        assert_eq!(counts.values().sum::<usize>(), n_points);
        assert!(counts.keys().all(|cell| cells.contains(cell)));
        let expected = n_points as f64 / cells.len() as f64;
        let chi_square = cells
            .iter()
            .map(|cell| (counts.get(cell).copied().unwrap_or(0) as f64 - expected).powi(2) / expected)
            .sum::<f64>();
        // 92 degrees of freedom: mean 92, standard deviation 13.6. The bounds are four of them away.
        assert!((38.0..147.0).contains(&chi_square), "{chi_square}");
    }

    #[test]
    fn windows_are_around_their_points_and_depend_on_seed_slide_and_number_alone() {
        let region = Region::new(&two_parts()[1..], SIZE.window());
        let windows = |side, n, seed, id| polygon_windows(&region, side, n, seed, id);
        let points = windows(1, 30, 3, "s");
        let around = windows(31, 30, 3, "s");
        for (point, window) in points.iter().zip(&around) {
            assert_eq!(*window, Window::new(point.x - 15, point.y - 15, 31, 31));
        }
        assert_eq!(windows(31, 10, 3, "s"), around[..10]);
        assert_ne!(windows(31, 30, 4, "s"), around);
        assert_ne!(windows(31, 30, 3, "t"), around);
        assert_eq!(windows(31, 30, 3, "s")[..], around);
        assert!(polygon_windows(&Region::default(), 3, 5, 0, "s").is_empty());
    }

    #[test]
    fn background_is_free_of_objects_where_there_is_room() {
        let region = Region::new(&two_parts(), SIZE.window());
        let mut mask = Mask::new(SIZE);
        mask.fill_polygon(&rectangle(0.0, 0.0, 60.0, 200.0));
        let windows = background_windows(&region, &mask, 20, &CUTS, 1, "s");
        assert_eq!(windows.len(), CUTS.per_slide);
        assert!(windows.iter().all(|&window| mask.count_ones_in(window) == 0));
        assert!(windows.iter().all(|window| {
            let center = [(window.x + 10) as f64 + 0.5, (window.y + 10) as f64 + 0.5];
            two_parts().iter().any(|polygon| polygon.contains(center))
        }));
        assert_eq!(background_windows(&region, &mask, 20, &CUTS, 1, "s"), windows);
        let first = background_windows(&region, &mask, 20, &BackgroundCuts { per_slide: 5, ..CUTS }, 1, "s");
        assert_eq!(first, windows[..5]);
        assert_ne!(background_windows(&region, &mask, 20, &CUTS, 2, "s"), windows);
        assert_ne!(background_windows(&region, &mask, 20, &CUTS, 1, "t"), windows);
        let never = background_windows(&Region::default(), &mask, 20, &CUTS, 1, "s");
        assert!(never.is_empty());
    }

    #[test]
    fn crowded_places_permit_more_objects_step_by_step() {
        let region = Region::new(&[rectangle(0.0, 0.0, 300.0, 200.0)], SIZE.window());
        let covered = |window: &Window, mask: &Mask| mask.count_ones_in(*window) as f64 / 400.0;
        // Bands of 6 of every 20 columns: every window inside the slide is covered by 0.3.
        let mut bands = Mask::new(SIZE);
        for x in (0..300).step_by(20) {
            bands.fill_polygon(&rectangle(f64::from(x), 0.0, f64::from(x + 6), 200.0));
        }
        let inner = Region::new(&[rectangle(20.0, 20.0, 280.0, 180.0)], SIZE.window());
        let windows = background_windows(&inner, &bands, 20, &CUTS, 1, "s");
        assert!(windows.iter().all(|window| (covered(window, &bands) - 0.3).abs() < 1e-9));

        // A slide that is all object ends too.
        let mut full = Mask::new(SIZE);
        full.fill_polygon(&rectangle(0.0, 0.0, 300.0, 200.0));
        assert_eq!(background_windows(&region, &full, 20, &CUTS, 1, "s").len(), CUTS.per_slide);

        // Of many places with an object each, early trials find the free ones: no window takes more than it must.
        let mut half = Mask::new(SIZE);
        half.fill_polygon(&rectangle(0.0, 0.0, 200.0, 200.0));
        let patient = BackgroundCuts { max_trials: 60, ..CUTS };
        let windows = background_windows(&region, &half, 20, &patient, 1, "s");
        assert!(windows.iter().all(|window| covered(window, &half) == 0.0));
    }

    #[test]
    fn settings_that_would_never_end_are_named() {
        assert!(CUTS.validate().is_ok());
        let refused = |cuts: BackgroundCuts| cuts.validate().unwrap_err().to_string();
        assert!(refused(BackgroundCuts { max_trials: 0, ..CUTS }).contains("background_cuts.max_trials"));
        for object_area_step in [0.0, -0.1, f64::NAN, 1.5] {
            assert!(
                refused(BackgroundCuts { object_area_step, ..CUTS })
                    .contains("background_cuts.object_area_step")
            );
        }
    }
}
