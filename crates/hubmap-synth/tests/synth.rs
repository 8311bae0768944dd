//! Synthetic slides: windows, determinism, files, and the truth that goes with them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use hubmap_io::{Compression, Layout, Mask, Rle, Size, Window, read_annotations};
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec, SyntheticSlide, write_competition, write_slide};
use ndarray::{Array3, s};

fn spec(width: u32, height: u32, seed: u64) -> SlideSpec {
    SlideSpec { scale: 0.25, ..SlideSpec::new(Size::new(width, height), seed) }
}

fn slide(width: u32, height: u32, seed: u64) -> SyntheticSlide {
    SyntheticSlide::new(spec(width, height, seed)).unwrap()
}

fn whole(slide: &SyntheticSlide) -> Array3<u8> {
    slide.render(slide.size().window())
}

mod pixels {
    use super::*;

    #[test]
    fn windows_are_parts_of_the_whole() {
        // Several scales, because margins around a window depend on it.
        for (seed, scale, microns) in [(1, 0.25, 0.5), (2, 1.0, 0.25), (3, 0.06, 0.5), (4, 0.5, 1.0)] {
            let mut spec = spec(900, 700, seed);
            spec.scale = scale;
            spec.microns_per_px = microns;
            let slide = SyntheticSlide::new(spec).unwrap();
            let pixels = whole(&slide);
            let windows = [
                (0, 0, 900, 700),
                (1, 3, 77, 59),
                (255, 255, 3, 3),
                (300, 200, 513, 300),
                (899, 699, 1, 1),
                (431, 0, 1, 700),
                (0, 347, 900, 2),
            ];
            for (x, y, width, height) in windows {
                let window = slide.render(Window::new(x, y, width, height));
                let (x, y, w, h) = (x as usize, y as usize, width as usize, height as usize);
                assert!(
                    window == pixels.slice(s![y..y + h, x..x + w, ..]),
                    "seed {seed}: {w}x{h} at {x},{y}"
                );
            }
        }
    }

    #[test]
    fn windows_off_the_slide_are_black() {
        let slide = slide(300, 200, 5);
        let window = slide.render(Window::new(-20, -10, 400, 300));
        assert_eq!(window.slice(s![10..210, 20..320, ..]), whole(&slide));
        let inside: u64 = window.slice(s![10..210, 20..320, ..]).iter().map(|&v| v as u64).sum();
        assert_eq!(window.iter().map(|&v| v as u64).sum::<u64>(), inside);
        assert!(slide.render(Window::new(1000, 1000, 5, 5)).iter().all(|&v| v == 0));
    }

    #[test]
    fn the_seed_decides() {
        let first = whole(&slide(400, 300, 9));
        assert!(first == whole(&slide(400, 300, 9)));
        assert!(first != whole(&slide(400, 300, 10)));
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(first == single.install(|| whole(&slide(400, 300, 9))));
    }

    #[test]
    fn colours_are_those_of_a_stained_section() {
        for seed in 0..6 {
            let slide =
                SyntheticSlide::new(SlideSpec { artefacts: false, ..spec(1024, 1024, seed) }).unwrap();
            let pixels = whole(&slide);
            let mean = |view: ndarray::ArrayView3<'_, u8>| {
                let n = (view.len() / 3) as f64;
                [0, 1, 2].map(|band| view.slice(s![.., .., band]).iter().map(|&v| v as f64).sum::<f64>() / n)
            };
            let background = mean(pixels.slice(s![..12, ..12, ..]));
            assert!(background.iter().all(|&v| (225.0..252.0).contains(&v)), "{background:?}");
            let [red, green, blue] = mean(pixels.slice(s![412..612, 412..612, ..]));
            assert!(green < red && green < blue, "{red} {green} {blue}");
            assert!((60.0..200.0).contains(&green), "{green}");
        }
    }
}

mod truth {
    use super::*;

    #[test]
    fn masks_rows_runs_and_outlines_agree() {
        let slide = slide(1500, 1100, 21);
        assert!(slide.glomeruli().len() >= 8, "{}", slide.glomeruli().len());
        let mask = slide.mask();
        assert_eq!(slide.rle(), Rle::encode(&mask));
        assert_eq!(slide.mask_rows(0, 1100), mask.to_array());
        assert_eq!(slide.mask_rows(1000, 300), mask.read(Window::new(0, 1000, 1500, 300)));
        let areas: f64 = slide.glomeruli().iter().map(hubmap_io::Polygon::area).sum();
        assert!((areas / mask.count_ones() as f64 - 1.0).abs() < 0.01);
    }

