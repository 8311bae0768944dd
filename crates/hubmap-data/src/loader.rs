//! Batches made ahead of the training loop, identical for any number of threads.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail, ensure};
use crossbeam_channel::{Receiver, Sender, bounded};
use ndarray::Array4;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::augment::Transform;
use crate::seed::{Purpose, stream};
use crate::{Batch, Dataset, Normalization, Sample};

/// How samples become batches.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// Samples per batch.
    pub batch_size: usize,
    /// Whether every epoch has another order.
    pub shuffle: bool,
    /// Whether a last, smaller batch is left out.
    pub drop_last: bool,
    /// Seed of order and augmentation.
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
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
}

/// What the threads of all epochs have in common.
#[derive(Debug)]
struct Shared {
    dataset: Dataset,
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
        ensure!(config.batch_size > 0, "batch_size is 0");
        config.normalization.validate()?;
        ensure!(!dataset.is_empty(), "the dataset has no samples");
        ensure!(
            !config.drop_last || dataset.len() >= config.batch_size,
            "{} samples do not fill one batch of {} and drop_last is set; lower the batch size",
            dataset.len(),
            config.batch_size
        );
        let n_threads = config.threads.map_or_else(rayon::current_num_threads, NonZeroUsize::get);
        let pool = ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|idx| format!("loader-{idx}"))
            .build()
            .context("cannot start loader threads")?;
        Ok(Self { shared: Arc::new(Shared { dataset, config, pool }) })
    }

    /// Batches per epoch.
    pub fn n_batches(&self) -> usize {
        self.shared.n_batches()
    }

    /// The samples behind the batches.
    pub fn dataset(&self) -> &Dataset {
        &self.shared.dataset
    }

    /// The batches of one epoch, in the order that its number determines.
    ///
    /// Work begins at once and stops when the iterator is dropped.
    /// The first error ends the epoch.
    pub fn epoch(&self, epoch_idx: u64) -> Epoch {
        let shared = Arc::clone(&self.shared);
        let (sender, receiver) = bounded(shared.config.prefetch);
        let cancelled = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&cancelled);
        let n_left = shared.n_batches();
        let producer = std::thread::Builder::new()
            .name("loader".into())
            .spawn(move || shared.produce(epoch_idx, &sender, &stop))
            .context("cannot start the loader thread");
        match producer {
            Ok(producer) => {
                Epoch { receiver: Some(receiver), producer: Some(producer), cancelled, n_left, failure: None }
            }
            Err(error) => Epoch { receiver: None, producer: None, cancelled, n_left, failure: Some(error) },
        }
    }
}

impl Shared {
    fn n_batches(&self) -> usize {
        let (n_samples, size) = (self.dataset.len(), self.config.batch_size);
        if self.config.drop_last { n_samples / size } else { n_samples.div_ceil(size) }
    }

    /// Sample indices of an epoch.
    fn order(&self, epoch_idx: u64) -> Vec<usize> {
        let mut order = (0..self.dataset.len()).collect::<Vec<_>>();
        if self.config.shuffle {
            order.shuffle(&mut stream(self.config.seed, Purpose::Shuffle, epoch_idx, 0));
        }
        order
    }

    /// Sends the batches of an epoch until all are sent, one fails, or nobody listens.
    ///
    /// Runs outside the pool: only reading happens inside, so a full channel never holds a worker.
    fn produce(&self, epoch_idx: u64, sender: &Sender<Result<Batch>>, cancelled: &AtomicBool) {
        let order = self.order(epoch_idx);
        for sample_idxs in order.chunks(self.config.batch_size).take(self.n_batches()) {
            let batch = self.pool.install(|| self.batch(epoch_idx, sample_idxs, cancelled));
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
        }
    }

    fn batch(&self, epoch_idx: u64, sample_idxs: &[usize], cancelled: &AtomicBool) -> Result<Batch> {
        let outcomes = sample_idxs
            .par_iter()
            .with_max_len(1)
            .map(|&sample_idx| {
                ensure!(!cancelled.load(Ordering::Relaxed), "cancelled");
                self.sample(epoch_idx, sample_idx)
            })
            .collect::<Vec<_>>();
        // Of several errors the first in order is reported, whichever thread was faster.
        let samples = outcomes.into_iter().collect::<Result<Vec<_>>>()?;
        self.normalized(samples)
    }

    fn sample(&self, epoch_idx: u64, sample_idx: usize) -> Result<Sample> {
        let sample = self.dataset.read(sample_idx)?;
        let mut rng = stream(self.config.seed, Purpose::Augment, epoch_idx, sample_idx as u64);
        self.config.transform.apply(sample, &mut rng)
    }

    fn normalized(&self, samples: Vec<Sample>) -> Result<Batch> {
        let Some(first) = samples.first() else { bail!("a batch without samples") };
        let size = first.size();
        if let Some(other) = samples.iter().find(|sample| sample.size() != size) {
            bail!(
                "samples of one batch differ in size: {} is {size}, {} is {}; crop them alike",
                first.name,
                other.name,
                other.size()
            );
        }
        let (n, height, width) = (samples.len(), size.height as usize, size.width as usize);
        let n_pixels = height * width;
        let (mut images, mut masks) = (vec![0.0; n * 3 * n_pixels], vec![0.0; n * n_pixels]);
        let outputs = images.par_chunks_exact_mut(3 * n_pixels).zip(masks.par_chunks_exact_mut(n_pixels));
        samples.par_iter().with_max_len(1).zip(outputs).for_each(|(sample, (image, mask))| {
            self.config.normalization.apply_into(&sample.image, image);
            for (out, &level) in mask.iter_mut().zip(&sample.mask) {
                *out = f32::from(level) / 255.0;
            }
        });
        Ok(Batch {
            images: Array4::from_shape_vec((n, 3, height, width), images)?,
            masks: Array4::from_shape_vec((n, 1, height, width), masks)?,
            names: samples.into_iter().map(|sample| sample.name).collect(),
        })
    }
}

/// Iterator over the batches of an epoch, made by [`Loader::epoch`].
#[derive(Debug)]
pub struct Epoch {
    /// `None` once the epoch is over.
    receiver: Option<Receiver<Result<Batch>>>,
    producer: Option<JoinHandle<()>>,
    cancelled: Arc<AtomicBool>,
    n_left: usize,
    failure: Option<anyhow::Error>,
}

impl Epoch {
    /// Stops the producer and waits until it has.
    fn stop(&mut self) -> std::thread::Result<()> {
        self.cancelled.store(true, Ordering::Relaxed);
        // Without a receiver, a producer that waits to send gets an error and returns.
        self.receiver = None;
        self.producer.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.n_left == 0 {
            return None;
        }
        let received = match (&self.receiver, self.failure.take()) {
            (Some(receiver), _) => receiver.recv().ok(),
            (None, failure) => failure.map(Err),
        };
        let outcome = received.unwrap_or_else(|| {
            // The producer left without a word, which only a panic explains.
            let cause = self.stop().err();
            let message = cause.as_ref().and_then(|cause| {
                cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied())
            });
            Err(anyhow!("a loader thread panicked: {}", message.unwrap_or("no message")))
        });
        self.n_left = if outcome.is_err() { 0 } else { self.n_left - 1 };
        Some(outcome)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error ends the epoch early.
        (self.n_left.min(1), Some(self.n_left))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        // A panic of the producer was either reported by `next` or is of no interest any more.
        let _ = self.stop();
    }
}
