//! The order of an epoch, and how it is cut into batches and dealt out to shards.

use std::ops::Range;

use anyhow::{Result, ensure};
use rand::seq::SliceRandom;

use crate::Dataset;
use crate::dataset::Draw;
use crate::seed::{Purpose, stream};

/// One of several loaders that share the batches of an epoch, such as those of the replicas of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Self = Self { index: 0, count: 1 };
}

/// Where the batches of a shard lie in the order of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batches {
    n_draws: usize,
    /// Samples of a full batch of the shard.
    size: usize,
    shard: Shard,
    len: usize,
}

impl Batches {
    /// Batches of `size` samples over `n_draws` samples of all shards together.
    ///
    /// # Errors
    ///
    /// No batch would come out, or there is no such shard.
    pub(super) fn new(n_draws: usize, size: usize, shard: Shard, drop_last: bool) -> Result<Self> {
        ensure!(size > 0, "batch_size is 0");
        ensure!(shard.index < shard.count, "there is no shard {} of {}", shard.index, shard.count);
        ensure!(n_draws > 0, "the dataset has no samples");
        let global = size.saturating_mul(shard.count);
        ensure!(
            !drop_last || n_draws >= global,
            "{n_draws} samples do not fill one batch of {global} and drop_last is set; lower the batch size"
        );
        let len = if drop_last { n_draws / global } else { n_draws.div_ceil(global) };
        Ok(Self { n_draws, size, shard, len })
    }

    /// Number of batches.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The samples of a batch; empty from the last one on, and for some shards of a last one of few samples.
    pub(super) fn range(&self, batch_idx: usize) -> Range<usize> {
        let Shard { index, count } = self.shard;
        let start = batch_idx.saturating_mul(self.size * count).min(self.n_draws);
        let n_global = (self.n_draws - start).min(self.size * count);
        start + index * n_global / count..start + (index + 1) * n_global / count
    }
}

/// The samples of an epoch in their order.
pub(super) fn draws(dataset: &Dataset, shuffle: bool, seed: u64, epoch_idx: u64) -> Vec<Draw> {
    let mut draws = dataset.draws(seed, epoch_idx);
    if shuffle {
        draws.shuffle(&mut stream(seed, Purpose::Shuffle, epoch_idx, 0));
    }
    draws
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_of_the_shards_are_the_batches_of_one_loader(
            n_draws in 1_usize..200, size in 1_usize..9, count in 1_usize..6, drop_last: bool,
        ) {
            prop_assume!(!drop_last || n_draws >= size * count);
            let whole = Batches::new(n_draws, size * count, Shard::WHOLE, drop_last).unwrap();
            let shards = (0..count)
                .map(|index| Batches::new(n_draws, size, Shard { index, count }, drop_last).unwrap())
                .collect::<Vec<_>>();
            let mut n_seen = 0;
            for batch_idx in 0..whole.len() {
                let expected = whole.range(batch_idx);
                prop_assert_eq!(expected.start, n_seen);
                let parts = shards.iter().map(|shard| shard.range(batch_idx)).collect::<Vec<_>>();
                for part in &parts {
                    prop_assert_eq!(part.start, n_seen);
                    n_seen = part.end;
                    let is_full = expected.len() == size * count;
                    prop_assert!(part.len() == size || (!is_full && part.len() < size));
                }
                prop_assert_eq!(n_seen, expected.end);
                let sizes = parts.iter().map(Range::len);
                prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            }
            prop_assert!(shards.iter().all(|shard| shard.len() == whole.len()));
            let n_lost = n_draws - n_seen;
            prop_assert_eq!(n_lost, if drop_last { n_draws % (size * count) } else { 0 });
        }
    }

    #[test]
    fn what_gives_no_batch_is_refused() {
        let refused =
            |n_draws, size, shard| Batches::new(n_draws, size, shard, true).unwrap_err().to_string();
        assert_eq!(refused(5, 0, Shard::WHOLE), "batch_size is 0");
        assert_eq!(refused(0, 1, Shard::WHOLE), "the dataset has no samples");
        assert_eq!(refused(9, 1, Shard { index: 3, count: 3 }), "there is no shard 3 of 3");
        assert!(refused(7, 4, Shard { index: 0, count: 2 }).contains("7 samples do not fill one batch of 8"));
    }
}
