use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hubmap_data::FoldBy;
use hubmap_data::config::{DataGenConfig, FoldSource};
use hubmap_data::cut::CutKind;
use hubmap_data::cuts::{Manifest, generate};
use hubmap_data::{Dataset, DatasetName};
use hubmap_io::{Feature, Polygon, Size, write_annotations};

use super::naive::{Truth, truths};
use super::{LAYOUTS, WINDOW, config, generated, names_in, tree, write_competition};

#[test]
fn splits_hold_each_slide_on_one_side_of_each_fold() {
    let (folder, report) = generated(&config());
    assert_eq!(report.folds.iter().map(|fold| fold.name.as_str()).collect::<Vec<_>>(), ["aa", "bb"]);
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
    assert_eq!(manifest.fold("bb").unwrap().valid, ["bb22"]);
    assert!(!manifest.fold("bb").unwrap().may_share_slides());

    let train = Dataset::open(&splits, &"train_aa_33".parse::<DatasetName>().unwrap()).unwrap();
    assert_eq!(train.tile(0).name, "train_aa_33/bb22/000000");
    assert_eq!(train.read(0).unwrap().size(), Size::new(8, 8));
    let error =
        Dataset::open(&splits, &"grid_aa_44".parse::<DatasetName>().unwrap()).unwrap_err().to_string();
    assert!(error.contains("scale 4") && error.contains("scale 3"), "{error}");
}

