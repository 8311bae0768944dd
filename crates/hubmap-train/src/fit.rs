//! The training loop of one fold.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::Device;
use hubmap_data::Loader;
use hubmap_models::{CheckpointName, SegModel, SegModelConfig, load_encoder_weights, load_weights};

use crate::config::TrainConfig;
use crate::ema::Ema;
use crate::metric::DiceMeter;
use crate::optimizer::adamw;
use crate::run_dir::{HistoryRow, RunDir};
use crate::step::train_step;
use crate::tensors::{images_tensor, masks_tensor};

/// Everything that training one fold needs.
#[derive(Debug)]
pub struct FoldPlan<'a> {
    /// Position of the fold, from 0: names its folder in the run.
    pub fold_idx: usize,
    /// The network.
    pub model: SegModelConfig,
    /// How to train it.
    pub config: &'a TrainConfig,
    /// Shuffled, augmented training batches.
    pub train: &'a Loader,
    /// Validation batches, in order.
    pub valid: &'a Loader,
    /// Where to compute; autodiff is added for training.
    pub device: Device,
}

/// Before a fold.
#[derive(Debug, Clone, Copy)]
pub struct FoldStart<'a> {
    /// The fold's name in the config.
    pub name: &'a str,
    /// Epochs to come.
    pub n_epochs: usize,
    /// Training steps per epoch.
    pub n_batches: usize,
    /// Validation batches to come in the whole fold, of raw and averaged weights together.
    pub n_valid_batches: usize,
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

/// Trains one fold and writes its best checkpoint and its history into the run folder.
///
/// Both the raw and the averaged weights are validated; the better of them is the checkpoint if it beats the
/// best so far. Runs on the calling thread.
pub fn fit_fold(plan: &FoldPlan<'_>, run: &RunDir, observer: &dyn Observer) -> Result<FoldReport> {
    let config = plan.config;
    config.validate()?;
    let device = plan.device.clone().autodiff();
    let mut model = start_model(plan, &device)?;
    let mut optimizer = adamw(&config.optimizer, &model);
    let mut ema = Ema::new(&model, config.ema.decay);
    let mut best: Option<CheckpointName> = None;
    let mut history = Vec::new();

    for epoch in 0..config.epochs {
        let started = Instant::now();
        let rate = config.schedule.rate(epoch, config.epochs);
        let mut dice = DiceMeter::default();
        let (mut loss_sum, mut n_steps, mut n_samples) = (0.0, 0_usize, 0_usize);
        for batch in plan.train.epoch(epoch as u64) {
            let batch = batch?;
            let (images, masks) = (images_tensor(&batch, &device), masks_tensor(&batch, &device));
            let (stepped, output) =
                train_step(model, &mut optimizer, rate, SegModel::forward, images, &masks, &config.loss);
            model = stepped;
            ensure!(
                output.loss.is_finite(),
                "the loss became {} in epoch {epoch}, on the samples {}; try a lower train.schedule.peak",
                output.loss,
                batch.names.join(", ")
            );
            ema.update(&model);
            dice.add(output.logits, masks.inner());
            loss_sum += output.loss;
            n_steps += 1;
            n_samples += batch.len();
            let images_per_second = n_samples as f64 / started.elapsed().as_secs_f64();
            observer.step(StepReport { epoch, loss: output.loss, dice: dice.mean(), images_per_second });
            ensure!(!observer.interrupted(), "interrupted in epoch {epoch}");
        }
        let (mut valid_dice, mut valid_dice_ema, mut checkpoint) = (None, None, None);
        if config.validates_after(epoch) {
            let raw_model = model.valid();
            let raw = validate(&raw_model, plan, observer)?;
            let averaged = validate(ema.model(), plan, observer)?;
            (valid_dice, valid_dice_ema) = (Some(raw), Some(averaged));
            let (tag, score, winner) =
                if averaged > raw { ("ema", averaged, ema.model()) } else { ("raw", raw, &raw_model) };
            let floor = best.as_ref().map_or(config.min_dice, |b| b.dice);
            // The first checkpoint may tie with a floor of 0, so that a short run leaves something to look at.
            if score > floor || (best.is_none() && score >= config.min_dice && config.min_dice == 0.0) {
                let name = CheckpointName { epoch, total: config.epochs, tag: tag.to_owned(), dice: score };
                checkpoint = Some(run.save_best(plan.fold_idx, &name, winner, &plan.model, best.as_ref())?);
                best = Some(name);
            }
        }
        let train_loss = loss_sum / n_steps.max(1) as f64;
        let seconds = started.elapsed().as_secs_f64();
        let train_dice = dice.mean();
        let row = HistoryRow { epoch, rate, train_loss, train_dice, valid_dice, valid_dice_ema, seconds };
        let best_dice = best.as_ref().map_or(0.0, |b| b.dice);
        observer.epoch(&EpochReport { row: &row, best: best_dice, checkpoint: checkpoint.as_deref() });
        history.push(row);
        run.write_history(plan.fold_idx, &history)?;
    }
    Ok(FoldReport { best, history })
}

/// Fresh weights of the fold's seed, or those of `train.start_weights` or `train.start_encoder`.
fn start_model(plan: &FoldPlan<'_>, device: &Device) -> Result<SegModel> {
    // Folds start apart, as separately started runs would.
    let seed = plan.config.seed.wrapping_add(plan.fold_idx as u64);
    let model = plan.model.init_seeded(seed, device);
    match (plan.config.start_weights.as_str(), plan.config.start_encoder.as_str()) {
        ("", "") => Ok(model),
        ("", path) => {
            load_encoder_weights(model, &plan.model, Path::new(path)).context("train.start_encoder")
        }
        (path, _) => load_weights(model, &plan.model, Path::new(path)).context("train.start_weights"),
    }
}

/// Mean Dice of a model over the validation batches.
fn validate(model: &SegModel, plan: &FoldPlan<'_>, observer: &dyn Observer) -> Result<f64> {
    let mut dice = DiceMeter::default();
    for batch in plan.valid.epoch(0) {
        let batch = batch?;
        let logits = model.forward(images_tensor(&batch, &plan.device));
        dice.add(logits, masks_tensor(&batch, &plan.device));
        observer.valid_batch();
    }
    Ok(dice.mean())
}
