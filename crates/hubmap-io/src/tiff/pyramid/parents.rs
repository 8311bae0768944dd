//! Tiles of reduced levels whose parts have not all arrived.

use std::collections::{BTreeMap, HashMap};

use super::grid::Place;

/// The reduction of one tile on its way into its parent.
#[derive(Clone, Copy)]
pub(super) struct Quarter<'a> {
    /// The tile that was reduced.
    pub(super) child: Place,
    /// Rows of the reduced pixels, or `None` if they are all 0.
    pub(super) bytes: Option<&'a [u8]>,
    /// Bytes of one of these rows.
    pub(super) row_len: usize,
}

/// What is known of a tile.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// All that arrived so far is 0.
    Zero,
    /// The whole tile; what has not arrived is 0.
    Filled(Vec<u8>),
    /// Given up for want of memory; its parts are in the file.
    Dropped,
}

struct Parent {
    n_arrived: u32,
    /// When a part last arrived; the key in `Parents::by_age` of tiles that are filled.
    touched: u64,
    content: Content,
}

/// All tiles under way, with a limit on the bytes of their pixels.
pub(super) struct Parents {
    /// Bytes of one row of a tile; tiles are square.
    row_len: usize,
    tile_px: usize,
    limit: usize,
    /// Counts the parts that have arrived.
    clock: u64,
    open: HashMap<Place, Parent>,
    /// Filled tiles, the one that waits longest first.
    by_age: BTreeMap<u64, Place>,
}

impl Parents {
    /// No tiles yet; `tile_px` pixels a side, `bytes_per_pixel` each, at most `limit` bytes of them.
    pub(super) fn new(tile_px: usize, bytes_per_pixel: usize, limit: usize) -> Self {
        let (open, by_age) = (HashMap::new(), BTreeMap::new());
        Self { row_len: tile_px * bytes_per_pixel, tile_px, limit, clock: 0, open, by_age }
    }

    /// Adds a part to its parent, which has `n_children` in all; gives the parent back if that was the last one and
    /// nothing is missing.
    pub(super) fn add(&mut self, quarter: Quarter<'_>, n_children: u32) -> Option<Content> {
        let place = quarter.child.parent();
        self.clock += 1;
        let parent =
            self.open.entry(place).or_insert(Parent { n_arrived: 0, touched: 0, content: Content::Zero });
        parent.n_arrived += 1;
        let is_complete = parent.n_arrived == n_children;
        match (&mut parent.content, quarter.bytes) {
            (Content::Dropped, _) => return None,
            (Content::Zero, None) => {}
            (Content::Zero, Some(_)) => {
                let mut bytes = vec![0; self.row_len * self.tile_px];
                put(&mut bytes, self.row_len, self.tile_px, quarter);
                parent.content = Content::Filled(bytes);
                parent.touched = self.clock;
                self.by_age.insert(self.clock, place);
            }
            (Content::Filled(bytes), _) => {
                put(bytes, self.row_len, self.tile_px, quarter);
                self.by_age.remove(&parent.touched);
                parent.touched = self.clock;
                self.by_age.insert(self.clock, place);
            }
        }
        if is_complete {
            let parent = self.open.remove(&place)?;
            self.by_age.remove(&parent.touched);
            return Some(parent.content);
        }
        self.drop_oldest();
        None
    }

    /// Takes the tiles of a level that are still open, in order.
    pub(super) fn take_level(&mut self, level: usize) -> Vec<(Place, Content)> {
        let is_of_level = |place: &Place| place.level == level;
        self.by_age.retain(|_, place| !is_of_level(place));
        let mut taken: Vec<_> = self.open.extract_if(|place, _| is_of_level(place)).collect();
        taken.sort_unstable_by_key(|&(place, _)| place);
        taken.into_iter().map(|(place, parent)| (place, parent.content)).collect()
    }

    fn drop_oldest(&mut self) {
        let tile_len = self.row_len * self.tile_px;
        while self.by_age.len() * tile_len > self.limit
            && let Some((_, place)) = self.by_age.pop_first()
        {
            if let Some(parent) = self.open.get_mut(&place) {
                parent.content = Content::Dropped;
            }
        }
    }
}

/// Copies a part to its quarter of the tile.
fn put(tile: &mut [u8], row_len: usize, tile_px: usize, quarter: Quarter<'_>) {
    let Some(bytes) = quarter.bytes else { return };
    let (right, below) = quarter.child.quarter();
    let rows = tile.chunks_exact_mut(row_len).skip(below * tile_px / 2);
    for (row, bytes) in rows.zip(bytes.chunks_exact(quarter.row_len)) {
        row[right * row_len / 2..][..bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(column: u32, row: u32) -> Place {
        Place { level: 0, row, column }
    }

    fn quarter(column: u32, row: u32, bytes: &[u8]) -> Quarter<'_> {
        Quarter { child: child(column, row), bytes: Some(bytes), row_len: 2 }
    }

    #[test]
    fn parts_go_to_their_quarters() {
        let mut parents = Parents::new(4, 1, 1000);
        assert_eq!(parents.add(quarter(3, 1, &[1, 2, 3, 4]), 3), None);
        assert_eq!(parents.add(Quarter { bytes: None, ..quarter(2, 0, &[]) }, 3), None);
        let tile = parents.add(quarter(3, 0, &[5, 6, 7, 8]), 3);
        assert_eq!(tile, Some(Content::Filled(vec![0, 0, 5, 6, 0, 0, 7, 8, 0, 0, 1, 2, 0, 0, 3, 4])));
        assert!(parents.open.is_empty() && parents.by_age.is_empty());
    }

    #[test]
    fn the_tile_that_waits_longest_is_dropped_and_stays_so() {
        let mut parents = Parents::new(4, 1, 16);
        parents.add(quarter(0, 0, &[1; 4]), 4);
        parents.add(quarter(2, 0, &[2; 4]), 4);
        for (column, row) in [(1, 0), (0, 1), (1, 1)] {
            assert_eq!(parents.add(quarter(column, row, &[1; 4]), 4), None);
        }
        let rest = parents.take_level(1);
        assert_eq!(rest.len(), 2);
        assert_eq!(rest[0], (child(0, 0).parent(), Content::Dropped));
        assert!(matches!(rest[1], (_, Content::Filled(_))));
        assert!(parents.open.is_empty() && parents.by_age.is_empty());
    }

    #[test]
    fn zeros_take_no_memory() {
        let mut parents = Parents::new(4, 1, 0);
        for column in 0..100 {
            parents.add(Quarter { bytes: None, ..quarter(column, 0, &[]) }, 4);
        }
        assert!(parents.take_level(1).iter().all(|(_, content)| *content == Content::Zero));
    }
}
