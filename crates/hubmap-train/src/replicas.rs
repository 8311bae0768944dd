//! Steps over one or many devices and passes, equal to one big pass but for statistics that each pass has of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use crossbeam_channel::{Receiver, Sender, bounded};
use hubmap_data::{Batch, panic_error};
use hubmap_models::SegModel;
use ndarray::{Axis, Slice};

use crate::config::LossConfig;
use crate::loss::LossTerm;
use crate::precision::Precision;
use crate::step::{PassSettings, StepOutput, pass};
use crate::tensors::upload;

/// How a batch is divided: over devices, and on each of them over passes one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// Devices.
    pub n_devices: usize,
    /// Passes on each device.
    pub n_passes: usize,
    /// Samples per pass.
    pub pass_size: usize,
}

impl Division {
    /// The division of `batch_size` samples over devices that take at most `micro_batch_size` at a time, or all that
    /// they get if it is 0.
    ///
    /// # Errors
    ///
    /// Passes would differ in size, and so samples in weight.
    pub fn new(batch_size: usize, micro_batch_size: usize, n_devices: usize) -> Result<Self> {
        ensure!(
            n_devices > 0 && batch_size.is_multiple_of(n_devices),
            "train.batch_size is {batch_size}, which {n_devices} devices cannot share evenly: try {}",
            batch_size.next_multiple_of(n_devices.max(1))
        );
        let per_device = batch_size / n_devices;
        let pass_size = if micro_batch_size == 0 { per_device } else { micro_batch_size.min(per_device) };
        ensure!(
            per_device.is_multiple_of(pass_size),
            "train.micro_batch_size is {micro_batch_size}, which does not divide the {per_device} samples of \
             train.batch_size that each device gets: try {}",
            (1..=pass_size).rev().find(|&size| per_device.is_multiple_of(size)).unwrap_or(1)
        );
        Ok(Self { n_devices, n_passes: per_device / pass_size, pass_size })
    }
}

/// What a step has come to, before the optimiser.
#[derive(Debug)]
pub struct StepGradients {
    /// Means over all passes, of the unscaled loss, on the first device.
    pub gradients: GradientsParams,
    /// Means of the terms of the loss over all passes.
    pub terms: Vec<(LossTerm, f64)>,
    /// Mean loss over all passes.
    pub loss: f64,
    /// Outputs of the passes, in the order of their samples.
    pub passes: Vec<StepOutput>,
}

/// Replicas of a network on several devices, of which the first is that of the caller's model.
///
/// Each of the others has a thread of its own for as long as the replicas live, because Burn keeps running statistics
/// by thread. A step sends the weights of the caller's model to all devices, which work at the same time, and averages
/// their gradients on the first one in the order of the devices, so that the outcome does not depend on who was first.
///
/// Statistics of BatchNorm and the sums of Dice loss are those of each pass; running statistics follow the first device
/// alone, as with PyTorch's `DistributedDataParallel`.
#[derive(Debug)]
pub struct Replicas {
    main: Device,
    others: Vec<Worker>,
    division: Division,
    loss: LossConfig,
    precision: Precision,
}

impl Replicas {
    /// Starts a thread for every device but the first.
    ///
    /// # Errors
    ///
    /// A device cannot compute in `precision`, there are more or fewer devices than `division` has, or a thread cannot
    /// be started.
    pub fn start(
        devices: &[Device],
        division: Division,
        loss: LossConfig,
        precision: Precision,
    ) -> Result<Self> {
        ensure!(devices.len() == division.n_devices, "a batch for {} devices", division.n_devices);
        for device in devices {
            ensure!(
                precision.is_on(device),
                "train.precision is {}, in which {} does not compute: use f32",
                precision.name(),
                name(device)
            );
        }
        let mut others = devices.iter().map(|device| device.clone().autodiff());
        let main = others.next().context("training needs a device")?;
        let others = others.map(|device| Worker::start(device, main.clone())).collect::<Result<_>>()?;
        Ok(Self { main, others, division, loss, precision })
    }

    /// The first device, with autodiff: the place of the caller's model.
    pub const fn main(&self) -> &Device {
        &self.main
    }

