//! The flags of `hubmap-infer`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hubmap_cli::{CommonArgs, Config, ConfigArgs, DeviceArgs, ShardArgs, SlideArgs, UsageError, choice};
use hubmap_infer::{CONFIG_FILE, Merge, OutputKind, PredictConfig, Tta};
use hubmap_models::{Attention, DecoderKind, EncoderKind};

/// Find glomeruli in whole slides: masks, outlines for QuPath, pictures and a submission table.
#[derive(Parser)]
#[command(
    name = "hubmap-infer",
    version,
    after_help = "Examples:\n  \
        hubmap-infer --model output/2026_11_23_18_40_00 --slides HUBMAP/test --out results\n  \
        hubmap-infer --model weights.pth --slides a.svs b.svs --out results --write geojson-gz,overlay\n  \
        hubmap-infer --model output/2026_11_23_18_40_00 --slides HUBMAP/test --out quick --tta none --set infer.tissue.skip=true\n  \
        hubmap-infer --model output/2026_11_23_18_40_00 --manifest slides.csv --out results --shard auto --scratch /tmp"
)]
pub(crate) struct Args {
    /// Run folder with all its folds, or one file of weights (.safetensors or .pth)
    #[arg(long, value_name = "RUN|WEIGHTS")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) slides: SlideArgs,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Views to average: 1, all 8 symmetries of the square, or 4 [default: the run's]
    #[arg(long, value_name = "VIEWS", value_parser = choice::<Tta>(["none", "d4", "kaggle"]))]
    pub(crate) tta: Option<Tta>,
    /// What to average over folds [default: the run's]
    #[arg(long, value_name = "MEAN", value_parser = choice::<Merge>(["logits", "probabilities"]))]
    pub(crate) merge: Option<Merge>,
    /// A pixel is positive above this probability [default: the run's]
    #[arg(long, value_name = "P")]
    pub(crate) threshold: Option<f32>,
    /// Tiles per forward pass; does not change results [default: the run's]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// What to write, comma-separated, besides summary.json
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        value_parser = choice::<OutputKind>(OutputKind::ALL.map(OutputKind::name)),
        default_value = "rle,mask,npy,geojson,overlay"
    )]
    pub(crate) write: Vec<OutputKind>,
    /// Predict slides again that an earlier run into --out finished
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Table whose order of ids the submission keeps
    #[arg(long, value_name = "FILE")]
    pub(crate) sample_submission: Option<PathBuf>,
    /// Encoder of a bare weights file [default: guessed from it]
    #[arg(
        long,
        value_name = "ENCODER",
        value_parser = choice::<EncoderKind>(EncoderKind::ALL.iter().map(|kind| kind.name()))
    )]
    pub(crate) encoder: Option<EncoderKind>,
    /// Decoder of a bare weights file [default: guessed from it]
    #[arg(
        long,
        value_name = "DECODER",
        value_parser = choice::<DecoderKind>(DecoderKind::ALL.iter().map(|kind| kind.name()))
    )]
    pub(crate) decoder: Option<DecoderKind>,
    /// Attention of a bare weights file [default: guessed from it]
    #[arg(
        long,
        value_name = "ATTENTION",
        value_parser = choice::<Attention>(Attention::ALL.iter().map(|kind| kind.name()))
    )]
    pub(crate) attention: Option<Attention>,

    #[command(flatten)]
    pub(crate) shard: ShardArgs,

    /// Copy each slide to this folder, on a disk of this machine, read it there, and delete the copy
    #[arg(long, value_name = "DIR", help_heading = "Clusters")]
    pub(crate) scratch: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    #[command(flatten)]
    pub(crate) networks: DeviceArgs,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl Args {
    /// Built-in settings, then the run's, then `--config` and `--set`, then single flags.
    pub(crate) fn settings(&self) -> Result<PredictConfig> {
        let mut layers = self.config.clone();
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
}
