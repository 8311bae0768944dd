//! Means of several runs: against numpy (`tests/fixtures/ensemble`), and what is refused.

use std::path::{Path, PathBuf};

use half::f16;
use hubmap_infer::{
    Ensemble, Interrupted, NpyReader, NpyWriter, OutputKind, OutputPlan, PostprocessConfig, Progress,
    RowSink as _, SlideInput, find_slides, run_slides,
};
use hubmap_io::Size;
use hubmap_test_support::fixture;
use ndarray::{Array2, Array3, Axis};

use crate::files::{files_below, write_slide};

/// Slides of the sizes of the fixture, and its three runs.
fn fixture_runs() -> (tempfile::TempDir, Vec<SlideInput>, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    write_slide(&folder.path().join("a.tiff"), &Array3::zeros((70, 90, 3)), Some(0.5));
    write_slide(&folder.path().join("b.tiff"), &Array3::zeros((41, 33, 3)), None);
    let slides = find_slides(&[folder.path().into()]).unwrap();
    let runs = (0..3).map(|i| fixture(&format!("ensemble/run_{i}"))).collect();
    (folder, slides, runs)
}

fn plan(folder: &Path, kinds: &[OutputKind]) -> OutputPlan {
    OutputPlan {
        folder: folder.to_owned(),
        kinds: kinds.to_vec(),
        order: Vec::new(),
        reuse_finished: true,
        part: None,
        scratch: None,
    }
}

fn average(
    ensemble: &Ensemble,
    slides: &[SlideInput],
    threshold: f32,
    plan: &OutputPlan,
) -> hubmap_infer::Summary {
    ensemble.check(slides).unwrap();
    let spec = ensemble.run_spec(threshold, PostprocessConfig::OFF);
    run_slides(&mut [ensemble.clone()], &spec, slides, plan, &()).unwrap()
}

#[test]
fn means_are_those_of_numpy() {
    let (_folder, slides, runs) = fixture_runs();
    for (name, weights) in [("mean", None), ("weighted", Some(vec![1.0, 0.5, 2.25]))] {
        let ensemble = Ensemble::new(runs.clone(), weights).unwrap();
        for threshold in [0.5, 0.3] {
            let out = tempfile::tempdir().unwrap();
            let plan = plan(out.path(), &[OutputKind::Rle, OutputKind::Npy]);
            let summary = average(&ensemble, &slides, threshold, &plan);
            assert_eq!((summary.slides.len(), summary.n_models), (2, 3));
            let table = std::fs::read_to_string(plan.submission(threshold)).unwrap();
            let expected =
                std::fs::read_to_string(fixture(&format!("ensemble/{name}__{threshold}.csv"))).unwrap();
            assert!(table == expected, "{name} at {threshold}");
            let map = |path: &Path| NpyReader::open(path).unwrap().read_rows(0, 70).unwrap();
            let ours = map(&plan.path(OutputKind::Npy, "a"));
            assert!(ours == map(&fixture(&format!("ensemble/{name}_a.npy"))), "{name}");
        }
    }
}

#[test]
fn maps_of_8_bits_are_averaged_where_there_are_no_others() {
    let (_folder, slides, runs) = fixture_runs();
    let (levels, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Ensemble::new(runs[..2].to_vec(), None).unwrap();
    average(&first, &slides, 0.5, &plan(levels.path(), &[OutputKind::Probability]));
    let mixed = Ensemble::new(vec![runs[2].clone(), levels.path().to_owned()], None).unwrap();
    let plan = plan(out.path(), &[OutputKind::Npy]);
    average(&mixed, &slides, 0.5, &plan);

    let tiff = hubmap_io::open(&levels.path().join("predicts/probabilities/a.tiff")).unwrap();
    let levels = tiff.read(tiff.size().window()).unwrap().index_axis_move(Axis(2), 0);
    let map = |path: &Path| NpyReader::open(path).unwrap().read_rows(0, 70).unwrap();
    let half = map(&runs[2].join("predicts/raw/a.npy"));
    let mean = map(&plan.path(OutputKind::Npy, "a"));
    for ((&mean, &half), &level) in mean.iter().zip(&half).zip(&levels) {
        assert_eq!(mean, f16::from_f32(f32::midpoint(half.to_f32(), f32::from(level) / 255.0)));
    }
}

/// A run with a map of one slide.
fn write_run(folder: &Path, id: &str, map: &Array2<f16>) {
    let path = folder.join(format!("predicts/raw/{id}.npy"));
    let mut writer = NpyWriter::create(&path, Size::new(map.ncols() as u32, map.nrows() as u32)).unwrap();
    writer.write_rows(0, map).unwrap();
    writer.finish().unwrap().commit().unwrap();
}

#[test]
fn large_maps_are_averaged_band_by_band() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // 8 million pixels, more than one band.
    let (width, height) = (4096, 2053);
    let map = |step: usize| {
        Array2::from_shape_fn((height, width), |(y, x)| {
            f16::from_f32(((y * step + y / 512 + x) % 64) as f32 / 64.0)
        })
    };
    let (a, b) = (map(3), map(7));
    write_run(&path("one"), "s", &a);
    write_run(&path("two"), "s", &b);
    write_slide(&path("s.tiff"), &Array3::zeros((height, width, 3)), None);
    let slides = find_slides(&[path("s.tiff").into()]).unwrap();
    let ensemble = Ensemble::new(vec![path("one"), path("two")], None).unwrap();
    let plan = plan(&path("out"), &[OutputKind::Npy]);
    let summary = average(&ensemble, &slides, 0.5, &plan);
    assert!(summary.slides[0].n_blocks > 1);
    let mean =
        NpyReader::open(&plan.path(OutputKind::Npy, "s")).unwrap().read_rows(0, height as u32).unwrap();
    // Sums of 64ths, and their halves, are exact.
    let is_mean = |((&mean, &a), &b): ((&f16, &f16), &f16)| {
        mean == f16::from_f32(f32::midpoint(a.to_f32(), b.to_f32()))
    };
    assert!(mean.iter().zip(&a).zip(&b).all(is_mean));
}

