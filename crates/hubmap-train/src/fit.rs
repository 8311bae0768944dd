//! The training loop of one fold.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use hubmap_data::{Batch, Loader, cuts};
use hubmap_models::{CheckpointName, SegModel, SegModelConfig, load_encoder_weights, load_weights};
use ndarray::Axis;

use crate::config::TrainConfig;
use crate::fold_state::{EpochSums, FoldProgress, FoldState};
use crate::metric::DiceMeter;
use crate::pictures::samples_picture;
use crate::precision::{Precision, are_finite};
use crate::replicas::{Replicas, StepGradients};
use crate::run_dir::{FoldDir, HistoryRow, RunDir};
use crate::tensorboard::EventWriter;
use crate::tensors::images_tensor;

/// Everything that training one fold needs.
#[derive(Debug)]
pub struct FoldPlan<'a> {
    /// Position of the fold, from 0: names its folder in the run.
    pub fold_idx: usize,
    /// The fold's name in the config, which stands for `{fold}` in the names of files to start from.
    pub name: &'a str,
    /// The network.
    pub model: SegModelConfig,
    /// How to train it.
    pub config: &'a TrainConfig,
    /// Shuffled, augmented training batches.
    pub train: &'a Loader,
    /// Validation batches, in order.
    pub valid: &'a Loader,
    /// The devices: the first keeps weights, optimiser and average, and validates.
    pub replicas: &'a Replicas,
}

/// Before a fold.
#[derive(Debug, Clone, Copy)]
pub struct FoldStart<'a> {
    /// The fold's name in the config.
    pub name: &'a str,
    /// Epochs in the whole fold.
    pub n_epochs: usize,
    /// Training steps per epoch.
    pub n_batches: usize,
    /// Validation batches in the whole fold, of raw and averaged weights together.
    pub n_valid_batches: usize,
    /// How many of all these batches an earlier process has done.
    pub n_done: usize,
}

/// After every step.
#[derive(Debug, Clone, Copy)]
pub struct StepReport {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Loss of the step.
    pub loss: f64,
    /// Mean training Dice of the epoch so far.
    pub dice: f64,
    /// Samples per second since the epoch began.
    pub images_per_second: f64,
}

/// After every epoch.
#[derive(Debug, Clone)]
pub struct EpochReport<'a> {
    /// The epoch's numbers.
    pub row: &'a HistoryRow,
    /// Best validation Dice so far.
    pub best: f64,
    /// The checkpoint that this epoch wrote, if it was the best.
    pub checkpoint: Option<&'a Path>,
}

/// What a fold came to.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldReport {
    /// The best checkpoint, or `None` if no validation was above `train.min_dice`.
    pub best: Option<CheckpointName>,
    /// Every epoch.
    pub history: Vec<HistoryRow>,
}

