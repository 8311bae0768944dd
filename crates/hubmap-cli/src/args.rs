//! Flags that executables share, so that each means the same everywhere.

use std::path::PathBuf;

use crate::device::DeviceList;
use crate::generate::Generate;

/// Flags that every executable has (`#[command(flatten)]` it).
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = parse_threads, global = true)]
    pub threads: Option<std::num::NonZeroUsize>,

    /// Log more: -v debug, -vv trace
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet", global = true)]
    pub verbose: u8,

    /// Only warnings and errors, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// For programs: one summary object on stdout at the end, and every line on stderr an object
    ///
    /// Lines on stderr have `timestamp`, `level` and `message`; those of progress also `step`, `done`, `total`, `unit`,
    /// `seconds` and `per_second`. Nothing else is written to stdout.
    #[arg(long, global = true)]
    pub json: bool,

    /// Print a man page, completions of a shell, or the built-in settings, and do nothing else
    ///
    /// `man` and `markdown` hold this help; `bash`, `zsh`, `fish`, `elvish` and `powershell` complete the arguments;
    /// `settings` is the TOML file of all settings with their defaults, to start one's own from.
    #[arg(long, value_name = "WHAT", value_enum, exclusive = true)]
    pub generate: Option<Generate>,
}

/// More threads than any machine has cores: asked for by a slip, they would take the machine down.
const MAX_THREADS: usize = 4096;

fn parse_threads(text: &str) -> Result<std::num::NonZeroUsize, String> {
    let n = text.parse().ok().filter(|n: &std::num::NonZeroUsize| n.get() <= MAX_THREADS);
    n.ok_or_else(|| format!("expected a whole number from 1 to {MAX_THREADS}"))
}

/// Flags of executables that have settings.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct ConfigArgs {
    /// TOML file laid over the built-in settings; give it several times to lay several over one another
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,

    /// One setting, such as `train.epochs=20`; wins over every file
    ///
    /// A value is written as in TOML, such as `--set data.folds=["0e"]`; what is no TOML is taken as a string.
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Flags of executables that run networks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Networks")]
pub struct DeviceArgs {
    /// Where networks run: flex (pure-Rust CPU); in builds with the feature of that name tch:cpu, tch:cuda:N, wgpu or
    /// cuda:N
    ///
    /// Several devices of one machine are named as in tch:cuda:0,1. docs/devices.md tells which is fast, and how to build
    /// for it.
    #[arg(long, value_name = "DEVICE", default_value = "flex")]
    pub device: DeviceList,
}
