//! Predicts whole slides with a trained model and writes masks, outlines, pictures and a submission.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use hubmap_cli::{CommonArgs, Config, InferBars, Outcome, UsageError};
use hubmap_infer::{
    ArchitectureFlags, CONFIG_FILE, Merge, ModelFolder, OutputKind, OutputPlan, PredictConfig, Tta,
    find_slides, id_order, predict_slides,
};
use hubmap_models::{Attention, DecoderKind, EncoderKind};

/// Find glomeruli in whole slides.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Run folder with all its folds, or one safetensors file
    #[arg(long, value_name = "RUN|WEIGHTS")]
    model: PathBuf,
    /// Slides, or folders of .tif, .tiff and .svs files
    #[arg(long, value_name = "DIR|FILE", num_args = 1.., required = true)]
    slides: Vec<PathBuf>,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Views to average: none, d4 or kaggle [default: the run's]
    #[arg(long)]
    tta: Option<Tta>,
    /// What to average over folds: logits or probabilities [default: the run's]
    #[arg(long)]
    merge: Option<Merge>,
    /// A pixel is positive above this probability [default: the run's]
    #[arg(long)]
    threshold: Option<f32>,
    /// Tiles per forward pass; does not change results [default: the run's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// What to write, comma-separated, besides summary.json
    #[arg(long, value_delimiter = ',', default_value = "rle,mask,npy,geojson,overlay")]
    write: Vec<OutputKind>,
    /// Table whose order of ids the submission keeps
    #[arg(long, value_name = "FILE")]
    sample_submission: Option<PathBuf>,
    /// Encoder of a bare weights file [default: guessed from it]
    #[arg(long)]
    encoder: Option<EncoderKind>,
    /// Decoder of a bare weights file [default: guessed from it]
    #[arg(long)]
    decoder: Option<DecoderKind>,
    /// Attention of a bare weights file [default: guessed from it]
    #[arg(long)]
    attention: Option<Attention>,
}

impl Args {
    /// Built-in settings, then the run's, then `--config` and `--set`, then single flags.
    fn settings(&self) -> Result<PredictConfig> {
        let mut layers = self.common.clone();
        if self.model.is_dir() {
            layers.config.insert(0, self.model.join(CONFIG_FILE));
        }
        let mut config: PredictConfig = Config::load(&layers)?.section("infer")?;
        config.tta = self.tta.unwrap_or(config.tta);
        config.merge = self.merge.unwrap_or(config.merge);
        config.threshold = self.threshold.unwrap_or(config.threshold);
        config.batch = self.batch.unwrap_or(config.batch);
        config.validate().map_err(UsageError::mark)?;
        Ok(config)
    }

    fn run(&self, progress: &hubmap_cli::Progress) -> Result<Outcome> {
        let Self { encoder, decoder, attention, .. } = *self;
        let slides = find_slides(&self.slides)?;
        let folder = ModelFolder::open(&self.model, ArchitectureFlags { encoder, decoder, attention })?;
        let order = self.sample_submission.as_deref().map(id_order).transpose()?.unwrap_or_default();
        let plan = OutputPlan { folder: self.out.clone(), kinds: self.write.clone(), order };
        let predictor = folder.predictor(self.settings()?, &self.common.device.device())?;
        tracing::info!("{} from {}, {} folds", folder.model, folder.path.display(), predictor.n_models());
        let summary = predict_slides(&predictor, &slides, &plan, &InferBars::new(progress))?;
        ensure!(!summary.slides.is_empty(), "none of {} slides could be predicted", slides.len());
        Ok(Outcome { summary: serde_json::to_value(&summary)?, n_failed: summary.failed.len() })
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    hubmap_cli::run(&args.common, |progress| args.run(progress))
}
