//! `hubmap-data-gen cut`: masks, tiles and splits; what the executable does without a subcommand.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hubmap_cli::{Config, ConfigArgs, DataGenBars, Outcome, Progress, ShardArgs, UsageError, check_inputs};
use hubmap_data::config::DataGenConfig;
use hubmap_data::cuts;

/// What `--help` says at its end.
pub(crate) const HELP: &str = "\
HUBMAP_DIR holds train/<id>.tiff (or .svs) and outlines train/<id>.geojson (or .json) as QuPath exports them.
With a table train.csv (id,encoding), as the competition ships it, the masks are from there.
DIR gets:
  bigmasks/<id>.tiff                              masks, 1 bit
  CUTS/{glomi,grid}_x33_1024/{imgs,masks}/<id>/   tiles around objects, and of a grid
  SPLITS/{glomi,grid}_split/<fold>/{train,val}/   the same files, sorted into folds
With --shard, jobs of a cluster cut a part of the slides each; the splits are made by a run without it after them.
Run again after a change or an interruption: only what is missing or no longer fits is made anew.

Examples:
  hubmap-data-gen --input HUBMAP --output input
  hubmap-data-gen --input HUBMAP --output input --set data_gen.folds=drawn --set data_gen.n_drawn_folds=5
  hubmap-data-gen --input HUBMAP --output input --shard 0/4";

/// Cut slides into tiles and split the tiles into folds; the same without `cut`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CutCommand {
    #[command(flatten)]
    pub(crate) cut: CutArgs,

    #[command(flatten)]
    pub(crate) shard: ShardArgs,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// The flags themselves: optional as a whole where there may be a subcommand, for which clap needs them by themselves.
#[derive(Debug, Args)]
pub(crate) struct CutArgs {
    /// Folder with slides and their outlines in train/
    #[arg(long, value_name = "HUBMAP_DIR")]
    input: PathBuf,

    /// Folder for bigmasks/, CUTS/ and SPLITS/
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

impl CutArgs {
    /// Brings the output up to date.
    pub(crate) fn run(&self, shard: &ShardArgs, config: &ConfigArgs, progress: &Progress) -> Result<Outcome> {
        check_inputs([&self.input])?;
        let config = Config::load(config)?.section::<DataGenConfig>("data_gen")?;
        config.validate().map_err(UsageError::mark)?;
        let bars = DataGenBars::new(progress);
        let report = match shard.shard()? {
            None => cuts::generate(&self.input, &self.output, &config, &bars)?,
            Some(shard) => cuts::generate_part(&self.input, &self.output, &config, shard, &bars)?,
        };
        progress.line(&report.to_string());
        let failed: Vec<_> = report.failures.iter().map(|slide| slide.kind).collect();
        Ok(Outcome::of_list(serde_json::to_value(&report)?, report.slides.len(), &failed))
    }
}
