use crate::base_transform;
use hubmap_data::augment::{Operation, perform};
use hubmap_data::seed::{Purpose, stream};
use hubmap_data::tile_file::{write_image, write_mask};
use hubmap_data::{Dataset, Loader, LoaderConfig, Normalization, Sample, Shard};
use hubmap_test_support::{json, npy};
use ndarray::{Array2, Array3, Axis};

const FOLDER: &str = "numerics/09_val_transform";

/// The fixture's masks are levels / 255.
fn levels(mask: &Array2<f32>) -> Array2<u8> {
    mask.mapv(|value| {
        let level = value * 255.0;
        assert!((level - level.round()).abs() < 1e-4);
        level.round() as u8
    })
}

fn assert_close<D: ndarray::Dimension>(actual: &ndarray::Array<f32, D>, expected: &ndarray::Array<f32, D>) {
    assert_eq!(actual.shape(), expected.shape());
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= 1e-6, "{a} is not {e}");
    }
}

#[test]
fn square_crops_equal_albumentations_through_the_whole_loader() {
    for case in ["even", "odd", "same"] {
        let image: Array3<u8> = npy(&format!("{FOLDER}/{case}_image.npy"));
        let mask: Array2<f32> = npy(&format!("{FOLDER}/{case}_mask.npy"));
        let folder = tempfile::tempdir().unwrap();
        for kind in ["imgs", "masks"] {
            std::fs::create_dir_all(folder.path().join(kind).join("s")).unwrap();
        }
        write_image(&folder.path().join("imgs/s/000000.png"), &image).unwrap();
        write_mask(&folder.path().join("masks/s/000000.png"), &levels(&mask)).unwrap();
        let config = LoaderConfig {
            batch_size: 4,
            shard: Shard::WHOLE,
            shuffle: false,
            drop_last: false,
            seed: 0,
            prefetch: 1,
            threads: None,
            transform: base_transform("val", 64),
            normalization: Normalization::KIDNEY,
        };
        let loader = Loader::new(Dataset::open_dir(folder.path(), case).unwrap(), config).unwrap();
        let batch = loader.epoch(0).next().unwrap().unwrap();
        assert_eq!(batch.names, [format!("{case}/s/000000")]);
        let expected_image: Array3<f32> = npy(&format!("{FOLDER}/{case}_out_image_chw.npy"));
        let expected_mask: Array3<f32> = npy(&format!("{FOLDER}/{case}_out_mask_1hw.npy"));
        assert_close(&batch.images.index_axis(Axis(0), 0).to_owned(), &expected_image);
        assert_close(&batch.masks.index_axis(Axis(0), 0).to_owned(), &expected_mask);
    }
}

#[test]
fn offsets_of_every_case_are_those_of_the_library() {
    for case in json(&format!("{FOLDER}/index.json"))["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let image: Array3<u8> = npy(&format!("{FOLDER}/{name}_image.npy"));
        let mask: Array2<f32> = npy(&format!("{FOLDER}/{name}_mask.npy"));
        let sample = Sample::new(name, image, levels(&mask)).unwrap();
        let pair = |key: &str| {
            case[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect::<Vec<_>>()
        };
        let (crop, offset) = (pair("crop_hw"), pair("crop_offset_yx"));
        let part =
            Operation::Crop { x_px: offset[1], y_px: offset[0], width_px: crop[1], height_px: crop[0] };
        let cropped = perform(sample.clone(), &[part]).unwrap();
        if crop[0] == crop[1] {
            let transform = base_transform("val", crop[0]);
            let centre = transform.apply(sample, &mut stream(0, Purpose::Augment, 0, 0)).unwrap();
            assert_eq!(centre, cropped);
        }
        let expected: Array3<f32> = npy(&format!("{FOLDER}/{name}_out_image_chw.npy"));
        assert_close(&Normalization::KIDNEY.apply(&cropped.image), &expected);
    }
}

/// Area averages of OpenCV; sides that the factor does not divide are refused.
#[test]
fn reductions_equal_opencv() {
    let (mut n_equal, mut n_refused) = (0, 0);
    for case in json("numerics/05_resize/index.json")["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if case["kind"] != "INTER_AREA" || case["in_hwc"][2] != 3 {
            continue;
        }
        let image: Array3<u8> = npy(&format!("numerics/05_resize/{name}_in.npy"));
        let mask = image.index_axis(Axis(2), 1).to_owned();
        let factor: u32 = name.split("_s").nth(1).unwrap()[..1].parse().unwrap();
        let reduced = perform(Sample::new(name, image, mask).unwrap(), &[Operation::Reduce { factor }]);
        if case["in_hwc"].as_array().unwrap()[..2]
            .iter()
            .all(|side| side.as_u64().unwrap().is_multiple_of(u64::from(factor)))
        {
            let (expected, reduced): (Array3<u8>, _) =
                (npy(&format!("numerics/05_resize/{name}_out.npy")), reduced.unwrap());
            assert_eq!(reduced.image, expected, "{name}");
            assert_eq!(reduced.mask, expected.index_axis(Axis(2), 1), "{name}");
            n_equal += 1;
        } else {
            assert!(reduced.unwrap_err().to_string().contains("cannot be reduced"), "{name}");
            n_refused += 1;
        }
    }
    assert!(n_equal >= 6 && n_refused >= 6, "{n_equal} {n_refused}");
}
