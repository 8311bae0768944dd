use hubmap_data::config::{DataConfig, DataGenConfig};
use hubmap_data::cut::CutKind;
use hubmap_data::cuts::generate;
use hubmap_data::tile_file::read_mask;
use hubmap_data::{DataSource, Loader, LoaderConfig, Shard};
use hubmap_io::Size;
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec, write_competition};

#[test]
fn a_competition_folder_becomes_the_batches_of_every_fold() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("HUBMAP"), folder.path());
    let slide = SlideSpec { scale: 0.125, ..SlideSpec::new(Size::new(900, 700), 3) };
    let formats = FileFormat::all();
    // Eight slides have the names of the validation slides in the default folds.
    write_competition(&input, &CompetitionSpec { n_train: 8, n_test: 1, slide, formats }, &|_, _| ())
        .unwrap();

    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    let data_gen: DataGenConfig = base["data_gen"].clone().try_into().unwrap();
    let data_gen = DataGenConfig { tile_px: 48, ..data_gen };
    let report = generate(&input, output, &data_gen, &()).unwrap();
    assert!(report.failures.is_empty(), "{report}");
    assert_eq!(
        report.folds.iter().map(|fold| fold.name.as_str()).collect::<Vec<_>>(),
        ["0e", "2a", "18", "cc"]
    );
    for slide in &report.slides {
        assert!(
            slide.n_objects > 0 && slide.n_kept(CutKind::Grid) > 0 && slide.n_positive_px > 0,
            "{report}"
        );
        for tile_idx in 0..slide.n_objects {
            let path = output.join(format!("CUTS/glomi_x33_48/masks/{}/{tile_idx:06}.png", slide.slide));
            assert_eq!(
                read_mask(&path).unwrap()[[24, 24]],
                255,
                "{} has its object elsewhere",
                path.display()
            );
        }
    }

    let data: DataConfig = base["data"].clone().try_into().unwrap();
    let data = DataConfig {
        splits_dir: output.join("SPLITS"),
        crop_px: 32,
        preload_valid: true,
        slide_weights: [("0486052bb".to_owned(), 3.0)].into(),
        ..data
    };
    let source = DataSource::open(&data, &data_gen, &()).unwrap();
    let n_objects = |slides: &[&str]| {
        let chosen = report.slides.iter().filter(|report| slides.contains(&report.slide.as_str()));
        chosen.map(|report| report.n_objects).sum::<usize>()
    };
    for (fold_idx, valid_slides) in [
        ["0486052bb", "e79de561c"],
        ["2f6ecfcdf", "afa5e8098"],
        ["1e2425f28", "8242609fa"],
        ["cb2d976f4", "c68fe75ea"],
    ]
    .into_iter()
    .enumerate()
    {
        let fold = source.fold(fold_idx).unwrap();
        assert_eq!(fold.valid.len(), n_objects(&valid_slides));
        let draws = fold.train.draws(0, 0);
        let n_hard = draws.iter().filter(|draw| fold.train.tile(draw.tile_idx).slide == "0486052bb").count();
        let hard = report.slides.iter().find(|report| report.slide == "0486052bb").unwrap();
        let n_expected = if fold_idx == 0 { 0 } else { 3 * (hard.n_objects + hard.n_kept(CutKind::Grid)) };
        assert_eq!(n_hard, n_expected);

        let config = LoaderConfig {
            batch_size: 8,
            shard: Shard::WHOLE,
            shuffle: true,
            drop_last: true,
            seed: 1,
            prefetch: 2,
            threads: None,
            transform: data.transform(&data.train_transform).unwrap(),
            normalization: data.normalization,
        };
        let loader = Loader::new(fold.train, config).unwrap();
        let batches = loader.epoch(0).map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(batches.len(), loader.n_batches());
        assert!(batches.iter().all(|batch| batch.images.dim() == (8, 3, 32, 32)));
        assert!(batches.iter().all(|batch| batch.images.iter().all(|value| value.is_finite())));
        assert!(batches.iter().all(|batch| batch.masks.iter().all(|value| (0.0..=1.0).contains(value))));
        assert!(batches.iter().any(|batch| batch.masks.iter().any(|value| *value > 0.5)));
    }
    let error = source.fold(4).unwrap_err().to_string();
    assert_eq!(error, "there is no fold 4: data.folds lists 4, counted from 0");
}
