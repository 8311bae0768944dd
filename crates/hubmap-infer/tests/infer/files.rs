//! The files of a run: they agree with each other, and broken inputs leave none.

use std::path::Path;

use hubmap_infer::{
    NpyReader, OutputKind, OutputPlan, Predictor, SlideInput, Summary, find_slides, positive_pixels,
    predict_slides, read_rle_table,
};
use hubmap_io::{Location, Mask, Size, TiffSpec, TiffWriter, read_annotations};
use ndarray::{Array3, Array4, Axis, s};

use crate::pipeline::{predictor, small_config};

/// Bright discs on a dark slide.
pub(crate) fn disc_pixels(size: Size, discs: &[(i64, i64, i64)]) -> Array3<u8> {
    Array3::from_shape_fn((size.height as usize, size.width as usize, 3), |(y, x, c)| {
        let inside =
            |&(cx, cy, r): &(i64, i64, i64)| (x as i64 - cx).pow(2) + (y as i64 - cy).pow(2) <= r * r;
        if discs.iter().any(inside) { 240 } else { 60 + 20 * c as u8 }
    })
}

pub(crate) fn write_slide(path: &Path, pixels: &Array3<u8>, microns_per_px: Option<f64>) {
    let size = Size::new(pixels.dim().1 as u32, pixels.dim().0 as u32);
    let mut writer = TiffWriter::create(path, TiffSpec { microns_per_px, ..TiffSpec::rgb(size) }).unwrap();
    writer.write_rows(pixels).unwrap();
    writer.finish().unwrap();
}

/// Positive where the slide is bright.
pub(crate) fn bright() -> Predictor {
    predictor(small_config(), |tiles: &Array4<f32>| {
        Ok(tiles.slice(s![.., ..1, .., ..]).mapv(|red| if red > 0.0 { 3.0 } else { -3.0 }))
    })
}

pub(crate) fn plan(folder: &Path) -> OutputPlan {
    OutputPlan {
        folder: folder.to_owned(),
        kinds: OutputKind::ALL.to_vec(),
        order: Vec::new(),
        reuse_finished: true,
        part: None,
        scratch: None,
    }
}

/// Files below a folder but for the state of slides under way, which those that failed keep for the next run.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut found = hubmap_test_support::files_under(folder);
    found.retain(|file| !file.starts_with("predicts/under_way/"));
    found.sort();
    found
}

/// Two slides and their predictions.
pub(crate) fn predicted_folder() -> (tempfile::TempDir, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let slides = folder.path().join("slides");
    std::fs::create_dir(&slides).unwrap();
    let discs = [(60, 70, 30), (200, 90, 41), (150, 220, 25)];
    write_slide(&slides.join("b.tiff"), &disc_pixels(Size::new(301, 270), &discs), Some(0.5));
    write_slide(&slides.join("a.tif"), &disc_pixels(Size::new(70, 65), &[]), None);
    let slides = find_slides(&[slides.into()]).unwrap();
    let out = OutputPlan { order: vec!["b".into(), "a".into()], ..plan(&folder.path().join("out")) };
    let summary = predict_slides(&mut [bright()], "model", &slides, &out, &()).unwrap();
    (folder, summary)
}

#[test]
fn all_files_of_a_slide_agree() {
    let (folder, summary) = predicted_folder();
    let out = folder.path().join("out");
    assert_eq!(
        files_below(&out),
        [
            "predicts/.lock",
            "predicts/bitmasks/a.tiff",
            "predicts/bitmasks/b.tiff",
            "predicts/done/a.json",
            "predicts/done/b.json",
            "predicts/masks/a.tiff",
            "predicts/masks/b.tiff",
            "predicts/objects/a.csv",
            "predicts/objects/a.geojson",
            "predicts/objects/a.geojson.gz",
            "predicts/objects/b.csv",
            "predicts/objects/b.geojson",
            "predicts/objects/b.geojson.gz",
            "predicts/overlays/a.png",
            "predicts/overlays/b.png",
            "predicts/probabilities/a.tiff",
            "predicts/probabilities/b.tiff",
            "predicts/raw/a.npy",
            "predicts/raw/b.npy",
            "predicts/rle/a.csv",
            "predicts/rle/b.csv",
            "submission__0.5.csv",
            "summary.json"
        ]
    );
    let submission = out.join("submission__0.5.csv");
    assert!(std::fs::read_to_string(&submission).unwrap().starts_with("id,predicted\nb,"));

    let size = Size::new(301, 270);
    let mask = read_rle_table(&submission).unwrap()["b"].decode(size).unwrap();
    assert!(mask.count_ones() > 8000, "{mask:?}");

    let tiff = hubmap_io::open(&out.join("predicts/masks/b.tiff")).unwrap();
    assert_eq!((tiff.bands(), tiff.size()), (1, size));
    let pixels = tiff.read(size.window()).unwrap();
    assert!(pixels.iter().all(|&pixel| pixel == 0 || pixel == 255));
    assert_eq!(Mask::from_array(pixels.index_axis(Axis(2), 0)), mask);

    let mut npy = NpyReader::open(&out.join("predicts/raw/b.npy")).unwrap();
    let map = npy.read_rows(0, size.height).unwrap();
    assert_eq!(Mask::from_array(positive_pixels(&map, 0.5).view()), mask);

    let features = read_annotations(&out.join("predicts/objects/b.geojson")).unwrap();
    assert_eq!(features.len(), 3);
    let mut drawn = Mask::new(size);
    for feature in &features {
        assert_eq!(feature.class.as_deref(), Some("glomerulus"));
        let value = |name: &str| feature.measurements.iter().find(|(n, _)| n == name).unwrap().1;
        assert!((value("Area px^2") - feature.area()).abs() < 1e-9);
        assert!((value("Area µm^2") - feature.area() * 0.25).abs() < 1e-9);
        assert!((0.5..0.96).contains(&value("Mean probability")));
        feature.polygons.iter().for_each(|polygon| drawn.fill_polygon(polygon));
    }
    assert_eq!(drawn, mask);

    let slide = &summary.slides[1];
    assert_eq!((slide.id.as_str(), slide.objects, slide.positive_pixels), ("b", 3, mask.count_ones()));
    assert_eq!((slide.width, slide.height, slide.n_blocks), (301, 270, 12));
    assert_eq!(summary.slides[0].objects, 0);
    assert!(summary.failed.is_empty());
    let text = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["settings"]["block"], 32);
    assert_eq!(json["slides"][1]["objects"], 3);
    assert!(json["slides"][1]["seconds"]["read"].is_f64());

    let decoder = png::Decoder::new(std::io::BufReader::new(
        std::fs::File::open(out.join("predicts/overlays/b.png")).unwrap(),
    ));
    let reader = decoder.read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (301, 270));
}

