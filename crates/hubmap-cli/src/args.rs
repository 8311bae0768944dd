//! Flags that every executable has.

use std::path::PathBuf;

use crate::device::DeviceList;

/// Flags that every executable has (`#[command(flatten)]` it).
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// TOML file laid over the built-in settings; give it several times to lay several over one another
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Vec<PathBuf>,

    /// One setting, such as `train.epochs=20`; wins over every file
    #[arg(long, value_name = "TABLE.KEY=VALUE", global = true)]
    pub set: Vec<String>,

    /// Where networks run: flex (pure-Rust CPU); in builds with the feature of that name tch:cpu, tch:cuda:N, wgpu or
    /// cuda:N; several devices of one machine as in tch:cuda:0,1
    #[arg(long, value_name = "DEVICE", default_value = "flex", global = true)]
    pub device: DeviceList,

    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", global = true)]
    pub threads: Option<std::num::NonZeroUsize>,

    /// Log more: -v debug, -vv trace
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet", global = true)]
    pub verbose: u8,

    /// Only warnings and errors, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Print one machine-readable summary object on stdout at the end
    #[arg(long, global = true)]
    pub json: bool,
}
