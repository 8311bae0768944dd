//! Predicts whole slides with a trained model and writes masks, outlines, pictures and a submission.

mod args;

use std::process::ExitCode;

use anyhow::Result;
use hubmap_cli::{Fault, InferBars, Outcome, check_inputs, part_name};
use hubmap_infer::{ArchitectureFlags, ModelFolder, OutputPlan, hash_files, id_order, predict_slides};

use crate::args::Args;

fn run(args: &Args, progress: &hubmap_cli::Progress) -> Result<Outcome> {
    let Args { encoder, decoder, attention, .. } = *args;
    check_inputs([&args.model].into_iter().chain(args.slides.inputs()).chain(&args.sample_submission))?;
    let shard = args.shard.shard()?;
    let slides = args.slides.find(shard)?;
    let flags = ArchitectureFlags { encoder, decoder, attention };
    let folder = ModelFolder::open(&args.model, flags).map_err(Fault::or_input)?;
    let order = args.sample_submission.as_deref().map(id_order).transpose()?.unwrap_or_default();
    let plan = OutputPlan {
        folder: args.out.clone(),
        kinds: args.write.clone(),
        order,
        reuse_finished: !args.overwrite,
        part: shard.map(part_name),
        scratch: args.scratch.clone(),
    };
    let model = hash_files(folder.checkpoints.iter().map(|checkpoint| &checkpoint.path))?;
    let config = args.settings()?;
    let devices = args.networks.device.devices();
    // With fewer slides than devices all devices share each slide; else every slide has one of its own.
    let n_shared = if slides.len() < devices.len() { devices.len() } else { 1 };
    let groups = devices.chunks(n_shared).zip(args.networks.device.specs().chunks(n_shared));
    let predictors = groups.map(|(devices, specs)| -> Result<_> {
        let names: Vec<_> = specs.iter().map(ToString::to_string).collect();
        Ok(folder.predictor_on(config.clone(), devices)?.on_device(names.join(",")))
    });
    let mut predictors = predictors.collect::<Result<Vec<_>>>()?;
    tracing::info!("{} from {}, {} weights", folder.model, folder.path.display(), folder.checkpoints.len());
    let summary = predict_slides(&mut predictors, &model, &slides, &plan, &InferBars::new(progress))?;
    let failed: Vec<_> = summary.failed.iter().map(|slide| slide.kind).collect();
    Ok(Outcome::of_list(serde_json::to_value(&summary)?, summary.slides.len(), &failed))
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| run(&args, progress))
}