#[test]
fn a_broken_slide_leaves_no_files_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let slide = |id: &str| SlideInput {
        id: id.into(),
        location: folder.path().join(format!("{id}.tiff")).into(),
        microns_per_px: None,
    };
    let pixels = disc_pixels(Size::new(700, 600), &[(100, 100, 50)]);
    write_slide(slide("good").location.path(), &pixels, None);
    std::fs::write(slide("text").location.path(), "this is no slide").unwrap();
    // Noise does not compress, so a cut file lacks the tiles of its last rows or its directory.
    let noise =
        Array3::from_shape_fn((600, 700, 3), |(y, x, c)| ((y * 7919 + x * 104_729 + c * 31) ^ (x * y)) as u8);
    write_slide(slide("cut").location.path(), &noise, None);
    let bytes = std::fs::read(slide("cut").location.path()).unwrap();
    std::fs::write(slide("cut").location.path(), &bytes[..bytes.len() * 2 / 3]).unwrap();

    let out = folder.path().join("out");
    let slides = ["cut", "good", "missing", "text"].map(slide);
    let summary = predict_slides(&mut [bright()], "model", &slides, &plan(&out), &()).unwrap();
    assert_eq!(summary.slides.len(), 1);
    let failed: Vec<_> = summary.failed.iter().map(|failed| failed.id.as_str()).collect();
    assert_eq!(failed, ["cut", "missing", "text"]);
    assert!(summary.failed.iter().all(|failed| failed.error.contains(&format!("{}.tiff", failed.id))));
    let others: Vec<_> = files_below(&out).into_iter().filter(|file| !file.contains("good")).collect();
    assert_eq!(others, ["predicts/.lock", "submission__0.5.csv", "summary.json"]);
}

#[test]
fn a_slide_whose_network_fails_half_way_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.tiff");
    write_slide(&path, &disc_pixels(Size::new(300, 300), &[]), None);
    let n_calls = std::sync::atomic::AtomicUsize::new(0);
    let failing = predictor(small_config(), move |tiles: &Array4<f32>| {
        let n_before = n_calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        anyhow::ensure!(n_before < 5, "out of memory");
        Ok(tiles.slice(s![.., ..1, .., ..]).to_owned())
    });
    let out = folder.path().join("out");
    let slides = [SlideInput { id: "s".into(), location: path.into(), microns_per_px: None }];
    let summary = predict_slides(&mut [failing], "model", &slides, &plan(&out), &()).unwrap();
    assert_eq!(summary.failed[0].error, "out of memory");
    assert_eq!(files_below(&out), ["predicts/.lock", "summary.json"]);
}

#[test]
fn slides_are_found_by_extension_and_ids_are_unique() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.tiff", "a.TIF", "c.svs", "notes.txt", ".hidden.tiff"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let find = |paths: &[&str]| {
        let locations: Vec<Location> = paths.iter().map(|path| folder.path().join(path).into()).collect();
        find_slides(&locations)
    };
    let ids = |slides: Vec<SlideInput>| slides.into_iter().map(|slide| slide.id).collect::<Vec<_>>();
    assert_eq!(ids(find(&[""]).unwrap()), ["a", "b", "c"]);
    assert_eq!(ids(find(&["c.svs", "b.tiff"]).unwrap()), ["c", "b"]);
    assert!(find(&["", "b.tiff"]).unwrap_err().to_string().contains("two slides have the id b"));
    assert!(find(&["nowhere"]).unwrap_err().to_string().contains("nowhere"));
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    assert!(find(&["empty"]).unwrap_err().to_string().contains("no slides in"));
    assert!(find(&[]).is_err());
}
