//! `hubmap-train`: folds of tiles to one model folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hubmap_cli::{
    CommonArgs, Config, ConfigArgs, DeviceArgs, Outcome, TrainBars, UsageError, check_inputs, print_line,
};
use hubmap_train::{Division, RunDir, RunPlace, RunSettings, TrainConfig, train_run};

/// Train the folds of the config one after the other; prints the run folder, which inference takes.
#[derive(Parser)]
#[command(
    name = "hubmap-train",
    version,
    after_help = "Examples:\n  \
        hubmap-train --config configs/cpu.toml --set data.splits_dir=input/SPLITS --fold 0\n  \
        hubmap-train --set data.source=slides --set data.slides_dir=HUBMAP --set train.epochs=20\n  \
        hubmap-train --resume output/2026_11_23_18_40_00"
)]
struct Args {
    /// Train only this fold, by its position in data.folds, from 0
    #[arg(long, value_name = "I")]
    fold: Option<usize>,

    /// Folder in which the run folder, named by the time in UTC, is made
    #[arg(long, value_name = "DIR", default_value = "output")]
    out: PathBuf,

    /// Go on with an interrupted or killed run in this folder, with the settings that it was begun with
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["out", "config", "set"])]
    resume: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    networks: DeviceArgs,

    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |progress| {
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
        let place = resumed.as_ref().map_or(RunPlace::NewUnder(&args.out), RunPlace::Resumed);
        let report = train_run(&settings, args.fold, place, &devices, &TrainBars::new(progress))?;
        if !args.common.json {
            print_line(&report.run.path().display().to_string())?;
        }
        Ok(Outcome::done(report.summary()))
    })
}
