//! A folder like the one that the competition ships.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use hubmap_files::write_whole;
use hubmap_io::Polygon;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::{FileFormat, SlideSpec, SyntheticSlide, write_slide};

/// What [`write_competition`] makes.
#[derive(Debug, Clone, PartialEq)]
pub struct CompetitionSpec {
    /// Slides with annotations.
    pub n_train: usize,
    /// Slides whose truth is kept apart.
    pub n_test: usize,
    /// What the slides are like; each gets a seed of its own, drawn from this one's.
    pub slide: SlideSpec,
    /// Formats of the files, one slide after the other, starting over at the end of the list.
    pub formats: Vec<FileFormat>,
}

/// Writes the folder of the competition with synthetic slides.
///
/// | File | What |
/// | --- | --- |
/// | `train/<id>.tiff`, `test/<id>.tiff` | slides |
/// | `train/<id>.json` | outlines of the glomeruli, an array of QuPath features |
/// | `{train,test}/<id>-anatomical-structure.json` | `Cortex` and `Medulla` |
/// | `train.csv` | `id,encoding`: the glomeruli as runs |
/// | `sample_submission.csv` | `id,predicted`, empty predictions |
/// | `truth.csv` | `id,encoding` of the test slides, which the real folder lacks |
/// | `HuBMAP-20-dataset_information.csv` | sizes, and empty columns about patients |
///
/// Masks in the tables are the annotated outlines rasterised by [`Mask::fill_polygon`], exactly.
/// The folder depends on the spec alone, not on the number of threads.
/// `progress(n_done, n_slides)` is called before the first slide and after each.
///
/// [`Mask::fill_polygon`]: hubmap_io::Mask::fill_polygon
pub fn write_competition(
    folder: &Path,
    spec: &CompetitionSpec,
    progress: &dyn Fn(usize, usize),
) -> Result<()> {
    ensure!(!spec.formats.is_empty(), "the list of file formats is empty");
    spec.slide.validate()?;
    let (train_ids, test_ids) = slide_ids(spec);
    let n_slides = train_ids.len() + test_ids.len();
    let mut tables = Tables::new();
    progress(0, n_slides);
    let all = train_ids.iter().map(|id| (true, id)).chain(test_ids.iter().map(|id| (false, id)));
    for (idx, (is_train, id)) in all.enumerate() {
        let split = folder.join(if is_train { "train" } else { "test" });
        fs::create_dir_all(&split).with_context(|| format!("{}: cannot create", split.display()))?;
        let slide = SyntheticSlide::new(SlideSpec {
            seed: ChaCha8Rng::seed_from_u64(spec.slide.seed).random::<u64>().wrapping_add(idx as u64),
            ..spec.slide.clone()
        })?;
        let format = spec.formats[idx % spec.formats.len()];
        write_slide(&split.join(format!("{id}.tiff")), &slide, format)?;
        if is_train {
            let features = slide.glomeruli().iter().map(|polygon| feature("glomerulus", -3_140_401, polygon));
            write_json(&split.join(format!("{id}.json")), features)?;
        }
        let structures =
            [feature("Cortex", -16_776_961, &slide.cortex()), feature("Medulla", -65_536, &slide.medulla())];
        write_json(&split.join(format!("{id}-anatomical-structure.json")), structures.into_iter())?;
        tables.add(id, is_train, &slide)?;
        progress(idx + 1, n_slides);
    }
    tables.write(folder)
}

/// The slides of the competition, in the order of its validation folds.
const TRAIN_IDS: [&str; 15] = [
    "0486052bb",
    "e79de561c",
    "2f6ecfcdf",
    "afa5e8098",
    "1e2425f28",
    "8242609fa",
    "cb2d976f4",
    "c68fe75ea",
    "095bf7a1f",
    "26dc41664",
    "4ef6695ce",
    "54f2eec69",
    "aaa6a05cc",
    "b2dc8411c",
    "b9a3865fc",
];

