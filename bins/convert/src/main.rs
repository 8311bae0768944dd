//! `hubmap-convert`: looks at files and turns them into other forms.

mod inspect;
mod overlay;
mod page_report;
mod rle;
mod slide;
mod weights;
mod weights_report;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hubmap_cli::CommonArgs;

/// Look at slides, masks and weights, and turn them into other forms.
#[derive(Parser)]
#[command(
    name = "hubmap-convert",
    version,
    after_help = "Examples:\n  hubmap-convert inspect slide.svs\n  hubmap-convert slide slide.svs slide.ome.tiff\n  \
                  hubmap-convert rle train.csv --slides HUBMAP/train --out masks\n  \
                  hubmap-convert weights checkpoint.pth weights.safetensors"
)]
struct Args {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::InspectArgs),
    Slide(slide::SlideArgs),
    Overlay(overlay::OverlayArgs),
    Rle(rle::RleArgs),
    Weights(weights::WeightsArgs),
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| match &args.command {
        Command::Inspect(inspect) => inspect.run(args.common.json),
        Command::Slide(slide) => slide.run(progress),
        Command::Overlay(overlay) => overlay.run(progress),
        Command::Rle(rle) => rle.run(progress),
        Command::Weights(weights) => weights.run(args.common.json, progress),
    })
}
