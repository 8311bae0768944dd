//! `hubmap-data-gen`: masks, tiles and splits of a competition folder.

mod cut;
mod preview;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hubmap_cli::{CommonArgs, ConfigArgs, ShardArgs, UsageError};

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
    shard: ShardArgs,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Command {
    Cut(cut::CutCommand),
    Preview(preview::PreviewArgs),
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| match (&args.command, &args.cut) {
        (Some(Command::Cut(command)), _) => command.cut.run(&command.shard, &command.config, progress),
        (None, Some(cut)) => cut.run(&args.shard, &args.config, progress),
        (Some(Command::Preview(preview)), _) => preview::run(preview, progress),
        (None, None) => Err(UsageError::mark(anyhow::anyhow!("give --input and --output; --help says more"))),
    })
}
