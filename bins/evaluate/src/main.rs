//! Scores predictions against the truth: Dice per slide and its mean.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use hubmap_cli::{CommonArgs, Outcome, print_line};
use hubmap_infer::{Unpredicted, evaluate};

/// Dice of predicted masks, slide by slide, and its mean.
#[derive(Parser)]
#[command(
    name = "hubmap-evaluate",
    version,
    after_help = "Example:\n  hubmap-evaluate --pred results/submission__0.5.csv --truth train.csv --slides HUBMAP/train"
)]
struct Args {
    /// Submission table, folder of mask TIFFs, or output folder of hubmap-infer
    #[arg(long, value_name = "CSV|DIR")]
    pred: PathBuf,
    /// Table of true encodings, such as train.csv
    #[arg(long, value_name = "CSV")]
    truth: PathBuf,
    /// Folder of the slides, for their sizes
    #[arg(long, value_name = "DIR")]
    slides: PathBuf,
    /// Score the predicted slides only, where the truth has more
    #[arg(long)]
    only_predicted: bool,

    #[command(flatten)]
    common: CommonArgs,
}

impl Args {
    fn run(&self) -> Result<Outcome> {
        let unpredicted = if self.only_predicted { Unpredicted::Skip } else { Unpredicted::Refuse };
        let evaluation = evaluate(&self.pred, &self.truth, &self.slides, unpredicted)?;
        let width = evaluation.slides.iter().map(|slide| slide.id.len()).max().unwrap_or(0).max(4);
        let rows = evaluation.slides.iter().map(|slide| (slide.id.as_str(), slide.dice));
        for (name, dice) in rows.chain([("mean", evaluation.mean_dice)]) {
            if !self.common.json {
                print_line(&format!("{name:width$}  {dice:.4}"))?;
            }
        }
        Ok(Outcome::done(serde_json::to_value(&evaluation)?))
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    hubmap_cli::run(&args.common, |_| args.run())
}
