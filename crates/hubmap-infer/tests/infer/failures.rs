//! Full disks and killed processes: the test starts itself again as a child with a limit, or kills it.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hubmap_infer::{OutputKind, OutputPlan, SlideInput, predict_slides};
use hubmap_io::Size;
use ndarray::{Array4, s};

use crate::files::{disc_pixels, files_below, plan, write_slide};
use crate::pipeline::{predictor, small_config};

/// Names the folder that a child works in.
const PLACE: &str = "HUBMAP_INFER_TEST_PLACE";

/// Slides of this folder, in order.
const SLIDES: [&str; 3] = ["large", "small", "tiny"];

fn make_slides(place: &Path) {
    for (id, side) in SLIDES.into_iter().zip([300, 90, 40]) {
        let pixels = disc_pixels(Size::new(side, side), &[(20, 20, 15), (150, 150, 70)]);
        write_slide(&place.join(format!("{id}.tiff")), &pixels, Some(0.5));
    }
}

fn out(place: &Path) -> PathBuf {
    place.join("out")
}

/// Predicts the slides of a folder with a model that takes a little time.
fn predict(place: &Path, pause: Duration) {
    let model = move |tiles: &Array4<f32>| {
        std::thread::sleep(pause);
        Ok(tiles.slice(s![.., ..1, .., ..]).mapv(|red| if red > 0.0 { 3.0 } else { -3.0 }))
    };
    let slide = |id: &str| SlideInput {
        id: id.to_owned(),
        location: place.join(format!("{id}.tiff")).into(),
        microns_per_px: None,
    };
    let mut predictors = [predictor(small_config(), model)];
    predict_slides(&mut predictors, "model", &SLIDES.map(slide), &plan(&out(place)), &()).unwrap();
}

#[test]
#[ignore = "what the other tests of this file start as a child"]
fn child() {
    let place = std::env::var_os(PLACE).expect("the parent says where");
    predict(Path::new(&place), Duration::from_millis(4));
}

/// A command that runs [`child`] in `place`, through a shell that does `first` before.
fn child_after(first: &str, place: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{first} exec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "failures::child", "--ignored", "--nocapture"]).env(PLACE, place);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_slide_that_does_not_fit_on_the_disk_fails_alone_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    make_slides(place);
    // No file may be larger than 64 KiB; going over it is an error, as on a full disk, not a signal.
    let status = child_after("trap '' XFSZ; ulimit -f 128;", place).status().unwrap();
    assert!(status.success(), "the run goes on to its end");
    let summary = std::fs::read_to_string(out(place).join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let ids = |list: &str| {
        summary[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (ids("slides"), ids("failed")),
        (vec!["small".to_owned(), "tiny".into()], vec!["large".into()])
    );
    let error = summary["failed"][0]["error"].as_str().unwrap();
    assert!(error.contains("cannot write") && error.contains("large.npy"), "{error}");
    let files = files_below(&out(place));
    assert!(!files.iter().any(|file| file.contains("large") || file.contains("unfinished")), "{files:?}");
    // With room, the same command finishes the rest.
    assert!(child_after("", place).status().unwrap().success());
    assert!(OutputKind::ALL.iter().all(|kind| plan(&out(place)).path(*kind, "large").exists()));
}

/// Contents of all files but those with times in them.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = files_below(folder).into_iter().filter(|file| !file.contains(".json"));
    names.map(|file| (file.clone(), std::fs::read(folder.join(file)).unwrap())).collect()
}

#[test]
fn killed_runs_go_on_and_end_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected");
    std::fs::create_dir(&expected).unwrap();
    make_slides(&expected);
    predict(&expected, Duration::ZERO);

    let place = folder.path().join("killed");
    std::fs::create_dir(&place).unwrap();
    make_slides(&place);
    for round in 0..10_u64 {
        let mut child = child_after("", &place).spawn().unwrap();
        // From before the first file to about the end of the run.
        std::thread::sleep(Duration::from_millis(10 + 37 * round % 230));
        child.kill().unwrap();
        child.wait().unwrap();
        if !out(&place).exists() {
            continue;
        }
        // Whatever has its name is whole, and what a record vouches for is there.
        let files = files_below(&out(&place));
        let done = files.iter().filter_map(|file| file.strip_prefix("predicts/done/")?.strip_suffix(".json"));
        for id in done.filter(|id| !id.contains("unfinished")) {
            assert!(OutputKind::ALL.iter().all(|kind| plan(&out(&place)).path(*kind, id).exists()), "{id}");
        }
        for (file, bytes) in contents(&out(&place)) {
            if !file.contains(".unfinished-") {
                let whole = std::fs::read(out(&expected).join(&file)).unwrap();
                assert!(file.contains("submission") || bytes == whole, "{file} after round {round}");
            }
        }
    }
    predict(&place, Duration::ZERO);
    assert!(contents(&out(&place)) == contents(&out(&expected)));
}

#[test]
fn a_record_that_cannot_be_written_lets_nothing_vouch_for_the_slide() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    make_slides(place);
    let record = out(place).join("predicts/done/small.json");
    std::fs::create_dir_all(record.join("occupied")).unwrap();
    let slides =
        [SlideInput { id: "small".into(), location: place.join("small.tiff").into(), microns_per_px: None }];
    let mut predictors =
        [predictor(small_config(), |tiles: &Array4<f32>| Ok(tiles.slice(s![.., ..1, .., ..]).to_owned()))];
    let plan = OutputPlan { kinds: vec![OutputKind::Mask], ..plan(&out(place)) };
    let summary = predict_slides(&mut predictors, "model", &slides, &plan, &()).unwrap();
    assert_eq!(summary.failed.len(), 1);
    assert!(summary.failed[0].error.contains("small.json"), "{}", summary.failed[0].error);
}
