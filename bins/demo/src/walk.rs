//! Every stage, one after the other, through the libraries that the other executables call.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hubmap_cli::{Config, DataGenBars, InferBars, Outcome, Progress, TrainBars};
use hubmap_data::cuts;
use hubmap_infer::{
    ArchitectureFlags, EvaluateJob, ModelFolder, OutputKind, OutputPlan, Unpredicted, evaluate, find_slides,
    hash_files, id_order, predict_slides,
};
use hubmap_io::{RemoteOptions, Size};
use hubmap_report::{ReportJob, write_report};
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec};
use hubmap_train::{RunPlace, RunSettings, train_run};
use serde_json::json;

use crate::{Args, slides};

/// Settings that make a small model of the pipeline.
const DEMO_CONFIG: &str = include_str!("../../../configs/demo.toml");

/// Width and height of the demo's slides in pixels.
const SLIDE_SIZE: Size = Size::new(3072, 3072);

/// Slides of one laboratory: a model that is to cope with every stain needs more than minutes.
const STAIN_VARIATION: f64 = 0.3;

/// Many small slides teach more than much of one.
const N_TRAIN: usize = 8;

/// More crowded than a real cortex, so that small slides hold a dozen.
const GLOMERULI_PER_MM2: f64 = 9.0;

/// Makes slides, cuts, trains, infers and evaluates in `--out`.
pub(crate) fn walk(args: &Args, progress: &Progress) -> Result<Outcome> {
    let Args { out, seed, config, networks, .. } = args;
    let started = Instant::now();
    let (hubmap, input) = (out.join("input/HUBMAP"), out.join("input"));
    let mut config = Config::load_over(DEMO_CONFIG, config)?;
    config.put("data", "splits_dir", input.join("SPLITS").display().to_string())?;
    config.put("train", "seed", i64::try_from(*seed).context("--seed is too large")?)?;
    let data_gen: hubmap_data::config::DataGenConfig = config.section("data_gen")?;
    let settings = RunSettings {
        model: config.section("model")?,
        data: config.section("data")?,
        data_gen: data_gen.clone(),
        train: config.section("train")?,
        resolved_toml: config.to_toml(),
    };
    settings.validate().map_err(hubmap_cli::UsageError::mark)?;

    progress.note(&format!("1/5 synthetic slides: {N_TRAIN} to train on, 1 unseen (hubmap-demo slides)"));
    let spec = CompetitionSpec {
        n_train: N_TRAIN,
        n_test: 1,
        slide: SlideSpec {
            glomeruli_per_mm2: GLOMERULI_PER_MM2,
            stain_variation: STAIN_VARIATION,
            ..SlideSpec::new(SLIDE_SIZE, *seed)
        },
        formats: FileFormat::all(),
    };
    slides::write(&hubmap, &spec, progress)?;

    progress.note("2/5 masks, tiles and folds (hubmap-data-gen)");
    let cut = cuts::generate(&hubmap, &input, &data_gen, &DataGenBars::new(progress))?;
    progress.note(cut.to_string().trim_end());
    ensure!(cut.failures.is_empty(), "{} slides could not be cut", cut.failures.len());

    progress.note(&format!("3/5 training {} on 2 folds (hubmap-train)", settings.model));
    let device = networks.device.only()?.device();
    let report = train_run(
        &settings,
        None,
        RunPlace::NewUnder(&out.join("output")),
        std::slice::from_ref(&device),
        &TrainBars::new(progress),
    )?;

    progress.note("4/5 predicting the unseen slide, 2 folds and 8 views (hubmap-infer)");
    let folder = ModelFolder::open(report.run.path(), ArchitectureFlags::default())?;
    let predictor = folder.predictor(config.section("infer")?, &device)?;
    let predictor = predictor.on_device(networks.device.to_string());
    let plan = OutputPlan {
        folder: out.join("results"),
        kinds: OutputKind::ALL.to_vec(),
        order: id_order(&hubmap.join("sample_submission.csv"))?,
        reuse_finished: true,
        part: None,
        scratch: None,
    };
    let test_slides = find_slides(&[hubmap.join("test").into()])?;
    let model = hash_files(folder.checkpoints.iter().map(|checkpoint| &checkpoint.path))?;
    let threshold = predictor.config().threshold;
    let summary = predict_slides(&mut [predictor], &model, &test_slides, &plan, &InferBars::new(progress))?;
    ensure!(summary.failed.is_empty(), "the slide could not be predicted");

    progress.note("5/5 scoring against the truth (hubmap-evaluate)");
    let submission = plan.submission(threshold);
    let job = EvaluateJob {
        predictions: submission.clone(),
        truth: hubmap.join("truth.csv"),
        slides: hubmap.join("test").into(),
        unpredicted: Unpredicted::Refuse,
        hausdorff: false,
        sweep: false,
    };
    let scores = evaluate(&job, &InferBars::new(progress))?;
    let page = out.join("report.html");
    let job = ReportJob {
        inputs: vec![report.run.path().to_owned(), plan.folder.clone()],
        slides: None,
        remote: RemoteOptions::default(),
        truth: Some(job.truth),
        hausdorff: false,
    };
    write_report(&job, &page, &InferBars::new(progress))?;

    let id = &test_slides[0].id;
    let overlay = plan.path(OutputKind::Overlay, id);
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    progress.note(&format!(
        "\nDice on the unseen slide {id}: {:.4} ({minutes:.1} minutes)\n\n\
         look at      {}\nin QuPath    {} over {}\nprobability  {}\nsubmission   {}\nmodel        {}\nreport       {}",
        scores.mean_dice,
        overlay.display(),
        plan.path(OutputKind::Geojson, id).display(),
        test_slides[0].location,
        plan.path(OutputKind::Npy, id).display(),
        submission.display(),
        report.run.path().display(),
        page.display(),
    ));
    Ok(Outcome::done(json!({
        "dice": scores.mean_dice,
        "seconds": started.elapsed().as_secs_f64(),
        "overlay": overlay.display().to_string(),
        "report": page.display().to_string(),
        "run": report.run.path().display().to_string(),
        "results": plan.folder.display().to_string(),
    })))
}
