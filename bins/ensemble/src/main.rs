//! Averages the probabilities of several runs of inference and writes what inference writes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use hubmap_cli::{
    CommonArgs, Config, ConfigArgs, Fault, InferBars, Outcome, Progress, ShardArgs, SlideArgs, UsageError,
    check_inputs, choice, part_name,
};
use hubmap_infer::{Ensemble, OutputKind, OutputPlan, PredictConfig, id_order, run_slides};

/// Mean of the probabilities of several runs, and its masks, outlines, pictures and submission table.
#[derive(Parser)]
#[command(
    name = "hubmap-ensemble",
    version,
    after_help = "Examples:\n  \
        hubmap-ensemble --runs results_a results_b --slides HUBMAP/test --out results\n  \
        hubmap-ensemble --runs results_a results_b --weights 2,1 --threshold 0.4 --slides HUBMAP/test --out results"
)]
struct Args {
    /// Output folders of hubmap-infer with predicts/raw/<id>.npy, or predicts/probabilities/<id>.tiff
    #[arg(long, value_name = "DIR", num_args = 1.., required = true)]
    runs: Vec<PathBuf>,
    /// How much each run counts, comma-separated [default: all alike]
    #[arg(long, value_name = "W,W,...", value_delimiter = ',')]
    weights: Option<Vec<f32>>,
    #[command(flatten)]
    slides: SlideArgs,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A pixel is positive above this probability [default: infer.threshold]
    #[arg(long, value_name = "P")]
    threshold: Option<f32>,
    /// What to write, comma-separated, besides summary.json
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        value_parser = choice::<OutputKind>(OutputKind::ALL.map(OutputKind::name)),
        default_value = "rle,mask,npy,geojson,overlay"
    )]
    write: Vec<OutputKind>,
    /// Average slides again that an earlier run into --out finished
    #[arg(long)]
    overwrite: bool,
    /// Table whose order of ids the submission keeps
    #[arg(long, value_name = "FILE")]
    sample_submission: Option<PathBuf>,

    #[command(flatten)]
    shard: ShardArgs,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    common: CommonArgs,
}

fn run(args: &Args, progress: &Progress) -> Result<Outcome> {
    check_inputs(args.runs.iter().chain(args.slides.inputs()).chain(&args.sample_submission))?;
    let mut config: PredictConfig = Config::load(&args.config)?.section("infer")?;
    config.threshold = args.threshold.unwrap_or(config.threshold);
    config.validate().map_err(UsageError::mark)?;
    let mut ensemble = Ensemble::new(args.runs.clone(), args.weights.clone()).map_err(UsageError::mark)?;
    let is_input = |run: &PathBuf| std::fs::canonicalize(run).ok() == std::fs::canonicalize(&args.out).ok();
    if args.out.exists() && args.runs.iter().any(is_input) {
        return Err(UsageError::mark(anyhow::anyhow!("--out {} is one of the runs", args.out.display())));
    }
    let shard = args.shard.shard()?;
    let slides = args.slides.find(shard)?;
    ensemble.check(&slides).map_err(Fault::or_input)?;
    let order = args.sample_submission.as_deref().map(id_order).transpose()?.unwrap_or_default();
    let plan = OutputPlan {
        folder: args.out.clone(),
        kinds: args.write.clone(),
        order,
        reuse_finished: !args.overwrite,
        part: shard.map(part_name),
        scratch: None,
    };
    let spec = ensemble.run_spec(config.threshold, config.postprocess);
    let sources = std::slice::from_mut(&mut ensemble);
    let summary = run_slides(sources, &spec, &slides, &plan, &InferBars::new(progress))?;
    let failed: Vec<_> = summary.failed.iter().map(|slide| slide.kind).collect();
    Ok(Outcome::of_list(serde_json::to_value(&summary)?, summary.slides.len(), &failed))
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| run(&args, progress))
}
