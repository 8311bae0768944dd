//! `hubmap-demo`: the whole path on synthetic slides.

mod slides;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hubmap_cli::{CommonArgs, ConfigArgs, DeviceArgs};

/// Make synthetic kidney slides, train a small 2-fold model on them, find the glomeruli of an unseen slide, and
/// show where the pictures are.
///
/// Takes a few minutes on two cores and needs nothing but this program.
#[derive(Parser)]
#[command(
    name = "hubmap-demo",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  hubmap-demo\n  hubmap-demo --out /tmp/demo --seed 7\n  \
                  hubmap-demo slides --out HUBMAP --count 8 --size 8192x8192 --layout all"
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Folder for everything
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,

    /// Seed of slides and training
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    networks: DeviceArgs,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Only make a competition folder of synthetic slides
    Slides(slides::SlidesArgs),
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| match &args.command {
        Some(Command::Slides(slides)) => slides::make(slides, progress),
        None => walk::walk(&args, progress),
    })
}
