use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubmap_data::config::{DataGenConfig, FoldSource, ListedFold, ObjectPlace};
use hubmap_data::cut::CutKind;
use hubmap_data::cuts::{DataGenReport, Manifest, Progress, SlideFailure, generate};
use hubmap_data::sampler::{BackgroundCuts, BackgroundRule, PolygonCuts};
use hubmap_data::tile_file::{read_image, read_mask};
use hubmap_data::{Dataset, DatasetName};
use hubmap_io::{Compression, Layout, Size, TiffSpec, TiffWriter};
use ndarray::{Array2, Array3, s};
use tempfile::TempDir;

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

/// A slide as whole arrays.
struct Truth {
    id: &'static str,
    image: Array3<u8>,
    mask: Array2<bool>,
    /// Polygons of the features, holes not included.
    features: Vec<Vec<Vec<[f64; 2]>>>,
}

impl Truth {
    fn new(id: &'static str, width: usize, height: usize, features: Vec<Vec<Vec<[f64; 2]>>>) -> Self {
        let noise = |x: usize, y: usize, c: usize| {
            let mut h = (x * 0x9e37_79b1 + y * 0x85eb_ca6b + c * 0xc2b2_ae35 + id.len()) as u64;
            h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d_1234_5677);
            (h >> 40) as u8
        };
        let mut image = Array3::from_shape_fn((height, width, 3), |(y, x, c)| 60 + noise(x, y, c) % 130);
        // Columns of bright glass and of black, so that the grid has background of both kinds.
        image.slice_mut(s![.., ..WINDOW + 3, ..]).fill(230);
        image.slice_mut(s![height - 30.., .., ..]).fill(2);
        let mask =
            Array2::from_shape_fn((height, width), |(y, x)| (x / 7 + y / 5) % 3 == 0 && noise(x, y, 3) > 20);
        Self { id, image, mask, features }
    }

    fn size(&self) -> Size {
        Size::new(self.image.dim().1 as u32, self.image.dim().0 as u32)
    }

    fn pixel(&self, x: i64, y: i64) -> ([u8; 3], u8) {
        let inside =
            (0..i64::from(self.size().width)).contains(&x) && (0..i64::from(self.size().height)).contains(&y);
        if !inside {
            return ([0; 3], 0);
        }
        let (x, y) = (x as usize, y as usize);
        (std::array::from_fn(|c| self.image[[y, x, c]]), if self.mask[[y, x]] { 255 } else { 0 })
    }

    fn encoding(&self) -> String {
        let column_major = self.mask.t().iter().copied().collect::<Vec<_>>();
        let mut text = String::new();
        let mut start = 0;
        for run in column_major.chunk_by(|a, b| a == b) {
            if run[0] {
                write!(text, "{} {} ", start + 1, run.len()).unwrap();
            }
            start += run.len();
        }
        text
    }

    fn geojson(&self) -> String {
        let features = self.features.iter().map(|polygons| {
            let rings = polygons.iter().map(|polygon| {
                let closed = polygon.iter().chain(polygon.first()).collect::<Vec<_>>();
                serde_json::json!([closed])
            });
            let rings = rings.collect::<Vec<_>>();
            let geometry = match rings.as_slice() {
                [one] => serde_json::json!({"type": "Polygon", "coordinates": one}),
                all => serde_json::json!({"type": "MultiPolygon", "coordinates": all}),
            };
            serde_json::json!({"type": "Feature", "geometry": geometry, "properties": {}})
        });
        serde_json::Value::Array(features.collect()).to_string()
    }

    /// The tile whose window starts at `(x0, y0)`, from the definition.
    fn tile(&self, x0: i64, y0: i64, average_mask: bool) -> (Array3<u8>, Array2<u8>) {
        let cell = |x: usize, y: usize| {
            (0..SCALE * SCALE).map(move |i| {
                self.pixel(x0 + (x * SCALE + i % SCALE) as i64, y0 + (y * SCALE + i / SCALE) as i64)
            })
        };
        let mean = |values: &mut dyn Iterator<Item = u8>| {
            (values.map(f64::from).sum::<f64>() / (SCALE * SCALE) as f64).round() as u8
        };
        let image =
            Array3::from_shape_fn((TILE, TILE, 3), |(y, x, c)| mean(&mut cell(x, y).map(|(rgb, _)| rgb[c])));
        let mask = Array2::from_shape_fn((TILE, TILE), |(y, x)| {
            if average_mask { mean(&mut cell(x, y).map(|(_, m)| m)) } else { cell(x, y).next().unwrap().1 }
        });
        (image, mask)
    }

    fn object_corners(&self) -> Vec<(i64, i64)> {
        let half = (WINDOW / 2) as i64;
        // Python's round: halves to even.
        let round = |v: f64| {
            let floor = v.floor();
            match (v - floor).total_cmp(&0.5) {
                std::cmp::Ordering::Less => floor as i64,
                std::cmp::Ordering::Equal => floor as i64 + (floor as i64).rem_euclid(2),
                std::cmp::Ordering::Greater => floor as i64 + 1,
            }
        };
        self.features
            .iter()
            .flatten()
            .map(|polygon| area_centroid(polygon))
            .map(|[x, y]| (round(x) - half, round(y) - half))
            .collect()
    }

    fn is_background(&self, x0: i64, y0: i64) -> bool {
        let pixels = (0..WINDOW * WINDOW)
            .map(|i| self.pixel(x0 + (i % WINDOW) as i64, y0 + (i / WINDOW) as i64).0.map(f64::from))
            .collect::<Vec<_>>();
        let values = pixels.as_flattened();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        let dark =
            pixels.iter().filter(|p| p.iter().sum::<f64>() / 3.0 < 10.0).count() as f64 / pixels.len() as f64;
        mean < 10.0 || (mean > 205.0 && std < 20.0) || dark > 0.1
    }

    fn grid_corners(&self) -> Vec<(i64, i64)> {
        let Size { width, height } = self.size();
        let starts = |side: u32| (0..i64::from(side)).step_by(WINDOW);
        starts(height).flat_map(|y| starts(width).map(move |x| (x, y))).collect()
    }
}

