//! From a result to an exit code.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use hubmap_data::{Fault, panic_error};
use serde_json::Value;

use crate::args::CommonArgs;
use crate::progress::Progress;
use crate::{interrupt, logging};

/// How a run ended that came to its end.
#[derive(Debug)]
pub struct Outcome {
    summary: Value,
    /// Inputs that failed while the rest went on.
    n_failed: usize,
    /// What they have in common if nothing was done.
    none_done: Option<Fault>,
}

impl Outcome {
    /// Everything done; `summary` is what `--json` prints.
    pub const fn done(summary: Value) -> Self {
        Self::with_failed(summary, 0)
    }

    /// Done but for some inputs.
    pub const fn with_failed(summary: Value, n_failed: usize) -> Self {
        Self { summary, n_failed, none_done: None }
    }

    /// The end of work through a list, of which `n_done` inputs were done and the others have failed.
    ///
    /// If there is nothing but failures, the run has failed: its exit code is that of what they have in common.
    pub fn of_list(summary: Value, n_done: usize, failed: &[Fault]) -> Self {
        let none_done = (n_done == 0 && !failed.is_empty()).then(|| Fault::common(failed.iter().copied()));
        Self { summary, n_failed: failed.len(), none_done }
    }

    fn code(&self) -> u8 {
        match self.none_done {
            Some(fault) => code_of(fault),
            None if self.n_failed > 0 => 3,
            None => 0,
        }
    }
}

/// Exit code of work that cannot be done with its inputs (`EX_DATAERR`): the same again is of no use.
const BAD_INPUT: u8 = 65;

/// Exit code of work that memory was too small for (`EX_OSERR`, for what the system has no more of). A process that is killed
/// for its memory ends with 137, and one whose allocator gives up with 134; neither can be changed from within.
const OUT_OF_MEMORY: u8 = 71;

/// The exit code of a run that failed.
const fn code_of(fault: Fault) -> u8 {
    match fault {
        Fault::Input => BAD_INPUT,
        Fault::Memory => OUT_OF_MEMORY,
        Fault::Disk | Fault::Other => 1,
    }
}

/// The exit code of a run that ended with an error.
fn code_of_error(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<UsageError>().is_some() {
        return 2;
    }
    match Fault::of(error) {
        #[cfg(feature = "networks")]
        Fault::Other => code_of(fault_of_weights(error)),
        fault => code_of(fault),
    }
}

/// Whose fault it is that weights were not read: unless the operating system refused, they are no weights, or others.
#[cfg(feature = "networks")]
fn fault_of_weights(error: &anyhow::Error) -> Fault {
    use hubmap_models::WeightsError;
    match error.chain().find_map(|cause| cause.downcast_ref()) {
        None | Some(WeightsError::Io { .. }) => Fault::Other,
        Some(_) => Fault::Input,
    }
}

/// Wrong usage or config: exit code 2 instead of 1.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct UsageError(pub anyhow::Error);

impl UsageError {
    /// Marks `error` as the user's to mend on the command line or in the config.
    pub fn mark(error: impl Into<anyhow::Error>) -> anyhow::Error {
        Self(error.into()).into()
    }
}

/// Runs an executable: starts logging and threads, reports the error or the summary, gives the exit code of
/// the common contract (0 done, 1 failed, 2 wrong usage or config, 3 some inputs failed, 65 unusable input, 71 no memory,
/// 75 interrupted).
///
/// # Panics
///
/// As `job` does, unless its panic says that memory is full: that is how devices say it.
pub fn run(args: &CommonArgs, job: impl FnOnce(&Progress) -> anyhow::Result<Outcome>) -> ExitCode {
    let progress = Progress::new(args);
    logging::start(args, progress.bars());
    interrupt::listen();
    if let Some(n) = args.threads {
        // Fails only if the pool exists already, and then with the right size: `run` is the first to ask.
        let _pool_exists = rayon::ThreadPoolBuilder::new().num_threads(n.get()).build_global();
    }
    match guarded(|| job(&progress)) {
        Ok(outcome) => {
            if args.json
                && let Err(error) = print_line(&outcome.summary.to_string())
            {
                return failed(&progress, &error.into());
            }
            if outcome.none_done.is_some() {
                let n = outcome.n_failed;
                progress
                    .error(&format!("nothing was done: {n} of {n} inputs failed, each for the reason above"));
            }
            ExitCode::from(outcome.code())
        }
        Err(_) if interrupt::requested() => {
            progress.line("interrupted: nothing half-written is left; run the same command again");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => failed(&progress, &error),
    }
}

/// Says why a run has failed, and gives its exit code.
fn failed(progress: &Progress, error: &anyhow::Error) -> ExitCode {
    // Whoever reads the results has enough of them, as `head` has: there is nobody to complain to.
    if !is_unread(error) {
        progress.error(&one_line(error));
    }
    ExitCode::from(code_of_error(error))
}

/// Whether results could not be written because nobody reads them any more.
fn is_unread(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StdoutError(source)) if source.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Does a job; a panic that says that memory is full becomes its error.
fn guarded(job: impl FnOnce() -> anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    // Nothing of the job is seen again.
    std::panic::catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|cause| {
        let error = panic_error("a device failed", cause.as_ref());
        if Fault::of(&error) == Fault::Memory { Err(error) } else { std::panic::resume_unwind(cause) }
    })
}

