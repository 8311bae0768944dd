//! The stages of a prediction, each on threads of its own, with bounded queues between them.
//!
//! ```text
//! readers ──tiles──▶ dispatch ──batches──▶ networks ──results──▶ merge ──strips──▶ sink
//!                        ◀───────events──────┘
//! ```
//!
//! Dispatch runs on the calling thread, which alone talks to [`Progress`].
//! A stage that ends, for whatever reason, drops its ends of the queues; its neighbours see that and end, too.
//! The reason is kept in [`Failure`].
//!
//! In memory at once are, besides what the [`TileReader`] and the [`Merger`] hold: `read_ahead + 1` tiles for each reader
//! and a piece of the slide at full resolution, a batch in dispatch and one for each replica, results of at most
//! [`BATCHES_APART`] batches for each replica, and `write_ahead + 2` strips.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use hubmap_data::Normalization;
use hubmap_io::RasterReader;
use ndarray::{Array2, Array3};

use crate::blocks::Block;
use crate::config::PredictConfig;
use crate::failure::Failure;
use crate::journal::BlockJournal;
use crate::merge::{Merger, Strip};
use crate::plan::{Origin, Tile};
use crate::predictor::RowSink;
use crate::progress::{Interrupted, Progress};
use crate::reader::TileReader;
use crate::replica::Replica;
use crate::stage::{Stage, StageClock};

/// How many batches for each replica the first may be ahead of the last, so that one slow device does not make the
/// results of the others pile up.
const BATCHES_APART: usize = 4;

/// The prediction of one slide.
pub(crate) struct Pipeline<'a> {
    pub(crate) slide: &'a dyn RasterReader,
    pub(crate) replicas: &'a [Replica],
    pub(crate) normalization: Normalization,
    pub(crate) config: &'a PredictConfig,
    /// All blocks, row by row.
    pub(crate) blocks: &'a [Block],
    /// For each block.
    pub(crate) origins: &'a [Origin],
    pub(crate) clock: &'a StageClock,
}

/// Tiles that go through the networks together.
struct Batch {
    idx: usize,
    /// The blocks, and what is predicted of them.
    wanted: Vec<(usize, Tile)>,
    tiles: Vec<Array3<f32>>,
}

/// What networks tell dispatch.
enum Event {
    /// A batch is done.
    Done { batch_idx: usize, n_blocks: usize },
    /// A thread ended.
    Ended,
}

/// Probabilities of a batch, as much as is merged of them.
type Kept = Vec<(usize, Array2<f32>)>;

