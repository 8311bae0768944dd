//! The division of a list over jobs.

use std::cmp::Reverse;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// One of several jobs that share a list: job `index` of `count`, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    index: usize,
    count: NonZeroUsize,
}

/// A job's number that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// Text that is not of the form `i/n`.
    #[error("`{0}` is no shard: write i/n, the job's number from 0 and the number of jobs, such as 0/4")]
    Syntax(String),
    /// A number that is too large.
    #[error("there is no shard {index} of {count}: shards are counted from 0, to {last} here", last = count - 1)]
    OutOfRange {
        /// The number.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A scheduler's variable that is no number.
    #[error(
        "the environment has {variable}={value}, which is no number; say which part this job takes with --shard i/n"
    )]
    Variable {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// A scheduler that says which job this is, but not how many there are.
    #[error(
        "the environment has {variable}, but not how many jobs there are: set {missing}, or say which part this job \
         takes with --shard i/n"
    )]
    UnknownCount {
        /// The variable that is there.
        variable: &'static str,
        /// The variable that is not.
        missing: &'static str,
    },
    /// An array of Slurm's whose tasks are not evenly numbered.
    #[error(
        "task {task} cannot tell its place among the {count} tasks of an array with gaps; say which part it takes with \
         --shard i/n"
    )]
    Gaps {
        /// The task's number.
        task: usize,
        /// How many there are.
        count: usize,
    },
}

/// A shard that a scheduler has chosen, and how it said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobShard {
    /// The shard.
    pub shard: Shard,
    /// The variables it was taken from, for the log.
    pub told_by: &'static str,
}

impl Shard {
    /// Job `index` of `count`.
    pub fn new(index: usize, count: usize) -> Result<Self, ShardError> {
        match NonZeroUsize::new(count) {
            Some(count) if index < count.get() => Ok(Self { index, count }),
            Some(count) => Err(ShardError::OutOfRange { index, count: count.get() }),
            None => Err(ShardError::Syntax(format!("{index}/{count}"))),
        }
    }

    /// The job's number, from 0.
    pub const fn index(self) -> usize {
        self.index
    }

    /// The number of jobs.
    pub const fn count(self) -> usize {
        self.count.get()
    }

