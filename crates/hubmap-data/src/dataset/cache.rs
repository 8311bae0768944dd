//! Decoded tiles that stay in memory.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use hubmap_io::Size;

use crate::Sample;

/// Memory that decoded tiles of any number of datasets may take together.
#[derive(Debug)]
pub struct CacheBudget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl CacheBudget {
    /// A budget of so many bytes.
    pub const fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: AtomicU64::new(0) }
    }

    /// Bytes of pixels that are kept now: 4 per tile pixel, never more than the limit.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Takes bytes from the budget if they are left.
    fn reserve(&self, n_bytes: u64) -> bool {
        let taken = |used| self.used_with(used, n_bytes);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Bytes in use if `n_bytes` join `used`; `None` if that is over the limit.
    fn used_with(&self, used: u64, n_bytes: u64) -> Option<u64> {
        used.checked_add(n_bytes).filter(|&used| used <= self.limit_bytes)
    }

    fn release(&self, n_bytes: u64) {
        self.used_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
    }
}

/// The decoded tiles of one dataset.
///
/// Tiles stay until the dataset goes. Every epoch takes all tiles in another order, so throwing one out for another would
/// gain nothing. Reading takes no lock.
#[derive(Debug)]
pub(super) struct TileCache {
    slots: Vec<OnceLock<Sample>>,
    budget: Arc<CacheBudget>,
}

impl TileCache {
    /// An empty cache for so many tiles.
    pub(super) fn new(n_tiles: usize, budget: Arc<CacheBudget>) -> Self {
        Self { slots: (0..n_tiles).map(|_| OnceLock::new()).collect(), budget }
    }

    /// A tile, if it is kept.
    pub(super) fn get(&self, tile_idx: usize) -> Option<&Sample> {
        self.slots[tile_idx].get()
    }

    /// Whether a tile of this size is kept, or would be if it were offered now.
    pub(super) fn has_place(&self, tile_idx: usize, size: Size) -> bool {
        self.get(tile_idx).is_some()
            || self.budget.used_with(self.budget.used_bytes(), n_bytes(size)).is_some()
    }

    /// Keeps a tile if there is room, and lends what is kept; else gives it back.
    pub(super) fn offer(&self, tile_idx: usize, sample: Sample) -> Cow<'_, Sample> {
        let slot = &self.slots[tile_idx];
        if let Some(kept) = slot.get() {
            return Cow::Borrowed(kept);
        }
        let n_bytes = n_bytes(sample.size());
        if !self.budget.reserve(n_bytes) {
            return Cow::Owned(sample);
        }
        let mut is_first = false;
        let kept = slot.get_or_init(|| {
            is_first = true;
            sample
        });
        if !is_first {
            // Another thread decoded the same tile meanwhile.
            self.budget.release(n_bytes);
        }
        Cow::Borrowed(kept)
    }
}

impl Drop for TileCache {
    fn drop(&mut self) {
        let kept = self.slots.iter().filter_map(OnceLock::get);
        self.budget.release(kept.map(|sample| n_bytes(sample.size())).sum());
    }
}

/// Three bytes of the image and one of the mask per pixel.
fn n_bytes(size: Size) -> u64 {
    4 * size.area()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3};

    use super::*;

    fn tile(side: usize) -> Sample {
        Sample::new("s", Array3::zeros((side, side, 3)), Array2::zeros((side, side))).unwrap()
    }

    #[test]
    fn bytes_are_counted_to_the_last_one_and_given_back() {
        let budget = Arc::new(CacheBudget::new(2 * 400 + 36));
        let cache = TileCache::new(5, Arc::clone(&budget));
        let (big, small) = (tile(10), tile(3));
        // Whether a tile is kept is what was promised before.
        let offer = |cache: &TileCache, tile_idx, sample: &Sample| {
            let has_place = cache.has_place(tile_idx, sample.size());
            let outcome = cache.offer(tile_idx, sample.clone());
            assert_eq!(outcome.as_ref(), sample);
            assert_eq!(matches!(outcome, Cow::Borrowed(_)), has_place);
            has_place
        };
        assert!(offer(&cache, 0, &big));
        assert_eq!(budget.used_bytes(), 400);
        // A second offer of a kept tile costs nothing.
        assert!(offer(&cache, 0, &big));
        assert_eq!(budget.used_bytes(), 400);
        let other = TileCache::new(2, Arc::clone(&budget));
        assert!(offer(&other, 1, &big));
        assert!(!offer(&cache, 2, &big), "it does not fit");
        assert!(offer(&cache, 0, &big), "what is kept stays");
        assert!(cache.get(2).is_none());
        assert!(offer(&cache, 3, &small), "a smaller one does");
        assert_eq!(budget.used_bytes(), 836);
        assert_eq!(cache.get(3), Some(&small));
        drop(other);
        assert_eq!(budget.used_bytes(), 436);
        assert!(offer(&cache, 2, &big));
        drop(cache);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn threads_that_offer_at_once_never_exceed_the_budget() {
        let budget = Arc::new(CacheBudget::new(10 * 36));
        let cache = TileCache::new(40, Arc::clone(&budget));
        let sample = tile(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for tile_idx in 0..40 {
                        assert_eq!(cache.offer(tile_idx, sample.clone()).as_ref(), &sample);
                        assert!(budget.used_bytes() <= 360);
                    }
                });
            }
        });
        let n_kept = (0..40).filter(|&tile_idx| cache.get(tile_idx).is_some()).count() as u64;
        assert_eq!(budget.used_bytes(), 36 * n_kept);
        assert!(n_kept > 0);
    }
}
