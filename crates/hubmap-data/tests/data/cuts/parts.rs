use hubmap_data::cuts::{generate, generate_part};
use hubmap_files::FolderLock;
use hubmap_jobs::Shard;

use super::{config, generated, tree};

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
