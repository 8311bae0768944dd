//! `hubmap-infer` over slides on a web server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, WebServer, files_under, fixture, run};

const WEIGHTS: &str = "models/tiny_trained_unet_regnety_002.f16.safetensors";

fn infer(slide: &str, out: &Path, more: &[&str]) -> Ran {
    let (model, out) = (fixture(WEIGHTS).display().to_string(), out.display().to_string());
    let mut args = vec!["--model", &model, "--slides", slide, "--out", &out, "--json", "--tta", "none"];
    args.extend(["--set", "infer.block=256", "--set", "infer.context=64"]);
    args.extend(more);
    run(env!("CARGO_BIN_EXE_hubmap-infer"), args)
}

/// All files but those with times in them, and the lock.
fn contents(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = files_under(out);
    files.retain(|file| !file.contains(".json") && !file.contains(".lock"));
    files.into_iter().map(|file| (file.clone(), std::fs::read(out.join(&file)).unwrap())).collect()
}

#[test]
fn a_slide_gives_the_same_files_from_a_disk_by_address_and_from_a_copy() {
    let (server, place) = (WebServer::start(), tempfile::tempdir().unwrap());
    let path = |name: &str| place.path().join(name);
    let spec = SlideSpec { scale: 0.5, ..SlideSpec::new(Size::new(900, 700), 3) };
    write_slide(&path("a.tiff"), &SyntheticSlide::new(spec).unwrap(), FileFormat::default()).unwrap();
    server.put("a.tiff", std::fs::read(path("a.tiff")).unwrap());
    let address = server.url("a.tiff");
    let scratch = path("scratch").display().to_string();
    for (slide, out, more) in [
        (path("a.tiff").display().to_string(), "file", &[][..]),
        (address.clone(), "address", &[]),
        (address.clone(), "copy", &["--scratch", &scratch]),
    ] {
        let ran = infer(&slide, &path(out), more);
        assert_eq!(ran.code, 0, "{ran:?}");
        let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(summary["slides"][0]["path"], slide.as_str());
    }
    let expected = contents(&path("file"));
    assert!(expected.len() > 4, "{} files", expected.len());
    assert!(contents(&path("address")) == expected && contents(&path("copy")) == expected);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "the copy does not stay");

    // For a copy every byte is asked for once, and the state of the slide before, by the copy, and after.
    let n_before = server.requests().len();
    let ran = infer(&address, &path("copy"), &["--scratch", &scratch, "--overwrite"]);
    assert_eq!((ran.code, server.requests().len() - n_before), (0, 4), "{:?}", server.requests());
}