    /// Gradients of `model`, on the first device with autodiff, for a batch of the size of the division.
    ///
    /// # Errors
    ///
    /// The batch has another size, or a device failed.
    pub fn gradients(&self, model: &SegModel, batch: &Batch, loss_scale: f64) -> Result<StepGradients> {
        let Division { n_devices, n_passes, pass_size } = self.division;
        ensure!(
            batch.len() == n_devices * n_passes * pass_size,
            "a batch of {} samples, but {n_devices} devices with {n_passes} passes of {pass_size} share one",
            batch.len()
        );
        let parts = || (0..n_devices * n_passes).map(|place| Part::of(batch, place * pass_size, pass_size));
        let job = |device_idx: usize, model: SegModel| Job {
            model,
            parts: parts().skip(device_idx * n_passes).take(n_passes).collect(),
            loss: self.loss,
            precision: self.precision,
            loss_scale,
        };
        for (i, worker) in self.others.iter().enumerate() {
            // A copy without autodiff has running statistics of its own, up to date.
            worker.send(job(i + 1, model.valid()))?;
        }
        let own = job(0, model.clone());
        let mine = guarded(&self.main, || own.run(&self.main));
        // All are waited for, so that no late answer is taken for that of the next step.
        let theirs: Vec<_> = self.others.iter().map(Worker::receive).collect();

        let mut sum = GradientsAccumulator::<SegModel>::new();
        let mut passes = Vec::with_capacity(n_devices * n_passes);
        for outcome in std::iter::once(mine).chain(theirs) {
            for (gradients, output) in outcome? {
                sum.accumulate(model, gradients);
                passes.push(output);
            }
        }
        let n = passes.len() as f64;
        let mut gradients = sum.grads();
        let factor = 1.0 / (n * loss_scale);
        // Most steps need no pass over all gradients.
        if (factor - 1.0).abs() > 0.0 {
            model.visit(&mut Scale { gradients: &mut gradients, factor });
        }
        let loss = passes.iter().map(|pass| pass.loss).sum::<f64>() / n;
        let mut terms = passes.first().map(|pass| pass.terms.clone()).unwrap_or_default();
        for (place, (_, mean)) in terms.iter_mut().enumerate() {
            *mean = passes.iter().map(|pass| pass.terms[place].1).sum::<f64>() / n;
        }
        Ok(StepGradients { gradients, terms, loss, passes })
    }
}

/// Samples of one pass, in host memory.
#[derive(Debug)]
struct Part {
    images: ndarray::Array4<f32>,
    masks: ndarray::Array4<f32>,
}

impl Part {
    fn of(batch: &Batch, first: usize, n: usize) -> Self {
        let samples = Slice::from(first..first + n);
        Self {
            images: batch.images.slice_axis(Axis(0), samples).to_owned(),
            masks: batch.masks.slice_axis(Axis(0), samples).to_owned(),
        }
    }
}

/// The passes of one device in one step.
#[derive(Debug)]
struct Job {
    model: SegModel,
    parts: Vec<Part>,
    loss: LossConfig,
    precision: Precision,
    loss_scale: f64,
}

type Passes = Vec<(GradientsParams, StepOutput)>;

impl Job {
    /// On `device`, where the model is.
    fn run(self, device: &Device) -> Passes {
        let Self { model, parts, loss, precision, loss_scale } = self;
        let settings = PassSettings { loss: &loss, precision, loss_scale };
        let passes = parts.iter().map(|part| {
            let (images, masks) = (upload(&part.images, device), upload(&part.masks, device));
            pass(&model, SegModel::forward, images, &masks, settings)
        });
        passes.collect()
    }
}

/// A device other than the first, with its thread.
#[derive(Debug)]
struct Worker {
    device: Device,
    /// There until the worker is dropped.
    jobs: Option<Sender<Job>>,
    outcomes: Receiver<Result<Passes>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(device: Device, main: Device) -> Result<Self> {
        let (jobs, todo) = bounded::<Job>(1);
        let (done, outcomes) = bounded(1);
        let own = device.clone();
        let thread = std::thread::Builder::new()
            .name(format!("replica on {}", name(&device)))
            .spawn(move || {
                for job in todo {
                    if done.send(guarded(&own, || job.run_away(&own, &main))).is_err() {
                        break;
                    }
                }
            })
            .with_context(|| format!("cannot start a thread for {}", name(&device)))?;
        Ok(Self { device, jobs: Some(jobs), outcomes, thread: Some(thread) })
    }

    fn send(&self, job: Job) -> Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        ensure!(sent, "the thread of {} has ended", name(&self.device));
        Ok(())
    }

    fn receive(&self) -> Result<Passes> {
        self.outcomes.recv().with_context(|| format!("the thread of {} has ended", name(&self.device)))?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // What went wrong in it came back as the outcome of its job.
            let _ended = thread.join();
        }
    }
}

impl Job {
    /// On a device other than the model's; gradients and logits come back to `main`.
    fn run_away(mut self, device: &Device, main: &Device) -> Passes {
        self.model = self.model.to_device(&device.clone().inner()).train();
        let model = self.model.clone();
        let back = self.run(device).into_iter().map(|(gradients, output)| {
            let gradients = gradients.to_device(&main.clone().inner(), &model);
            let logits = output.logits.to_device(&main.clone().inner());
            (gradients, StepOutput { logits, ..output })
        });
        back.collect()
    }
}

/// What a device computes, or its panic as an error: Burn's way to say that memory is full, among others.
fn guarded(device: &Device, compute: impl FnOnce() -> Passes) -> Result<Passes> {
    // The model of a step that failed is not used again.
    catch_unwind(AssertUnwindSafe(compute)).map_err(|cause| {
        let what = format!("{} failed; if its memory is full, lower train.micro_batch_size", name(device));
        panic_error(&what, cause.as_ref())
    })
}

/// A device for messages.
fn name(device: &Device) -> String {
    format!("{:?}", device.clone().without_autodiff().as_dispatch())
}

/// Multiplies every gradient.
struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
