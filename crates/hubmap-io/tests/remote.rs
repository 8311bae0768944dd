//! Slides in an object store in memory: the contract, the number of requests, and what failures look like.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubmap_io::contract::check_reader;
use hubmap_io::{
    ByteSource, Compression, Error, Layout, RasterReader as _, RemoteFile, RemoteOptions, Size, TiffSlide,
    TiffSpec, TiffWriter, Window,
};
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
