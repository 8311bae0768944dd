//! Which samples an epoch consists of.

use std::collections::BTreeMap;

use rand::seq::index::sample;

use super::Dataset;
use crate::seed::{Purpose, stream};

/// One sample of an epoch: a tile, and which of its repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Draw {
    /// Number of the tile in its dataset.
    pub tile_idx: usize,
    /// 0 for the first sample of the tile in the epoch, 1 for the next.
    pub copy: usize,
}

impl Dataset {
    /// Samples per epoch, the same for every epoch.
    pub fn n_draws(&self) -> usize {
        let whole = self.weights.iter().map(|weight| weight.floor() as usize).sum::<usize>();
        whole + self.fractional().iter().map(Pool::n_drawn).sum::<usize>()
    }

    /// The samples of an epoch in the order of tiles.
    ///
    /// A tile of weight 2 is there twice. Of the tiles of weight 2.3, three tenths (rounded to a whole number) are
    /// there a third time: others in every epoch, drawn with the seed.
    pub fn draws(&self, seed: u64, epoch_idx: u64) -> Vec<Draw> {
        let mut copies = self.weights.iter().map(|weight| weight.floor() as usize).collect::<Vec<_>>();
        for pool in self.fractional() {
            let mut rng = stream(seed, Purpose::Repeat, epoch_idx, pool.weight.to_bits());
            for place in sample(&mut rng, pool.tile_idxs.len(), pool.n_drawn()) {
                copies[pool.tile_idxs[place]] += 1;
            }
        }
        let draws = copies.into_iter().enumerate();
        draws.flat_map(|(tile_idx, n)| (0..n).map(move |copy| Draw { tile_idx, copy })).collect()
    }

    /// The tiles of each weight that is not whole, in the order of weights.
    fn fractional(&self) -> Vec<Pool> {
        let mut pools = BTreeMap::<u64, Pool>::new();
        for (tile_idx, &weight) in self.weights.iter().enumerate().filter(|(_, weight)| weight.fract() > 0.0)
        {
            let pool = pools.entry(weight.to_bits());
            pool.or_insert_with(|| Pool { weight, tile_idxs: Vec::new() }).tile_idxs.push(tile_idx);
        }
        pools.into_values().collect()
    }
}

/// The tiles of one weight, from which some are taken once more.
struct Pool {
    weight: f64,
    tile_idxs: Vec<usize>,
}

impl Pool {
    fn n_drawn(&self) -> usize {
        (self.weight.fract() * self.tile_idxs.len() as f64).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::dataset_of;
    use super::*;

    #[test]
    fn whole_weights_repeat_and_zero_leaves_out() {
        let dataset = dataset_of(&[("a", 2), ("b", 1), ("c", 3)]).weighted(2.0);
        let dataset = dataset.with_slide_weights(&[("a".to_owned(), 0.0), ("b".to_owned(), 1.5)].into());
        let draws = dataset.draws(1, 0);
        let expected = [(2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1)];
        assert_eq!(draws, expected.map(|(tile_idx, copy)| Draw { tile_idx, copy }));
        assert_eq!(dataset.n_draws(), 9);
        assert_eq!(dataset.draws(2, 7), draws);
    }

    #[test]
    fn fractions_are_drawn_anew_per_epoch_in_a_constant_number() {
        let dataset = dataset_of(&[("a", 40), ("b", 10), ("c", 7)]);
        let dataset = dataset.with_slide_weights(&[("a".to_owned(), 1.3), ("b".to_owned(), 0.5)].into());
        assert_eq!(dataset.n_draws(), 40 + 12 + 5 + 7);
        let mut n_taken = vec![0_usize; dataset.len()];
        for epoch_idx in 0..400 {
            let draws = dataset.draws(5, epoch_idx);
            assert_eq!(draws.len(), dataset.n_draws());
            assert!(draws.is_sorted());
            for draw in draws {
                n_taken[draw.tile_idx] += 1;
            }
        }
        // Means 520 and 200 with standard deviations of 9.2 and 10.
        assert!(n_taken[..40].iter().all(|n| (475..565).contains(n)), "{n_taken:?}");
        assert!(n_taken[40..50].iter().all(|n| (150..250).contains(n)), "{n_taken:?}");
        assert!(n_taken[50..].iter().all(|&n| n == 400));
        assert_ne!(dataset.draws(5, 0), dataset.draws(5, 1));
        assert_ne!(dataset.draws(5, 0), dataset.draws(6, 0));
        assert_eq!(dataset.draws(5, 3), dataset.draws(5, 3));
    }
}
