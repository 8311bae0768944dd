//! Slides in an object store in memory and behind a web server: the contract, the number of requests, copies, and what
//! failures look like.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubmap_io::contract::check_reader;
use hubmap_io::{
    ByteSource, Compression, Error, Layout, Location, RasterReader as _, RemoteFile, RemoteOptions, Size,
    TiffSlide, TiffSpec, TiffWriter, Window, open,
};
use hubmap_test_support::WebServer;
use ndarray::Array3;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};

fn picture(width: usize, height: usize) -> Array3<u8> {
    Array3::from_shape_fn((height, width, 3), |(y, x, c)| {
        ((y * 7 + x * 13 + c * 50 + y * x / 91) % 251) as u8
    })
}

fn slide_bytes(spec: TiffSpec, picture: &Array3<u8>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.tiff");
    let mut writer = TiffWriter::create(&path, spec).unwrap();
    writer.write_rows(picture).unwrap();
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

fn put(store: &InMemory, key: &Key, bytes: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.put(key, PutPayload::from(bytes))).unwrap();
}

/// An object in memory.
fn remote(bytes: Vec<u8>) -> RemoteFile {
    let (store, key) = (InMemory::new(), Key::from("slides/a.tiff"));
    put(&store, &key, bytes);
    RemoteFile::new(Arc::new(store), key).unwrap()
}

#[test]
fn remote_slides_keep_the_contract() {
    let picture = picture(331, 203);
    for layout in [
        Layout::Tiled { tile: 64, planar: false },
        Layout::Strips { rows: 32, planar: true },
        Layout::Strips { rows: u32::MAX, planar: false },
        Layout::Pages { tile: 128 },
    ] {
        for compression in [Compression::None, Compression::Deflate] {
            let spec =
                TiffSpec { layout, compression, predictor: false, ..TiffSpec::rgb(Size::new(331, 203)) };
            let file = remote(slide_bytes(spec, &picture));
            let slide = TiffSlide::from_source(Path::new("s3://bucket/a.tiff"), Arc::new(file)).unwrap();
            check_reader(&slide, &picture);
        }
    }
}

/// Counts what is asked of a source.
#[derive(Debug)]
struct Counted {
    file: RemoteFile,
    n_fetches: AtomicUsize,
    n_reads: AtomicUsize,
}

impl ByteSource for Counted {
    fn byte_len(&self) -> u64 {
        self.file.byte_len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.n_reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_at(offset, buffer)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn fetch(&self, ranges: &[std::ops::Range<u64>]) -> std::io::Result<Vec<Vec<u8>>> {
        self.n_fetches.fetch_add(1, Ordering::Relaxed);
        self.file.fetch(ranges)
    }
}

#[test]
fn a_window_of_many_tiles_is_fetched_at_once() {
    let picture = picture(1000, 1000);
    let spec =
        TiffSpec { layout: Layout::Tiled { tile: 64, planar: true }, ..TiffSpec::rgb(Size::new(1000, 1000)) };
    let file = remote(slide_bytes(spec, &picture));
    let counted = Arc::new(Counted { file, n_fetches: AtomicUsize::new(0), n_reads: AtomicUsize::new(0) });
    let slide = TiffSlide::from_source(Path::new("s3://bucket/a.tiff"), Arc::clone(&counted) as _).unwrap();
    counted.n_reads.store(0, Ordering::Relaxed);
    let window = Window::new(100, 70, 800, 900);
    assert!(slide.read(window).unwrap() == picture.slice(ndarray::s![70..970, 100..900, ..]));
    let counts = (counted.n_fetches.load(Ordering::Relaxed), counted.n_reads.load(Ordering::Relaxed));
    assert_eq!(counts, (1, 0), "fetches and single reads");
}

#[test]
fn failures_name_the_slide() {
    let missing = RemoteFile::new(Arc::new(InMemory::new()), Key::from("none.tiff")).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    for address in ["s3://", "ftp://host/slide.tiff", "slide.tiff", "https://"] {
        let error = RemoteFile::open(address, &RemoteOptions::default()).unwrap_err();
        assert!(matches!(&error, Error::Usage { .. }), "{error}");
        assert!(error.to_string().starts_with(address), "{error}");
    }
    // Nobody listens on the port of discard.
    let error = RemoteFile::open("http://127.0.0.1:9/a.tiff", &quick()).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error}");
    let file = remote(b"no slide at all".to_vec());
    let error = TiffSlide::from_source(Path::new("s3://bucket/a.tiff"), Arc::new(file)).unwrap_err();
    assert!(matches!(&error, Error::Format { .. }) && error.to_string().starts_with("s3://bucket/a.tiff"));
}

