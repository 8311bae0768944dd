//! The server, asked over TCP as a browser or a stranger would.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use half::f16;
use hubmap_infer::{
    Ensemble, NpyWriter, OutputKind, OutputPlan, PostprocessConfig, RowSink as _, SlideInput, find_slides,
    run_slides,
};
use hubmap_io::{LevelUse, Mask, ScaleOptions, Size, TiffSpec, TiffWriter, Window, write_mask_tiff};
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_view::{DeepZoom, Library, Server, ViewConfig};
use ndarray::{Array2, Array3, Axis};
use serde_json::Value;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

const SIZE: Size = Size::new(1100, 700);

/// A server that is stopped and awaited when it goes.
struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(config: &ViewConfig) -> Self {
        let server = Server::bind(Library::open(config).unwrap(), 0).unwrap();
        let (address, stop) = (server.address(), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || server.serve(|| asked.load(Ordering::Relaxed)).unwrap());
        Self { address, stop, thread: Some(thread) }
    }

    /// The answer to the bytes of a request.
    fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn ask(&self, method: &str, path: &str, more: &str) -> Answer {
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n",
            self.address
        ))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn slide(path: &Path) {
    let slide = SyntheticSlide::new(SlideSpec::new(SIZE, 3)).unwrap();
    write_slide(path, &slide, FileFormat::default()).unwrap();
}

/// A mask with two rectangles, 40 × 20 and 10 × 10 px.
fn mask(shift: u32) -> Mask {
    let mut mask = Mask::new(SIZE);
    (100..120).for_each(|y| mask.fill_run(y, 200 + shift, 240 + shift));
    (500..510).for_each(|y| mask.fill_run(y, 900, 910));
    mask
}

