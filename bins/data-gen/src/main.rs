//! `hubmap-data-gen`: masks, tiles and splits of a competition folder.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use hubmap_cli::{Bar, CommonArgs, Config, Outcome, Progress, UsageError};
use hubmap_data::config::DataGenConfig;
use hubmap_data::cuts;

/// Cut the training slides of a competition folder into tiles, and split the tiles into folds.
#[derive(Parser)]
#[command(name = "hubmap-data-gen", version)]
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
        let bars = Bars { progress, current: Mutex::new(None) };
        let report = cuts::generate(&args.input, &args.output, &config, &bars)?;
        drop(bars);
        progress.line(&report.to_string());
        Ok(Outcome { n_failed: report.failures.len(), summary: serde_json::to_value(&report)? })
    })
}

/// One bar per slide.
struct Bars<'a> {
    progress: &'a Progress,
    current: Mutex<Option<Bar>>,
}

impl cuts::Progress for Bars<'_> {
    fn begin(&self, task: &str, n_steps: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // The old bar writes its last line before the new one begins.
        drop(current.take());
        *current = Some(self.progress.bar(task, n_steps, "steps"));
    }

    fn advance(&self) {
        if let Some(bar) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(1);
        }
    }
}
