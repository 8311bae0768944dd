//! `hubmap-convert` on slides of a web server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{Ran, WebServer, run};
use serde_json::Value;

fn convert(args: &[&str]) -> Ran {
    run(env!("CARGO_BIN_EXE_hubmap-convert"), args)
}

#[test]
fn slides_are_inspected_and_converted_by_address() {
    let (server, place) = (WebServer::start(), tempfile::tempdir().unwrap());
    let path = |name: &str| place.path().join(name).display().to_string();
    let slide = SyntheticSlide::new(SlideSpec::new(Size::new(300, 200), 1)).unwrap();
    write_slide(place.path().join("a.tiff").as_path(), &slide, FileFormat::default()).unwrap();
    server.put("a.tiff", std::fs::read(path("a.tiff")).unwrap());
    let address = server.url("a.tiff");

    let inspect = |slide: &str| {
        let ran = convert(&["inspect", slide, "--sha256", "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let mut report: Value = serde_json::from_str(&ran.stdout).unwrap();
        (report["file"].take(), report)
    };
    let (by_path, by_address) = (inspect(&path("a.tiff")), inspect(&address));
    assert_eq!((by_address.0.as_str(), by_address.1), (Some(address.as_str()), by_path.1));

    for (slide, out) in [(path("a.tiff"), path("1.tiff")), (address, path("2.tiff"))] {
        let ran = convert(&["slide", &slide, &out]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert!(std::fs::read(path("1.tiff")).unwrap() == std::fs::read(path("2.tiff")).unwrap());
    convert(&["inspect", &server.url("none.tiff")]).assert_error(65, &["none.tiff", "404"]);
}
