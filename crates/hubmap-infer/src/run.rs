//! Predicting many slides and leaving their files.

mod folder;
mod identity;
mod maker;
mod parts;
mod queue;
mod record;
mod source;
mod staging;
mod summary;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use hubmap_data::Fault;
use hubmap_files::FolderLock;
use hubmap_io::{Location, RasterReader, Size, Window};

use crate::outputs::{OutputKind, OutputPlan, SlideInput, SlideWriter, pending_file, write_merged};
use crate::postprocess::{Postprocess, PostprocessConfig, Within};
use crate::predictor::Predictor;
use crate::progress::{Interrupted, Progress};
use crate::tissue::TissueMask;
use folder::{exclusive, shared, slide_lock, take_slide_lock, tissue_path};
use record::{Identity, Inputs, RunFacts, SlideRecord};
use staging::LocalCopy;

pub use identity::hash_files;
pub use maker::Maker;
pub use parts::join_parts;
pub use source::{RowSource, SlideState};
pub use summary::{FailedSlide, SlideSummary, Summary};

/// What is the same for all slides of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// Pixels above it, compared in half precision, are positive.
    pub threshold: f32,
    /// What is done to the mask.
    pub postprocess: PostprocessConfig,
    /// All settings, for `summary.json`.
    pub settings: serde_json::Value,
    /// The settings that probabilities depend on; a slide is predicted again when they have changed.
    pub depends_on: serde_json::Value,
    /// What tells the models from all others: a hash of their weights (see [`hash_files`]), or whatever the caller likes.
    pub model: String,
    /// Number of models that are averaged.
    pub n_models: usize,
}

impl RunSpec {
    /// What a run with this predictor is.
    pub fn of_predictor(predictor: &Predictor, model: &str) -> Result<Self> {
        let config = predictor.config();
        let settings = serde_json::to_value(config)?;
        let mut depends_on = settings.clone();
        if let Some(table) = depends_on.as_object_mut() {
            for without_effect in ["batch", "journal", "read_threads", "read_ahead", "write_ahead"] {
                table.remove(without_effect);
            }
            table.insert("normalization".to_owned(), serde_json::to_value(predictor.normalization())?);
        }
        Ok(Self {
            threshold: config.threshold,
            postprocess: config.postprocess.clone(),
            settings,
            depends_on,
            model: model.to_owned(),
            n_models: predictor.n_models(),
        })
    }
}

/// Predicts slides and writes the files of `plan`: one slide at a time on each predictor.
///
/// The predictors must be alike, one for each device; with a single one everything happens on the calling thread.
/// `model` tells the models from all others: see [`RunSpec::model`].
/// For the rest, see [`run_slides`].
pub fn predict_slides(
    predictors: &mut [Predictor],
    model: &str,
    slides: &[SlideInput],
    plan: &OutputPlan,
    progress: &(dyn Progress + Sync),
) -> Result<Summary> {
    let (first, others) = predictors.split_first().context("a run needs at least one predictor")?;
    let spec = RunSpec::of_predictor(first, model)?;
    for other in others {
        ensure!(
            other.config() == first.config() && other.n_models() == first.n_models(),
            "the predictors of a run must have the same settings and models"
        );
    }
    run_slides(predictors, &spec, slides, plan, progress)
}

/// Takes slides from sources of their probabilities to the files of `plan`: one slide at a time on each source, whichever
/// is free.
///
/// A slide that fails leaves no file of this run, is listed in [`Summary::failed`], and the rest goes on.
/// A slide that is finished has a record, `predicts/done/<id>.json`, which is written after all of its files. If
/// [`OutputPlan::reuse_finished`] says so, a slide is left as it is when its record says that settings, model and input
/// files (by length and time of change, of objects also by entity tag and version) are the same and every wanted file still
/// has its length.
/// The submission table is made anew from all slides with such a record, those of earlier runs included.
/// An [`Interrupted`] run is an error; the files of the slides before stay.
pub fn run_slides<S: RowSource>(
    sources: &mut [S],
    spec: &RunSpec,
    slides: &[SlideInput],
    plan: &OutputPlan,
    progress: &(dyn Progress + Sync),
) -> Result<Summary> {
    let start = Instant::now();
    spec.postprocess.validate()?;
    let _lock = match plan.part {
        None => exclusive(plan)?,
        Some(_) => shared(plan, slides)?,
    };
    let run = Run { spec, identity: Identity::of(spec)?, plan, progress };
    let outcomes = queue::for_each(sources, slides, |source, slide| run.slide(source, slide))?;

    let mut summary = Summary {
        settings: spec.settings.clone(),
        model: spec.model.clone(),
        n_models: spec.n_models,
        outputs: plan.kinds.clone(),
        slides: Vec::new(),
        failed: Vec::new(),
        total_seconds: 0.0,
    };
    for (slide, outcome) in slides.iter().zip(outcomes) {
        match outcome {
            Ok(slide) => summary.slides.push(slide),
            Err(error) => {
                let (kind, error) = (Fault::of(&error), format!("{error:#}"));
                let path = slide.location.path().to_owned();
                summary.failed.push(FailedSlide { id: slide.id.clone(), path, error, kind });
            }
        }
    }
    if plan.part.is_none() {
        run.write_submission(&summary)?;
    }
    summary.total_seconds = start.elapsed().as_secs_f64();
    write_json(&plan.summary(), &summary)?;
    Ok(summary)
}