impl Pipeline<'_> {
    /// Predicts the blocks and hands their rows to `sink`.
    pub(crate) fn run(
        &self,
        sink: &mut (dyn RowSink + Send),
        journal: Option<&mut BlockJournal>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let failure = Failure::default();
        let failed = &failure;
        let to_predict: Vec<(usize, Tile)> = (self.origins.iter().enumerate())
            .filter_map(|(block_idx, origin)| match *origin {
                Origin::Networks(tile) => Some((block_idx, tile)),
                Origin::Journal | Origin::NoTissue => None,
            })
            .collect();
        let windows = to_predict.iter().map(|(_, tile)| tile.read);
        let reader = TileReader::new(self.slide, self.normalization, self.config.scale, windows, self.clock);
        let reader = &reader;
        std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..self.config.read_threads.min(to_predict.len()))
                .map(|lane| {
                    // A queue takes room for all that may wait in it, however many that are.
                    let (sender, receiver) = bounded(self.config.read_ahead.min(to_predict.len()));
                    let wanted = to_predict.iter().skip(lane).step_by(self.config.read_threads);
                    scope.spawn(move || failed.run("reader's thread", || read(reader, wanted, &sender)));
                    receiver
                })
                .collect();
            let (batch_sender, batches) = bounded(self.replicas.len());
            let (result_sender, results) = bounded(self.replicas.len());
            let (event_sender, events) = unbounded();
            for replica in self.replicas {
                let batches = batches.clone();
                let (results, events) = (result_sender.clone(), event_sender.clone());
                scope.spawn(move || {
                    failed.run("network's thread", || self.infer(replica, &batches, &results, &events));
                    // Dispatch may be waiting for the batch that failed here; it may be gone as well.
                    let _ = events.send(Event::Ended);
                });
            }
            // Queues end with the last of their senders and receivers: only the stages hold any.
            drop((batches, result_sender, event_sender));
            let (strip_sender, strips) =
                bounded(self.config.write_ahead.min(self.slide.size().height as usize));
            scope.spawn(move || {
                failed.run("merging thread", || self.merge(&results, &strip_sender, journal, failed));
            });
            scope.spawn(move || failed.run("writing thread", || self.write(&strips, sink)));
            failed.run("prediction", || {
                self.dispatch(&to_predict, &lanes, &batch_sender, &events, progress, failed)
            });
            // Readers end, and networks with the batch that they have: a journal keeps its results in any case.
            drop((lanes, batch_sender));
            failed.run("prediction", || {
                for event in events {
                    if let Event::Done { n_blocks, .. } = event {
                        progress.blocks_done(n_blocks);
                    }
                }
                Ok(())
            });
        });
        failure.into_result()
    }

    /// Makes batches in the order of blocks and gives them to whichever network is free.
    fn dispatch(
        &self,
        to_predict: &[(usize, Tile)],
        lanes: &[Receiver<Array3<f32>>],
        batches: &Sender<Batch>,
        events: &Receiver<Event>,
        progress: &dyn Progress,
        failure: &Failure,
    ) -> Result<()> {
        let mut n_received = 0;
        let mut under_way = BTreeSet::new();
        for (idx, wanted) in to_predict.chunks(self.config.batch).enumerate() {
            let mut tiles = Vec::with_capacity(wanted.len());
            for _ in wanted {
                let Ok(tile) = lanes[n_received % lanes.len()].recv() else { return Ok(()) };
                tiles.push(tile);
                n_received += 1;
            }
            let is_far = |first: Option<&usize>| {
                first.is_some_and(|first| idx - first >= BATCHES_APART * self.replicas.len())
            };
            loop {
                let must_wait = under_way.len() == self.replicas.len() || is_far(under_way.first());
                let event = if must_wait { events.recv().ok() } else { events.try_recv().ok() };
                match event {
                    Some(Event::Done { batch_idx, n_blocks }) => {
                        under_way.remove(&batch_idx);
                        progress.blocks_done(n_blocks);
                    }
                    Some(Event::Ended) => return Ok(()),
                    None if must_wait => return Ok(()),
                    None => break,
                }
            }
            if failure.is_set() {
                return Ok(());
            }
            if progress.interrupted() {
                bail!(Interrupted);
            }
            under_way.insert(idx);
            if batches.send(Batch { idx, wanted: wanted.to_vec(), tiles }).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn infer(
        &self,
        replica: &Replica,
        batches: &Receiver<Batch>,
        results: &Sender<Kept>,
        events: &Sender<Event>,
    ) -> Result<()> {
        loop {
            let start = Instant::now();
            let Ok(batch) = batches.recv() else { return Ok(()) };
            self.clock.add(Stage::Wait, start.elapsed());
            let windows: Vec<_> = batch.wanted.iter().map(|(_, tile)| tile.kept).collect();
            let predict = || replica.probabilities(&batch.tiles, &windows, self.config);
            let kept = self.clock.time(Stage::Infer, predict)?;
            let placed =
                batch.wanted.into_iter().zip(kept).map(|((idx, tile), kept)| (idx, tile.placed(kept)));
            let kept: Kept = placed.collect();
            let event = Event::Done { batch_idx: batch.idx, n_blocks: kept.len() };
            if results.send(kept).is_err() || events.send(event).is_err() {
                return Ok(());
            }
        }
    }

    /// Puts results back in the order of blocks, keeps them in the journal, and makes strips of them.
    fn merge(
        &self,
        results: &Receiver<Kept>,
        strips: &Sender<Strip>,
        mut journal: Option<&mut BlockJournal>,
        failure: &Failure,
    ) -> Result<()> {
        let mut merger = Merger::new(self.config, self.config.grid(self.slide.size()));
        let mut early: BTreeMap<usize, Array2<f32>> = BTreeMap::new();
        let mut next = 0;
        let mut results = results.iter();
        loop {
            // After a failure, results still go to the journal.
            while next < self.blocks.len() && !failure.is_set() {
                let kept = match (self.origins[next], &mut journal) {
                    (Origin::NoTissue, _) => None,
                    (Origin::Journal, Some(journal)) => {
                        Some(self.clock.time(Stage::Journal, || journal.read(next))?)
                    }
                    _ => match early.remove(&next) {
                        Some(kept) => Some(kept),
                        None => break,
                    },
                };
                let start = Instant::now();
                let mut waited = std::time::Duration::ZERO;
                let mut emit = |strip| {
                    let start = Instant::now();
                    let sent = strips.send(strip).is_ok();
                    waited += start.elapsed();
                    sent
                };
                if !merger.push(self.blocks[next], kept, &mut emit) {
                    break;
                }
                self.clock.add(Stage::Merge, start.elapsed().saturating_sub(waited));
                next += 1;
            }
            let Some(kept) = results.next() else { break };
            for (block_idx, kept) in kept {
                if let Some(journal) = &mut journal {
                    self.clock.time(Stage::Journal, || journal.append(block_idx, &kept))?;
                }
                early.insert(block_idx, kept);
            }
        }
        ensure!(
            next == self.blocks.len() || failure.is_set(),
            "the prediction ended after {next} of {} blocks",
            self.blocks.len()
        );
        Ok(())
    }

    fn write(&self, strips: &Receiver<Strip>, sink: &mut (dyn RowSink + Send)) -> Result<()> {
        for Strip { y0, rows } in strips {
            self.clock.time(Stage::Write, || sink.write_rows(y0, &rows))?;
        }
        Ok(())
    }
}

fn read<'a>(
    reader: &TileReader<'_>,
    wanted: impl Iterator<Item = &'a (usize, Tile)>,
    tiles: &Sender<Array3<f32>>,
) -> Result<()> {
    for (_, tile) in wanted {
        if tiles.send(reader.read(tile.read)?).is_err() {
            break;
        }
    }
    Ok(())
}
