//! `hubmap-ensemble` over slides on a web server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, WebServer, files_under, fixture, run};
use serde_json::Value;

/// A file of slide `a` or `b` of the fixture's sizes.
fn slide(folder: &Path, id: &str) -> Vec<u8> {
    let size = if id == "a" { Size::new(90, 70) } else { Size::new(33, 41) };
    let path = folder.join(format!("{id}.tiff"));
    let slide = SyntheticSlide::new(SlideSpec::new(size, 1)).unwrap();
    write_slide(&path, &slide, FileFormat::default()).unwrap();
    std::fs::read(path).unwrap()
}

/// Runs over the slides of a list, or of the arguments.
fn ensemble(folder: &Path, list: Option<&str>, more: &[&str]) -> Ran {
    let out = folder.join("out").display().to_string();
    let runs = [0, 1, 2].map(|i| fixture(&format!("ensemble/run_{i}")).display().to_string());
    let list_path = folder.join("list.csv").display().to_string();
    let mut args = vec!["--out", &out, "--write", "rle", "--json", "--runs"];
    args.extend(runs.iter().map(String::as_str));
    if let Some(list) = list {
        std::fs::write(&list_path, list).unwrap();
        args.extend(["--manifest", &list_path]);
    }
    args.extend(more);
    run(env!("CARGO_BIN_EXE_hubmap-ensemble"), args)
}

fn summary(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// Ids of slides, and whether an earlier run had finished them.
fn reused(ran: &Ran) -> Vec<(String, bool)> {
    let slides = summary(ran)["slides"].as_array().unwrap().clone();
    let of = |slide: &Value| (slide["id"].as_str().unwrap().to_owned(), slide["reused"] == true);
    slides.iter().map(of).collect()
}

fn table(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("out/submission__0.5.csv")).unwrap()
}

fn expected() -> String {
    std::fs::read_to_string(fixture("ensemble/mean__0.5.csv")).unwrap()
}

fn pairs(of: &[(&str, bool)]) -> Vec<(String, bool)> {
    of.iter().map(|(id, reused)| ((*id).to_owned(), *reused)).collect()
}

#[test]
fn a_list_of_files_and_addresses_is_done_once_and_anew_when_an_object_changes() {
    let (server, place) = (WebServer::start(), tempfile::tempdir().unwrap());
    let bytes = slide(place.path(), "a");
    slide(place.path(), "b");
    server.put("slides/a.tiff", bytes.clone());
    let list = format!("path\n{}\nb.tiff\n", server.url("slides/a.tiff"));
    let ran = ensemble(place.path(), Some(&list), &[]);
    assert_eq!((ran.code, reused(&ran)), (0, pairs(&[("a", false), ("b", false)])), "{ran:?}");
    assert_eq!(table(place.path()), expected());
    assert_eq!(summary(&ran)["slides"][0]["path"], server.url("slides/a.tiff"));

    let ran = ensemble(place.path(), Some(&list), &[]);
    assert_eq!(reused(&ran), pairs(&[("a", true), ("b", true)]), "{ran:?}");
    // The same bytes, but nobody can know that.
    server.put("slides/a.tiff", bytes);
    let ran = ensemble(place.path(), Some(&list), &[]);
    assert_eq!(reused(&ran), pairs(&[("a", false), ("b", true)]), "{ran:?}");
    assert_eq!(table(place.path()), expected());
}

