//! An output folder of inference, as files say it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubmap_infer::{OutputKind, OutputPlan, SlideSummary, Summary, read_rle_table};
use hubmap_io::read_annotations;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ReportError;
use crate::found::modified;

/// What an output folder holds.
#[derive(Debug)]
pub(crate) struct Predictions {
    pub(crate) folder: PathBuf,
    /// Of the last run that wrote to the folder; none if it was killed, or the folder came from elsewhere.
    pub(crate) summary: Option<Summary>,
    /// When that was.
    pub(crate) finished: Option<SystemTime>,
    /// Slides of the summary, then those that other runs finished.
    pub(crate) slides: Vec<PredictedSlide>,
    /// Where masks are: what `hubmap_infer::Masks::open` takes. None if all slides failed.
    pub(crate) masks: Option<PathBuf>,
}

/// A predicted slide.
#[derive(Debug)]
pub(crate) struct PredictedSlide {
    pub(crate) id: String,
    pub(crate) summary: Option<SlideSummary>,
    /// What `predicts/done/<id>.json` says.
    pub(crate) record: Option<Record>,
}

/// `predicts/done/<id>.json`, as far as it is of use here.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) identity: Identity,
    pub(crate) inputs: Inputs,
    summary: SlideSummary,
}

/// What a slide's files were made of.
#[derive(Debug, Deserialize)]
pub(crate) struct Inputs {
    /// Of the slide's file, and of others.
    pub(crate) files: Vec<Stamp>,
}

/// What tells the settings and models of a slide's files from others.
#[derive(Debug, Deserialize)]
pub(crate) struct Identity {
    /// SHA-256 of the settings that files depend on.
    pub(crate) settings: String,
    pub(crate) model: String,
}

/// The state of an input file when it was read.
#[derive(Debug, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) n_bytes: u64,
    modified: (u64, u32),
}

impl Stamp {
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.modified.0))
    }
}

/// What the folder's files say of an object.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct ObjectRow {
    pub(crate) number: u64,
    pub(crate) area_px: u64,
    pub(crate) mean_probability: f64,
}

impl Predictions {
    pub(crate) fn read(folder: &Path) -> Result<Self, ReportError> {
        let summary_path = folder.join("summary.json");
        let summary: Option<Summary> = read_json(&summary_path)?;
        let is_failure =
            summary.as_ref().is_some_and(|summary| summary.slides.is_empty() && !summary.failed.is_empty());
        let masks = match mask_place(folder, summary.as_ref()) {
            Err(_) if is_failure => None,
            other => Some(other?),
        };
        let mut records = read_records(&folder.join("predicts/done"))?;
        let of_summary = summary.iter().flat_map(|summary| &summary.slides);
        let mut slides: Vec<PredictedSlide> = of_summary
            .map(|slide| PredictedSlide {
                id: slide.id.clone(),
                summary: Some(slide.clone()),
                record: records.remove(&slide.id),
            })
            .collect();
        slides.extend(records.into_iter().map(|(id, record)| PredictedSlide {
            id,
            summary: Some(record.summary.clone()),
            record: Some(record),
        }));
        if let Some(masks) = masks.as_ref().filter(|_| slides.is_empty()) {
            // Of another program, or what was kept of a folder.
            slides.extend(ids_of(masks)?.into_iter().map(|id| PredictedSlide {
                id,
                summary: None,
                record: None,
            }));
        }
        let finished = modified(&summary_path).or_else(|| modified(masks.as_ref()?));
        Ok(Self { folder: folder.to_owned(), summary, finished, slides, masks })
    }

    /// The threshold that masks were made with, where that is known.
    pub(crate) fn threshold(&self) -> Option<f64> {
        self.summary.as_ref().and_then(threshold)
    }

    /// A slide's file of a kind, if it is there.
    pub(crate) fn file(&self, kind: OutputKind, id: &str) -> Option<PathBuf> {
        Some(plan(&self.folder).path(kind, id)).filter(|path| path.is_file())
    }

    /// Where the slide's tissue was found, if that was looked for.
    pub(crate) fn tissue(&self, id: &str) -> Option<PathBuf> {
        Some(self.folder.join("predicts/tissue").join(format!("{id}.png"))).filter(|path| path.is_file())
    }

    /// Objects of a slide by their number, from the table or, without one, from the outlines; none without both.
    pub(crate) fn objects(&self, id: &str) -> Result<Option<HashMap<u64, ObjectRow>>, ReportError> {
        let rows = if let Some(path) = self.file(OutputKind::Objects, id) {
            let mut reader =
                csv::Reader::from_path(&path).map_err(|error| ReportError::file(&path, error))?;
            let rows: Result<Vec<ObjectRow>, _> = reader.deserialize().collect();
            rows.map_err(|error| ReportError::file(&path, error))?
        } else if let Some(path) =
            self.file(OutputKind::Geojson, id).or_else(|| self.file(OutputKind::GeojsonGz, id))
        {
            let features = read_annotations(&path).map_err(anyhow::Error::from)?;
            features.iter().filter_map(|feature| of_measurements(&feature.measurements)).collect()
        } else {
            return Ok(None);
        };
        Ok(Some(rows.into_iter().map(|row| (row.number, row)).collect()))
    }
}

fn of_measurements(measurements: &[(String, f64)]) -> Option<ObjectRow> {
    let value = |name: &str| measurements.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
    Some(ObjectRow {
        number: value("Object number")? as u64,
        area_px: value("Area px^2")? as u64,
        mean_probability: value("Mean probability")?,
    })
}

