//! Threads that take the steps of all slides, a few slides open at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::Progress;
use super::folders::OutputDir;
use super::plan::SlidePlan;
use super::record::SlideRecord;
use super::tiles::{Failure, OpenSlide, Step};
use crate::config::DataGenConfig;

/// Slides that are open at once: one to finish and one to go on with, so that memory does not grow with their number.
const MAX_OPEN: usize = 2;

/// What a slide became.
pub(super) type SlideResult = Result<SlideRecord>;

/// Carries out the plans on as many threads as the current rayon pool has; results are in the order of the plans.
///
/// Every thread works on one tile at a time, alone: it decodes on a pool of one thread, which keeps it from taking on
/// another tile while it waits.
///
/// # Errors
///
/// The output cannot be written, or the work was cancelled. What a slide is to blame for is in its result.
pub(super) fn run(
    plans: &[&SlidePlan<'_>],
    output: &OutputDir,
    config: &DataGenConfig,
    progress: &dyn Progress,
) -> Result<Vec<SlideResult>> {
    let n_threads = rayon::current_num_threads();
    let pools = (0..n_threads).map(|_| rayon::ThreadPoolBuilder::new().num_threads(1).build());
    let pools = pools.collect::<Result<Vec<_>, _>>().context("cannot start threads")?;
    let crew = Crew {
        output,
        config,
        progress,
        n_slides: plans.len(),
        queue: Mutex::default(),
        changed: Condvar::new(),
    };
    crew.lock().waiting = plans.iter().copied().enumerate().collect();
    progress.begin("cutting", 0);
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.install(|| crew.work()));
        }
    });
    let queue = crew.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = queue.stopped {
        return Err(error);
    }
    let mut results = queue.results;
    results.sort_by_key(|(slide_idx, _)| *slide_idx);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// What all threads share.
struct Crew<'a> {
    output: &'a OutputDir,
    config: &'a DataGenConfig,
    progress: &'a dyn Progress,
    n_slides: usize,
    queue: Mutex<Queue<'a>>,
    /// Notified when a thread that found nothing to do may find something.
    changed: Condvar,
}

/// Slides by the state of their work.
#[derive(Default)]
struct Queue<'a> {
    waiting: VecDeque<(usize, &'a SlidePlan<'a>)>,
    n_opening: usize,
    open: Vec<Active<'a>>,
    results: Vec<(usize, SlideResult)>,
    /// Why no thread goes on.
    stopped: Option<anyhow::Error>,
    n_steps: u64,
    n_opened: usize,
}

/// A slide that is open.
struct Active<'a> {
    slide_idx: usize,
    slide: Arc<OpenSlide<'a>>,
    /// Steps that were handed out.
    n_taken: usize,
    /// Steps that were handed out and are not done.
    n_running: usize,
    failure: Option<anyhow::Error>,
}

impl Active<'_> {
    fn next_step(&mut self) -> Option<Step> {
        let step = self.slide.steps.get(self.n_taken).copied().filter(|_| self.failure.is_none())?;
        self.n_taken += 1;
        self.n_running += 1;
        Some(step)
    }

    fn is_over(&self) -> bool {
        self.n_running == 0 && (self.failure.is_some() || self.n_taken == self.slide.steps.len())
    }
}

/// What a thread does next.
enum Task<'a> {
    Open(usize, &'a SlidePlan<'a>),
    Take(usize, Arc<OpenSlide<'a>>, Step),
}

impl<'a> Crew<'a> {
    fn lock(&self) -> MutexGuard<'_, Queue<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until there is nothing left to do.
    fn work(&self) {
        let _panic_stops_all = StopOnPanic(self);
        while let Some(task) = self.next() {
            if self.progress.is_cancelled() {
                return self.stop(anyhow!("cancelled"));
            }
            match task {
                Task::Open(slide_idx, plan) => self.open(slide_idx, plan),
                Task::Take(slide_idx, slide, step) => {
                    let result = slide.take(step, self.output, self.config);
                    // Before the last to hold the slide closes it.
                    drop(slide);
                    self.progress.advance();
                    self.settle(slide_idx, result);
                }
            }
        }
    }

