//! `hubmap-train`: folds of tiles to one model folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use hubmap_cli::{
    CommonArgs, Config, ConfigArgs, DeviceArgs, Outcome, TrainBars, UsageError, check_inputs, print_line,
};
use hubmap_train::{Division, RunDir, RunPlace, RunSettings, TrainConfig, collect_folds, train_run};

/// Train the folds of the config one after the other; prints the run folder, which inference takes.
#[derive(Parser)]
#[command(
    name = "hubmap-train",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        hubmap-train --config configs/cpu.toml --set data.splits_dir=input/SPLITS --fold 0\n  \
        hubmap-train --set data.source=slides --set data.slides_dir=HUBMAP --set train.epochs=20\n  \
        hubmap-train --resume output/2026_11_23_18_40_00\n  \
        hubmap-train --config configs/four_gpus.toml --fold 2 --run folds/2\n  \
        hubmap-train collect --out model folds/0 folds/1 folds/2 folds/3"
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Train only this fold, by its position in data.folds, from 0
    #[arg(long, value_name = "I")]
    fold: Option<usize>,

    /// Folder in which the run folder, named by the time in UTC, is made
    #[arg(long, value_name = "DIR", default_value = "output")]
    out: PathBuf,

    /// Go on with an interrupted or killed run in this folder, with the settings that it was begun with
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["out", "config", "set"])]
    resume: Option<PathBuf>,

    /// Make the run in this folder, or go on with the one that is there, which must have the same settings
    ///
    /// For jobs that may be started again by the same command, and for jobs that train one fold each into one folder.
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["out", "resume"])]
    run: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    networks: DeviceArgs,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Join folds that were trained in folders of their own into one run folder, which inference takes
    ///
    /// Every fold of the settings must be finished in one of the folders; those that are not are named.
    #[command(after_help = "Examples:\n  hubmap-train collect --out model folds/0 folds/1 folds/2 folds/3")]
    Collect {
        /// Run folders of single folds
        #[arg(value_name = "RUN_DIR", required = true)]
        runs: Vec<PathBuf>,

        /// The run folder to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

fn collect(runs: &[PathBuf], out: &Path, is_json: bool) -> Result<Outcome> {
    check_inputs(runs)?;
    let run = collect_folds(runs, out)?;
    let path = run.path().display().to_string();
    if !is_json {
        print_line(&path)?;
    }
    Ok(Outcome::done(serde_json::json!({ "run": path })))
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| {
        if let Some(Command::Collect { runs, out }) = &args.command {
            return collect(runs, out, args.common.json);
        }
        check_inputs(&args.resume)?;
        let mut config = Config::load(&args.config)?;
        let resumed = args.resume.as_deref().map(RunDir::open).transpose()?;
        if let Some(run) = &resumed {
            config.overlay_file(&run.config_path()).map_err(UsageError::mark)?;
        }
        let settings = RunSettings {
            model: config.section("model")?,
            data: config.section("data")?,
            data_gen: config.section("data_gen")?,
            train: config.section("train")?,
            resolved_toml: config.to_toml(),
        };
        settings.validate().map_err(UsageError::mark)?;
        let devices = args.networks.device.devices();
        let TrainConfig { batch_size, micro_batch_size, .. } = settings.train;
        Division::new(batch_size, micro_batch_size, devices.len()).map_err(UsageError::mark)?;
        let place = match (&resumed, &args.run) {
            (Some(run), _) => RunPlace::Resumed(run),
            (None, Some(path)) => RunPlace::At(path),
            (None, None) => RunPlace::NewUnder(&args.out),
        };
        let report = train_run(&settings, args.fold, place, &devices, &TrainBars::new(progress))?;
        if !args.common.json {
            print_line(&report.run.path().display().to_string())?;
        }
        Ok(Outcome::done(report.summary()))
    })
}
