use std::path::Path;

use hubmap_data::config::{DataGenConfig, ListedFold};
use hubmap_data::cuts::{generate, generate_part};
use hubmap_files::FolderLock;
use hubmap_jobs::Shard;

use super::naive::truths;
use super::{LAYOUTS, config, generated, tree, write_competition};

fn shard(text: &str) -> Shard {
    text.parse().unwrap()
}

#[test]
fn parts_and_a_run_after_them_leave_what_one_run_leaves() {
    let (folder, whole) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("parts"));
    let mut n_slides = 0;
    for part in ["1/2", "0/2"] {
        let report = generate_part(&input, &output, &config(), shard(part), &()).unwrap();
        assert_eq!(report.part.as_deref(), Some(part));
        assert!(
            report.failures.is_empty() && report.folds.is_empty() && !report.slides.is_empty(),
            "{report}"
        );
        assert!(report.to_string().contains("run again without --shard"), "{report}");
        n_slides += report.slides.len();
    }
    assert_eq!(n_slides, whole.slides.len());
    assert!(!output.join("SPLITS").exists());
    let report = generate(&input, &output, &config(), &()).unwrap();
    for slide in &report.slides {
        let n_windows: usize = slide.tiles.iter().map(|tiles| tiles.n_kept + tiles.n_skipped).sum();
        assert_eq!(slide.n_up_to_date(), n_windows, "nothing is cut again");
    }
    let outputs = |dir: &str| {
        let mut files = tree(&folder.path().join(dir));
        files.retain(|name, _| !name.starts_with(".data-gen"));
        files
    };
    assert!(outputs("parts") == outputs("out"));
}

#[test]
fn a_slide_is_cut_by_one_job_at_a_time() {
    let (folder, whole) = generated(&config());
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let id = &whole.slides[0].slide;
    let path = output.join(".data-gen/slides").join(id).join("lock");
    let lock = FolderLock::take(&path).unwrap().unwrap();
    assert!(lock.is_effective, "this test needs a file system with locks");
    let part = |part| generate_part(&input, &output, &config(), shard(part), &());
    let (error, n_done) = match (part("0/2"), part("1/2")) {
        (Err(error), Ok(report)) | (Ok(report), Err(error)) => (error.to_string(), report.slides.len()),
        both => panic!("{both:?}"),
    };
    assert!(error.contains("another job is at slide") && error.contains(id), "{error}");
    assert!(n_done > 0);
    // A run of all keeps parts out, and is kept out by them.
    let all = FolderLock::take_shared(&output.join(".data-gen/lock")).unwrap().unwrap();
    assert!(
        generate(&input, &output, &config(), &())
            .unwrap_err()
            .to_string()
            .contains("another hubmap-data-gen")
    );
    drop(all);
    let _all = FolderLock::take(&output.join(".data-gen/lock")).unwrap().unwrap();
    drop(lock);
    assert!(part("0/2").unwrap_err().to_string().contains("another hubmap-data-gen"));
}

/// Makes a file longer than those of all other slides; what follows the last byte that a TIFF names is nobody's.
fn lengthen(path: &Path) {
    let file = std::fs::File::options().append(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() + (1 << 20)).unwrap();
}

#[test]
fn parts_are_of_even_size_and_clean_up_after_their_own_slides_only() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    lengthen(&input.join("train/cc33.tiff"));
    let left_by_killed = |id: &str| {
        [
            output.join(format!("bigmasks/.unfinished-{id}.tiff~a1b2c3.tiff")),
            output.join(format!(".data-gen/slides/{id}/.unfinished-record.json~a1b2c3.json")),
        ]
    };
    for path in ["aa11", "cc33"].map(left_by_killed).as_flattened() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "half").unwrap();
    }
    let are_there = |id: &str| left_by_killed(id).map(|path| path.exists());
    // Another part is at work meanwhile: those may be files that it is writing.
    let _other_part = FolderLock::take_shared(&output.join(".data-gen/lock")).unwrap().unwrap();
    for (part, slides, left) in [("0/2", &["cc33"][..], true), ("1/2", &["aa11", "bb22"], false)] {
        let report = generate_part(&input, &output, &config(), shard(part), &()).unwrap();
        assert!(
            report.slides.iter().map(|slide| slide.slide.as_str()).eq(slides.iter().copied()),
            "{report}"
        );
        assert_eq!((are_there("cc33"), are_there("aa11")), ([false; 2], [left; 2]), "{part}");
    }
}

#[test]
fn a_part_refuses_what_the_run_of_all_would_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_competition(&input, &truths(), &LAYOUTS);
    let refused = |config: &DataGenConfig| {
        let error = generate_part(&input, &output, config, shard("0/2"), &()).unwrap_err();
        assert!(!output.exists());
        format!("{error:#}")
    };
    let unknown = vec![ListedFold { name: "x".into(), valid: vec!["0486052bb".into()] }];
    assert!(refused(&DataGenConfig { listed_folds: unknown, ..config() }).contains("slide 0486052bb"));
    assert!(refused(&DataGenConfig { scale: 0, ..config() }).contains("data_gen.scale"));
}