#[test]
fn anatomical_structures_are_read_beside_an_object() {
    let (server, place) = (WebServer::start(), tempfile::tempdir().unwrap());
    server.put("a%20b/a.tiff", slide(place.path(), "a"));
    let slide = server.url("a%20b/a.tiff");
    let within = ["--slides", &slide, "--set", "infer.postprocess.within=\"objects\""];
    let n_objects = |args: &[&str]| {
        let ran = ensemble(place.path(), None, args);
        assert_eq!((ran.code, reused(&ran)), (0, pairs(&[("a", false)])), "{ran:?}");
        summary(&ran)["slides"][0]["objects"].as_u64().unwrap()
    };
    let n_all = n_objects(&["--slides", &slide]);
    assert!(n_all > 0);
    assert_eq!(ensemble(place.path(), None, &within).code, 65);
    let failed = std::fs::read_to_string(place.path().join("out/summary.json")).unwrap();
    assert!(failed.contains("no a-anatomical-structure.json beside it"), "{failed}");

    let square = |side: u32| {
        format!(
            "[{{\"type\": \"Feature\", \"properties\": {{\"classification\": {{\"name\": \"Cortex\"}}}}, \"geometry\": \
             {{\"type\": \"Polygon\", \"coordinates\": [[[0, 0], [{side}, 0], [{side}, {side}], [0, {side}], [0, 0]]]}}}}]"
        )
    };
    for (side, expected) in [(1, 0), (100, n_all)] {
        server.put("a%20b/a-anatomical-structure.json", square(side).into_bytes());
        assert_eq!(n_objects(&within), expected, "a slide is done again when its outlines change");
    }
}

#[test]
fn parts_divide_a_list_by_the_sizes_of_objects() {
    let (server, place) = (WebServer::start(), tempfile::tempdir().unwrap());
    let urls = ["a", "b"].map(|id| {
        let name = format!("{id}.tiff");
        server.put(&name, slide(place.path(), id));
        server.url(&name)
    });
    // The larger slide goes to the first part, wherever it stands.
    for (part, id) in [("0/2", "a"), ("1/2", "b")] {
        let ran = ensemble(place.path(), None, &["--slides", &urls[1], &urls[0], "--shard", part]);
        assert_eq!((ran.code, reused(&ran)), (0, pairs(&[(id, false)])), "{ran:?}");
    }
}

#[test]
fn objects_that_cannot_be_had_fail_alone_and_are_named() {
    let (server, place) = (WebServer::start(), tempfile::tempdir().unwrap());
    server.put("a.tiff", slide(place.path(), "a"));
    for (name, status) in [("forbidden.tiff", Some(403)), ("vanishes.tiff", None), ("text.tiff", None)] {
        server.put(name, slide(place.path(), "b"));
        if let Some(status) = status {
            server.refuse(name, status);
        }
    }
    server.put("text.tiff", b"no slide".to_vec());
    // It is there, but gone before anything is read of it.
    server.vanish_after("vanishes.tiff", 1);
    let names = ["forbidden.tiff", "missing.tiff", "a.tiff", "vanishes.tiff?s3cret", "text.tiff"];
    let list = names.map(|name| server.url(name)).join("\n");
    let ran = ensemble(place.path(), Some(&format!("path\n{list}\n")), &["-q"]);
    assert_eq!((ran.code, reused(&ran)), (3, pairs(&[("a", false)])), "{ran:?}");
    let summary = summary(&ran);
    let failed = summary["failed"].as_array().unwrap();
    let shown =
        ["forbidden.tiff", "missing.tiff", "vanishes.tiff?…", "text.tiff"].map(|name| server.url(name));
    assert_eq!(failed.len(), shown.len(), "{ran:?}");
    for (failed, shown) in failed.iter().zip(shown) {
        assert_eq!(failed["path"], shown.as_str());
        assert!(failed["error"].as_str().unwrap().contains(&shown), "{failed}");
    }
    assert!(!ran.stderr.contains("s3cret") && !ran.stdout.contains("s3cret"), "{ran:?}");
    assert_eq!(files_under(&place.path().join("out/predicts/done")), ["a.json"]);
}

#[test]
fn web_servers_and_other_stores_are_refused_for_what_they_cannot_do() {
    let (server, place) = (WebServer::start(), tempfile::tempdir().unwrap());
    let folder = server.url("slides/");
    ensemble(place.path(), None, &["--slides", &folder]).assert_error(1, &[&folder, "name each slide"]);
    ensemble(place.path(), None, &["--slides", "az://container/a.tiff"])
        .assert_error(2, &["az:// is not read"]);
    let (slide, run) = (server.url("a.tiff"), server.url("run"));
    ensemble(place.path(), None, &["--slides", &slide, "--sample-submission", &run])
        .assert_error(2, &[&run, "only slides are read from http:// addresses"]);
    assert_eq!(files_under(&place.path().join("out")), Vec::<String>::new());
}
