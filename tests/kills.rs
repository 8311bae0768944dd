use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hubmap_io::Size;
use hubmap_synth::{SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{files_under, fixture};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::models::TRAINED;
use crate::outputs::executable;

fn infer(slides: &Path, out: &Path) -> Command {
    let mut command = Command::new(executable("hubmap-infer"));
    command.arg("--model").arg(fixture(TRAINED)).arg("--slides").arg(slides).arg("--out").arg(out);
    command.args(["--quiet", "--threads", "1", "--tta", "none", "--set", "infer.block=96"]);
    command.args(["--set", "infer.context=16"]);
    command.args(["--write", "rle,mask,bitmask,probability,npy,geojson,geojson-gz,objects,overlay"]);
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// All files but those with times in them, and the lock.
fn contents(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = files_under(out);
    files.retain(|file| !file.contains(".json") && !file.contains(".lock"));
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(out.join(&file)).unwrap())).collect()
}

#[test]
fn inference_that_is_killed_goes_on_and_leaves_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let slides = place.path().join("slides");
    std::fs::create_dir(&slides).unwrap();
    for (seed, name) in [(3, "a.tiff"), (4, "b.tiff")] {
        let spec = SlideSpec { scale: 0.5, ..SlideSpec::new(Size::new(1700, 1300), seed) };
        let slide = SyntheticSlide::new(spec).unwrap();
        write_slide(&slides.join(name), &slide, "tiled-jpeg".parse().unwrap()).unwrap();
    }
    let (whole, killed) = (place.path().join("whole"), place.path().join("killed"));
    let start = Instant::now();
    assert!(infer(&slides, &whole).status().unwrap().success());
    let time = start.elapsed();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (mut n_kills, mut n_finished) = (0, 0);
    while n_kills < 10 {
        let mut child = infer(&slides, &killed).spawn().unwrap();
        std::thread::sleep(time.mul_f64(rng.random_range(0.05..0.5)).max(Duration::from_millis(1)));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            // It got to its end: begin again.
            n_finished += 1;
            assert!(contents(&killed) == contents(&whole), "after {n_kills} kills");
            std::fs::remove_dir_all(&killed).unwrap();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        n_kills += 1;
    }
    assert!(infer(&slides, &killed).status().unwrap().success());
    let (found, expected) = (contents(&killed), contents(&whole));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    assert!(found == expected, "other bytes after {n_kills} kills, with {n_finished} finished runs between");
}
