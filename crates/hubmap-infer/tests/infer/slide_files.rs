//! The files of one slide, read back and held against the probabilities that they were made of.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use half::f16;
use hubmap_infer::{
    NpyReader, OutputKind, OutputPlan, Postprocess, PostprocessConfig, RowSink as _, SlideWriter,
    positive_pixels, read_rle_table,
};
use hubmap_io::{Mask, MemorySlide, Rle, Size, read_annotations, read_mask};
use ndarray::{Array2, Array3, Axis, s};
use serde_json::Value;

use crate::files::{files_below, plan};

/// Smooth hills, some of them touching the edges, with holes where they are highest.
fn hills(size: Size, seed: f32) -> Array2<f16> {
    Array2::from_shape_fn((size.height as usize, size.width as usize), |(y, x)| {
        let (y, x) = (y as f32, x as f32);
        let height = ((x + seed) / 9.0).sin() * ((y - seed) / 7.0).cos() + (x * y / 400.0 + seed).sin() / 3.0;
        f16::from_f32(if height > 1.0 { 0.2 } else { height.clamp(0.0, 1.0) })
    })
}

/// A grey slide of this size.
fn slide(size: Size, microns_per_px: Option<f64>) -> MemorySlide {
    let pixels = Array3::from_elem((size.height as usize, size.width as usize, 3), 128);
    MemorySlide::new(Path::new("slide.tiff"), pixels, microns_per_px).unwrap()
}

/// Writes all files of a map, `step` rows at a time.
fn write(
    map: &Array2<f16>,
    slide: &MemorySlide,
    postprocess: &PostprocessConfig,
    step: usize,
    plan: &OutputPlan,
) {
    let postprocess = Postprocess::for_slide(postprocess, slide, "s").unwrap();
    let mut writer = SlideWriter::create(slide, "s", 0.5, postprocess, plan).unwrap();
    for y in (0..map.nrows()).step_by(step) {
        let rows = map.slice(s![y..map.nrows().min(y + step), ..]);
        writer.write_rows(y as u32, &rows).unwrap();
    }
    let finished = writer.finish().unwrap();
    assert!(
        files_below(&plan.folder).iter().all(|file| file.contains(".unfinished-")),
        "no file has its name yet"
    );
    finished.commit().unwrap();
}

/// What QuPath asks of GeoJSON: closed rings of finite numbers, no `MultiPolygon` of one polygon, ids that are UUIDs.
fn check_qupath(text: &str) -> Vec<Value> {
    let json: Value = serde_json::from_str(text).unwrap();
    assert_eq!(json["type"], "FeatureCollection");
    let features = json["features"].as_array().unwrap().clone();
    let mut ids = std::collections::BTreeSet::new();
    for feature in &features {
        assert_eq!(feature["type"], "Feature");
        assert_eq!(feature["properties"]["objectType"], "annotation");
        assert_eq!(feature["properties"]["classification"]["name"], "glomerulus");
        assert!(feature["properties"]["measurements"].as_object().unwrap().values().all(Value::is_number));
        let id = feature["id"].as_str().unwrap();
        let is_hex = |c: char| c == '-' || c.is_ascii_hexdigit();
        assert!(id.len() == 36 && id.chars().all(is_hex) && ids.insert(id.to_owned()), "{id}");
        assert_eq!(feature["geometry"]["type"], "Polygon", "an object is one polygon");
        for ring in feature["geometry"]["coordinates"].as_array().unwrap() {
            let ring = ring.as_array().unwrap();
            assert!(ring.len() >= 4 && ring.first() == ring.last(), "{ring:?}");
            let numbers = ring.iter().flat_map(|point| point.as_array().unwrap());
            assert!(numbers.map(|v| v.as_f64().unwrap()).all(f64::is_finite));
        }
    }
    features
}

