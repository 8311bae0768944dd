//! `hubmap-data-gen preview`: a contact sheet of augmented samples.

use std::path::PathBuf;

use anyhow::Context;
use hubmap_cli::{Config, ConfigArgs, Outcome, Progress, UsageError, check_inputs, check_output};
use hubmap_data::config::DataConfig;
use hubmap_data::{Dataset, DatasetName, preview};

/// Write a PNG of samples as training sees them, masks outlined, so that a person can look
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                  hubmap-data-gen preview --splits input/SPLITS --dataset train_0e_33 --output sheet.png\n  \
                  hubmap-data-gen preview --tiles tiles --transform ssl --samples 36 --output sheet.png")]
pub(crate) struct PreviewArgs {
    /// Folder of the splits [default: `data.splits_dir` of the settings]
    #[arg(long, value_name = "DIR", conflicts_with = "tiles")]
    splits: Option<PathBuf>,

    /// Samples to show: kind, fold and scale, such as `train_0e_33`
    #[arg(long, value_name = "NAME", required_unless_present = "tiles")]
    dataset: Option<DatasetName>,

    /// Any folder with imgs/SLIDE/*.png and masks/SLIDE/*.png, in place of a dataset
    #[arg(long, value_name = "DIR", conflicts_with = "dataset")]
    tiles: Option<PathBuf>,

    /// Name of the transform in [data.transforms] [default: `data.train_transform` of the settings]
    #[arg(long, value_name = "NAME")]
    transform: Option<String>,

    /// How many samples, spread evenly over the dataset
    #[arg(long, value_name = "N", default_value_t = 16)]
    samples: usize,

    /// Seed of the augmentation [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    seed: u64,

    /// The PNG to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Writes the sheet and says what is on it.
pub(crate) fn run(args: &PreviewArgs, progress: &Progress) -> anyhow::Result<Outcome> {
    check_inputs(args.splits.iter().chain(&args.tiles))?;
    check_output(&args.output, None::<&std::path::Path>)?;
    let config = Config::load(&args.config)?.section::<DataConfig>("data")?;
    let (source, name) = match &args.transform {
        Some(name) => ("--transform", name),
        None => ("data.train_transform", &config.train_transform),
    };
    let transform = config.transform(name).context(source).map_err(UsageError::mark)?;
    let dataset = match (&args.tiles, &args.dataset) {
        (Some(dir), _) => Dataset::open_dir(dir, "tiles")?,
        (None, Some(dataset)) => Dataset::open(args.splits.as_ref().unwrap_or(&config.splits_dir), dataset)?,
        (None, None) => return Err(UsageError::mark(anyhow::anyhow!("name a --dataset or --tiles"))),
    };
    preview::contact_sheet(&dataset, &transform, args.samples, args.seed, &args.output)?;
    progress.line(&format!(
        "{}: {} samples of {} through `{name}`",
        args.output.display(),
        args.samples,
        dataset.len()
    ));
    Ok(Outcome::done(serde_json::json!({
        "output": args.output.display().to_string(),
        "transform": name,
        "samples": args.samples,
        "tiles": dataset.len(),
    })))
}