/// Two slides, one of a name that is odd and without predictions, and one of no slide at all.
fn place(folder: &Path) -> ViewConfig {
    let path = |name: &str| folder.join(name);
    for name in
        ["slides", "out/predicts/masks", "out/predicts/probabilities", "out/predicts/objects", "truth"]
    {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    slide(&path("slides/a.tiff"));
    slide(&path("slides/b #1 ü%2f<i>&'.tiff"));
    std::fs::write(path("slides/c.tiff"), "this is no slide").unwrap();
    write_mask_tiff(&path("out/predicts/masks/a.tiff"), &mask(0), 8).unwrap();
    let mut writer =
        TiffWriter::create(&path("out/predicts/probabilities/a.tiff"), TiffSpec::mask(SIZE, 8)).unwrap();
    let shape = (SIZE.height as usize, SIZE.width as usize, 1);
    writer.write_rows(&Array3::from_shape_fn(shape, |(_, x, _)| (x / 5) as u8)).unwrap();
    writer.finish().unwrap();
    let table = "number,area_px,mean_probability\n1,800,0.75\n2,100,0.625\n";
    std::fs::write(path("out/predicts/objects/a.csv"), table).unwrap();
    let mut truth = mask(5);
    (300..310).for_each(|y| truth.fill_run(y, 0, 10));
    write_mask_tiff(&path("truth/a.tiff"), &truth, 1).unwrap();
    let slides = find_slides(&[path("slides").into()]).unwrap();
    ViewConfig { slides, predictions: Some(path("out")), truth: Some(path("truth")) }
}

#[test]
fn the_page_and_the_list_of_slides_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&place(folder.path()));
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    for file in ["viewer.css", "main.js", "vendor/openseadragon.min.js", "vendor/openseadragon.LICENSE.txt"] {
        assert_eq!(server.get(&format!("/{file}")).status, 200, "{file}");
    }
    let list = server.json("/slides.json");
    let ids: Vec<_> =
        list["slides"].as_array().unwrap().iter().map(|slide| slide["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "b #1 ü%2f<i>&'", "c"]);
    assert_eq!(
        (&list["slides"][0]["is_predicted"], &list["slides"][1]["is_predicted"]),
        (&true.into(), &false.into())
    );
    let info = server.json("/slides/1/info.json");
    assert_eq!((&info["id"], &info["width"]), (&"b #1 ü%2f<i>&'".into(), &1100.into()));
    assert_eq!(
        (&info["layers"], &info["outlines"]),
        (&serde_json::json!(["slide"]), &serde_json::json!(["tissue"]))
    );
    let info = server.json("/slides/0/info.json");
    assert_eq!(info["layers"], serde_json::json!(["slide", "mask", "probability"]));
    assert_eq!(info["outlines"], serde_json::json!(["predicted", "truth", "tissue"]));
    assert_eq!((&info["microns_per_px"], &info["problems"]), (&0.5.into(), &serde_json::json!([])));
}

#[test]
fn tiles_show_what_the_reader_reads() {
    let folder = tempfile::tempdir().unwrap();
    let config = place(folder.path());
    let server = Running::start(&config);
    let dzi = server.get("/slides/0/slide.dzi");
    assert_eq!((dzi.status, dzi.header("content-type")), (200, Some("application/xml")));
    assert!(dzi.text().contains("Width=\"1100\" Height=\"700\""), "{}", dzi.text());
    let reader = hubmap_io::open(&folder.path().join("slides/a.tiff")).unwrap();
    let zoom = DeepZoom::new(SIZE);
    for (level, column, row) in [(11, 0, 0), (11, 1, 1), (11, 2, 0), (10, 1, 0), (8, 0, 0), (0, 0, 0)] {
        let answer = server.get(&format!("/slides/0/slide_files/{level}/{column}_{row}.jpeg"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")));
        let (factor, tile) = (zoom.factor(level).unwrap(), zoom.tile(level, column, row).unwrap());
        let times = |v: i64| v * i64::from(factor);
        let window = Window::new(times(tile.x), times(tile.y), tile.width * factor, tile.height * factor);
        let options = ScaleOptions { levels: LevelUse::Any, fill: 255, bands: None };
        let expected = reader.read_scaled(window, factor, &options).unwrap();
        let mut decoder = JpegDecoder::new(ZCursor::new(answer.body));
        let pixels = decoder.decode().unwrap();
        let size = (tile.width as usize, tile.height as usize);
        assert_eq!((decoder.dimensions(), pixels.len()), (Some(size), expected.len()));
        let apart: u64 = pixels.iter().zip(&expected).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = apart as f64 / expected.len() as f64;
        assert!(mean < 6.0, "tile {level}/{column}_{row} is {mean} apart");
    }
    for path in ["12/0_0", "11/3_0", "11/0_2", "4000000000/0_0", "11/4294967295_0"] {
        assert_eq!(server.get(&format!("/slides/0/slide_files/{path}.jpeg")).status, 404, "{path}");
    }
}

/// Values and colours `[red, green, blue, alpha]` of a PNG.
fn png(answer: &Answer) -> (Vec<u8>, Vec<[u8; 4]>) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{}", answer.text());
    let mut reader = png::Decoder::new(std::io::Cursor::new(&answer.body)).read_info().unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut values).unwrap();
    let info = reader.info();
    let (palette, alpha) = (info.palette.clone().unwrap(), info.trns.clone().unwrap());
    let colours = palette.as_chunks::<3>().0.iter().zip(alpha.iter()).map(|(&[r, g, b], &a)| [r, g, b, a]);
    (values, colours.collect())
}

#[test]
fn masks_and_probabilities_are_transparent_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&place(folder.path()));
    let (values, colours) = png(&server.get("/slides/0/mask_files/11/0_0.png"));
    let expected = mask(0).read(Window::new(0, 0, 511, 511)).mapv(|v| v * 255);
    assert_eq!(Some(values.as_slice()), expected.as_slice());
    assert_eq!((colours[0][3], colours[255][3]), (0, 255));
    let expected = Array3::from_shape_fn((511, 512, 1), |(_, x, _)| ((x + 509) / 5) as u8);
    for threshold in [0, 127] {
        let path = format!("/slides/0/probability_files/11/1_0.png?threshold={threshold}");
        let (values, colours) = png(&server.get(&path));
        assert_eq!(Some(values.as_slice()), expected.index_axis(Axis(2), 0).to_owned().as_slice());
        assert_eq!(colours[120][3] > 0, threshold == 0);
        assert_eq!(colours[128][3], 255);
    }
    assert_eq!(server.get("/slides/0/probability_files/11/1_0.png?threshold=256").status, 404);
    assert_eq!(server.get("/slides/1/mask_files/11/0_0.png").status, 404);
}

/// What inference leaves of slide `a`, by running it on a map of probabilities.
fn predict(folder: &Path, kinds: &[OutputKind], microns_per_px: Option<f64>) {
    let maps = [0, 1].map(|run| folder.join(format!("maps{run}")));
    for run in &maps {
        let path = run.join("predicts/raw/a.npy");
        let mut writer = NpyWriter::create(&path, SIZE).unwrap();
        let shape = (SIZE.height as usize, SIZE.width as usize);
        writer.write_rows(0, &Array2::from_elem(shape, f16::from_f32(0.7))).unwrap();
        writer.finish().unwrap().commit().unwrap();
    }
    let ensemble = Ensemble::new(maps.to_vec(), None).unwrap();
    let spec = ensemble.run_spec(0.5, PostprocessConfig::OFF);
    let plan = OutputPlan {
        folder: folder.join("out"),
        kinds: kinds.to_vec(),
        order: Vec::new(),
        reuse_finished: false,
        part: None,
        scratch: None,
    };
    let slide =
        SlideInput { id: "a".to_owned(), location: folder.join("slides/a.tiff").into(), microns_per_px };
    let summary = run_slides(&mut [ensemble], &spec, &[slide], &plan, &()).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
}