    #[test]
    fn glomeruli_lie_apart_in_the_cortex_and_look_different() {
        for seed in 0..5 {
            let slide =
                SyntheticSlide::new(SlideSpec { artefacts: false, ..spec(1400, 1400, seed) }).unwrap();
            let cortex = slide.cortex();
            assert!(slide.medulla().area() < cortex.area());
            let mut united = 0;
            for polygon in slide.glomeruli() {
                let center = polygon.centroid().unwrap();
                assert!(cortex.contains(center), "seed {seed}");
                let bounds = polygon.bounds().unwrap();
                assert!(bounds.min.iter().chain(&bounds.max).all(|&v| v > 0.0 && v < 1400.0));
                // 100 to 350 µm at a quarter of the size and half a micron per pixel.
                let diameter = 2.0 * (polygon.area() / std::f64::consts::PI).sqrt();
                assert!((40.0..180.0).contains(&diameter), "{diameter}");
                let mut alone = Mask::new(slide.size());
                alone.fill_polygon(polygon);
                united += alone.count_ones();
            }
            assert_eq!(united, slide.mask().count_ones(), "seed {seed}: glomeruli overlap");
        }
    }

    #[test]
    fn the_smallest_slides_have_a_truth_too() {
        for (width, height) in [(512, 512), (300, 400), (256, 256)] {
            let slide = SyntheticSlide::new(SlideSpec::new(Size::new(width, height), 3)).unwrap();
            assert!(!slide.glomeruli().is_empty(), "{width}x{height}");
        }
        let tiny = SyntheticSlide::new(SlideSpec::new(Size::new(1, 1), 3)).unwrap();
        assert_eq!(whole(&tiny).dim(), (1, 1, 3));
    }

    #[test]
    fn impossible_slides_are_refused() {
        for broken in [
            spec(0, 10, 1),
            SlideSpec { scale: 0.0, ..spec(10, 10, 1) },
            SlideSpec { microns_per_px: f64::NAN, ..spec(10, 10, 1) },
            SlideSpec { glomeruli_per_mm2: -1.0, ..spec(10, 10, 1) },
        ] {
            assert!(SyntheticSlide::new(broken).is_err());
        }
    }
}

mod files {
    use super::*;

    #[test]
    fn every_format_holds_the_same_pixels() {
        let slide = slide(523, 417, 31);
        let pixels = whole(&slide);
        let folder = tempfile::tempdir().unwrap();
        let formats = FileFormat::all();
        assert_eq!(formats.len(), 20);
        for (i, &format) in formats.iter().enumerate() {
            assert!(
                !formats[..i]
                    .iter()
                    .any(|f| (f.layout, f.compression) == (format.layout, format.compression))
            );
            let path = folder.path().join(format!("{i}.tiff"));
            write_slide(&path, &slide, format).unwrap();
            let reader = hubmap_io::open(&path).unwrap();
            assert_eq!((reader.size(), reader.bands()), (slide.size(), 3), "{format:?}");
            let microns = reader.microns_per_px().unwrap();
            assert!((microns - 0.5).abs() < 1e-6, "{microns}");
            let read = reader.read(slide.size().window()).unwrap();
            if matches!(format.compression, Compression::Jpeg { .. }) {
                let difference: u64 = read.iter().zip(&pixels).map(|(&a, &b)| a.abs_diff(b) as u64).sum();
                let mean = difference as f64 / pixels.len() as f64;
                assert!(mean < 6.0, "{format:?}: mean difference {mean}");
            } else {
                assert!(read == pixels, "{format:?}");
            }
        }
    }

    #[test]
    fn formats_have_names() {
        let format: FileFormat = "pages-lzw-classic".parse().unwrap();
        assert_eq!(
            format,
            FileFormat { layout: Layout::Pages { tile: 256 }, compression: Compression::Lzw, big: false }
        );
        assert!("tiled-jpeg:80".parse::<FileFormat>().unwrap().big);
        for broken in ["", "round-lzw", "tiled-zip", "tiled-lzw-small", "tiled-lzw-big-more"] {
            assert!(broken.parse::<FileFormat>().is_err(), "{broken}");
        }
    }
}

mod competition {
    use super::*;

    fn competition(seed: u64) -> CompetitionSpec {
        let formats = ["tiled-lzw", "pages-none", "strips-deflate-classic"];
        let formats = formats.iter().map(|name| name.parse().unwrap()).collect();
        CompetitionSpec { n_train: 3, n_test: 2, slide: spec(600, 500, seed), formats }
    }

