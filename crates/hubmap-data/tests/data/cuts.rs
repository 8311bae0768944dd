//! Data generation on small competition folders.

// Tiles by the definition.
mod naive;
// Tiles and masks against the definition.
mod tiles;
// Folds by slides and by tiles.
mod splits;
// What a second run does, after a change, a stop, or damage.
mod again;
// Slides and settings that do not work.
mod failures;
// What is there, and told, in the middle of a run.
mod under_way;
// A part of the slides in each of several jobs.
mod parts;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use hubmap_data::config::{DataGenConfig, FoldSource, ListedFold, ObjectPlace};
use hubmap_data::cut::CutKind;
use hubmap_data::cuts::{DataGenReport, generate};
use hubmap_data::sampler::{BackgroundCuts, BackgroundRule, PolygonCuts};
use hubmap_io::{Compression, Layout, TiffSpec, TiffWriter};
use tempfile::TempDir;

use naive::{Truth, truths};

const SCALE: usize = 3;
const TILE: usize = 8;
const WINDOW: usize = SCALE * TILE;

fn config() -> DataGenConfig {
    DataGenConfig {
        scale: SCALE as u32,
        tile_px: TILE as u32,
        seed: 5,
        kinds: vec![CutKind::Objects, CutKind::Grid],
        objects_in: ObjectPlace::Anywhere,
        cortex_labels: vec!["Cortex".into()],
        folds: FoldSource::Listed,
        n_drawn_folds: 2,
        listed_folds: vec![
            ListedFold { name: "aa".into(), valid: vec!["aa11".into()] },
            ListedFold { name: "bb".into(), valid: vec!["bb22".into()] },
        ],
        valid_fraction: 0.25,
        valid_polygons_dir: std::path::PathBuf::new(),
        background: BackgroundRule {
            dark_tile_mean: 10.0,
            bright_tile_mean: 205.0,
            flat_tile_std: 20.0,
            dark_pixel_mean: 10.0,
            max_dark_fraction: 0.1,
            keep_probability: 0.3,
        },
        background_cuts: BackgroundCuts { per_slide: 5, max_trials: 10, object_area_step: 0.05 },
        polygon_cuts: PolygonCuts { per_slide: 5, labels: vec!["Medulla".into()] },
    }
}

fn write_competition(dir: &Path, truths: &[Truth], layouts: &[(Layout, Compression)]) {
    std::fs::create_dir_all(dir.join("train")).unwrap();
    let mut table = "id,encoding\n".to_owned();
    for (truth, &(layout, compression)) in truths.iter().zip(layouts.iter().cycle()) {
        let spec =
            TiffSpec { layout, compression, predictor: false, big: false, ..TiffSpec::rgb(truth.size()) };
        let mut writer = TiffWriter::create(&dir.join(format!("train/{}.tiff", truth.id)), spec).unwrap();
        writer.write_rows(&truth.image).unwrap();
        writer.finish().unwrap();
        std::fs::write(dir.join(format!("train/{}.json", truth.id)), truth.geojson()).unwrap();
        writeln!(table, "{},{}", truth.id, truth.encoding()).unwrap();
    }
    std::fs::write(dir.join("train.csv"), table).unwrap();
}

const LAYOUTS: [(Layout, Compression); 4] = [
    (Layout::Tiled { tile: 16, planar: false }, Compression::Deflate),
    (Layout::Strips { rows: 7, planar: true }, Compression::Lzw),
    (Layout::Pages { tile: 32 }, Compression::Zstd),
    (Layout::Strips { rows: 16, planar: false }, Compression::None),
];

fn generated(config: &DataGenConfig) -> (TempDir, DataGenReport) {
    let folder = tempfile::tempdir().unwrap();
    write_competition(&folder.path().join("in"), &truths(), &LAYOUTS);
    let report = generate(&folder.path().join("in"), &folder.path().join("out"), config, &()).unwrap();
    (folder, report)
}

/// Every file below a folder with its content, folders included.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().replace('\\', "/");
            if path.is_dir() {
                files.insert(format!("{name}/"), Vec::new());
                pending.push(path);
            } else {
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn names_in(dir: &Path) -> Vec<String> {
    tree(dir).into_keys().filter(|name| !name.contains('/')).collect()
}