/// By triangles from the first vertex.
fn area_centroid(polygon: &[[f64; 2]]) -> [f64; 2] {
    let origin = polygon[0];
    let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
    for pair in polygon[1..].windows(2) {
        let [a, b] = [pair[0], pair[1]].map(|p| [p[0] - origin[0], p[1] - origin[1]]);
        let twice = a[0] * b[1] - b[0] * a[1];
        area += twice;
        x += twice * (a[0] + b[0]) / 3.0;
        y += twice * (a[1] + b[1]) / 3.0;
    }
    [origin[0] + x / area, origin[1] + y / area]
}

fn truths() -> Vec<Truth> {
    let square = |x: f64, y: f64, side: f64| vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]];
    let first = vec![
        // Window over the top-left corner of the slide, centroid at halves.
        vec![square(0.0, 0.0, 5.0)],
        // Fractional and not convex.
        vec![vec![[30.3, 20.7], [50.9, 22.2], [47.1, 44.8], [39.6, 30.1], [31.2, 41.4]]],
        // Two parts, the second over the bottom-right corner.
        vec![square(40.0, 50.0, 9.0), square(95.0, 80.0, 6.0)],
    ];
    vec![
        Truth::new("aa11", 103, 89, first),
        Truth::new("bb22", 72, 96, vec![vec![square(20.25, 30.5, 10.0)]]),
        Truth::new("cc33", 50, 130, Vec::new()),
    ]
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

#[test]
fn tiles_equal_the_computation_on_whole_images_for_every_layout() {
    for rotation in 0..LAYOUTS.len() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        let mut layouts = LAYOUTS;
        layouts.rotate_left(rotation);
        write_competition(&input, &truths(), &layouts);
        let report = generate(&input, &output, &config(), &()).unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        for (truth, slide) in truths().iter().zip(&report.slides) {
            check_objects(truth, &output);
            let n_kept = check_grid(truth, &output);
            check_big_mask(truth, &output);
            assert_eq!(slide.slide, truth.id);
            assert_eq!(slide.size, truth.size());
            assert_eq!(slide.n_objects, truth.object_corners().len());
            assert_eq!(slide.n_grid_kept, n_kept);
            assert_eq!(slide.n_background_skipped, truth.grid_corners().len() - n_kept);
            assert_eq!(slide.n_positive_px, truth.mask.iter().filter(|&&set| set).count() as u64);
        }
    }
}

fn check_tile(cuts: &Path, truth: &Truth, idx: usize, expected: &(Array3<u8>, Array2<u8>)) {
    let file = format!("{}/{idx:06}.png", truth.id);
    assert_eq!(read_image(&cuts.join("imgs").join(&file)).unwrap(), expected.0, "{file}");
    assert_eq!(read_mask(&cuts.join("masks").join(&file)).unwrap(), expected.1, "{file}");
}