    /// The shard of a job that a scheduler has started, or `None` if none has; `variable` looks into the environment.
    ///
    /// Slurm's arrays set `SLURM_ARRAY_TASK_ID` and `_COUNT`, and `_MIN` and `_STEP` where they are not counted from 0 in
    /// steps of 1. Kubernetes' indexed jobs set `JOB_COMPLETION_INDEX`; their number is not told, so the job's
    /// `spec.completions` has to be put into `JOB_COMPLETIONS`. Of both, Slurm's count: it runs within pods, not the other
    /// way round.
    ///
    /// An array of other tasks divides the list anew among them, which does no harm to work that skips what is done. One with
    /// gaps (`--array=3,7`) is an error, since no task can tell its place.
    pub fn of_job(variable: impl Fn(&str) -> Option<String>) -> Result<Option<JobShard>, ShardError> {
        let number = |name: &'static str| -> Result<Option<usize>, ShardError> {
            let Some(value) = variable(name) else { return Ok(None) };
            value.trim().parse().map(Some).map_err(|_| ShardError::Variable { variable: name, value })
        };
        if let Some(task) = number("SLURM_ARRAY_TASK_ID")? {
            let count = number("SLURM_ARRAY_TASK_COUNT")?.ok_or(ShardError::UnknownCount {
                variable: "SLURM_ARRAY_TASK_ID",
                missing: "SLURM_ARRAY_TASK_COUNT",
            })?;
            let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            let range = match number("SLURM_ARRAY_TASK_MAX")? {
                Some(last) => last.checked_sub(first),
                None => count.saturating_sub(1).checked_mul(step),
            };
            let (Some(place), Some(range)) = (task.checked_sub(first), range) else {
                return Err(ShardError::Gaps { task, count });
            };
            if count.checked_sub(1) != Some(range / step) || !place.is_multiple_of(step) {
                return Err(ShardError::Gaps { task, count });
            }
            let shard = Self::new(place / step, count)?;
            return Ok(Some(JobShard { shard, told_by: "SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT" }));
        }
        if let Some(index) = number("JOB_COMPLETION_INDEX")? {
            let count = number("JOB_COMPLETIONS")?.ok_or(ShardError::UnknownCount {
                variable: "JOB_COMPLETION_INDEX",
                missing: "JOB_COMPLETIONS",
            })?;
            let shard = Self::new(index, count)?;
            return Ok(Some(JobShard { shard, told_by: "JOB_COMPLETION_INDEX and JOB_COMPLETIONS" }));
        }
        Ok(None)
    }

    /// The places in a list that are this job's, in their order; `costs` stands for how long each takes.
    pub fn select(self, costs: &[u64]) -> Vec<usize> {
        let jobs = divide(costs, self.count());
        (0..costs.len()).filter(|&place| jobs[place] == self.index).collect()
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parse = || -> Option<(usize, usize)> {
            let (index, count) = text.split_once('/')?;
            Some((index.trim().parse().ok()?, count.trim().parse().ok()?))
        };
        let (index, count) = parse().ok_or_else(|| ShardError::Syntax(text.to_owned()))?;
        Self::new(index, count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// The job, of `n_jobs`, that takes each item of a list.
///
/// The largest goes first, and each to the job that has the least so far (Graham, "Bounds on multiprocessing timing
/// anomalies", 1969: at most a third longer than the best division). Equal costs go in the order of the list, so that the
/// division depends on the costs alone.
///
/// # Panics
///
/// If there are no jobs.
pub fn divide(costs: &[u64], n_jobs: usize) -> Vec<usize> {
    assert!(n_jobs > 0, "a list is divided over at least one job");
    let mut places: Vec<usize> = (0..costs.len()).collect();
    places.sort_by_key(|&place| Reverse(costs[place]));
    // The least laden job first; of equals the one with fewer items, then the first. So jobs beyond the number of items get
    // none, and take no memory, however many a slip of the pen asks for.
    let mut loads: std::collections::BinaryHeap<_> =
        (0..n_jobs.min(costs.len())).map(|job| Reverse((0_u128, 0_usize, job))).collect();
    let mut jobs = vec![0; costs.len()];
    for place in places {
        if let Some(Reverse((load, n_items, job))) = loads.pop() {
            jobs[place] = job;
            loads.push(Reverse((load + u128::from(costs[place]), n_items + 1, job)));
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn job(variables: &[(&str, &str)]) -> Result<Option<String>, ShardError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let found = Shard::of_job(|name| variables.get(name).map(|&value| value.to_owned()))?;
        Ok(found.map(|job| job.shard.to_string()))
    }

    #[test]
    fn schedulers_are_understood() {
        assert_eq!(job(&[]).unwrap(), None);
        let array = |id, count, min, max, step| {
            [
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_COUNT", count),
                ("SLURM_ARRAY_TASK_MIN", min),
                ("SLURM_ARRAY_TASK_MAX", max),
                ("SLURM_ARRAY_TASK_STEP", step),
            ]
        };
        for (variables, expected) in [
            (array("0", "4", "0", "3", "1"), "0/4"),
            (array("3", "4", "0", "3", "1"), "3/4"),
            (array("4", "4", "1", "4", "1"), "3/4"),
            (array("26", "4", "20", "26", "2"), "3/4"),
            (array("9", "1", "9", "9", "1"), "0/1"),
        ] {
            assert_eq!(job(&variables).unwrap().as_deref(), Some(expected));
            let all_but_max: Vec<_> =
                variables.into_iter().filter(|(name, _)| !name.ends_with("MAX")).collect();
            assert_eq!(job(&all_but_max).unwrap().as_deref(), Some(expected));
        }
        for variables in [
            array("7", "2", "3", "7", "1"),
            array("1", "3", "1", "4", "1"),
            array("21", "4", "20", "26", "2"),
        ] {
            assert!(job(&variables).unwrap_err().to_string().contains("gaps"));
        }
        let kubernetes = [("JOB_COMPLETION_INDEX", "2"), ("JOB_COMPLETIONS", " 5\n")];
        assert_eq!(job(&kubernetes).unwrap().as_deref(), Some("2/5"));
        // Slurm within a pod of Kubernetes.
        let both: Vec<_> = kubernetes.into_iter().chain(array("1", "4", "0", "3", "1")).collect();
        assert_eq!(job(&both).unwrap().as_deref(), Some("1/4"));
        let told_by = |variables: &[(&str, &str)]| {
            let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
            let found = Shard::of_job(|name| value(name).map(|(_, value)| (*value).to_owned()));
            found.unwrap().unwrap().told_by
        };
        assert_eq!(told_by(&kubernetes), "JOB_COMPLETION_INDEX and JOB_COMPLETIONS");
        assert_eq!(told_by(&both), "SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT");
        for (variables, words) in [
            (&[("SLURM_ARRAY_TASK_ID", "x")][..], "SLURM_ARRAY_TASK_ID=x"),
            (&[("SLURM_ARRAY_TASK_ID", "1")], "set SLURM_ARRAY_TASK_COUNT"),
            (&[("JOB_COMPLETION_INDEX", "1")], "set JOB_COMPLETIONS"),
            (&[("JOB_COMPLETION_INDEX", "5"), ("JOB_COMPLETIONS", "5")], "no shard 5 of 5"),
        ] {
            let message = job(variables).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn shards_are_written_from_0() {
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!((shard.index(), shard.count(), shard.to_string().as_str()), (2, 3, "2/3"));
        assert_eq!(" 2 / 3 ".parse(), Ok(shard));
        for (text, words) in [
            ("3/3", "to 2 here"),
            ("1/0", "write i/n"),
            ("1", "write i/n"),
            ("-1/2", "write i/n"),
            ("a/b", "write i/n"),
        ] {
            let message = text.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn equal_items_are_dealt_out() {
        assert_eq!(divide(&[5; 7], 3), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(divide(&[0; 5], 2), [0, 1, 0, 1, 0]);
        assert_eq!(divide(&[], 2), Vec::<usize>::new());
        // The largest first, or the last job would be the longest.
        assert_eq!(divide(&[1, 1, 2], 2), [1, 1, 0]);
        // In the order of the list, also where sorting takes another way.
        assert_eq!(divide(&[5; 100], 3), (0..100).map(|place| place % 3).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_without_sense_take_neither_memory_nor_the_process() {
        assert_eq!(divide(&[3, 9, 4], usize::MAX), [2, 0, 1]);
        assert_eq!(Shard::new(usize::MAX - 1, usize::MAX).unwrap().select(&[3, 9, 4]), Vec::<usize>::new());
        assert_eq!(divide(&[u64::MAX; 5], 2), [0, 1, 0, 1, 0]);
        let most = usize::MAX.to_string();
        let array = |count, max, step| {
            let all = [
                ("SLURM_ARRAY_TASK_ID", "0"),
                ("SLURM_ARRAY_TASK_COUNT", count),
                ("SLURM_ARRAY_TASK_MAX", max),
                ("SLURM_ARRAY_TASK_STEP", step),
            ];
            all.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>()
        };
        for variables in
            [array(&most, "", "3"), array("0", &most, "1"), array("0", "", ""), array("0", "0", "")]
        {
            assert!(job(&variables).unwrap_err().to_string().contains("gaps"), "{variables:?}");
        }
        assert_eq!(job(&array("1", "0", "0")).unwrap().as_deref(), Some("0/1"), "a step of 0 is one of 1");
    }

    proptest! {
        /// Everything is some job's and no two jobs'; no job has more than another and an item.
        #[test]
        fn parts_are_whole_and_even(costs in prop::collection::vec(0_u64..1000, 0..60), n_jobs in 1_usize..9) {
            let shards = (0..n_jobs).map(|index| Shard::new(index, n_jobs).unwrap());
            let parts: Vec<Vec<usize>> = shards.map(|shard| shard.select(&costs)).collect();
            prop_assert!(parts.iter().all(|part| part.is_sorted()));
            let mut all = parts.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..costs.len()).collect::<Vec<_>>());
            let load = |part: &Vec<usize>| part.iter().map(|&place| costs[place]).sum::<u64>();
            let least = parts.iter().map(load).min().unwrap_or(0);
            let largest = costs.iter().copied().max().unwrap_or(0);
            prop_assert!(parts.iter().all(|part| load(part) <= least + largest));
        }
    }
}
