//! `hubmap-doctor`: whether this build and this machine do what hubmap needs.

#[cfg(feature = "networks")]
mod networks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hubmap_cli::doctor::{Verdict, checks};
use hubmap_cli::{CommonArgs, Outcome, Progress, check_inputs, print_line};
use serde_json::json;

/// Check build, processor, memory, disk, codecs and devices, and measure how fast slides are written and read and how fast
/// a network runs.
///
/// Takes about ten seconds. Send its output along when you report a problem.
#[derive(Parser)]
#[command(
    name = "hubmap-doctor",
    version,
    after_help = "Ends with 1 if a check fails, with 0 otherwise, warnings or not.\n\n\
                  Examples:\n  hubmap-doctor\n  hubmap-doctor --dir /scratch/results\n  hubmap-doctor --json > doctor.json"
)]
struct Args {
    /// Folder where results would be written: its disk is looked at and measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    #[cfg(feature = "networks")]
    #[command(flatten)]
    networks: hubmap_cli::DeviceArgs,

    #[command(flatten)]
    common: CommonArgs,
}

impl Args {
    fn run(&self, progress: &Progress) -> anyhow::Result<(Outcome, usize)> {
        check_inputs([&self.dir])?;
        progress.note("looking at this machine, about 10 seconds");
        let checks = checks(&self.dir);
        #[cfg(feature = "networks")]
        let checks = [checks, networks::checks(self.networks.device.specs())].concat();
        let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
        let (n_warnings, n_failures) = (count(Verdict::Warn), count(Verdict::Fail));
        if !self.common.json {
            checks.iter().try_for_each(|check| print_line(&check.lines()))?;
            print_line(&format!("{} checks, {n_warnings} warnings, {n_failures} failures", checks.len()))?;
        }
        let summary = json!({ "checks": checks, "n_warnings": n_warnings, "n_failures": n_failures });
        Ok((Outcome::done(summary), n_failures))
    }
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    let mut is_well = true;
    let code = hubmap_cli::run(&args.common, |progress| {
        let (outcome, n_failures) = args.run(progress)?;
        is_well = n_failures == 0;
        Ok(outcome)
    });
    if is_well { code } else { ExitCode::from(1) }
}
