//! Scores predictions against the truth: pixels, objects, outlines and thresholds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use hubmap_cli::{CommonArgs, Fault, Outcome, check_inputs, check_output, location, print_line};
use hubmap_infer::{
    EvaluateJob, Evaluation, Progress, Unpredicted, evaluate, markdown_tables, score_table, sweep_figure,
    write_scores_csv, write_sweep_csv,
};
use hubmap_io::Location;

/// Dice, precision, recall and F1 of objects, slide by slide and of all together.
#[derive(Parser)]
#[command(
    name = "hubmap-evaluate",
    version,
    after_help = "Examples:\n  \
        hubmap-evaluate --pred results/submission__0.5.csv --truth train.csv --slides HUBMAP/train\n  \
        hubmap-evaluate --pred results --truth HUBMAP/train --slides HUBMAP/train --sweep --plot p.png"
)]
struct Args {
    /// Submission table, folder of mask TIFFs or QuPath annotations, or output folder of hubmap-infer
    #[arg(long, value_name = "CSV|DIR")]
    pred: PathBuf,
    /// Table such as train.csv, folder of mask TIFFs, or of QuPath annotations <id>.json or <id>.geojson
    #[arg(long, value_name = "CSV|DIR")]
    truth: PathBuf,
    /// Folder of the slides, for their sizes and resolutions; in builds with the feature `remote` also its address, with a slash
    /// at its end
    #[arg(long, value_name = "DIR|URL")]
    slides: PathBuf,
    /// Score the predicted slides only, where the truth has more
    #[arg(long)]
    only_predicted: bool,
    /// Also measure how far outlines are apart: 95th percentile of the distances of their pixels, both ways
    #[arg(long)]
    hausdorff: bool,
    /// Also score thresholds 0.05 to 0.95, in one pass over predicts/raw/<id>.npy of --pred
    #[arg(long)]
    sweep: bool,
    /// Write scores of slides as a table; with --sweep also <FILE>_sweep.csv
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Write all tables as Markdown
    #[arg(long, value_name = "FILE.md")]
    markdown: Option<PathBuf>,
    /// Draw Dice over the threshold
    #[arg(long, value_name = "FILE.png", requires = "sweep")]
    plot: Option<PathBuf>,

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

impl Args {
    fn run(&self) -> Result<Outcome> {
        // Known before hours of work, not after them.
        for path in [&self.csv, &self.markdown, &self.plot].into_iter().flatten() {
            check_output(path, [&self.pred, &self.truth])?;
        }
        check_inputs([&self.pred, &self.truth])?;
        // There is nothing but inputs.
        let evaluation =
            evaluate(&self.job(location(&self.slides)?), &Interrupts).map_err(Fault::or_input)?;
        self.write_files(&evaluation)?;
        if !self.common.json {
            print_table(&score_table(&evaluation))?;
            if let Some(sweep) = &evaluation.sweep {
                let (threshold, dice) = sweep.best();
                print_line(&format!("best threshold {threshold:.2}: mean Dice {dice:.4}"))?;
            }
        }
        Ok(Outcome::done(serde_json::to_value(&evaluation)?))
    }

    fn job(&self, slides: Location) -> EvaluateJob {
        EvaluateJob {
            predictions: self.pred.clone(),
            truth: self.truth.clone(),
            slides,
            unpredicted: if self.only_predicted { Unpredicted::Skip } else { Unpredicted::Refuse },
            hausdorff: self.hausdorff,
            sweep: self.sweep,
        }
    }

    fn write_files(&self, evaluation: &Evaluation) -> Result<()> {
        if let Some(path) = &self.csv {
            write_scores_csv(path, evaluation)?;
        }
        if let (Some(path), Some(sweep)) = (&self.csv, &evaluation.sweep) {
            write_sweep_csv(&beside(path), sweep)?;
        }
        if let Some(path) = &self.markdown {
            hubmap_files::write_whole(path, markdown_tables(evaluation).as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let (Some(path), Some(sweep)) = (&self.plot, &evaluation.sweep) {
            sweep_figure(sweep).write_png(path)?;
        }
        Ok(())
    }
}

/// `<name>_sweep.csv` for `<name>.csv`.
fn beside(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}_sweep.csv"))
}

/// Prints names to the left and numbers to the right of their columns.
fn print_table(rows: &[Vec<String>]) -> Result<()> {
    let n_columns = rows.first().map_or(0, Vec::len);
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| {
            if i == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        print_line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |_| args.run())
}
