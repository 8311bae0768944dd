//! Lists of slides that scripts and spreadsheets write.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::PathBuf;

use hubmap_jobs::read_manifest;

fn message(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read_manifest(&path).unwrap_err().to_string()
}

/// Such an id would name a file in another folder, a hidden one, or one that no shell can type.
#[test]
fn ids_that_name_no_file_are_refused() {
    for id in [".a", "..", "a/b", "a\\b", "a\nb", "a\rb", "a\0b"] {
        let text = message("slides.csv", &format!("id,path\n\"{id}\",a.tiff\n"));
        assert!(text.contains("line 2") && text.contains("cannot be the name of a file"), "{id:?}: {text}");
        assert!(!text.contains(['\n', '\r', '\0']), "{id:?}: {text}");
    }
}

#[test]
fn resolutions_are_numbers_above_0() {
    for resolution in ["0", "-0.0", "-0.5", "inf", "nan"] {
        let text = message("slides.csv", &format!("path,microns_per_px\na.tiff,{resolution}\n"));
        assert!(text.contains("line 2") && text.contains("greater than 0"), "{resolution}: {text}");
    }
}

#[test]
fn the_ending_tells_the_form_in_any_case_and_a_mark_of_utf_8_is_no_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.JSONL", "{\"path\": \"x.tiff\"}\n"),
        ("a.CSV", "path\nx.tiff\n"),
        // As spreadsheets of Windows save it.
        ("b.csv", "\u{feff}path\r\nx.tiff\r\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let slides = read_manifest(&path).unwrap();
        assert_eq!((slides.len(), slides[0].id.as_str()), (1, "x"), "{name}");
        assert_eq!(slides[0].path, folder.path().join(PathBuf::from("x.tiff")), "{name}");
    }
}

/// A list beside the slides would otherwise look for a bucket in its folder.
#[test]
fn addresses_and_whole_paths_are_not_looked_for_beside_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slides.jsonl");
    let text = "{\"path\": \"s3://bucket/a.tiff\"}\n{\"id\": \"\", \"path\": \"/archive/b.tiff\"}\n";
    std::fs::write(&path, text).unwrap();
    let slides = read_manifest(&path).unwrap();
    assert_eq!(slides[0].path, PathBuf::from("s3://bucket/a.tiff"));
    assert_eq!(slides[1].path, PathBuf::from("/archive/b.tiff"));
    assert_eq!(slides[1].id, "b", "an empty id is none");
}
