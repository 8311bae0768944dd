//! All pixels inside some polygons, as a list that can be drawn from.

use crate::{Polygon, Window};

/// The pixels of a window whose centres lie inside at least one of some polygons.
///
/// They are numbered row by row and from left to right, so a uniform number is a uniform pixel: no trials are needed,
/// however thin the polygons are or however many holes they have. Pixels under several polygons are there once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Region {
    /// Disjoint, by row and column.
    runs: Vec<RegionRun>,
    /// Number of pixels up to the end of each run.
    ends: Vec<u64>,
}

/// The pixels `x0..x1` of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RegionRun {
    y: i64,
    x0: i64,
    x1: i64,
}

impl Region {
    /// The pixels of `window` inside the polygons, by the rule of [`Polygon::spans`] for each of them.
    ///
    /// Takes 32 bytes per run of pixels: about a megabyte for an outline as high as a slide.
    pub fn new<'a>(polygons: impl IntoIterator<Item = &'a Polygon>, window: Window) -> Self {
        let mut runs = Vec::new();
        for polygon in polygons {
            polygon.spans(window, |y, x0, x1| runs.push(RegionRun { y, x0, x1 }));
        }
        runs.sort_unstable();
        let mut region = Self::default();
        let mut n_pixels = 0;
        for run in runs {
            // Polygons may overlap: what is already there is cut off.
            let taken = region.runs.last().filter(|last| last.y == run.y).map_or(run.x0, |last| last.x1);
            let run = RegionRun { x0: run.x0.max(taken), ..run };
            if run.x0 < run.x1 {
                n_pixels += (run.x1 - run.x0) as u64;
                region.runs.push(run);
                region.ends.push(n_pixels);
            }
        }
        region
    }

    /// The runs `x0..x1` of row `y` from left to right; none of them touches the next.
    pub fn row(&self, y: i64) -> impl Iterator<Item = (i64, i64)> {
        let first = self.runs.partition_point(|run| run.y < y);
        let row = self.runs[first..].iter().take_while(move |run| run.y == y);
        let mut row = row.peekable();
        std::iter::from_fn(move || {
            let run = row.next()?;
            let mut end = run.x1;
            while let Some(next) = row.next_if(|next| next.x0 == end) {
                end = next.x1;
            }
            Some((run.x0, end))
        })
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Column and row of a pixel by its number, `None` from [`Region::n_pixels`] on.
    pub fn pixel(&self, idx: u64) -> Option<[i64; 2]> {
        let run_idx = self.ends.partition_point(|&end| end <= idx);
        let run = self.runs.get(run_idx)?;
        Some([run.x1 - (self.ends[run_idx] - idx) as i64, run.y])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Mask, Size};

    fn pixels(region: &Region) -> Vec<[i64; 2]> {
        (0..region.n_pixels()).map(|idx| region.pixel(idx).unwrap()).collect()
    }

    fn polygon() -> impl Strategy<Value = Polygon> {
        let ring = || prop::collection::vec([-8.0..40.0_f64, -8.0..40.0_f64], 3..9);
        (ring(), prop::collection::vec(ring(), 0..3))
            .prop_map(|(exterior, holes)| Polygon { exterior, holes })
    }

    proptest! {
        #[test]
        fn numbers_the_pixels_of_a_mask_of_the_same_polygons(polygons in prop::collection::vec(polygon(), 0..4)) {
            let size = Size::new(33, 29);
            let mut mask = Mask::new(size);
            for polygon in &polygons {
                mask.fill_polygon(polygon);
            }
            let region = Region::new(&polygons, size.window());
            let set = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y)));
            let set = set.filter(|&(x, y)| mask.get(x, y)).map(|(x, y)| [i64::from(x), i64::from(y)]);
            prop_assert_eq!(pixels(&region), set.collect::<Vec<_>>());
            prop_assert_eq!(region.pixel(region.n_pixels()), None);
            for y in -1..=i64::from(size.height) {
                let row: Vec<_> = region.row(y).collect();
                prop_assert!(row.windows(2).all(|pair| pair[0].1 < pair[1].0));
                let columns = row.iter().flat_map(|&(x0, x1)| x0..x1);
                let expected = (0..size.width).filter(|&x| y >= 0 && mask.get(x, y as u32));
                prop_assert!(columns.eq(expected.map(i64::from)));
            }
        }
    }

    #[test]
    fn nothing_is_inside_nothing() {
        let line = Polygon::new(vec![[0.0, 0.0], [9.0, 9.0]]);
        for polygons in [vec![], vec![Polygon::default()], vec![line]] {
            let region = Region::new(&polygons, Size::new(10, 10).window());
            assert_eq!((region.n_pixels(), region.pixel(0)), (0, None));
        }
    }
}
