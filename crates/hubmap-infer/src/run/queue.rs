//! Work for several workers, handed out in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

/// Does `work` on all items, one at a time on each worker, and returns what came of them in the order of the items.
///
/// A single worker stays on the calling thread. After the first error no further item is begun.
pub(super) fn for_each<W: Send, T: Sync, R: Send>(
    workers: &mut [W],
    items: &[T],
    work: impl Fn(&mut W, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if let [worker] = workers {
        return items.iter().map(|item| work(worker, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let has_failed = AtomicBool::new(false);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in workers {
            scope.spawn(|| {
                while !has_failed.load(Ordering::Relaxed) {
                    let idx = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(idx) else { break };
                    let result = work(worker, item);
                    has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((idx, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(idx, _)| *idx);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_come_in_order_from_workers_that_work_at_once() {
        let items: Vec<usize> = (0..20).collect();
        // Nobody passes before all three have begun.
        let barrier = Barrier::new(3);
        let mut workers = [0; 3];
        let results = for_each(&mut workers, &items, |n_done, &item| {
            if *n_done == 0 {
                barrier.wait();
            }
            *n_done += 1;
            Ok(item * 2)
        });
        assert_eq!(results.unwrap(), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(workers.iter().sum::<i32>(), 20);
        assert!(workers.iter().all(|&n_done| n_done > 0));
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<usize> = (0..1000).collect();
        for n_workers in [1, 2] {
            let n_begun = AtomicUsize::new(0);
            let error = for_each(&mut vec![(); n_workers], &items, |(), &item| {
                n_begun.fetch_add(1, Ordering::Relaxed);
                anyhow::ensure!(item < 5, "stop at {item}");
                Ok(())
            });
            assert!(error.unwrap_err().to_string().starts_with("stop at"));
            assert!(n_begun.into_inner() <= 5 + n_workers);
        }
    }
}
