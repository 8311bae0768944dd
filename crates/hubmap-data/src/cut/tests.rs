use hubmap_io::{MemorySlide, Size};
use ndarray::{Array3, s};

use super::*;
use crate::config::FoldSource;
use crate::sampler::{BackgroundCuts, PolygonCuts};

const SIDE: u32 = 120;

fn config() -> DataGenConfig {
    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    let base: DataGenConfig = base["data_gen"].clone().try_into().unwrap();
    DataGenConfig {
        scale: 2,
        tile_px: 6,
        folds: FoldSource::Drawn,
        n_drawn_folds: 2,
        kinds: CutKind::ALL.to_vec(),
        background_cuts: BackgroundCuts { per_slide: 7, max_trials: 5, object_area_step: 0.1 },
        polygon_cuts: PolygonCuts { per_slide: 3, labels: vec!["medulla".into()] },
        ..base
    }
}

fn square(class: &str, x: f64, y: f64, side: f64) -> Feature {
    Feature::new(class, Polygon::new(vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]]))
}

/// Noise on the left and black on the right, with four objects of 10 px; the first and the last lie in the cortex, its left half.
fn slide() -> Slide {
    let side = SIDE as usize;
    let noise = |(y, x, c): (usize, usize, usize)| match x {
        0..60 => (((y * 7919 + x * 104_729 + c * 31) * 2_654_435_761) >> 13) as u8 / 2 + 60,
        _ => 2,
    };
    let pixels = Array3::from_shape_fn((side, side, 3), noise);
    let features = [(10.0, 10.0), (80.0, 10.0), (80.0, 80.0), (10.0, 80.0)]
        .map(|(x, y)| square("glomerulus", x, y, 10.0))
        .to_vec();
    let mut mask = Mask::new(Size::new(SIDE, SIDE));
    for feature in &features {
        mask.fill_polygon(&feature.polygons[0]);
    }
    let cortex = Polygon::new(vec![[-5.0, -5.0], [60.0, -5.0], [60.0, 130.0], [-5.0, 130.0]]);
    let anatomy = vec![Feature::new("Cortex", cortex), square("Medulla", 90.0, 90.0, 10.0)];
    Slide {
        id: "s".into(),
        reader: Box::new(MemorySlide::new(std::path::Path::new("s.tiff"), pixels, None).unwrap()),
        mask: Some(mask),
        features,
        anatomy: Some(anatomy),
    }
}

fn center(cut: &Cut) -> [i64; 2] {
    [cut.window.x + 6, cut.window.y + 6]
}

#[test]
fn all_kinds_come_in_order_and_only_those_that_are_wanted() {
    let all = Cut::all_of(&slide(), &config()).unwrap();
    let runs = all.chunk_by(|a, b| a.kind == b.kind).map(|run| (run[0].kind, run.len())).collect::<Vec<_>>();
    let expected =
        [(CutKind::Objects, 4), (CutKind::Grid, 100), (CutKind::Background, 7), (CutKind::Polygon, 3)];
    assert_eq!(runs, expected);
    for kind in CutKind::ALL {
        let only = DataGenConfig { kinds: vec![kind], ..config() };
        let cuts = Cut::all_of(&slide(), &only).unwrap();
        assert_eq!(cuts, all.iter().filter(|cut| cut.kind == kind).copied().collect::<Vec<_>>());
        assert!(cuts.iter().enumerate().all(|(idx, cut)| cut.tile_idx == idx));
    }
    assert_eq!(all[2].name("s"), "glomi/s/000002");
}

#[test]
fn background_is_drawn_from_the_cortex_on_the_slide_and_free_of_objects() {
    let slide = slide();
    let cuts = Cut::of_kind(CutKind::Background, &slide, &config()).unwrap();
    for cut in &cuts {
        let [x, y] = center(cut);
        assert!((0..60).contains(&x) && (0..120).contains(&y), "{cut:?}");
        assert_eq!(slide.mask.as_ref().unwrap().count_ones_in(cut.window), 0, "{cut:?}");
    }
    // Without an outline of the cortex, with or without a file: from the whole slide.
    let many = BackgroundCuts { per_slide: 60, ..config().background_cuts };
    let config = DataGenConfig { background_cuts: many, ..config() };
    let whole = Cut::of_kind(CutKind::Background, &Slide { anatomy: None, ..slide }, &config).unwrap();
    assert!(whole.iter().any(|cut| center(cut)[0] > 60));
    let other = DataGenConfig { cortex_labels: vec!["Outer Stripe".into()], ..config };
    assert_eq!(Cut::of_kind(CutKind::Background, &self::slide(), &other).unwrap(), whole);

    let mut slide = self::slide();
    slide.anatomy = Some(vec![square("cortex", 500.0, 500.0, 10.0)]);
    let error = Cut::of_kind(CutKind::Background, &slide, &config_of(&[])).unwrap_err().to_string();
    assert!(error.contains("slide s: the outline of its cortex encloses no pixel of the slide's 120x120"));
    slide.mask = None;
    slide.anatomy = None;
    assert!(
        Cut::of_kind(CutKind::Background, &slide, &config_of(&[]))
            .unwrap_err()
            .to_string()
            .contains("no mask")
    );
}

fn config_of(labels: &[&str]) -> DataGenConfig {
    let labels = labels.iter().map(|&label| label.to_owned()).collect();
    DataGenConfig { polygon_cuts: PolygonCuts { per_slide: 50, labels }, ..config() }
}