/// What the record of a slide says of it, if a run has finished it and the record can be read.
///
/// Its resolution is what predictions went by, which may be better than that of the slide's file
/// ([`SlideInput::microns_per_px`]).
pub fn finished_slide(plan: &OutputPlan, id: &str) -> Option<SlideSummary> {
    SlideRecord::read(plan, id).map(|record| record.summary)
}

fn write_json(path: &Path, summary: &Summary) -> Result<()> {
    let file = pending_file::write(path, |out| Ok(serde_json::to_writer_pretty(out, summary)?))?;
    pending_file::commit(file)
}

/// A run under way.
struct Run<'a> {
    spec: &'a RunSpec,
    identity: Identity,
    plan: &'a OutputPlan,
    progress: &'a (dyn Progress + Sync),
}

impl Run<'_> {
    /// Finishes one slide and tells what became of it; an error only if the whole run is to stop.
    fn slide<S: RowSource>(&self, source: &mut S, slide: &SlideInput) -> Result<Result<SlideSummary>> {
        let outcome = self.predict(source, slide);
        match &outcome {
            Ok(summary) if summary.reused => self.progress.slide_skipped(&slide.id),
            Ok(_) => self.progress.slide_finished(&slide.id, None),
            Err(error) if error.is::<Interrupted>() => return outcome.map(Ok),
            Err(error) => self.progress.slide_finished(&slide.id, Some(error)),
        }
        Ok(outcome)
    }

    /// Predicts one slide and writes its files, unless that was done before.
    fn predict<S: RowSource>(&self, source: &mut S, input: &SlideInput) -> Result<SlideSummary> {
        let start = Instant::now();
        if self.progress.interrupted() {
            bail!(Interrupted);
        }
        let anatomy = self.anatomy(input).map_err(Fault::or_input)?;
        let files: Vec<Location> = source.inputs(input).into_iter().chain(anatomy.clone()).collect();
        let inputs = Inputs::of(&files, input).map_err(Fault::or_input)?;
        if let Some(summary) = self.finished(input, &inputs) {
            return Ok(summary);
        }
        let lock = self.plan.part.as_ref().map(|_| self.lock_slide(&input.id)).transpose()?;
        // Who held the lock before may have finished it.
        if lock.is_some()
            && let Some(summary) = self.finished(input, &inputs)
        {
            return Ok(summary);
        }

        let copy = |scratch: &Path| LocalCopy::of(&input.location, scratch, self.progress);
        let staged = self.plan.scratch.as_deref().map(copy).transpose()?;
        let slide = match &staged {
            Some(copy) => source.open(&SlideInput { location: copy.path.as_path().into(), ..input.clone() }),
            None => source.open(input),
        };
        let slide = slide.map_err(Fault::or_input)?;
        let slide = match input.microns_per_px {
            Some(microns_per_px) => hubmap_io::with_resolution(slide, microns_per_px),
            None => slide,
        };
        let slide = slide.as_ref();
        let size = slide.size();
        let n_blocks = source.n_blocks(size);
        self.progress.slide_started(&input.id, n_blocks);
        let postprocess = self.postprocess(slide, input, anatomy.as_ref()).map_err(Fault::or_input)?;
        let mut writer = SlideWriter::create(slide, &input.id, self.spec.threshold, postprocess, self.plan)?;
        let state = self.state(&input.id, &inputs)?;
        if !self.plan.reuse_finished {
            state.remove()?;
        }
        let stats = source.push_rows(input, slide, &state, &mut writer, self.progress)?;
        if let Some(tissue) = &stats.tissue {
            self.write_tissue(&input.id, tissue)?;
        }
        let mut seconds = stats.seconds;

        let write_start = Instant::now();
        let written = writer.finish()?;
        ensure!(
            Inputs::of(&files, input)? == inputs,
            "{}: the slide has changed while it was predicted",
            input.location
        );
        let (objects, positive_pixels) = (written.n_objects, written.positive_pixels);
        // From here to the new record, none vouches for the files of this slide.
        SlideRecord::remove(self.plan, &input.id)?;
        let outputs = written.commit()?;
        seconds.write += write_start.elapsed().as_secs_f64();
        let total_seconds = start.elapsed().as_secs_f64();
        let summary = SlideSummary {
            id: input.id.clone(),
            path: input.location.path().to_owned(),
            width: size.width,
            height: size.height,
            microns_per_px: slide.microns_per_px(),
            n_blocks,
            n_skipped: stats.n_skipped,
            n_replayed: stats.n_replayed,
            objects,
            positive_pixels,
            seconds,
            total_seconds,
            blocks_per_second: n_blocks as f64 / total_seconds,
            reused: false,
            made_by: Some(Maker::this(source.device())),
        };
        let record = SlideRecord {
            identity: self.identity.clone(),
            run: RunFacts::of(self.spec),
            inputs,
            outputs,
            summary: summary.clone(),
        };
        record.write(self.plan)?;
        state.remove()?;
        Ok(summary)
    }

    /// What became of a slide that an earlier run finished and this one would make the same.
    fn finished(&self, slide: &SlideInput, inputs: &Inputs) -> Option<SlideSummary> {
        let record = self.plan.reuse_finished.then(|| SlideRecord::read(self.plan, &slide.id))??;
        let is_same = record.is_of(&self.identity, inputs) && record.has_files(self.plan);
        is_same.then_some(SlideSummary { reused: true, ..record.summary })
    }

    /// Keeps other parts from a slide.
    fn lock_slide(&self, id: &str) -> Result<FolderLock> {
        let lock = take_slide_lock(self.plan, id)?;
        lock.with_context(|| {
            format!("another job is at this slide: it holds {}", slide_lock(self.plan, id).display())
        })
    }

    /// Where a slide under way is kept, and what that depends on.
    fn state(&self, id: &str, inputs: &Inputs) -> Result<SlideState> {
        let path = self.plan.folder.join("predicts").join("under_way").join(format!("{id}.blocks"));
        Ok(SlideState { path, key: serde_json::to_vec(&(&self.identity, inputs))? })
    }

    /// Writes where tissue was found as a picture, white on black.
    fn write_tissue(&self, id: &str, tissue: &TissueMask) -> Result<()> {
        let path = tissue_path(self.plan, id);
        pending_file::create_folder_of(&path)?;
        let Size { width, height } = tissue.mask.size();
        let pixels = tissue.mask.read(Window::new(0, 0, width, height)).mapv_into(|pixel| pixel * 255);
        hubmap_data::tile_file::write_mask(&path, &pixels)
    }

    /// The anatomical structures beside a slide, if the mask depends on them and they are there.
    fn anatomy(&self, slide: &SlideInput) -> Result<Option<Location>> {
        if self.spec.postprocess.within == Within::Anywhere {
            return Ok(None);
        }
        for name in hubmap_data::anatomy_names(&slide.id) {
            let Some(beside) = slide.location.sibling(&name) else { return Ok(None) };
            match beside.stat() {
                Ok(_) => return Ok(Some(beside)),
                Err(hubmap_io::Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// What is done to the mask of a slide; its anatomical structures are read here.
    fn postprocess(
        &self,
        slide: &dyn RasterReader,
        input: &SlideInput,
        anatomy: Option<&Location>,
    ) -> Result<Postprocess> {
        let config = &self.spec.postprocess;
        let Some(anatomy) = anatomy else { return Postprocess::new(config, slide, &input.id, None) };
        if let Some(path) = anatomy.as_file() {
            return Postprocess::new(config, slide, &input.id, Some(path));
        }
        let scratch = self.plan.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let copy = LocalCopy::of(anatomy, &scratch, self.progress)?;
        Postprocess::new(config, slide, &input.id, Some(&copy.path))
    }

    /// Joins the encodings of all slides that are finished with the settings and models of this run.
    fn write_submission(&self, summary: &Summary) -> Result<()> {
        if !self.plan.wants(OutputKind::Rle) {
            return Ok(());
        }
        let mut ids: Vec<String> = summary.slides.iter().map(|slide| slide.id.clone()).collect();
        let failed = |id: &String| summary.failed.iter().any(|slide| slide.id == *id);
        let others = SlideRecord::ids(self.plan)?.into_iter().filter(|id| !ids.contains(id) && !failed(id));
        let is_valid = |id: &String| {
            let record = SlideRecord::read(self.plan, id);
            record.is_some_and(|record| record.identity == self.identity && record.has_files(self.plan))
        };
        let others: Vec<String> = others.filter(is_valid).collect();
        ids.extend(others);
        if ids.is_empty() {
            return Ok(());
        }
        let tables = ids.into_iter().map(|id| {
            let path = self.plan.path(OutputKind::Rle, &id);
            (id, path)
        });
        write_merged(&self.plan.submission(self.spec.threshold), tables.collect(), &self.plan.order)
    }
}