/// An error with its causes. Some libraries put the cause into their own message: it is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line.as_str() {
        "" => cause,
        _ if line.ends_with(&cause) => line,
        _ => format!("{line}: {cause}"),
    })
}

/// Results that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub struct StdoutError(#[source] std::io::Error);

/// Writes one line of results to stdout.
///
/// # Errors
///
/// What the operating system says. Where nobody reads stdout any more, [`run`] ends without a word.
pub fn print_line(text: &str) -> Result<(), StdoutError> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(StdoutError)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use serde_json::Value;

    use super::{Fault, Outcome, UsageError, code_of_error, guarded, is_unread, one_line};

    #[test]
    fn codes_tell_what_has_to_change() {
        let code = |error: anyhow::Error| code_of_error(&error.context("a.tiff"));
        assert_eq!(code(anyhow!("nobody knows")), 1);
        assert_eq!(code(Fault::Disk.mark(anyhow!("no space"))), 1);
        assert_eq!(code(Fault::Input.mark(anyhow!("4 bands"))), 65);
        assert_eq!(code(Fault::Memory.mark(anyhow!("too large"))), 71);
        assert_eq!(code(std::io::Error::from(std::io::ErrorKind::OutOfMemory).into()), 71);
        assert_eq!(code(UsageError::mark(Fault::Input.mark(anyhow!("a list without slides")))), 2);
    }

    #[test]
    fn results_that_nobody_reads_are_no_reason_to_complain() {
        let unread = |kind| is_unread(&super::StdoutError(std::io::Error::from(kind)).into());
        assert!(unread(std::io::ErrorKind::BrokenPipe) && !unread(std::io::ErrorKind::StorageFull));
        // Of a file, it is one.
        assert!(!is_unread(&std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()));
    }

    #[test]
    fn a_list_of_which_nothing_was_done_has_failed() {
        let code = |n_done, failed: &[Fault]| Outcome::of_list(Value::Null, n_done, failed).code();
        assert_eq!(code(0, &[]), 0);
        assert_eq!(code(2, &[]), 0);
        assert_eq!(code(1, &[Fault::Memory]), 3);
        assert_eq!(code(0, &[Fault::Input, Fault::Input]), 65);
        assert_eq!(code(0, &[Fault::Memory]), 71);
        assert_eq!(code(0, &[Fault::Memory, Fault::Input]), 1);
        assert_eq!(code(0, &[Fault::Disk]), 1);
        assert_eq!(Outcome::with_failed(Value::Null, 1).code(), 3);
        assert_eq!(Outcome::done(Value::Null).code(), 0);
    }

    #[test]
    fn panics_of_full_memory_are_errors_and_others_stay_panics() {
        let error = guarded(|| panic!("CUDA out of memory")).unwrap_err();
        assert_eq!(error.to_string(), "a device failed: CUDA out of memory");
        assert_eq!(code_of_error(&error), 71);
        assert!(std::panic::catch_unwind(|| guarded(|| panic!("a slip"))).is_err());
    }

    #[derive(Debug, thiserror::Error)]
    #[error("a.pth: cannot read: {source}")]
    struct WithCause {
        source: std::io::Error,
    }

    #[test]
    fn causes_are_said_once() {
        let error = WithCause { source: std::io::Error::other("disk on fire") };
        let error = Err::<(), _>(error).context("train.start_weights").unwrap_err();
        assert_eq!(one_line(&error), "train.start_weights: a.pth: cannot read: disk on fire");
    }
}