/// Options that give up soon.
fn quick() -> RemoteOptions {
    RemoteOptions::new([("timeout".to_owned(), "1s".to_owned())])
}

#[test]
fn a_slide_that_changes_while_it_is_read_is_an_error() {
    let picture = picture(331, 203);
    let spec = TiffSpec::rgb(Size::new(331, 203));
    let bytes = slide_bytes(spec, &picture);
    let (store, key) = (Arc::new(InMemory::new()), Key::from("a.tiff"));
    put(&store, &key, bytes.clone());
    let file = RemoteFile::new(Arc::clone(&store) as Arc<dyn ObjectStore>, key.clone()).unwrap();
    let slide = TiffSlide::from_source(Path::new("s3://bucket/a.tiff"), Arc::new(file)).unwrap();
    slide.read(Window::new(0, 0, 9, 9)).unwrap();
    put(&store, &key, bytes);
    let error = slide.read(Window::new(0, 0, 9, 9)).unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");
}

#[test]
fn options_hide_their_values() {
    let pairs = [("AWS_SECRET_ACCESS_KEY", "s3cret"), ("HOME", "/home/user"), ("allow_http", "true")];
    let options = RemoteOptions::new(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(format!("{options:?}"), r#"["AWS_SECRET_ACCESS_KEY", "allow_http"]"#);
}

fn location(address: &str) -> Location {
    Location::parse(Path::new(address), &RemoteOptions::default()).unwrap()
}

/// A slide of the size of some requests, and its bytes.
fn large_slide() -> (Array3<u8>, Vec<u8>) {
    let picture = picture(2700, 2300);
    let spec =
        TiffSpec { compression: Compression::None, predictor: false, ..TiffSpec::rgb(Size::new(2700, 2300)) };
    let bytes = slide_bytes(spec, &picture);
    assert!(bytes.len() > 2 * (8 << 20), "{} bytes", bytes.len());
    (picture, bytes)
}

#[test]
fn a_slide_by_address_is_opened_looked_at_and_copied() {
    let (server, folder) = (WebServer::start(), tempfile::tempdir().unwrap());
    let (picture, bytes) = large_slide();
    server.put("slides/a%20b.tiff", bytes.clone());
    let address = server.url("slides/a%20b.tiff");
    let slide = location(&address);
    assert_eq!(
        (slide.path(), slide.to_string(), slide.as_file()),
        (Path::new(&address), address.clone(), None)
    );
    let window = Window::new(100, 200, 300, 50);
    let expected = picture.slice(ndarray::s![200..250, 100..400, ..]);
    assert!(slide.open().unwrap().read(window).unwrap() == expected);
    assert_eq!(slide.open_tiff().unwrap().pages()[0].size, Size::new(2700, 2300));
    let stat = slide.stat().unwrap();
    assert_eq!((stat.n_bytes, stat.e_tag.as_deref()), (bytes.len() as u64, Some("\"version-1\"")));

    let copy = folder.path().join("copy.tiff");
    let mut heard = Vec::new();
    let hear = |n_bytes| {
        heard.push(n_bytes);
        Ok(())
    };
    slide.copy_to(&copy, hear).unwrap();
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert_eq!(heard, [8 << 20, 16 << 20, bytes.len() as u64]);
    assert_eq!(location(copy.to_str().unwrap()).stat().unwrap().n_bytes, stat.n_bytes);

    // Whoever wants to stop it leaves nothing, whatever is copied.
    for from in [slide.clone(), Location::from(copy.as_path())] {
        let stopped = folder.path().join("stopped.tiff");
        let error = from.copy_to(&stopped, |_| Err(std::io::Error::other("enough"))).unwrap_err();
        assert!(
            error.to_string().contains(&from.to_string()) && error.to_string().contains("enough"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the first copy");
    }

    server.put("slides/a%20b.tiff", bytes);
    assert_ne!(slide.stat().unwrap(), stat, "another version");
}

#[test]
fn an_object_that_changes_or_goes_while_it_is_copied_leaves_no_copy() {
    let (server, folder) = (WebServer::start(), tempfile::tempdir().unwrap());
    let (_, bytes) = large_slide();
    server.put("changes.tiff", bytes.clone());
    let copy = folder.path().join("copy.tiff");
    let change = |n_copied| {
        if n_copied == 8 << 20 {
            // Of 3 parts all are asked for at once, and some may have been answered before this; so from now on for ever.
            server.put("changes.tiff", bytes.clone());
        }
        Ok(())
    };
    let changed = location(&server.url("changes.tiff"));
    let opened = RemoteFile::open(&server.url("changes.tiff"), &RemoteOptions::default()).unwrap();
    changed.copy_to(&copy, change).unwrap_or_default();
    let error = opened.read_at(0, &mut [0; 9]).unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");

    std::fs::remove_file(&copy).unwrap_or_default();
    server.put("goes.tiff", bytes);
    server.vanish_after("goes.tiff", 2);
    let gone = location(&server.url("goes.tiff")).copy_to(&copy, |_| Ok(())).unwrap_err();
    assert!(gone.to_string().contains("goes.tiff: cannot copy"), "{gone}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn servers_that_heed_no_version_are_compared_with_the_one_that_was_opened() {
    let server = WebServer::start();
    let picture = picture(331, 203);
    let bytes = slide_bytes(TiffSpec::rgb(Size::new(331, 203)), &picture);
    server.put("a.tiff", bytes.clone());
    server.ignore_versions("a.tiff");
    let slide = location(&server.url("a.tiff")).open().unwrap();
    slide.read(Window::new(0, 0, 9, 9)).unwrap();
    server.put("a.tiff", bytes);
    server.ignore_versions("a.tiff");
    let error = slide.read(Window::new(0, 0, 9, 9)).unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");
}

#[test]
fn signed_addresses_are_read_and_never_shown() {
    let (server, folder) = (WebServer::start(), tempfile::tempdir().unwrap());
    let picture = picture(331, 203);
    let bytes = slide_bytes(TiffSpec::rgb(Size::new(331, 203)), &picture);
    server.put("a.tiff", bytes.clone());
    server.sign("a.tiff", "X-Signature=s3cret&part=1.5");
    let slide = location(&server.url("a.tiff?X-Signature=s3cret&part=1.5"));
    assert_eq!(slide.to_string(), server.url("a.tiff?…"));
    let opened = slide.open().unwrap();
    assert_eq!(opened.path(), slide.path());
    check_reader(&*opened, &picture);
    assert_eq!(slide.stat().unwrap().n_bytes, bytes.len() as u64);
    slide.copy_to(&folder.path().join("a.tiff"), |_| Ok(())).unwrap();
    assert_eq!(open(&folder.path().join("a.tiff")).unwrap().size(), Size::new(331, 203));
    assert_eq!(slide.sibling("b.json"), None);

    let wrong = location(&server.url("a.tiff?X-Signature=wr0ng"));
    let error = wrong.open().err().unwrap();
    let shown = format!("{error} {error:?} {wrong:?} {:?}", std::error::Error::source(&error));
    assert!(shown.contains("403") && shown.contains("a.tiff?…") && !shown.contains("wr0ng"), "{shown}");
}

#[test]
fn many_states_are_asked_for_at_once_and_each_problem_is_told() {
    let (server, folder) = (WebServer::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "five!").unwrap();
    let mut locations: Vec<Location> = (0..70).map(|i| location(&server.url(&i.to_string()))).collect();
    (0..70).for_each(|i| server.put(&i.to_string(), vec![0; i]));
    server.refuse("3", 403);
    locations.insert(1, Location::from(file));
    locations.push(location(&server.url("none")));
    let stats = Location::stat_all(&locations);
    assert_eq!(stats.len(), 72);
    assert_eq!(stats[0].as_ref().unwrap().n_bytes, 0);
    assert_eq!(stats[1].as_ref().unwrap().n_bytes, 5);
    assert!((5..71).all(|i| stats[i].as_ref().unwrap().n_bytes == i as u64 - 1));
    for (place, kind) in [(4, std::io::ErrorKind::PermissionDenied), (71, std::io::ErrorKind::NotFound)] {
        let error = stats[place].as_ref().unwrap_err();
        assert!(matches!(error, Error::Io { source, .. } if source.kind() == kind), "{error}");
        assert!(error.to_string().starts_with(&locations[place].to_string()), "{error}");
    }
}
