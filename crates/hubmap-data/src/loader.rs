//! Batches made ahead of the training loop, identical for any number of threads.

mod epoch;
mod order;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use crossbeam_channel::{Sender, bounded};
use ndarray::Array4;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

pub use epoch::Epoch;
pub use order::Shard;

use self::order::Batches;
use crate::augment::Transform;
use crate::dataset::Draw;
use crate::fault::panic_error;
use crate::seed::{Purpose, stream};
use crate::{Batch, Dataset, Normalization, Sample};

/// How samples become batches.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// Samples per batch of this shard.
    pub batch_size: usize,
    /// Which part of every global batch this loader makes.
    pub shard: Shard,
    /// Whether every epoch has another order.
    pub shuffle: bool,
    /// Whether a last global batch that is not full is left out.
    pub drop_last: bool,
    /// Seed of order, repeats and augmentation.
    pub seed: u64,
    /// Finished batches that may wait for the consumer.
    pub prefetch: usize,
    /// Worker threads; `None` for as many as rayon would use.
    pub threads: Option<NonZeroUsize>,
    /// Applied to every sample before normalisation.
    pub transform: Transform,
    /// Pixel to float.
    pub normalization: Normalization,
}

/// Reads, augments and normalises samples on its own threads.
///
/// The threads are the loader's own, so a consumer may itself run on a rayon pool of any size.
/// At most `prefetch + 2` batches exist at a time.
///
/// The order of an epoch is that of all shards together: it is cut into global batches of `shard.count` times
/// `batch_size` samples, and of each of them a shard makes the part of its index. The parts of the shards, one after the
/// other, are the batches of one loader of that size, and all shards have the same number of batches. If the last global
/// batch is not full it is divided evenly; with fewer samples than shards, some get a batch without samples.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
}

/// What the threads of all epochs have in common.
#[derive(Debug)]
struct Shared {
    dataset: Dataset,
    batches: Batches,
    config: LoaderConfig,
    pool: ThreadPool,
}

impl Loader {
    /// A loader over the samples of `dataset`.
    ///
    /// # Errors
    ///
    /// The configuration is invalid, no batch would come out, or threads cannot be started.
    pub fn new(dataset: Dataset, config: LoaderConfig) -> Result<Self> {
        config.normalization.validate()?;
        let batches = Batches::new(dataset.n_draws(), config.batch_size, config.shard, config.drop_last)?;
        let n_threads = config.threads.map_or_else(rayon::current_num_threads, NonZeroUsize::get);
        let pool = ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|idx| format!("loader-{idx}"))
            .build()
            .context("cannot start loader threads")?;
        Ok(Self { shared: Arc::new(Shared { dataset, batches, config, pool }) })
    }

    /// Batches per epoch, the same for every epoch and shard.
    pub fn n_batches(&self) -> usize {
        self.shared.batches.len()
    }

    /// From pixels to the batches' numbers.
    pub fn normalization(&self) -> &Normalization {
        &self.shared.config.normalization
    }

    /// The tiles behind the batches.
    pub fn dataset(&self) -> &Dataset {
        &self.shared.dataset
    }

    /// The batches of one epoch, in the order that its number determines.
    ///
    /// Work begins at once and stops when the iterator is dropped.
    /// The first error ends the epoch.
    pub fn epoch(&self, epoch_idx: u64) -> Epoch {
        self.epoch_from(epoch_idx, 0)
    }

    /// The batches of an epoch without the first `n_done`, which are not made: the rest of an epoch that was interrupted.
    pub fn epoch_from(&self, epoch_idx: u64, n_done: usize) -> Epoch {
        let shared = Arc::clone(&self.shared);
        let n_left = self.n_batches().saturating_sub(n_done);
        // A queue takes room for all that may wait in it, however many that are.
        let (sender, receiver) = bounded(shared.config.prefetch.min(n_left));
        let cancelled = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&cancelled);
        let producer = std::thread::Builder::new()
            .name("loader".into())
            .spawn(move || shared.produce(epoch_idx, n_done, &sender, &stop))
            .context("cannot start the loader thread");
        Epoch::new(receiver, producer, cancelled, n_left)
    }
}

impl Shared {
    /// Sends the batches of an epoch until all are sent, one fails, or nobody listens.
    ///
    /// Runs outside the pool: only reading happens inside, so a full channel never holds a worker.
    fn produce(&self, epoch_idx: u64, n_done: usize, sender: &Sender<Result<Batch>>, cancelled: &AtomicBool) {
        let order = order::draws(&self.dataset, self.config.shuffle, self.config.seed, epoch_idx);
        for batch_idx in n_done..self.batches.len() {
            let draws = &order[self.batches.range(batch_idx)];
            let batch = self.pool.install(|| self.batch(epoch_idx, draws, cancelled));
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
        }
    }

    fn batch(&self, epoch_idx: u64, draws: &[Draw], cancelled: &AtomicBool) -> Result<Batch> {
        let outcomes = draws
            .par_iter()
            .with_max_len(1)
            .map(|&draw| {
                ensure!(!cancelled.load(Ordering::Relaxed), "cancelled");
                self.sample(epoch_idx, draw)
            })
            .collect::<Vec<_>>();
        // Of several errors the first in order is reported, whichever thread was faster.
        let samples = outcomes.into_iter().collect::<Result<Vec<_>>>()?;
        self.normalized(samples)
    }

    /// A sample as its epoch has it; a panic on the way is an error that names the tile.
    fn sample(&self, epoch_idx: u64, draw: Draw) -> Result<Sample> {
        // Nothing that a panic could leave half done is seen again: the sample is dropped, and a slot of the cache is
        // filled at once or not at all.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // Repeats of a tile are numbered on after all tiles, so no two samples of an epoch share a stream.
            let stream_idx = draw.copy * self.dataset.len() + draw.tile_idx;
            let mut rng = stream(self.config.seed, Purpose::Augment, epoch_idx, stream_idx as u64);
            self.dataset.read_transformed(draw.tile_idx, &self.config.transform, &mut rng)
        }));
        outcome.unwrap_or_else(|cause| {
            let name = &self.dataset.tile(draw.tile_idx).name;
            Err(panic_error(&format!("{name}: a loader thread panicked"), cause.as_ref()))
        })
    }

    fn normalized(&self, samples: Vec<Sample>) -> Result<Batch> {
        let size = samples.first().map_or(hubmap_io::Size::new(0, 0), Sample::size);
        if let Some(other) = samples.iter().find(|sample| sample.size() != size) {
            bail!(
                "samples of one batch differ in size: {} is {size}, {} is {}; crop them alike",
                samples[0].name,
                other.name,
                other.size()
            );
        }
        let (n, height, width) = (samples.len(), size.height as usize, size.width as usize);
        let n_pixels = height * width;
        let (mut images, mut masks) = (vec![0.0; n * 3 * n_pixels], vec![0.0; n * n_pixels]);
        if n_pixels > 0 {
            let outputs = images.par_chunks_exact_mut(3 * n_pixels).zip(masks.par_chunks_exact_mut(n_pixels));
            samples.par_iter().with_max_len(1).zip(outputs).for_each(|(sample, (image, mask))| {
                self.config.normalization.apply_into(&sample.image, image);
                for (out, &level) in mask.iter_mut().zip(&sample.mask) {
                    *out = f32::from(level) / 255.0;
                }
            });
        }
        Ok(Batch {
            images: Array4::from_shape_vec((n, 3, height, width), images)?,
            masks: Array4::from_shape_vec((n, 1, height, width), masks)?,
            names: samples.into_iter().map(|sample| sample.name).collect(),
        })
    }
}