#[test]
fn the_resolution_is_that_of_the_list_or_of_the_predictions_or_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = place(folder.path());
    let server = Running::start(&config);
    let shown = |server: &Running| server.json("/slides/0/info.json")["microns_per_px"].as_f64();
    assert_eq!(shown(&server), Some(0.5));
    predict(folder.path(), &[OutputKind::Mask], Some(0.25));
    assert_eq!(shown(&server), Some(0.25), "seen without a new start");
    predict(folder.path(), &[OutputKind::Mask], None);
    assert_eq!(shown(&server), Some(0.5));
    predict(folder.path(), &[OutputKind::Mask], Some(0.25));
    let mut slides = config.slides.clone();
    slides[0].microns_per_px = Some(0.125);
    let server = Running::start(&ViewConfig { slides, ..config });
    assert_eq!(shown(&server), Some(0.125));
    assert_eq!(server.json("/slides/1/info.json")["microns_per_px"], 0.5, "a slide that is not in the list");
}

#[test]
fn probabilities_that_are_only_an_array_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&place(folder.path()));
    let info = || server.json("/slides/0/info.json");
    assert_eq!(info()["notes"], serde_json::json!([]));
    std::fs::remove_file(folder.path().join("out/predicts/probabilities/a.tiff")).unwrap();
    assert_eq!(info()["notes"], serde_json::json!([]), "there are no probabilities at all");
    predict(folder.path(), &[OutputKind::Npy], None);
    assert!(info()["notes"][0].as_str().unwrap().contains("--write probability"), "{}", info());
    assert!(!info()["layers"].to_string().contains("probability"));
    predict(folder.path(), &[OutputKind::Npy, OutputKind::Probability], None);
    assert_eq!(info()["notes"], serde_json::json!([]));
    assert!(info()["layers"].to_string().contains("probability"));
}

#[test]
fn objects_are_listed_with_their_agreement_and_outlined() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&place(folder.path()));
    let lists = server.json("/slides/0/objects.json");
    let predicted = &lists["predicted"];
    assert_eq!(predicted[0]["centre"], serde_json::json!([220.0, 110.0]));
    assert_eq!(predicted[0]["bounds"], serde_json::json!([200, 100, 240, 120]));
    assert_eq!((&predicted[0]["area_px"], &predicted[1]["probability"]), (&800.into(), &0.625.into()));
    let agreement = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|object| object["agreement"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(agreement(predicted), ["matched", "matched"]);
    assert_eq!(agreement(&lists["truth"]), ["matched", "missed", "matched"]);
    assert_eq!(predicted[1]["partner"], 3);
    let outlines = server.get("/slides/0/outlines/predicted/0.bin");
    let words: Vec<i32> =
        outlines.body.as_chunks::<4>().0.iter().map(|&word| i32::from_le_bytes(word)).collect();
    assert_eq!(words[..3], [2, 1, 4]);
    let vertices: Vec<_> = words[3..11].as_chunks::<2>().0.to_vec();
    for corner in [[200, 100], [240, 100], [240, 120], [200, 120]] {
        assert!(vertices.contains(&corner), "{corner:?} is not in {vertices:?}");
    }
    // Without prediction and truth there is nothing to list, but the tissue.
    assert_eq!(
        server.json("/slides/1/objects.json"),
        serde_json::json!({ "predicted": null, "truth": null })
    );
    assert_eq!(server.get("/slides/1/outlines/truth/0.bin").status, 404);
    let tissue = server.get("/slides/1/outlines/tissue/0.bin");
    assert!(tissue.status == 200 && tissue.body.len() > 40, "{tissue:?}");
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = place(folder.path());
    let server = Running::start(&config);
    for path in ["/main.js", "/slides/0/slide_files/11/0_0.jpeg", "/slides/0/objects.json"] {
        let first = server.get(path);
        assert_eq!(first.header("cache-control"), Some("private, no-cache"));
        let tag = first.header("etag").unwrap();
        let again = server.ask("GET", path, &format!("If-None-Match: \"x\", W/{tag}\r\n"));
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)));
        assert_eq!(server.ask("GET", path, "If-None-Match: \"x\"\r\n").status, 200);
    }
    // A file that is written anew has another tag.
    let tag = server.get("/slides/0/mask.dzi").header("etag").unwrap().to_owned();
    let is_set = || png(&server.get("/slides/0/mask_files/11/0_0.png")).0[110 * 511 + 210] > 0;
    assert!(is_set());
    write_mask_tiff(&folder.path().join("out/predicts/masks/a.tiff"), &mask(300), 1).unwrap();
    assert_ne!(server.get("/slides/0/mask.dzi").header("etag"), Some(tag.as_str()));
    assert_eq!(server.json("/slides/0/objects.json")["predicted"][0]["agreement"], "false");
    assert!(!is_set(), "the old tile");
}