fn check_objects(truth: &Truth, output: &Path) {
    let cuts = output.join("CUTS/glomi_x33_8");
    let corners = truth.object_corners();
    for (idx, &(x, y)) in corners.iter().enumerate() {
        check_tile(&cuts, truth, idx, &truth.tile(x, y, true));
    }
    assert_eq!(names_in(&cuts.join("imgs").join(truth.id)).len(), corners.len());
    assert_eq!(names_in(&cuts.join("masks").join(truth.id)).len(), corners.len());
}

/// Returns how many tiles were kept.
fn check_grid(truth: &Truth, output: &Path) -> usize {
    let cuts = output.join("CUTS/grid_x33_8");
    let kept = names_in(&cuts.join("imgs").join(truth.id));
    assert_eq!(kept, names_in(&cuts.join("masks").join(truth.id)));
    let (mut n_background, mut n_kept_background) = (0, 0);
    for (idx, (x, y)) in truth.grid_corners().into_iter().enumerate() {
        let is_kept = kept.contains(&format!("{idx:06}.png"));
        if truth.is_background(x, y) {
            n_background += 1;
            n_kept_background += usize::from(is_kept);
        } else {
            assert!(is_kept, "{} {idx}", truth.id);
        }
        if is_kept {
            check_tile(&cuts, truth, idx, &truth.tile(x, y, false));
        }
    }
    assert!(n_kept_background < n_background, "{n_kept_background} of {n_background}");
    assert!(n_background < truth.grid_corners().len());
    kept.len()
}

fn check_big_mask(truth: &Truth, output: &Path) {
    let mask = hubmap_io::open(&output.join(format!("bigmasks/{}.tiff", truth.id))).unwrap();
    assert_eq!((mask.size(), mask.bands()), (truth.size(), 1));
    let pixels = mask.read(truth.size().window()).unwrap();
    assert_eq!(pixels.slice(s![.., .., 0]).mapv(|value| value > 0), truth.mask);
}

#[test]
fn splits_hold_each_slide_on_one_side_of_each_fold() {
    let (folder, report) = generated(&config());
    assert_eq!(report.folds, ["aa", "bb"]);
    let splits = folder.path().join("out/SPLITS");
    for (kind, split) in [("glomi", "glomi_split"), ("grid", "grid_split")] {
        for (fold, side, slides) in [
            ("aa", "train", &["bb22", "cc33"][..]),
            ("aa", "val", &["aa11"]),
            ("bb", "train", &["aa11", "cc33"]),
            ("bb", "val", &["bb22"]),
        ] {
            for part in ["imgs", "masks"] {
                let from = tree(&folder.path().join(format!("out/CUTS/{kind}_x33_8/{part}")));
                let to = tree(&splits.join(split).join(fold).join(side).join(part));
                let expected = from
                    .into_iter()
                    .filter(|(name, _)| slides.iter().any(|slide| name.starts_with(slide)))
                    .collect::<BTreeMap<_, _>>();
                assert_eq!(to, expected);
            }
        }
    }
    let manifest = Manifest::read(&splits).unwrap().unwrap();
    assert_eq!((manifest.scale, manifest.tile_px), (3, 8));
    assert_eq!(manifest.folds[1].valid, ["bb22"]);

    let train = Dataset::open(&splits, &"train_aa_33".parse::<DatasetName>().unwrap()).unwrap();
    assert_eq!(train.tile(0).name, "train_aa_33/bb22/000000");
    assert_eq!(train.read(0).unwrap().size(), Size::new(8, 8));
    let error =
        Dataset::open(&splits, &"grid_aa_44".parse::<DatasetName>().unwrap()).unwrap_err().to_string();
    assert!(error.contains("scale 4") && error.contains("scale 3"), "{error}");
}

#[cfg(unix)]
#[test]
fn splits_share_the_files_of_the_cuts() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (folder, _) = generated(&config());
    let meta = |path: &str| std::fs::metadata(folder.path().join("out").join(path)).unwrap();
    let cut = meta("CUTS/glomi_x33_8/imgs/aa11/000000.png");
    assert_eq!(cut.ino(), meta("SPLITS/glomi_split/aa/val/imgs/aa11/000000.png").ino());
    assert_eq!(cut.nlink(), 3);
    assert_eq!(cut.permissions().mode() & 0o400, 0o400);
}

