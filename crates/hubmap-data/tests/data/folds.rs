use std::collections::BTreeSet;
use std::path::Path;

use hubmap_data::config::{DataConfig, DataGenConfig, FoldSource, SourceKind};
use hubmap_data::{DataSource, FoldData};
use proptest::prelude::*;

const KINDS: [&str; 5] = ["train", "grid", "background", "polygon", "val"];

/// Where the tiles of a kind lie for fold `f`.
fn side_of(kind: &str) -> &'static str {
    match kind {
        "train" => "glomi_split/f/train",
        "grid" => "grid_split/f/train",
        "background" => "background_split/f/train",
        "polygon" => "polygon_split/f/train",
        _ => "glomi_split/f/val",
    }
}

/// Puts an empty file for a tile and its mask.
fn put(splits: &Path, kind: &str, slide: usize, tile: usize) {
    for part in ["imgs", "masks"] {
        let dir = splits.join(side_of(kind)).join(part).join(format!("s{slide}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{tile:06}.png")), "").unwrap();
    }
}

fn manifest(splits: &Path, by: &str) {
    let text =
        format!("{{\"scale\":3,\"tile_px\":8,\"folds\":[{{\"name\":\"f\",{by}\"train\":[],\"valid\":[]}}]}}");
    std::fs::write(splits.join("manifest.json"), text).unwrap();
}

fn open(splits: &Path, train_kinds: &[&str], allow_shared_slides: bool) -> anyhow::Result<FoldData> {
    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    let data_gen: DataGenConfig = base["data_gen"].clone().try_into().unwrap();
    let data = DataConfig {
        source: SourceKind::Cuts,
        splits_dir: splits.to_owned(),
        folds: vec!["f".into()],
        train: train_kinds.iter().map(|kind| format!("{kind}_{{fold}}_33")).collect(),
        valid: vec!["val_{fold}_33".into()],
        allow_shared_slides,
        ..base["data"].clone().try_into().unwrap()
    };
    DataSource::open(&data, &data_gen, &()).unwrap().fold(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Of random folders, those load whose sides share nothing that they must not share, and no others.
    #[test]
    fn no_fold_with_a_slide_on_both_sides_loads(
        placed in prop::collection::btree_set((0..KINDS.len(), 0_usize..7, 0_usize..3), 1..14),
        wanted in prop::collection::btree_set(0..KINDS.len() - 1, 1..4),
        by in 0_usize..3,
        allowed: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        for &(kind, slide, tile) in &placed {
            put(folder.path(), KINDS[kind], slide, tile);
        }
        // No manifest, one of slides, one of tiles.
        match by {
            0 => {}
            1 => manifest(folder.path(), ""),
            _ => manifest(folder.path(), "\"by\":\"tiles\","),
        }
        let train_kinds = wanted.iter().map(|&kind| KINDS[kind]).collect::<Vec<_>>();
        let on = |kind: usize| placed.iter().filter(move |tile| tile.0 == kind);
        let are_there = wanted.iter().chain([&4]).all(|&kind| on(kind).next().is_some());
        let slides = |kind: usize| on(kind).map(|tile| tile.1).collect::<BTreeSet<_>>();
        let shares_slide = wanted.iter().any(|&kind| !slides(kind).is_disjoint(&slides(4)));
        // Validation has object cuts, so it is object cuts it can share.
        let tiles = |kind: usize| on(kind).map(|tile| (tile.1, tile.2)).collect::<BTreeSet<_>>();
        let shares_tile = wanted.contains(&0) && !tiles(0).is_disjoint(&tiles(4));
        let loads = are_there
            && match (by, allowed) {
                (2, false) => false,
                (0 | 2, true) => !shares_tile,
                _ => !shares_slide,
            };
        let opened = open(folder.path(), &train_kinds, allowed);
        prop_assert_eq!(opened.is_ok(), loads, "{:?}", opened.err());
        if let Ok(fold) = opened
            && !allowed
        {
            prop_assert!(fold.train.slides().is_disjoint(&fold.valid.slides()));
        }
    }
}

#[test]
fn folds_of_tiles_are_refused_by_name_unless_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let splits = folder.path();
    put(splits, "train", 1, 0);
    put(splits, "val", 1, 1);
    manifest(splits, "\"by\":\"tiles\",");
    let refused = |allowed| format!("{:#}", open(splits, &["train"], allowed).unwrap_err());
    assert!(
        refused(false).contains("data.allow_shared_slides = true takes it all the same"),
        "{}",
        refused(false)
    );
    assert!(open(splits, &["train"], true).is_ok());
    put(splits, "val", 1, 0);
    assert!(refused(true).contains("fold `f`: tile glomi/s1/000000 is in both"), "{}", refused(true));

    manifest(splits, "\"by\":\"slides\",");
    assert!(refused(true).contains("slide s1 is in both"), "{}", refused(true));
    std::fs::write(splits.join("manifest.json"), "{").unwrap();
    assert!(refused(true).contains("manifest.json: not a manifest"), "{}", refused(true));
}

#[test]
fn folds_of_slides_are_apart_when_read_from_slides_too() {
    let folder = tempfile::tempdir().unwrap();
    let slide = hubmap_synth::SlideSpec {
        scale: 0.125,
        ..hubmap_synth::SlideSpec::new(hubmap_io::Size::new(300, 300), 5)
    };
    let formats = vec![hubmap_synth::FileFormat::default()];
    let spec = hubmap_synth::CompetitionSpec { n_train: 5, n_test: 0, slide, formats };
    hubmap_synth::write_competition(folder.path(), &spec, &|_, _| ()).unwrap();
    let base: toml::Table = include_str!("../../../../configs/base.toml").parse().unwrap();
    let data_gen: DataGenConfig = base["data_gen"].clone().try_into().unwrap();
    for n_drawn_folds in [2, 3, 5] {
        let data_gen =
            DataGenConfig { folds: FoldSource::Drawn, n_drawn_folds, tile_px: 16, ..data_gen.clone() };
        let data = DataConfig {
            source: SourceKind::Slides,
            slides_dir: folder.path().to_owned(),
            folds: (0..n_drawn_folds).map(|fold_idx| fold_idx.to_string()).collect(),
            // What is true of folds from files by what is on disk holds here by construction: nothing may undo it.
            allow_shared_slides: true,
            ..base["data"].clone().try_into().unwrap()
        };
        let source = DataSource::open(&data, &data_gen, &()).unwrap();
        for fold_idx in 0..n_drawn_folds {
            let fold = source.fold(fold_idx).unwrap();
            assert!(fold.train.slides().is_disjoint(&fold.valid.slides()));
            assert_eq!(fold.train.slides().len() + fold.valid.slides().len(), 5);
        }
    }
}