#[test]
fn heads_are_those_of_the_whole_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&place(folder.path()));
    let whole = server.get("/slides/0/slide_files/9/0_0.jpeg");
    let head = server.ask("HEAD", "/slides/0/slide_files/9/0_0.jpeg", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(whole.body.len().to_string().as_str()));
    assert_eq!(head.header("etag"), whole.header("etag"));
}

#[test]
fn strangers_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&place(folder.path()));
    let port = server.address.port();
    let with_host = |host: &str| {
        server.raw(&format!("GET /slides.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status
    };
    assert_eq!((with_host(&format!("localhost:{port}")), with_host("127.0.0.1")), (200, 200));
    for host in [format!("evil.example:{port}"), "localhost.evil.example".to_owned(), "10.0.0.1".to_owned()] {
        assert_eq!(with_host(&host), 403, "{host}");
    }
    let absolute =
        "GET http://evil.example/slides.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(server.raw(absolute).status, 403);
    assert_eq!(server.raw("GET /slides.json HTTP/1.0\r\n\r\n").status, 400);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = server.ask(method, "/slides.json", "Content-Length: 0\r\n");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/slides/../../etc/passwd",
        "/nothing",
        "/slides/9/info.json",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("\"error\""), "{path}");
    }
    assert_eq!(server.raw("rubbish\r\n\r\n").status, 400);
    let long =
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "x".repeat(1 << 15));
    assert!([414, 431].contains(&server.raw(&long).status));
}

#[test]
fn broken_and_missing_files_harm_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let config = place(folder.path());
    // Of another size than the slide, and no image at all.
    write_mask_tiff(&folder.path().join("out/predicts/masks/a.tiff"), &Mask::new(Size::new(30, 20)), 8)
        .unwrap();
    std::fs::write(folder.path().join("out/predicts/probabilities/a.tiff"), "rubbish").unwrap();
    let server = Running::start(&config);
    let broken = server.get("/slides/2/info.json");
    assert_eq!(broken.status, 500);
    assert!(broken.text().contains("c.tiff"), "{}", broken.text());
    let info = server.json("/slides/0/info.json");
    let problems = info["problems"].to_string();
    assert!(problems.contains("30x20") && problems.contains("probabilities/a.tiff"), "{problems}");
    assert_eq!(info["layers"], serde_json::json!(["slide"]));
    assert_eq!(server.get("/slides/0/objects.json").status, 500);
    assert_eq!(server.get("/slides/0/slide_files/11/0_0.jpeg").status, 200);
    // Deleted while it is served.
    std::fs::remove_file(folder.path().join("slides/a.tiff")).unwrap();
    let gone = server.get("/slides/0/slide_files/11/1_0.jpeg");
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("a.tiff"), "{}", gone.text());
    assert_eq!(server.get("/slides/1/slide_files/11/0_0.jpeg").status, 200);
    slide(&folder.path().join("slides/a.tiff"));
    assert_eq!(server.get("/slides/0/slide_files/11/1_0.jpeg").status, 200);
}

#[test]
fn what_is_not_there_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = place(folder.path());
    let refused = |config: &ViewConfig| format!("{:#}", Library::open(config).unwrap_err());
    let predictions = Some(folder.path().join("slides"));
    let message = refused(&ViewConfig { predictions, ..config.clone() });
    assert!(message.contains("no output folder of hubmap-infer"), "{message}");
    let other = folder.path().join("d.geojson");
    std::fs::write(&other, "[]").unwrap();
    let message = refused(&ViewConfig { truth: Some(other.clone()), ..config.clone() });
    assert!(
        message.contains("d.geojson belongs to no slide") && message.contains("one of a, b"),
        "{message}"
    );
    let message = refused(&ViewConfig { slides: Vec::new(), ..config.clone() });
    assert!(message.contains("no slides"), "{message}");
    let twice = [config.slides.clone(), config.slides.clone()].concat();
    let message = refused(&ViewConfig { slides: twice, ..config.clone() });
    assert!(message.contains("two slides have the id a"), "{message}");
    // The file of one slide.
    let one = folder.path().join("a.geojson");
    std::fs::rename(other, &one).unwrap();
    let server = Running::start(&ViewConfig { truth: Some(one), ..config });
    assert_eq!(server.json("/slides/0/objects.json")["truth"], serde_json::json!([]));
}