/// Pixels above it are positive.
fn threshold(summary: &Summary) -> Option<f64> {
    summary.settings.get("threshold")?.as_f64()
}

fn plan(folder: &Path) -> OutputPlan {
    OutputPlan {
        folder: folder.to_owned(),
        kinds: Vec::new(),
        order: Vec::new(),
        reuse_finished: true,
        part: None,
        scratch: None,
    }
}

/// The best that there is of masks, tables, bit masks and outlines.
fn mask_place(folder: &Path, summary: Option<&Summary>) -> Result<PathBuf, ReportError> {
    let predicts = folder.join("predicts");
    if predicts.join("masks").is_dir() {
        return Ok(predicts.join("masks"));
    }
    if let Some(path) = summary.and_then(threshold).map(|threshold| plan(folder).submission(threshold as f32))
        && path.is_file()
    {
        return Ok(path);
    }
    for name in ["bitmasks", "objects"] {
        let place = predicts.join(name);
        let outlines = || {
            read_names(&place).iter().any(|name| name.ends_with(".geojson") || name.ends_with(".geojson.gz"))
        };
        if place.is_dir() && (name == "bitmasks" || outlines()) {
            return Ok(place);
        }
    }
    let mut tables = read_names(folder);
    let is_table =
        |name: &str| name.starts_with("submission__") && Path::new(name).extension() == Some("csv".as_ref());
    tables.retain(|name| is_table(name));
    tables.sort();
    match tables.as_slice() {
        [table] => Ok(folder.join(table)),
        [] => Err(ReportError::file(
            folder,
            "no masks: predict with one of the outputs mask, rle, bitmask, geojson and geojson-gz",
        )),
        several => Err(ReportError::file(
            folder,
            format!(
                "tables of several thresholds, and no summary.json that names one: {}",
                several.join(", ")
            ),
        )),
    }
}

/// The ids of a table or of the files of a folder.
fn ids_of(masks: &Path) -> Result<Vec<String>, ReportError> {
    if masks.is_file() {
        return Ok(read_rle_table(masks)?.into_keys().collect());
    }
    let endings = [".tiff", ".tif", ".geojson.gz", ".geojson"];
    let id_of =
        |name: &String| endings.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned);
    let ids: BTreeSet<String> = read_names(masks).iter().filter_map(id_of).collect();
    Ok(ids.into_iter().collect())
}

fn read_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn read_records(folder: &Path) -> Result<BTreeMap<String, Record>, ReportError> {
    let mut records = BTreeMap::new();
    for name in read_names(folder) {
        if let Some(id) = name.strip_suffix(".json").filter(|id| !id.starts_with('.'))
            && let Some(record) = read_json(&folder.join(&name))?
        {
            records.insert(id.to_owned(), record);
        }
    }
    Ok(records)
}

/// A JSON file; none if it is not there.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ReportError> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| ReportError::file(path, error))?,
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| ReportError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_best_masks_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let error = |what: &str| {
            let error = Predictions::read(folder).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        error("no masks");
        place(folder, &[("predicts/objects/a.csv", "")]);
        error("no masks");
        let table = "id,predicted\nb,1 2\na,\n";
        place(folder, &[("submission__0.4.csv", table)]);
        let predictions = Predictions::read(folder).unwrap();
        assert_eq!(predictions.masks, Some(folder.join("submission__0.4.csv")));
        let ids = |predictions: &Predictions| {
            predictions.slides.iter().map(|slide| slide.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&predictions), ["a", "b"]);
        place(folder, &[("submission__0.5.csv", table)]);
        error("several thresholds");
        for better in ["predicts/objects/c.geojson", "predicts/bitmasks/c.tiff", "predicts/masks/c.tiff"] {
            place(folder, &[(better, "")]);
            let predictions = Predictions::read(folder).unwrap();
            assert_eq!(predictions.masks.as_deref(), folder.join(better).parent());
            assert_eq!(ids(&predictions), ["c"]);
        }
        place(folder, &[("summary.json", "{\"settings\": 1}")]);
        error("summary.json");
    }

    #[test]
    fn objects_come_from_the_table_or_the_outlines() {
        let dir = tempfile::tempdir().unwrap();
        place(dir.path(), &[("submission__0.5.csv", "id,predicted\na,1 1\n")]);
        let predictions = Predictions::read(dir.path()).unwrap();
        assert_eq!(predictions.objects("a").unwrap(), None);
        let outline = r#"{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": "Polygon",
            "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}, "properties": {"measurements":
            {"Object number": 7, "Area px^2": 1, "Mean probability": 0.75}}}]}"#;
        place(dir.path(), &[("predicts/objects/a.geojson", outline)]);
        let row = ObjectRow { number: 7, area_px: 1, mean_probability: 0.75 };
        assert_eq!(predictions.objects("a").unwrap(), Some(HashMap::from([(7, row)])));
        place(dir.path(), &[("predicts/objects/a.csv", "number,uuid,area_px,mean_probability\n1,x,9,0.5\n")]);
        let row = ObjectRow { number: 1, area_px: 9, mean_probability: 0.5 };
        assert_eq!(predictions.objects("a").unwrap(), Some(HashMap::from([(1, row)])));
        place(dir.path(), &[("predicts/objects/a.csv", "number,uuid,area_px\n1,x,9\n")]);
        assert!(predictions.objects("a").unwrap_err().to_string().contains("a.csv"));
    }
}