#[test]
fn every_file_says_the_same_whatever_the_rows_come_in() {
    for (width, height, step, microns) in
        [(1, 1, 1, None), (67, 40, 7, Some(0.5)), (130, 1030, 500, Some(0.25)), (520, 90, 90, None)]
    {
        let size = Size::new(width, height);
        let (map, slide) = (hills(size, f32::from(width as u16)), slide(size, microns));
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        write(&map, &slide, &PostprocessConfig::OFF, step, &plan);
        let path = |kind| plan.path(kind, "s");
        let mask = Mask::from_array(positive_pixels(&map, 0.5).view());

        assert_eq!(read_rle_table(&path(OutputKind::Rle)).unwrap()["s"], Rle::encode(&mask));
        let pixels = hubmap_io::open(&path(OutputKind::Mask)).unwrap();
        let values = pixels.read(size.window()).unwrap();
        assert_eq!(values.index_axis(Axis(2), 0), mask.to_array().mapv(|pixel| pixel * 255));
        assert_eq!(pixels.microns_per_px().is_some(), microns.is_some());
        assert_eq!(read_mask(&path(OutputKind::Bitmask)).unwrap(), mask);
        let probabilities =
            hubmap_io::open(&path(OutputKind::Probability)).unwrap().read(size.window()).unwrap();
        let expected = map.mapv(|p| (p.to_f64() * 255.0).round() as u8);
        assert_eq!(probabilities.index_axis(Axis(2), 0), expected);
        let mut npy = NpyReader::open(&path(OutputKind::Npy)).unwrap();
        assert_eq!(npy.read_rows(0, height).unwrap(), map);
        for kind in [OutputKind::Mask, OutputKind::Bitmask, OutputKind::Probability] {
            let n_levels = hubmap_io::open(&path(kind)).unwrap().levels().len();
            let expected = (size.width.max(size.height).div_ceil(512)).next_power_of_two().ilog2() + 1;
            assert_eq!(n_levels, expected as usize, "{kind:?} of {size}");
        }

        let text = std::fs::read_to_string(path(OutputKind::Geojson)).unwrap();
        let features = check_qupath(&text);
        let mut unpacked = String::new();
        let packed = std::fs::File::open(path(OutputKind::GeojsonGz)).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
        let mut drawn = Mask::new(size);
        for feature in read_annotations(&path(OutputKind::Geojson)).unwrap() {
            feature.polygons.iter().for_each(|polygon| drawn.fill_polygon(polygon));
        }
        assert_eq!(drawn, mask);

        let mut table = csv::Reader::from_path(path(OutputKind::Objects)).unwrap();
        let rows: Vec<BTreeMap<String, String>> = table.deserialize().map(Result::unwrap).collect();
        assert_eq!(rows.len(), features.len());
        let mut area = 0;
        for (number, (row, feature)) in (1..).zip(rows.iter().zip(&features)) {
            let measured = |name: &str| feature["properties"]["measurements"][name].as_f64();
            let value = |name: &str| row[name].parse::<f64>().unwrap();
            assert_eq!(
                (row["number"].parse(), measured("Object number")),
                (Ok(number), Some(f64::from(number)))
            );
            assert_eq!(row["uuid"], feature["id"].as_str().unwrap());
            assert_eq!(Some(value("area_px")), measured("Area px^2"));
            assert_eq!(row["area_um2"].is_empty(), microns.is_none());
            if let Some(microns) = microns {
                assert!((value("area_um2") - value("area_px") * microns * microns).abs() < 1e-3);
                assert!((measured("Area µm^2").unwrap() - value("area_um2")).abs() < 1e-3);
            }
            assert!((measured("Mean probability").unwrap() - value("mean_probability")).abs() < 1e-6);
            assert!(value("x0") < value("centroid_x") && value("centroid_x") < value("x1"));
            assert!(value("y0") < value("centroid_y") && value("centroid_y") < value("y1"));
            area += row["area_px"].parse::<u64>().unwrap();
        }
        assert_eq!(area, mask.count_ones());

        let overlay = std::io::BufReader::new(std::fs::File::open(path(OutputKind::Overlay)).unwrap());
        let mut overlay = png::Decoder::new(overlay).read_info().unwrap();
        let mut painted = vec![0; overlay.output_buffer_size().unwrap()];
        overlay.next_frame(&mut painted).unwrap();
        let plain = |x: usize, y: usize| painted[3 * (y * width as usize + x)..][..3] == [128; 3];
        // Away from edges, objects are tinted and the rest is as the slide.
        for (y, x) in (0..height as usize).flat_map(|y| (0..width as usize).map(move |x| (y, x))) {
            let near = mask.read(hubmap_io::Window::new(x as i64 - 3, y as i64 - 3, 7, 7));
            let n_set = near.iter().filter(|&&pixel| pixel == 1).count();
            if n_set == 0 || n_set == 49 {
                assert_eq!(plain(x, y), n_set == 0, "({x}, {y}) of {size}");
            }
        }
    }
}

#[test]
fn simple_outlines_are_valid_and_shorter() {
    let size = Size::new(400, 300);
    let (map, slide) = (hills(size, 3.0), slide(size, None));
    let lengths = [0.0, 1.5].map(|simplify_px| {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        write(&map, &slide, &PostprocessConfig { simplify_px, ..PostprocessConfig::OFF }, 64, &plan);
        let features = check_qupath(&std::fs::read_to_string(plan.path(OutputKind::Geojson, "s")).unwrap());
        // Only the outlines change.
        let mask = Mask::from_array(positive_pixels(&map, 0.5).view());
        assert_eq!(read_mask(&plan.path(OutputKind::Mask, "s")).unwrap(), mask);
        let rings = |feature: &Value| feature["geometry"]["coordinates"].as_array().unwrap().clone();
        features.iter().flat_map(rings).map(|ring| ring.as_array().unwrap().len()).sum::<usize>()
    });
    assert!(lengths[1] * 2 < lengths[0], "{lengths:?}");
}

#[test]
fn a_writer_that_is_dropped_or_lacks_rows_leaves_nothing() {
    let size = Size::new(70, 600);
    let (map, slide) = (hills(size, 1.0), slide(size, None));
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path());
    let start = || {
        let mut writer = SlideWriter::create(&slide, "s", 0.5, Postprocess::default(), &plan).unwrap();
        writer.write_rows(0, &map.slice(s![..550, ..])).unwrap();
        writer
    };
    drop(start());
    assert!(start().finish().unwrap_err().to_string().contains("550 of 600 rows"));
    let mut writer = start();
    assert!(writer.write_rows(551, &map.slice(s![551.., ..])).is_err());
    drop(writer);
    assert_eq!(files_below(folder.path()), [""; 0]);
}

#[test]
fn files_that_cannot_all_get_their_names_get_none() {
    let size = Size::new(70, 60);
    let (map, slide) = (hills(size, 1.0), slide(size, None));
    for blocked in OutputKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        // A folder cannot be replaced by a file.
        std::fs::create_dir_all(plan.path(blocked, "s").join("occupied")).unwrap();
        let mut writer = SlideWriter::create(&slide, "s", 0.5, Postprocess::default(), &plan).unwrap();
        writer.write_rows(0, &map).unwrap();
        let error = format!("{:#}", writer.finish().unwrap().commit().unwrap_err());
        assert!(error.contains(plan.path(blocked, "s").to_str().unwrap()), "{error}");
        assert_eq!(files_below(folder.path()), [""; 0]);
    }
}
