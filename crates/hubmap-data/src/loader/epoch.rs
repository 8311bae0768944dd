//! The consumer's end of an epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;
use crossbeam_channel::Receiver;

use crate::Batch;
use crate::fault::panic_error;

/// Iterator over the batches of an epoch, made by [`Loader::epoch`](crate::Loader::epoch).
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
    /// Of `n_left` batches that `producer`, a thread, sends until `cancelled` is set.
    pub(super) fn new(
        receiver: Receiver<Result<Batch>>,
        producer: Result<JoinHandle<()>>,
        cancelled: Arc<AtomicBool>,
        n_left: usize,
    ) -> Self {
        let (producer, failure) = match producer {
            Ok(producer) => (Some(producer), None),
            Err(error) => (None, Some(error)),
        };
        let receiver = producer.is_some().then_some(receiver);
        // Without a thread the one thing to come is why.
        let n_left = if failure.is_some() { 1 } else { n_left };
        Self { receiver, producer, cancelled, n_left, failure }
    }

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
            let cause = self.stop().err().unwrap_or_else(|| Box::new("no message"));
            Err(panic_error("a loader thread panicked", cause.as_ref()))
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
