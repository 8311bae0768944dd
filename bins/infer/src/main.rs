//! Predicts whole slides with a trained model and writes masks, outlines, pictures and a submission.

mod args;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use hubmap_cli::{InferBars, Outcome};
use hubmap_infer::{
    ArchitectureFlags, ModelFolder, OutputPlan, find_slides, hash_files, id_order, predict_slides,
};

use crate::args::Args;

fn run(args: &Args, progress: &hubmap_cli::Progress) -> Result<Outcome> {
    let Args { encoder, decoder, attention, .. } = *args;
    let slides = find_slides(&args.slides)?;
    let folder = ModelFolder::open(&args.model, ArchitectureFlags { encoder, decoder, attention })?;
    let order = args.sample_submission.as_deref().map(id_order).transpose()?.unwrap_or_default();
    let plan = OutputPlan {
        folder: args.out.clone(),
        kinds: args.write.clone(),
        order,
        reuse_finished: !args.overwrite,
    };
    let model = hash_files(folder.checkpoints.iter().map(|checkpoint| &checkpoint.path))?;
    let predictor = folder.predictor(args.settings()?, &args.common.device.device())?;
    tracing::info!("{} from {}, {} weights", folder.model, folder.path.display(), predictor.n_models());
    let summary = predict_slides(&mut [predictor], &model, &slides, &plan, &InferBars::new(progress))?;
    ensure!(!summary.slides.is_empty(), "none of {} slides could be predicted", slides.len());
    Ok(Outcome { summary: serde_json::to_value(&summary)?, n_failed: summary.failed.len() })
}

fn main() -> ExitCode {
    let args = Args::parse();
    hubmap_cli::run(&args.common, |progress| run(&args, progress))
}
