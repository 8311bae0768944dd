//! Decoded tiles that stay in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ndarray::{Array2, Array3};

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
        let taken = |used: u64| used.checked_add(n_bytes).filter(|&used| used <= self.limit_bytes);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
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
    slots: Vec<OnceLock<(Array3<u8>, Array2<u8>)>>,
    budget: Arc<CacheBudget>,
}

impl TileCache {
    /// An empty cache for so many tiles.
    pub(super) fn new(n_tiles: usize, budget: Arc<CacheBudget>) -> Self {
        Self { slots: (0..n_tiles).map(|_| OnceLock::new()).collect(), budget }
    }

    /// Image and mask of a tile, if they are kept.
    pub(super) fn get(&self, tile_idx: usize) -> Option<&(Array3<u8>, Array2<u8>)> {
        self.slots[tile_idx].get()
    }

    /// Keeps a copy of image and mask if there is room; returns whether they are kept.
    pub(super) fn offer(&self, tile_idx: usize, sample: &Sample) -> bool {
        let Sample { image, mask, .. } = sample;
        let slot = &self.slots[tile_idx];
        if slot.get().is_some() {
            return true;
        }
        let n_bytes = n_bytes(image, mask);
        if !self.budget.reserve(n_bytes) {
            return false;
        }
        if slot.set((image.clone(), mask.clone())).is_err() {
            // Another thread decoded the same tile meanwhile.
            self.budget.release(n_bytes);
        }
        true
    }
}

impl Drop for TileCache {
    fn drop(&mut self) {
        let kept = self.slots.iter().filter_map(OnceLock::get);
        self.budget.release(kept.map(|(image, mask)| n_bytes(image, mask)).sum());
    }
}

fn n_bytes(image: &Array3<u8>, mask: &Array2<u8>) -> u64 {
    (image.len() + mask.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(side: usize) -> Sample {
        Sample::new("s", Array3::zeros((side, side, 3)), Array2::zeros((side, side))).unwrap()
    }

    #[test]
    fn bytes_are_counted_to_the_last_one_and_given_back() {
        let budget = Arc::new(CacheBudget::new(2 * 400 + 36));
        let cache = TileCache::new(5, Arc::clone(&budget));
        let (big, small) = (tile(10), tile(3));
        assert!(cache.offer(0, &big));
        assert_eq!(budget.used_bytes(), 400);
        // A second offer of a kept tile costs nothing.
        assert!(cache.offer(0, &big));
        assert_eq!(budget.used_bytes(), 400);
        let other = TileCache::new(2, Arc::clone(&budget));
        assert!(other.offer(1, &big));
        assert!(!cache.offer(2, &big), "it does not fit");
        assert!(cache.get(2).is_none());
        assert!(cache.offer(3, &small), "a smaller one does");
        assert_eq!(budget.used_bytes(), 836);
        assert_eq!(cache.get(3), Some(&(small.image, small.mask)));
        drop(other);
        assert_eq!(budget.used_bytes(), 436);
        assert!(cache.offer(2, &big));
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
                        cache.offer(tile_idx, &sample);
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
