//! One HTML page about a training run and its predictions.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hubmap_cli::{CommonArgs, Fault, Outcome, UsageError, location, remote_options};
use hubmap_infer::Progress;
use hubmap_report::{ReportError, ReportJob, write_report};
use serde_json::json;

/// Write one HTML page, with nothing to load from elsewhere, about a training run, its predictions, or both: scores, slides
/// with outlines, best and worst objects, sizes, curves, settings and hashes.
#[derive(Parser)]
#[command(
    name = "hubmap-report",
    version,
    after_help = "Examples:\n  \
        hubmap-report results --truth HUBMAP/truth.csv\n  \
        hubmap-report output/2026_11_23_18_40_00 results --slides HUBMAP/test --out report.html\n  \
        hubmap-report demo"
)]
struct Args {
    /// Run folder of hubmap-train, output folder of hubmap-infer or hubmap-ensemble, or both, or the folder of hubmap-demo
    #[arg(value_name = "DIR", required = true, num_args = 1..)]
    folders: Vec<PathBuf>,
    /// Slides, where they are no longer where they were predicted; in builds with the feature `remote` also their addresses
    #[arg(long, value_name = "DIR|FILE|URL")]
    slides: Option<PathBuf>,
    /// Table such as train.csv, folder of mask TIFFs, or of QuPath annotations <id>.json or <id>.geojson
    #[arg(long, value_name = "CSV|DIR")]
    truth: Option<PathBuf>,
    /// Also measure how far outlines are apart: 95th percentile of the distances of their pixels, both ways
    #[arg(long, requires = "truth")]
    hausdorff: bool,
    /// The page
    #[arg(long, value_name = "FILE.html", default_value = "report.html")]
    out: PathBuf,

    #[command(flatten)]
    common: CommonArgs,
}

/// Hears of Ctrl-C.
struct Interrupts;

impl Progress for Interrupts {
    fn interrupted(&self) -> bool {
        hubmap_cli::interrupted()
    }
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| {
        // Known before minutes of work, not after them.
        hubmap_cli::check_output(&args.out, &args.truth)?;
        let job = ReportJob {
            inputs: args.folders.clone(),
            slides: args.slides.as_deref().map(location).transpose()?,
            remote: remote_options(),
            truth: args.truth.clone(),
            hausdorff: args.hausdorff,
        };
        let report = write_report(&job, &args.out, &Interrupts).map_err(|error| match error {
            error if error.is_usage() => UsageError::mark(error),
            ReportError::Data(error) => Fault::or_input(error),
            ReportError::File { .. } | ReportError::MissingTruth { .. } => Fault::Input.mark(error),
            error => error.into(),
        })?;
        for id in &report.failed {
            progress.line(&format!("slide {id} could not be read: the page says why"));
        }
        progress.note(&format!("{} ({:.1} MB)", args.out.display(), report.n_bytes as f64 / 1e6));
        let summary = json!({
            "report": args.out.display().to_string(),
            "slides": report.n_slides,
            "failed": report.failed,
            "mean_dice": report.mean_dice,
        });
        Ok(Outcome::with_failed(summary, report.failed.len()))
    })
}
