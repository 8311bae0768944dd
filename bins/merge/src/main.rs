//! Joins what the jobs of `hubmap-infer` and `hubmap-ensemble` have left into one submission table and one summary.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use hubmap_cli::{CommonArgs, Outcome, Progress, SlideArgs, check_inputs, print_line};
use hubmap_infer::{OutputPlan, id_order, join_parts};

/// Join the parts of a list that jobs have left in a folder: the submission table and the summary of one run over all.
///
/// A set that is not whole is refused, and the slides that are missing are named; nothing is written then.
#[derive(Parser)]
#[command(
    name = "hubmap-merge",
    version,
    after_help = "Examples:\n  \
        hubmap-merge --out results --manifest slides.csv\n  \
        hubmap-merge --out results --slides HUBMAP/test --sample-submission HUBMAP/sample_submission.csv"
)]
struct Args {
    #[command(flatten)]
    slides: SlideArgs,

    /// The folder that the jobs wrote to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Table whose order of ids the submission keeps
    #[arg(long, value_name = "FILE")]
    sample_submission: Option<PathBuf>,

    #[command(flatten)]
    common: CommonArgs,
}

fn run(args: &Args, progress: &Progress) -> Result<Outcome> {
    check_inputs(args.slides.inputs().chain([&args.out]).chain(&args.sample_submission))?;
    let slides = args.slides.find(None)?;
    let order = args.sample_submission.as_deref().map(id_order).transpose()?.unwrap_or_default();
    let plan = OutputPlan {
        folder: args.out.clone(),
        kinds: Vec::new(),
        order,
        reuse_finished: true,
        part: None,
        scratch: None,
    };
    let summary = join_parts(&slides, &plan)?;
    progress.note(&format!("all {} slides are there", summary.slides.len()));
    if !args.common.json {
        print_line(&plan.summary().display().to_string())?;
    }
    Ok(Outcome::done(serde_json::to_value(&summary)?))
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| run(&args, progress))
}
