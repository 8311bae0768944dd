use hubmap_data::augment::Preset;
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
            transform: Preset::Validation.transform(64),
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
        let cropped =
            hubmap_data::augment::crop(sample.clone(), offset[1], offset[0], crop[1], crop[0]).unwrap();
        if crop[0] == crop[1] {
            let transform = Preset::Validation.transform(crop[0]);
            let centre = transform.apply(sample, &mut stream(0, Purpose::Augment, 0, 0)).unwrap();
            assert_eq!(centre, cropped);
        }
        let expected: Array3<f32> = npy(&format!("{FOLDER}/{name}_out_image_chw.npy"));
        assert_close(&Normalization::KIDNEY.apply(&cropped.image), &expected);
    }
}