    /// Rows `(id, encoding)` of a table, after its header.
    fn table(path: &Path, header: &str) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(header));
        lines
            .map(|line| line.split_once(',').unwrap())
            .map(|(id, rest)| (id.to_owned(), rest.to_owned()))
            .collect()
    }

    /// Bytes of all files below a folder by name.
    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                files.extend(
                    contents(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
                );
            } else {
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
        files
    }

    #[test]
    fn the_folder_is_complete_and_consistent() {
        let folder = tempfile::tempdir().unwrap();
        let calls = RefCell::new(Vec::new());
        write_competition(folder.path(), &competition(5), &|done, total| {
            calls.borrow_mut().push((done, total));
        })
        .unwrap();
        assert_eq!(calls.into_inner(), [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);

        let files = contents(folder.path());
        let mut expected = vec![
            "HuBMAP-20-dataset_information.csv".to_owned(),
            "sample_submission.csv".into(),
            "train.csv".into(),
            "truth.csv".into(),
        ];
        for id in ["0486052bb", "2f6ecfcdf", "e79de561c"] {
            expected.extend(
                ["-anatomical-structure.json", ".json", ".tiff"].map(|end| format!("train/{id}{end}")),
            );
        }
        for id in ["2ec3f1bb9", "3589adb90"] {
            expected.extend(["-anatomical-structure.json", ".tiff"].map(|end| format!("test/{id}{end}")));
        }
        expected.sort();
        assert_eq!(files.keys().cloned().collect::<Vec<_>>(), expected);

        let size = Size::new(600, 500);
        let train = table(&folder.path().join("train.csv"), "id,encoding");
        assert_eq!(train.len(), 3);
        for (id, encoding) in &train {
            let features = read_annotations(&folder.path().join(format!("train/{id}.json"))).unwrap();
            assert!(!features.is_empty());
            let mut mask = Mask::new(size);
            for feature in &features {
                assert_eq!(feature.class.as_deref(), Some("glomerulus"));
                assert_eq!(feature.polygons.len(), 1);
                mask.fill_polygon(&feature.polygons[0]);
            }
            assert_eq!(&Rle::encode(&mask).to_string(), encoding, "{id}");
            let reader = hubmap_io::open(&folder.path().join(format!("train/{id}.tiff"))).unwrap();
            assert_eq!(reader.size(), size);
        }
        let truth = table(&folder.path().join("truth.csv"), "id,encoding");
        let submission = table(&folder.path().join("sample_submission.csv"), "id,predicted");
        assert_eq!(truth.len(), 2);
        for ((id, encoding), (predicted_id, prediction)) in truth.iter().zip(&submission) {
            assert_eq!((id, prediction.as_str()), (predicted_id, ""));
            assert!(Rle::parse(encoding).unwrap().decode(size).unwrap().count_ones() > 0);
            let path = folder.path().join(format!("test/{id}-anatomical-structure.json"));
            let structures = read_annotations(&path).unwrap();
            let classes: Vec<_> = structures.iter().filter_map(|f| f.class.as_deref()).collect();
            assert_eq!(classes, ["Cortex", "Medulla"]);
            assert_eq!(structures[0].polygons[0].holes, [structures[1].polygons[0].exterior.clone()]);
        }
        let information = table(
            &folder.path().join("HuBMAP-20-dataset_information.csv"),
            "image_file,width_pixels,height_pixels,anatomical_structures_segmention_file,\
             glomerulus_segmentation_file,patient_number,race,ethnicity,sex,age,weight_kilograms,\
             height_centimeters,bmi_kg/m^2,laterality,percent_cortex,percent_medulla",
        );
        assert_eq!(information.len(), 5);
        assert!(
            information.iter().all(|(_, rest)| rest.starts_with("600,500,") && rest.split(',').count() == 15)
        );
    }

    #[test]
    fn the_folder_does_not_depend_on_threads() {
        let folders = [1, 3].map(|n_threads| {
            let folder = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| {
                let mut spec = competition(6);
                (spec.n_train, spec.n_test) = (1, 1);
                write_competition(folder.path(), &spec, &|_, _| ()).unwrap();
            });
            contents(folder.path())
        });
        assert!(folders[0] == folders[1]);
    }

    #[test]
    fn more_slides_than_the_real_one_get_names_of_the_same_kind() {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = competition(7);
        spec.slide = SlideSpec::new(Size::new(40, 30), 7);
        (spec.n_train, spec.n_test) = (18, 7);
        write_competition(folder.path(), &spec, &|_, _| ()).unwrap();
        let mut ids: Vec<_> = table(&folder.path().join("train.csv"), "id,encoding")
            .into_iter()
            .chain(table(&folder.path().join("truth.csv"), "id,encoding"))
            .map(|(id, _)| id)
            .collect();
        assert_eq!(ids.len(), 25);
        assert!(ids.iter().all(|id| id.len() == 9 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 25);
    }

    #[test]
    fn wrong_requests_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spec = CompetitionSpec { formats: Vec::new(), ..competition(1) };
        assert!(write_competition(folder.path(), &spec, &|_, _| ()).is_err());
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = write_competition(&file, &competition(1), &|_, _| ()).unwrap_err();
        assert!(format!("{error:#}").contains("file"), "{error:#}");
    }
}