/// The public test slides of the competition.
const TEST_IDS: [&str; 5] = ["2ec3f1bb9", "3589adb90", "57512b7f1", "aa05346ff", "d488c759a"];

/// Names of the training and test slides: those of the competition, then random ones of the same kind.
fn slide_ids(spec: &CompetitionSpec) -> (Vec<String>, Vec<String>) {
    let mut rng = ChaCha8Rng::seed_from_u64(spec.slide.seed ^ 0x1d5);
    let mut taken: HashSet<String> = TRAIN_IDS.iter().chain(&TEST_IDS).map(|&id| id.to_owned()).collect();
    let mut draw = |known: &[&str], n: usize| {
        let mut ids: Vec<String> = known.iter().take(n).map(|&id| id.to_owned()).collect();
        while ids.len() < n {
            let id = format!("{:09x}", rng.random_range(0..1_u64 << 36));
            if taken.insert(id.clone()) {
                ids.push(id);
            }
        }
        ids
    };
    (draw(&TRAIN_IDS, spec.n_train), draw(&TEST_IDS, spec.n_test))
}

/// The tables of the folder, as text.
struct Tables {
    train: String,
    submission: String,
    truth: String,
    information: String,
}

impl Tables {
    fn new() -> Self {
        let information = "image_file,width_pixels,height_pixels,anatomical_structures_segmention_file,\
            glomerulus_segmentation_file,patient_number,race,ethnicity,sex,age,weight_kilograms,\
            height_centimeters,bmi_kg/m^2,laterality,percent_cortex,percent_medulla\n";
        Self {
            train: "id,encoding\n".to_owned(),
            submission: "id,predicted\n".to_owned(),
            truth: "id,encoding\n".to_owned(),
            information: information.to_owned(),
        }
    }

    fn add(&mut self, id: &str, is_train: bool, slide: &SyntheticSlide) -> std::fmt::Result {
        let size = slide.size();
        let (cortex, medulla) = (slide.cortex().area(), slide.medulla().area());
        let percent_cortex = (100.0 * cortex / (cortex + medulla)).round();
        let annotations = if is_train { format!("{id}.json") } else { String::new() };
        writeln!(
            self.information,
            "{id}.tiff,{},{},{id}-anatomical-structure.json,{annotations},,,,,,,,,,{percent_cortex},{}",
            size.width,
            size.height,
            100.0 - percent_cortex
        )?;
        if is_train {
            writeln!(self.train, "{id},{}", slide.rle())
        } else {
            writeln!(self.submission, "{id},")?;
            writeln!(self.truth, "{id},{}", slide.rle())
        }
    }

    fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot create", folder.display()))?;
        let files = [
            ("train.csv", &self.train),
            ("sample_submission.csv", &self.submission),
            ("truth.csv", &self.truth),
            ("HuBMAP-20-dataset_information.csv", &self.information),
        ];
        for (name, text) in files {
            replace_file(&folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

/// A feature in the form of QuPath 0.2, which the competition's annotations have.
fn feature(class: &str, color: i32, polygon: &Polygon) -> Value {
    let number = |v: f64| if v.fract() == 0.0 { json!(v as i64) } else { json!(v) };
    let ring = |ring: &[[f64; 2]]| {
        let closed = ring.iter().chain(ring.first());
        closed.map(|point| json!(point.map(number))).collect::<Value>()
    };
    json!({
        "type": "Feature",
        "id": "PathAnnotationObject",
        "geometry": { "type": "Polygon", "coordinates": polygon.rings().map(ring).collect::<Value>() },
        "properties": {
            "classification": { "name": class, "colorRGB": color },
            "isLocked": true,
            "measurements": [],
        },
    })
}

fn write_json(path: &Path, features: impl Iterator<Item = Value>) -> Result<()> {
    let text = serde_json::to_vec(&features.collect::<Value>())?;
    replace_file(path, &text)
}

/// Writes a file that appears under its name only when it is complete.
fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes).with_context(|| format!("{}: cannot write", path.display()))
}
