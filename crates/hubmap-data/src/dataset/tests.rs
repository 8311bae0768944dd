use std::path::Path;

use ndarray::{Array2, Array3};

use super::*;
use crate::tile_file::{write_image, write_mask};

/// Tiles that are nowhere, so many of each slide.
pub(super) fn dataset_of(slides: &[(&str, usize)]) -> Dataset {
    let tiles = slides.iter().flat_map(|&(slide, n_tiles)| {
        (0..n_tiles).map(move |tile_idx| Tile {
            name: format!("d/{slide}/{tile_idx:06}"),
            id: format!("glomi/{slide}/{tile_idx:06}"),
            slide: slide.to_owned(),
            pixels: TilePixels::Files { image: PathBuf::new(), mask: PathBuf::new() },
        })
    });
    Dataset::from_tiles(tiles.collect())
}

fn write_tiles(dir: &Path, slides: &[(&str, usize)]) {
    for &(slide, n_tiles) in slides {
        for kind in ["imgs", "masks"] {
            std::fs::create_dir_all(dir.join(kind).join(slide)).unwrap();
        }
        for tile_idx in 0..n_tiles {
            let file = format!("{slide}/{tile_idx:06}.png");
            let image = Array3::from_elem((4, 4, 3), tile_idx as u8);
            write_image(&dir.join("imgs").join(&file), &image).unwrap();
            write_mask(&dir.join("masks").join(&file), &Array2::from_elem((4, 4), 255)).unwrap();
        }
    }
}

#[test]
fn concatenates_with_weights() {
    let folder = tempfile::tempdir().unwrap();
    write_tiles(&folder.path().join("a"), &[("s1", 2), ("s2", 1)]);
    write_tiles(&folder.path().join("b"), &[("s3", 1)]);
    let a = Dataset::open_dir(&folder.path().join("a"), "a").unwrap().weighted(2.0);
    let b = Dataset::open_dir(&folder.path().join("b"), "b").unwrap();
    assert!(ensure_disjoint(&a, &b).is_ok());
    assert!(ensure_disjoint(&a, &a).unwrap_err().to_string().contains("slide s1"));
    let factors = [("s2".to_owned(), 3.0), ("s9".to_owned(), 4.0)].into();
    let all = Dataset::concat([a, b]).with_slide_weights(&factors);
    let names = all.tiles().iter().map(|tile| tile.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["a/s1/000000", "a/s1/000001", "a/s2/000000", "b/s3/000000"]);
    assert_eq!(all.weights(), [2.0, 2.0, 6.0, 1.0]);
    assert_eq!(all.slides().into_iter().collect::<Vec<_>>(), ["s1", "s2", "s3"]);
    assert_eq!(all.read(1).unwrap().image[[0, 0, 0]], 1);
}

#[test]
fn cached_tiles_outlive_their_files_up_to_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    write_tiles(folder.path(), &[("s1", 5)]);
    // Room for two tiles of 4 × 4 px, and a byte too few for a third.
    let budget = Arc::new(CacheBudget::new(3 * 64 - 1));
    let open = || Dataset::open_dir(folder.path(), "d").unwrap().with_cache(&budget);
    let (lazy, clone);
    {
        let dataset = open();
        let from_disk = dataset.read(3).unwrap();
        dataset.read(1).unwrap();
        dataset.read(0).unwrap();
        assert_eq!(budget.used_bytes(), 128);
        assert_eq!(dataset.read(3).unwrap(), from_disk);
        clone = dataset.clone();
        lazy = dataset;
    }
    let eager = Dataset::open_dir(folder.path(), "d").unwrap().with_cache(&Arc::new(CacheBudget::new(191)));
    eager.preload(&()).unwrap();
    std::fs::remove_dir_all(folder.path()).unwrap();
    let readable = |dataset: &Dataset| (0..5).filter(|&i| dataset.read(i).is_ok()).collect::<Vec<_>>();
    assert_eq!((readable(&lazy), readable(&clone)), (vec![1, 3], vec![1, 3]));
    assert_eq!(readable(&eager), [0, 1]);
    assert_eq!(clone.read(3).unwrap().image[[0, 0, 0]], 3);
    drop(lazy);
    assert_eq!(budget.used_bytes(), 128);
    drop(clone);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn preloading_skips_what_is_never_taken_and_names_what_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    write_tiles(folder.path(), &[("s1", 2), ("s2", 2)]);
    std::fs::write(folder.path().join("imgs/s1/000001.png"), "no PNG").unwrap();
    let unlimited = Arc::new(CacheBudget::new(u64::MAX));
    let dataset = Dataset::open_dir(folder.path(), "d").unwrap().with_cache(&unlimited);
    let error = format!("{:#}", dataset.preload(&()).unwrap_err());
    assert!(error.contains("imgs/s1/000001.png"), "{error}");
    drop(dataset);
    let without = Dataset::open_dir(folder.path(), "d").unwrap();
    without.preload(&()).unwrap();
    let dataset = without.with_slide_weights(&[("s1".to_owned(), 0.0)].into()).with_cache(&unlimited);
    dataset.preload(&()).unwrap();
    assert_eq!(unlimited.used_bytes(), 2 * 64);
}

#[test]
fn incomplete_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let open = || format!("{:#}", Dataset::open_dir(folder.path(), "x").unwrap_err());
    assert!(open().contains("cannot list"), "{}", open());
    write_tiles(folder.path(), &[("s1", 0)]);
    assert!(open().contains("no PNG tiles"), "{}", open());
    write_tiles(folder.path(), &[("s1", 2)]);
    std::fs::remove_file(folder.path().join("masks/s1/000001.png")).unwrap();
    assert!(open().contains("imgs/s1/000001.png: tile has no mask"), "{}", open());
    std::fs::remove_file(folder.path().join("imgs/s1/000001.png")).unwrap();
    std::fs::remove_file(folder.path().join("imgs/s1/000000.png")).unwrap();
    write_tiles(folder.path(), &[("s2", 1)]);
    assert!(open().contains("masks/s1/000000.png: tile has no image"), "{}", open());
    let name = "val_0e_33".parse().unwrap();
    let error = format!("{:#}", Dataset::open(folder.path(), &name).unwrap_err());
    assert!(error.contains("dataset val_0e_33") && error.contains("hubmap-data-gen"), "{error}");
}

#[test]
fn a_tile_on_both_sides_is_named_whatever_the_names_of_its_datasets() {
    let [mut train, mut valid] = [("s1", 3), ("s1", 2)].map(|slide| dataset_of(&[slide]));
    assert!(ensure_no_shared_tile(&train, &valid).unwrap_err().to_string().contains("tile glomi/s1/000000"));
    train.tiles.drain(..2);
    assert!(ensure_no_shared_tile(&train, &valid).is_ok());
    valid.tiles[1].name = "val_0e_33/s1/000002".into();
    valid.tiles[1].id = train.tiles[0].id.clone();
    assert!(ensure_no_shared_tile(&train, &valid).unwrap_err().to_string().contains("tile glomi/s1/000002"));
}
