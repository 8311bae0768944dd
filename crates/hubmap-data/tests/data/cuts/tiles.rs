use std::path::Path;

use hubmap_data::Competition;
use hubmap_data::config::{DataGenConfig, FoldSource};
use hubmap_data::cut::CutKind;
use hubmap_data::cuts::generate;
use hubmap_data::tile_file::{read_image, read_mask};
use hubmap_io::Size;
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec};
use ndarray::{Array2, Array3, s};

use super::naive::{Truth, truths};
use super::{LAYOUTS, config, names_in, write_competition};

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
            assert_eq!(slide.n_kept(CutKind::Objects), truth.object_corners().len());
            assert_eq!(slide.n_kept(CutKind::Grid), n_kept);
            assert_eq!(slide.n_skipped(), truth.grid_corners().len() - n_kept);
            assert_eq!(slide.n_positive_px, truth.mask.iter().filter(|&&set| set).count() as u64);
        }
    }
}

#[test]
fn tiles_of_synthetic_slides_equal_the_computation_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let formats = FileFormat::all();
    // Strips and planes, odd sides, and objects whose windows leave the slide.
    let slide = SlideSpec { scale: 0.05, ..SlideSpec::new(Size::new(251, 197), 3) };
    let spec = CompetitionSpec { n_train: formats.len(), n_test: 0, slide, formats };
    hubmap_synth::write_competition(&input, &spec, &|_, _| ()).unwrap();
    for id in Competition::open(&input).unwrap().train_ids() {
        add_parted_object(&input.join(format!("train/{id}.json")));
    }
    let config = DataGenConfig { folds: FoldSource::Drawn, ..config() };
    let report = generate(&input, &output, &config, &()).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.slides.len(), 20);
    let (mut n_objects, mut n_outside, mut n_grey) = (0, 0, 0);
    for slide in &report.slides {
        let truth = Truth::read(&input, &slide.slide);
        check_objects(&truth, &output);
        assert_eq!(slide.n_kept(CutKind::Grid), check_grid(&truth, &output));
        check_big_mask(&truth, &output);
        n_objects += truth.object_corners().len();
        for (x, y) in truth.object_corners() {
            let (right, bottom) = (i64::from(truth.size().width), i64::from(truth.size().height));
            let side = super::WINDOW as i64;
            n_outside += usize::from(x < 0 || y < 0 || x + side > right || y + side > bottom);
            n_grey += truth.tile(x, y, true).1.iter().filter(|level| !matches!(level, 0 | 255)).count();
        }
    }
    assert!(n_objects > 100 && n_outside >= 40 && n_grey > 1000, "{n_objects} {n_outside} {n_grey}");
}

/// Adds an object of two parts with fractional vertices, whose windows leave the slide at opposite corners.
fn add_parted_object(path: &Path) {
    let part =
        |x: f64, y: f64| [[[x, y], [x + 7.3, y + 0.4], [x + 4.9, y + 6.7], [x + 3.1, y + 2.2], [x, y]]];
    let parts = [part(-1.5, 0.25), part(246.7, 190.1)];
    let geometry = serde_json::json!({"type": "MultiPolygon", "coordinates": parts});
    let mut features: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    features.as_array_mut().unwrap().push(serde_json::json!({
        "type": "Feature", "geometry": geometry, "properties": {}
    }));
    std::fs::write(path, features.to_string()).unwrap();
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
    assert_eq!(names_in(&cuts.join("imgs").join(&truth.id)).len(), corners.len());
    assert_eq!(names_in(&cuts.join("masks").join(&truth.id)).len(), corners.len());
}

/// Returns how many tiles were kept.
fn check_grid(truth: &Truth, output: &Path) -> usize {
    let cuts = output.join("CUTS/grid_x33_8");
    let kept = names_in(&cuts.join("imgs").join(&truth.id));
    assert_eq!(kept, names_in(&cuts.join("masks").join(&truth.id)));
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