/// Is told how training goes.
pub trait Observer {
    /// Is told how opening slides and decoding tiles goes, before the folds and before each of them.
    fn data(&self) -> &dyn cuts::Progress {
        &()
    }
    /// A fold begins.
    fn fold(&self, _start: &FoldStart<'_>) {}
    /// A step is done.
    fn step(&self, _report: StepReport) {}
    /// A validation batch is done.
    fn valid_batch(&self) {}
    /// Asked after every step: whether to stop with an error. The best checkpoint so far stays.
    fn interrupted(&self) -> bool {
        false
    }
    /// An epoch is done.
    fn epoch(&self, _report: &EpochReport<'_>) {}
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}

/// Trains one fold and writes its best checkpoint, its history, its logs and its state into the run folder.
///
/// A fold whose state is there already goes on from it: from the step after which training was interrupted, or from
/// the end of the last epoch that a killed process finished.
/// Both the raw and the averaged weights are validated; the better of them is the checkpoint if it beats the
/// best so far. Runs on the calling thread.
pub fn fit_fold(plan: &FoldPlan<'_>, run: &RunDir, observer: &dyn Observer) -> Result<FoldReport> {
    plan.config.validate()?;
    let device = plan.replicas.main().clone();
    let files = run.fold(plan.fold_idx)?;
    let _lock = files.lock()?;
    let mut state = match FoldState::load(&files.state_path(), plan.model, plan.config, &device)? {
        Some(state) => state,
        None => FoldState::start(start_model(plan, &device)?, plan.config),
    };
    files.remove_unfinished()?;
    files.keep_only(state.progress.best.as_ref())?;
    if state.progress.n_epochs == plan.config.epochs {
        return Ok(state.report());
    }
    let step = global_step(plan, &state.progress);
    let n_validated =
        |n_epochs: usize| (0..n_epochs).filter(|&epoch| plan.config.validates_after(epoch)).count();
    let n_valid_batches = |n_epochs: usize| 2 * n_validated(n_epochs) * plan.valid.n_batches();
    observer.fold(&FoldStart {
        name: plan.name,
        n_epochs: plan.config.epochs,
        n_batches: plan.train.n_batches(),
        n_valid_batches: n_valid_batches(plan.config.epochs),
        n_done: step as usize + n_valid_batches(state.progress.n_epochs),
    });
    let mut log = EventWriter::create(&files.logs_dir(), step + 1)?;
    while state.progress.n_epochs < plan.config.epochs {
        state = train_epoch(state, plan, &files, &mut log, observer)?;
        end_epoch(&mut state, plan, &files, &mut log, observer)?;
    }
    Ok(state.report())
}

impl FoldState {
    fn report(self) -> FoldReport {
        FoldReport { best: self.progress.best, history: self.progress.history }
    }
}

/// Steps that are done in all epochs.
fn global_step(plan: &FoldPlan<'_>, progress: &FoldProgress) -> u64 {
    (progress.n_epochs * plan.train.n_batches() + progress.epoch.n_steps) as u64
}

/// The steps of an epoch that are not done yet.
fn train_epoch(
    state: FoldState,
    plan: &FoldPlan<'_>,
    files: &FoldDir,
    log: &mut EventWriter,
    observer: &dyn Observer,
) -> Result<FoldState> {
    let config = plan.config;
    let FoldState { mut model, mut optimizer, mut ema, mut progress } = state;
    let epoch = progress.n_epochs;
    let rate = config.schedule.rate(epoch, config.epochs);
    if config.freeze_encoder > 0.0 {
        let encoder = model.encoder;
        model.encoder = if config.freezes(epoch) { encoder.freeze() } else { encoder.unfreeze() };
    }
    let (started, earlier) = (Instant::now(), progress.epoch);
    let mut batches = plan.train.epoch_from(epoch as u64, earlier.n_steps);
    loop {
        let asked = Instant::now();
        let Some(batch) = batches.next() else { break };
        let batch = batch?;
        let waited = asked.elapsed().as_secs_f64();
        let step = plan.replicas.gradients(&model, &batch, progress.loss_scale.factor())?;
        if !step.loss.is_finite() {
            let names = files.write_bad_batch(&batch.names)?;
            bail!(
                "the loss became {} in epoch {epoch}; the names of the batch's samples are in {}; try a lower \
                 train.schedule.peak",
                step.loss,
                names.display()
            );
        }
        let StepGradients { gradients, terms, loss, passes } = step;
        let is_good = config.precision != Precision::F16 || are_finite(&gradients, &model);
        if config.precision == Precision::F16 && !progress.loss_scale.update(is_good) {
            bail!(
                "gradients overflow in f16 in epoch {epoch}: train with train.precision = \"bf16\" or \"f32\""
            );
        }
        if is_good {
            model = optimizer.step(rate, model, gradients);
        }
        ema.update(&model);
        let sums = &mut progress.epoch;
        let masks = batch.masks.axis_chunks_iter(Axis(0), batch.len() / passes.len());
        for (pass, masks) in passes.into_iter().zip(masks) {
            sums.dice.add(pass.logits, &masks);
        }
        sums.loss += loss;
        sums.n_steps += 1;
        sums.n_samples += batch.len();
        sums.wait_seconds += waited;
        let seconds = started.elapsed().as_secs_f64();
        sums.seconds = earlier.seconds + seconds;
        let images_per_second = (sums.n_samples - earlier.n_samples) as f64 / seconds;
        let dice = sums.dice.mean();
        let step = global_step(plan, &progress);
        let terms = terms.iter().map(|(term, value)| (format!("step/{}", term.name()), *value));
        let terms: Vec<_> = terms.chain([("step/loss".to_owned(), loss)]).collect();
        log.scalars(step, &terms)?;
        observer.step(StepReport { epoch, loss, dice, images_per_second });
        if observer.interrupted() {
            FoldState { model, optimizer, ema, progress }.save(&files.state_path())?;
            bail!("interrupted in epoch {epoch}");
        }
    }
    Ok(FoldState { model, optimizer, ema, progress })
}

/// Validates, writes the checkpoint if it is the best, logs the epoch, and writes the state.
fn end_epoch(
    state: &mut FoldState,
    plan: &FoldPlan<'_>,
    files: &FoldDir,
    log: &mut EventWriter,
    observer: &dyn Observer,
) -> Result<()> {
    let config = plan.config;
    let started = Instant::now();
    let progress = &mut state.progress;
    let (epoch, step, sums) = (progress.n_epochs, global_step(plan, progress), progress.epoch);
    let (mut valid_dice, mut valid_dice_ema, mut checkpoint) = (None, None, None);
    let superseded = progress.best.clone();
    if config.validates_after(epoch) {
        let raw_model = state.model.valid();
        let raw = validate(&raw_model, plan, observer)?.dice;
        let validation = validate(state.ema.model(), plan, observer)?;
        let averaged = validation.dice;
        if let Some((batch, logits)) = &validation.first {
            let picture = samples_picture(batch, logits, plan.valid.normalization());
            let (height, width, _) = picture.dim();
            let png = hubmap_data::tile_file::image_png(&picture)?;
            log.image(step, "valid/image_target_prediction", [width as u32, height as u32], &png)?;
        }
        (valid_dice, valid_dice_ema) = (Some(raw), Some(averaged));
        let (tag, score, winner) =
            if averaged > raw { ("ema", averaged, state.ema.model()) } else { ("raw", raw, &raw_model) };
        let floor = progress.best.as_ref().map_or(config.min_dice, |b| b.dice);
        // The first checkpoint may tie with a floor of 0, so that a short run leaves something to look at.
        if score > floor || (progress.best.is_none() && score >= config.min_dice && config.min_dice == 0.0) {
            let name = CheckpointName { epoch, total: config.epochs, tag: tag.to_owned(), dice: score };
            checkpoint = Some(files.save_checkpoint(&name, winner, &plan.model)?);
            progress.best = Some(name);
        }
    }
    let row = HistoryRow {
        epoch,
        rate: config.schedule.rate(epoch, config.epochs),
        train_loss: sums.loss / sums.n_steps.max(1) as f64,
        train_dice: sums.dice.mean(),
        valid_dice,
        valid_dice_ema,
        seconds: sums.seconds + started.elapsed().as_secs_f64(),
        data_wait: if sums.seconds > 0.0 { sums.wait_seconds / sums.seconds } else { 0.0 },
    };
    log_epoch(log, step, &row, sums.n_samples as f64 / sums.seconds)?;
    progress.history.push(row.clone());
    progress.n_epochs += 1;
    progress.epoch = EpochSums::default();
    files.write_history(&progress.history)?;
    let best = progress.best.clone();
    state.save(&files.state_path())?;
    // Only now: until the state names the new best, a killed process goes back to the old one.
    if superseded != best {
        files.keep_only(best.as_ref())?;
    }
    let best = best.map_or(0.0, |best| best.dice);
    observer.epoch(&EpochReport { row: &row, best, checkpoint: checkpoint.as_deref() });
    Ok(())
}

fn log_epoch(log: &mut EventWriter, step: u64, row: &HistoryRow, images_per_second: f64) -> Result<()> {
    let mut values = vec![
        ("epoch/loss", row.train_loss),
        ("epoch/rate", row.rate),
        ("epoch/images_per_second", images_per_second),
        ("epoch/data_wait", row.data_wait),
        ("dice/train", row.train_dice),
    ];
    values.extend(row.valid_dice.map(|dice| ("dice/valid", dice)));
    values.extend(row.valid_dice_ema.map(|dice| ("dice/valid_ema", dice)));
    log.scalars(step, &values)
}

/// Fresh weights of the fold's seed, or those of `train.start_weights` or `train.start_encoder`.
fn start_model(plan: &FoldPlan<'_>, device: &Device) -> Result<SegModel> {
    // Folds start apart, as separately started runs would.
    let seed = plan.config.seed.wrapping_add(plan.fold_idx as u64);
    let model = plan.model.init_seeded(seed, device);
    let path_of = |template: &str| PathBuf::from(template.replace("{fold}", plan.name));
    match (plan.config.start_weights.as_str(), plan.config.start_encoder.as_str()) {
        ("", "") => Ok(model),
        ("", path) => load_encoder_weights(model, &plan.model, &path_of(path)).context("train.start_encoder"),
        (path, _) => load_weights(model, &plan.model, &path_of(path)).context("train.start_weights"),
    }
}

/// How a model does on the validation data.
struct Validation {
    /// Mean Dice over the batches.
    dice: f64,
    /// The first batch and its logits.
    first: Option<(Batch, Vec<f32>)>,
}

fn validate(model: &SegModel, plan: &FoldPlan<'_>, observer: &dyn Observer) -> Result<Validation> {
    let device = model.device();
    let (mut dice, mut first) = (DiceMeter::default(), None);
    for batch in plan.valid.epoch(0) {
        let batch = batch?;
        let logits = model.forward(images_tensor(&batch, &device));
        if first.is_none() {
            let values = logits.clone().into_data().iter().collect();
            first = Some((batch.clone(), values));
        }
        dice.add(logits, &batch.masks.view());
        observer.valid_batch();
    }
    Ok(Validation { dice: dice.mean(), first })
}