#[test]
fn polygons_are_found_by_class_in_both_annotation_files() {
    let centers = |labels: &[&str]| {
        let cuts = Cut::of_kind(CutKind::Polygon, &slide(), &config_of(labels)).unwrap();
        cuts.iter().map(center).collect::<Vec<_>>()
    };
    let in_medulla = |&[x, y]: &[i64; 2]| (90..100).contains(&x) && (90..100).contains(&y);
    let medulla = centers(&["MEDULLA"]);
    assert!(medulla.len() == 50 && medulla.iter().all(in_medulla));
    let objects = centers(&["Glomerulus"]);
    assert!(objects.len() == 50 && !objects.iter().any(in_medulla));
    let both = centers(&["glomerulus", "medulla"]);
    assert!(both.iter().any(in_medulla) && !both.iter().all(in_medulla));
    assert!(centers(&["fat"]).is_empty());
}

#[test]
fn objects_outside_the_cortex_go_and_the_others_keep_their_numbers() {
    let wanted = DataGenConfig { objects_in: ObjectPlace::Cortex, ..config() };
    let all = Cut::of_kind(CutKind::Objects, &slide(), &config()).unwrap();
    let kept = Cut::of_kind(CutKind::Objects, &slide(), &wanted).unwrap();
    assert_eq!(kept, [all[0], all[3]]);

    let refused = |anatomy| {
        let slide = Slide { anatomy, ..slide() };
        Cut::of_kind(CutKind::Objects, &slide, &wanted).unwrap_err().to_string()
    };
    let error = refused(None);
    assert!(
        error.starts_with("slide s: data_gen.objects_in = \"cortex\" needs the outline of the cortex")
            && error.contains("no s-anatomical-structure.json"),
        "{error}"
    );
    let error = refused(Some(vec![square("Medulla", 0.0, 0.0, 9.0)]));
    assert!(error.contains("no outline of class Cortex in its anatomy file, which has Medulla"), "{error}");
    // A slide without the file is no problem to those who do not ask.
    assert_eq!(Cut::of_kind(CutKind::Objects, &Slide { anatomy: None, ..slide() }, &config()).unwrap(), all);
}

#[test]
fn a_tile_that_is_known_to_be_kept_is_the_tile() {
    let (slide, config) = (slide(), config());
    let (mut n_kept, mut n_left) = (0, 0);
    for cut in Cut::all_of(&slide, &config).unwrap() {
        let tile = cut.read(&slide, &config).unwrap();
        assert_eq!(cut.is_kept(&slide, &config).unwrap(), tile.is_some());
        match tile {
            Some(tile) => {
                assert_eq!(cut.read_kept(&slide, &config).unwrap(), tile);
                assert_eq!(tile.name, cut.name("s"));
                n_kept += 1;
            }
            None => n_left += 1,
        }
    }
    assert!(n_kept > 64 && n_left > 10, "{n_kept} {n_left}");
}

#[test]
fn masks_of_the_grid_alone_stay_hard() {
    let slide = slide();
    let at = |kind| Cut { kind, tile_idx: 0, window: Window::new(5, 5, 12, 12) };
    let is_hard = |kind| {
        let tile = at(kind).read_kept(&slide, &config()).unwrap();
        assert!(tile.mask.iter().any(|&level| level == 255));
        tile.mask.iter().all(|&level| level == 0 || level == 255)
    };
    assert_eq!(CutKind::ALL.map(is_hard), [false, true, false, false]);
}

#[test]
fn parts_are_the_pixels_of_the_tile_on_the_slide_and_off_it() {
    let (slide, config) = (slide(), config());
    for kind in CutKind::ALL {
        // Inside, over two corners, and beside the slide. In the second, the first part has no pixel of the slide.
        for [x, y] in [[5, 5], [-7, 4], [111, 113], [30, -12]] {
            let cut = Cut { kind, tile_idx: 3, window: Window::new(x, y, 12, 12) };
            assert_eq!(cut.tile_size(&config), Size::new(6, 6));
            let tile = cut.read_kept(&slide, &config).unwrap();
            for part in [[0, 0, 3, 6], [1, 2, 4, 3], [5, 5, 1, 1], [0, 0, 6, 6]] {
                let [left, top, width, height] = part;
                let window = Window::new(left as i64, top as i64, width as u32, height as u32);
                let read = cut.read_part(window, &slide, &config).unwrap();
                let (rows, columns) = (top..top + height, left..left + width);
                assert_eq!(
                    read.image,
                    tile.image.slice(s![rows.clone(), columns.clone(), ..]),
                    "{cut:?} {window}"
                );
                assert_eq!(read.mask, tile.mask.slice(s![rows, columns]), "{cut:?} {window}");
                assert_eq!(read.name, tile.name);
            }
        }
    }
    let cut = Cut { kind: CutKind::Objects, tile_idx: 3, window: Window::new(5, 5, 12, 12) };
    for part in [Window::new(0, 0, 0, 3), Window::new(-1, 0, 3, 3), Window::new(2, 4, 3, 3)] {
        let error = cut.read_part(part, &slide, &config).unwrap_err().to_string();
        assert!(
            error.contains("glomi/s/000003: part") && error.contains("leaves the tile of 6x6"),
            "{error}"
        );
    }
}