#[test]
fn slides_that_are_not_everywhere_are_listed() {
    let (_folder, slides, mut runs) = fixture_runs();
    let other = tempfile::tempdir().unwrap();
    write_run(other.path(), "a", &Array2::from_elem((70, 91), f16::ZERO));
    runs.push(other.path().to_owned());
    let ensemble = Ensemble::new(runs, None).unwrap();
    let error = ensemble.check(&slides).unwrap_err().to_string();
    let other = other.path().display();
    for part in [format!("{other} lacks b"), format!("{other} has a with 91x70 instead of 90x70 px")] {
        assert!(error.contains(&part), "{part} is not in {error}");
    }
    assert_eq!(error.matches("; ").count(), 1, "{error}");
}

#[test]
fn what_is_no_ensemble_is_refused() {
    let (_folder, _, runs) = fixture_runs();
    let message = |runs: &[PathBuf], weights: Option<Vec<f32>>| {
        Ensemble::new(runs.to_vec(), weights).unwrap_err().to_string()
    };
    assert!(message(&runs[..1], None).contains("two runs or more"));
    assert!(message(&runs, Some(vec![1.0, 2.0])).contains("2 weights for 3 runs"));
    for weights in [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, f32::NAN, 1.0], [f32::INFINITY, 1.0, 1.0]] {
        assert!(message(&runs, Some(weights.to_vec())).contains("weights ["), "{weights:?}");
    }
    assert!(message(&[runs[0].clone(), runs[0].clone()], None).contains("named twice"));
    let empty = tempfile::tempdir().unwrap();
    let text = message(&[runs[0].clone(), empty.path().to_owned()], None);
    assert!(text.contains("neither predicts/raw nor predicts/probabilities"), "{text}");
}

#[test]
fn an_interrupted_ensemble_leaves_no_files_of_the_slide() {
    struct Stopped;
    impl Progress for Stopped {
        fn interrupted(&self) -> bool {
            true
        }
    }
    let (_folder, slides, runs) = fixture_runs();
    let out = tempfile::tempdir().unwrap();
    let mut ensemble = Ensemble::new(runs, None).unwrap();
    let spec = ensemble.run_spec(0.5, PostprocessConfig::OFF);
    let plan = plan(out.path(), &OutputKind::ALL);
    let error = run_slides(std::slice::from_mut(&mut ensemble), &spec, &slides, &plan, &Stopped).unwrap_err();
    assert!(error.is::<Interrupted>());
    assert_eq!(files_below(out.path()), ["predicts/.lock"]);
}

#[test]
fn slides_are_averaged_again_when_a_map_or_a_weight_changes() {
    let (_folder, slides, runs) = fixture_runs();
    let (own, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (id, size) in [("a", (70, 90)), ("b", (41, 33))] {
        write_run(own.path(), id, &Array2::from_elem(size, f16::ONE));
    }
    let plan = plan(out.path(), &[OutputKind::Rle]);
    let reused = |weights: [f32; 2]| {
        let runs = vec![runs[0].clone(), own.path().to_owned()];
        let ensemble = Ensemble::new(runs, Some(weights.to_vec())).unwrap();
        let summary = average(&ensemble, &slides, 0.5, &plan);
        summary.slides.iter().map(|slide| slide.reused).collect::<Vec<_>>()
    };
    assert_eq!(reused([1.0, 1.0]), [false, false]);
    assert_eq!(reused([1.0, 1.0]), [true, true]);
    write_run(own.path(), "b", &Array2::from_elem((41, 33), f16::ZERO));
    assert_eq!(reused([1.0, 1.0]), [true, false]);
    assert_eq!(reused([1.0, 2.0]), [false, false]);
}
