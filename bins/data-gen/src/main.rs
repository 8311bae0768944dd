//! `hubmap-data-gen`: masks, tiles and splits of a competition folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hubmap_cli::{CommonArgs, Config, DataGenBars, Outcome, UsageError};
use hubmap_data::config::DataGenConfig;
use hubmap_data::cuts;

/// Cut the training slides of a competition folder into tiles, and split the tiles into folds.
#[derive(Parser)]
#[command(
    name = "hubmap-data-gen",
    version,
    after_help = "Example:\n  hubmap-data-gen --input HUBMAP --output input"
)]
struct Args {
    /// Folder with train/ and train.csv
    #[arg(long, value_name = "HUBMAP_DIR")]
    input: PathBuf,

    /// Folder for bigmasks/, CUTS/ and SPLITS/
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    hubmap_cli::run(&args.common, |progress| {
        let config = Config::load(&args.common)?.section::<DataGenConfig>("data_gen")?;
        config.validate().map_err(UsageError::mark)?;
        let report = cuts::generate(&args.input, &args.output, &config, &DataGenBars::new(progress))?;
        progress.line(&report.to_string());
        Ok(Outcome { n_failed: report.failures.len(), summary: serde_json::to_value(&report)? })
    })
}