#[test]
fn output_does_not_depend_on_threads_and_a_second_run_replaces_the_first() {
    let on_threads = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| generated(&config()).0)
    };
    let (one, four) = (on_threads(1), on_threads(4));
    let reference = tree(&one.path().join("out"));
    assert_eq!(reference, tree(&four.path().join("out")));
    assert!(reference.keys().all(|name| !name.contains(".partial")));

    // Stale tiles, stale folds and the remains of a killed run go away.
    let output = one.path().join("out");
    for stale in [
        "CUTS/glomi_x33_8/imgs/aa11/000099.png",
        "CUTS/glomi_x33_8/.aa11.partial/imgs/000000.png",
        "SPLITS/glomi_split/old/train/imgs/aa11/000000.png",
    ] {
        std::fs::create_dir_all(output.join(stale).parent().unwrap()).unwrap();
        std::fs::write(output.join(stale), "stale").unwrap();
    }
    generate(&one.path().join("in"), &output, &config(), &()).unwrap();
    assert_eq!(tree(&output), reference);
}

#[test]
fn a_slide_that_cannot_be_read_is_reported_and_the_others_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    generate(&input, &output, &config(), &()).unwrap();
    let before = tree(&output.join("CUTS/glomi_x33_8/imgs/bb22"));

    let table = std::fs::read_to_string(input.join("train.csv")).unwrap();
    let too_long = table.replace("bb22,", "bb22,1 99999 ").replace(&truths()[1].encoding(), "");
    std::fs::write(input.join("train.csv"), too_long).unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert_eq!(report.slides.iter().map(|slide| slide.slide.as_str()).collect::<Vec<_>>(), ["aa11", "cc33"]);
    let SlideFailure { slide, error } = &report.failures[0];
    assert_eq!(slide, "bb22");
    assert!(
        error.contains("train.csv: the encoding of slide bb22 does not describe a mask of 72x96"),
        "{error}"
    );
    assert!(report.folds.is_empty());
    assert!(Manifest::read(&output.join("SPLITS")).unwrap().is_none());
    assert_eq!(tree(&output.join("CUTS/glomi_x33_8/imgs/bb22")), before);

    let table = report.to_string();
    assert!(
        table.starts_with(
            "slide           size  objects  grid tiles  background  positive px\naa11          103x89        4"
        ),
        "{table}"
    );
    assert!(table.contains("failed: bb22: ") && table.contains("no splits written"), "{table}");

    std::fs::write(input.join("train/aa11.tiff"), "not a tiff").unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    assert!(report.failures[0].error.contains("aa11.tiff"));
}

/// Asks to stop after some tiles.
struct StopAfter {
    n_steps: usize,
    done: AtomicUsize,
}

impl Progress for StopAfter {
    fn begin(&self, _task: &str, _n_steps: u64) {}

    fn advance(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.n_steps
    }
}

#[test]
fn a_cancelled_run_leaves_whole_slides_and_no_splits() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    // The first slide has 4 objects and 20 windows of the grid.
    let progress = StopAfter { n_steps: 30, done: AtomicUsize::new(0) };
    let error = generate(&input, &output, &config(), &progress).unwrap_err().to_string();
    assert!(error.contains("cancelled"), "{error}");
    assert_eq!(names_in(&output.join("CUTS/glomi_x33_8/imgs/aa11")).len(), 4);
    let names = tree(&output);
    assert!(names.keys().all(|name| !name.contains(".partial") && !name.contains("imgs/bb22")));
    assert!(!output.join("SPLITS/manifest.json").exists());
}

#[test]
fn wrong_configurations_fail_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    let refused = |config: DataGenConfig| {
        let error = format!("{:#}", generate(&input, &output, &config, &()).unwrap_err());
        assert!(!output.exists());
        error
    };
    let unknown = vec![ListedFold { name: "x".into(), valid: vec!["0486052bb".into()] }];
    assert!(refused(DataGenConfig { listed_folds: unknown, ..config() }).contains("slide 0486052bb"));
    assert!(
        refused(DataGenConfig { listed_folds: Vec::new(), ..config() }).contains("listed_folds is empty")
    );
    assert!(refused(DataGenConfig { scale: 0, ..config() }).contains("data_gen.scale"));
    assert!(refused(DataGenConfig { tile_px: u32::MAX, ..config() }).contains("a window of more than"));
    let mut background = config().background;
    background.keep_probability = -0.1;
    assert!(refused(DataGenConfig { background, ..config() }).contains("keep_probability"));
    let drawn = DataGenConfig { folds: FoldSource::Drawn, n_drawn_folds: 4, ..config() };
    assert!(refused(drawn).contains("cannot draw 4 folds from 3 slides"));
}

#[test]
fn folders_of_other_scales_are_named_after_them() {
    let config = DataGenConfig { scale: 10, tile_px: 16, ..config() };
    assert_eq!(config.cuts_suffix(), "x1010_16");
    assert_eq!(DataGenConfig { scale: 3, tile_px: 1024, ..config }.cuts_suffix(), "x33_1024");
}