#[test]
fn kinds_that_are_not_wanted_any_more_leave_the_splits_and_stay_cut() {
    let (folder, _) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let objects = DataGenConfig { kinds: vec![CutKind::Objects], ..config() };
    generate(&input, &output, &objects, &()).unwrap();
    assert!(output.join("SPLITS/glomi_split/aa/val/imgs/aa11/000000.png").exists());
    assert!(!output.join("SPLITS/grid_split").exists(), "training would find tiles of an older run");
    assert!(output.join("CUTS/grid_x33_8/imgs/aa11").exists());
    assert!(generate(&input, &output, &objects, &()).unwrap().are_splits_up_to_date);
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

/// A tile of a split: kind of cut, slide and number.
type TileOf = (&'static str, String, usize);

/// The tiles on a side of a fold, after checking that images and masks are the same.
fn side(output: &Path, fold: &str, side: &str) -> BTreeSet<TileOf> {
    let mut tiles = BTreeSet::new();
    for kind in ["glomi", "grid"] {
        let folder = output.join(format!("SPLITS/{kind}_split/{fold}/{side}"));
        let of_part = |part: &str| -> Vec<PathBuf> {
            let files = tree(&folder.join(part)).into_keys().filter(|name| !name.ends_with('/'));
            files.map(PathBuf::from).collect()
        };
        assert_eq!(of_part("imgs"), of_part("masks"));
        tiles.extend(of_part("imgs").into_iter().map(|path| {
            let tile_idx = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (kind, path.parent().unwrap().to_str().unwrap().to_owned(), tile_idx)
        }));
    }
    tiles
}

/// Top-left corner of a tile's window, by the definition.
fn corner(tile: &TileOf) -> (i64, i64) {
    let truth = truths().into_iter().find(|truth| truth.id == tile.1).unwrap();
    if tile.0 == "glomi" { truth.object_corners()[tile.2] } else { truth.grid_corners()[tile.2] }
}

fn all_tiles(output: &Path) -> BTreeSet<TileOf> {
    let mut tiles = BTreeSet::new();
    for kind in ["glomi", "grid"] {
        for Truth { id, .. } in truths() {
            let names = names_in(&output.join(format!("CUTS/{kind}_x33_8/imgs/{id}")));
            tiles.extend(names.iter().map(|name| (kind, id.clone(), name[..6].parse().unwrap())));
        }
    }
    tiles
}

/// Checks a fold by tiles: every tile is on one side or left out for a reason, and no pixel is on both sides.
fn check_pixels_apart(output: &Path, fold: &str) -> [BTreeSet<TileOf>; 2] {
    let (train, valid) = (side(output, fold, "train"), side(output, fold, "val"));
    let overlap = |a: &TileOf, b: &TileOf| {
        let ((ax, ay), (bx, by)) = (corner(a), corner(b));
        let side = WINDOW as i64;
        a.1 == b.1 && (ax - bx).abs() < side && (ay - by).abs() < side
    };
    let mut n_left_out = 0;
    for tile in all_tiles(output) {
        let touches = valid.iter().any(|other| overlap(&tile, other));
        assert_eq!(train.contains(&tile), !touches, "{tile:?}");
        n_left_out += usize::from(touches && !valid.contains(&tile));
    }
    assert!(n_left_out > 0 && !train.is_empty() && !valid.is_empty());
    let manifest = Manifest::read(&output.join("SPLITS")).unwrap().unwrap();
    let entry = manifest.fold(fold).unwrap();
    assert_eq!((manifest.folds.len(), entry.by, entry.may_share_slides()), (1, FoldBy::Tiles, true));
    let slides = |tiles: &BTreeSet<TileOf>| tiles.iter().map(|tile| tile.1.clone()).collect::<BTreeSet<_>>();
    assert_eq!(entry.train, slides(&train).into_iter().collect::<Vec<_>>());
    assert_eq!(entry.valid, slides(&valid).into_iter().collect::<Vec<_>>());
    [train, valid]
}

#[test]
fn a_share_of_the_tiles_of_every_slide_validates() {
    let random = DataGenConfig { folds: FoldSource::RandomTiles, ..config() };
    let (folder, report) = generated(&random);
    let output = folder.path().join("out");
    let [train, valid] = check_pixels_apart(&output, "random");
    let all = all_tiles(&output);
    for Truth { id, .. } in truths() {
        for kind in ["glomi", "grid"] {
            let count = |tiles: &BTreeSet<TileOf>| tiles.iter().filter(|t| t.0 == kind && t.1 == id).count();
            // A quarter, rounded up, but never all.
            let expected = count(&all).div_ceil(4).min(count(&all).saturating_sub(1));
            assert_eq!(count(&valid), expected, "{kind} {id}");
        }
    }
    let fold = &report.folds[0];
    assert_eq!((fold.n_train, fold.n_valid), (train.len(), valid.len()));
    assert_eq!(fold.n_left_out, all.len() - train.len() - valid.len());
    assert!(fold.by == FoldBy::Tiles && report.folds.len() == 1);

    let again = generated(&random).0;
    assert_eq!(side(&again.path().join("out"), "random", "val"), valid);
    let other = generated(&DataGenConfig { seed: 6, ..random }).0;
    assert_ne!(side(&other.path().join("out"), "random", "val"), valid);
}

#[test]
fn tiles_whose_centre_is_in_a_polygon_validate() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output, polygons) =
        (folder.path().join("in"), folder.path().join("out"), folder.path().join("polygons"));
    write_competition(&input, &truths(), &LAYOUTS);
    let config =
        DataGenConfig { folds: FoldSource::Polygons, valid_polygons_dir: polygons.clone(), ..config() };
    let error = generate(&input, &output, &config, &()).unwrap_err().to_string();
    assert!(error.contains("data_gen.valid_polygons_dir: no folder"), "{error}");
    std::fs::create_dir(&polygons).unwrap();
    let error = generate(&input, &output, &config, &()).unwrap_err().to_string();
    assert!(error.contains("holds no <slide>.geojson"), "{error}");

    // A box of x in 30..70, y in 20..60; the other slides have no polygons.
    let within = |(x, y): (i64, i64)| {
        let (x, y) = (x as f64 + WINDOW as f64 / 2.0, y as f64 + WINDOW as f64 / 2.0);
        (30.0..70.0).contains(&x) && (20.0..60.0).contains(&y)
    };
    let area = Polygon::new(vec![[30.0, 20.0], [70.0, 20.0], [70.0, 60.0], [30.0, 60.0]]);
    write_annotations(&polygons.join("aa11.geojson"), &[Feature::new("validation", area)]).unwrap();
    generate(&input, &output, &config, &()).unwrap();
    let [train, valid] = check_pixels_apart(&output, "polygons");
    let expected = all_tiles(&output).into_iter().filter(|tile| tile.1 == "aa11" && within(corner(tile)));
    assert_eq!(valid, expected.collect());
    assert!(valid.iter().any(|tile| tile.0 == "glomi") && valid.iter().any(|tile| tile.0 == "grid"));
    assert!(train.iter().any(|tile| tile.1 == "aa11"), "the slide is on both sides");

    // Other polygons are noticed.
    let area = Polygon::new(vec![[0.0, 0.0], [60.0, 0.0], [60.0, 130.0], [0.0, 130.0]]);
    write_annotations(&polygons.join("cc33.json"), &[Feature::new("validation", area)]).unwrap();
    std::fs::remove_file(polygons.join("aa11.geojson")).unwrap();
    let report = generate(&input, &output, &config, &()).unwrap();
    assert!(!report.are_splits_up_to_date);
    let error = Manifest::read(&output.join("SPLITS")).unwrap().unwrap();
    assert_eq!(error.folds[0].valid, ["cc33"]);
}

#[test]
fn manifests_of_before_sorted_slides() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"scale":3,"tile_px":8,"folds":[{"name":"a","train":["x"],"valid":["y"]}]}"#;
    std::fs::write(folder.path().join(Manifest::FILE), text).unwrap();
    let manifest = Manifest::read(folder.path()).unwrap().unwrap();
    assert_eq!(manifest.folds[0].by, FoldBy::Slides);
    assert!(manifest.fold("b").is_none());
}
