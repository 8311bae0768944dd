//! Which files belong to which slide.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hubmap_infer::{Masks, OutputKind, OutputPlan, SlideInput, check_ids, finished_slide};
use hubmap_io::{Location, Stat};

/// What to show.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewConfig {
    /// The slides, at least one, no two with the same id.
    pub slides: Vec<SlideInput>,
    /// The output folder of inference, if there are predictions.
    pub predictions: Option<PathBuf>,
    /// The truth, if there is one: a table of run lengths, a folder of mask TIFFs or of QuPath annotations named by the
    /// ids of slides, or one such file.
    pub truth: Option<PathBuf>,
}

/// Slides, and where to find what belongs to them.
#[derive(Debug)]
pub(crate) struct Sources {
    slides: Vec<SlideInput>,
    predictions: Option<OutputPlan>,
    predicted: Option<Masks>,
    truth: Option<Masks>,
    /// States of slides by address, and when they were asked for.
    objects: Mutex<HashMap<PathBuf, (Instant, Stat)>>,
}

/// How long the state of a slide on a store is taken to last; every tile depends on it.
const OBJECT_LASTS: Duration = Duration::from_secs(30);

impl Sources {
    pub(crate) fn find(config: &ViewConfig) -> Result<Self> {
        let slides = config.slides.clone();
        ensure!(!slides.is_empty(), "no slides were named");
        check_ids(&slides)?;
        let ids: BTreeSet<String> = slides.iter().map(|slide| slide.id.clone()).collect();
        let predictions = config.predictions.clone().map(|folder| OutputPlan {
            folder,
            kinds: OutputKind::ALL.to_vec(),
            order: Vec::new(),
            reuse_finished: true,
            part: None,
            scratch: None,
        });
        let predicted = predictions.as_ref().map(|plan| predicted_masks(plan, &ids)).transpose()?.flatten();
        let truth = config.truth.as_deref().map(|path| true_masks(path, &ids)).transpose()?;
        Ok(Self { slides, predictions, predicted, truth, objects: Mutex::default() })
    }

    pub(crate) fn slides(&self) -> &[SlideInput] {
        &self.slides
    }

    /// A file that inference left of a slide, if it is there.
    pub(crate) fn output(&self, kind: OutputKind, id: &str) -> Option<PathBuf> {
        let path = self.predictions.as_ref()?.path(kind, id);
        path.is_file().then_some(path)
    }

    /// The resolution that counts instead of what the slide's file states: the caller's, or what predictions went by.
    pub(crate) fn microns_per_px(&self, slide: &SlideInput) -> Option<f64> {
        let predicted = || finished_slide(self.predictions.as_ref()?, &slide.id)?.microns_per_px;
        slide.microns_per_px.or_else(predicted)
    }

    /// Masks with the predicted objects of a slide.
    pub(crate) fn predicted(&self, id: &str) -> Option<&Masks> {
        self.predicted.as_ref().filter(|masks| has(masks, id))
    }

    /// Masks with the true objects of a slide.
    pub(crate) fn truth(&self, id: &str) -> Option<&Masks> {
        self.truth.as_ref().filter(|masks| has(masks, id))
    }

    /// Stands for the content of a slide's files: another one when one of them is written anew.
    pub(crate) fn stamp(&self, slide: &SlideInput) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        let Stat { n_bytes, modified, e_tag, version } = self.slide_stat(&slide.location)?;
        (slide.location.path(), n_bytes, modified, e_tag, version).hash(&mut hasher);
        let outputs = OutputKind::ALL.into_iter().filter_map(|kind| self.output(kind, &slide.id));
        for path in outputs.chain(self.predictions.as_ref().map(|plan| plan.record(&slide.id))) {
            let found = std::fs::metadata(&path).ok();
            (path, found.map(|found| (found.len(), found.modified().ok()))).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    fn slide_stat(&self, location: &Location) -> hubmap_io::Result<Stat> {
        if location.as_file().is_some() {
            return location.stat();
        }
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, stat)) = objects.get(location.path())
            && asked.elapsed() < OBJECT_LASTS
        {
            return Ok(stat.clone());
        }
        let stat = location.stat()?;
        objects.insert(location.path().to_owned(), (Instant::now(), stat.clone()));
        Ok(stat)
    }
}

fn has(masks: &Masks, id: &str) -> bool {
    masks.ids().iter().any(|known| known == id)
}

/// The masks of an output folder of inference, or its outlines, or its table; none if it has probabilities only.
fn predicted_masks(plan: &OutputPlan, slides: &BTreeSet<String>) -> Result<Option<Masks>> {
    let folder = &plan.folder;
    let predicts = folder.join("predicts");
    ensure!(
        predicts.is_dir(),
        "{} is no output folder of hubmap-infer: it has no folder predicts",
        folder.display()
    );
    let outlines = [OutputKind::Geojson, OutputKind::GeojsonGz];
    let has_outlines = slides.iter().any(|id| outlines.iter().any(|&kind| plan.path(kind, id).is_file()));
    if predicts.join("masks").is_dir() || !has_outlines {
        let has_table = || {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.into_iter().any(|e| e.file_name().as_encoded_bytes().starts_with(b"submission__"))
        };
        let is_there = predicts.join("masks").is_dir() || has_table();
        return is_there.then(|| Masks::open(folder, slides)).transpose();
    }
    Masks::open(&predicts.join("objects"), slides).map(Some)
}

/// The truth as `hubmap-evaluate` takes it, or one file of it.
fn true_masks(path: &Path, slides: &BTreeSet<String>) -> Result<Masks> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_dir() || name.to_lowercase().ends_with(".csv") {
        return Masks::open(path, slides);
    }
    ensure!(path.is_file(), "cannot open {}: no such file or folder", path.display());
    // The file of one slide: as if it were alone in its folder.
    let id = name.split_once('.').map_or(name, |(id, _)| id);
    let slide = slides.get(id).with_context(|| {
        let ids: Vec<&str> = slides.iter().map(String::as_str).take(5).collect();
        format!("{} belongs to no slide: name it after one of {}", path.display(), ids.join(", "))
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Masks::open(folder, &BTreeSet::from([slide.clone()]))
}