    /// Waits for something to do; `None` at the end of all work.
    fn next(&self) -> Option<Task<'a>> {
        let mut queue = self.lock();
        loop {
            if queue.stopped.is_some() {
                return None;
            }
            let step = queue.open.iter_mut().find_map(|active| {
                let step = active.next_step()?;
                Some(Task::Take(active.slide_idx, Arc::clone(&active.slide), step))
            });
            if step.is_some() {
                return step;
            }
            let n_open = queue.open.len() + queue.n_opening;
            if n_open < MAX_OPEN
                && let Some((slide_idx, plan)) = queue.waiting.pop_front()
            {
                queue.n_opening += 1;
                return Some(Task::Open(slide_idx, plan));
            }
            if n_open == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(&self, slide_idx: usize, plan: &'a SlidePlan<'a>) {
        let opened = OpenSlide::open(plan, self.output, self.config);
        let mut queue = self.lock();
        queue.n_opening -= 1;
        queue.n_opened += 1;
        match opened {
            Ok(slide) => {
                queue.n_steps += slide.steps.len() as u64;
                let slide = Arc::new(slide);
                queue.open.push(Active { slide_idx, slide, n_taken: 0, n_running: 0, failure: None });
            }
            Err(Failure::Slide(error)) => queue.results.push((slide_idx, Err(error))),
            Err(Failure::Run(error)) => queue.stopped = Some(error),
        }
        // Slides that are not open yet are taken to be as large as those that were.
        self.progress.expect(queue.n_steps * self.n_slides as u64 / queue.n_opened as u64);
        drop(queue);
        // A slide without steps is over at once.
        self.settle_finished(slide_idx);
        self.changed.notify_all();
    }

    /// Notes how a step of a slide went, and closes the slide after its last.
    fn settle(&self, slide_idx: usize, result: Result<(), Failure>) {
        let mut queue = self.lock();
        let Some(active) = queue.open.iter_mut().find(|active| active.slide_idx == slide_idx) else { return };
        active.n_running -= 1;
        match result {
            Ok(()) => {}
            Err(Failure::Slide(error)) => active.failure = active.failure.take().or(Some(error)),
            Err(Failure::Run(error)) => {
                drop(queue);
                return self.stop(error);
            }
        }
        drop(queue);
        self.settle_finished(slide_idx);
    }

    /// Closes a slide that is over.
    fn settle_finished(&self, slide_idx: usize) {
        let mut queue = self.lock();
        let Some(at) = queue.open.iter().position(|active| active.slide_idx == slide_idx && active.is_over())
        else {
            return;
        };
        let Active { slide, failure, .. } = queue.open.remove(at);
        // Until the record is written, no other thread may think that all work is done.
        queue.n_opening += 1;
        drop(queue);
        let result = match (failure, Arc::into_inner(slide)) {
            (Some(error), _) => Ok(Err(error)),
            (None, Some(slide)) => slide.finish(self.output).map(Ok),
            (None, None) => Err(anyhow!("a slide is in use after its last step")),
        };
        let mut queue = self.lock();
        queue.n_opening -= 1;
        match result {
            Ok(result) => queue.results.push((slide_idx, result)),
            Err(error) => queue.stopped = Some(error),
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// Keeps all threads from going on.
    fn stop(&self, error: anyhow::Error) {
        let mut queue = self.lock();
        queue.stopped = queue.stopped.take().or(Some(error));
        drop(queue);
        self.changed.notify_all();
    }
}

/// Keeps other threads from waiting for one that panicked.
struct StopOnPanic<'a, 'b>(&'a Crew<'b>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(anyhow!("a thread panicked"));
        }
    }
}
