//! From a result to an exit code.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use crate::args::CommonArgs;
use crate::progress::Progress;
use crate::{interrupt, logging};

/// How a run ended that did not fail as a whole.
#[derive(Debug)]
pub struct Outcome {
    /// What `--json` prints.
    pub summary: Value,
    /// Inputs that failed while the rest went on.
    pub n_failed: usize,
}

impl Outcome {
    /// Everything done.
    pub const fn done(summary: Value) -> Self {
        Self { summary, n_failed: 0 }
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
/// the common contract (0 done, 1 failed, 2 wrong usage or config, 3 some inputs failed, 75 interrupted).
pub fn run(args: &CommonArgs, job: impl FnOnce(&Progress) -> anyhow::Result<Outcome>) -> ExitCode {
    let progress = Progress::new(args);
    logging::start(args, progress.bars());
    interrupt::listen();
    if let Some(n) = args.threads {
        // Fails only if the pool exists already, and then with the right size: `run` is the first to ask.
        let _pool_exists = rayon::ThreadPoolBuilder::new().num_threads(n.get()).build_global();
    }
    match job(&progress) {
        Ok(outcome) => {
            if args.json && write_stdout(&outcome.summary).is_err() {
                return ExitCode::from(1);
            }
            ExitCode::from(if outcome.n_failed > 0 { 3 } else { 0 })
        }
        Err(_) if interrupt::requested() => {
            progress.line("interrupted: nothing half-written is left; run the same command again");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            progress.error(&one_line(&error));
            ExitCode::from(if error.downcast_ref::<UsageError>().is_some() { 2 } else { 1 })
        }
    }
}

/// An error with its causes. Some libraries put the cause into their own message: it is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line.as_str() {
        "" => cause,
        _ if line.ends_with(&cause) => line,
        _ => format!("{line}: {cause}"),
    })
}

/// Writes one line of results to stdout.
pub fn print_line(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")
}

fn write_stdout(summary: &Value) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{summary}")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::one_line;

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
