use hubmap_data::Fault;
use hubmap_data::config::{DataGenConfig, FoldSource, ListedFold};
use hubmap_data::cuts::{Manifest, SlideFailure, generate};

use super::naive::truths;
use super::{LAYOUTS, config, tree, write_competition};

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
    let SlideFailure { slide, error, kind } = &report.failures[0];
    assert_eq!((slide.as_str(), *kind), ("bb22", Fault::Input));
    assert!(
        error.contains("train.csv: the encoding of slide bb22 does not describe a mask of 72x96"),
        "{error}"
    );
    assert!(report.folds.is_empty());
    assert!(Manifest::read(&output.join("SPLITS")).unwrap().is_none());
    assert_eq!(tree(&output.join("CUTS/glomi_x33_8/imgs/bb22")), before);

    let table = report.to_string();
    assert!(table.contains("failed: bb22: ") && table.contains("no splits written"), "{table}");

    std::fs::write(input.join("train/aa11.tiff"), "not a tiff").unwrap();
    let report = generate(&input, &output, &config(), &()).unwrap();
    let failure = &report.failures[0];
    assert!(failure.error.contains("aa11.tiff") && failure.kind == Fault::Input, "{failure:?}");
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
