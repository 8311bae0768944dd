//! `hubmap-data-gen`: masks, tiles and splits of a competition folder.

mod cut;
mod preview;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hubmap_cli::{CommonArgs, UsageError};

/// Cut the training slides of a competition folder into tiles, and split the tiles into folds.
#[derive(Parser)]
#[command(
    name = "hubmap-data-gen",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = cut::HELP
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    cut: Option<cut::CutArgs>,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Command {
    Cut(cut::CutArgs),
    Preview(preview::PreviewArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    hubmap_cli::run(&args.common, |progress| match (&args.command, &args.cut) {
        (Some(Command::Cut(cut)), _) | (None, Some(cut)) => cut.run(&args.common, progress),
        (Some(Command::Preview(preview)), _) => preview::run(preview, &args.common, progress),
        (None, None) => Err(UsageError::mark(anyhow::anyhow!("give --input and --output; --help says more"))),
    })
}
