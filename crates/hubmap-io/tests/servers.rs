//! Slides behind a web server and an S3 server on this machine, which `servers.sh` starts.
//!
//! `HUBMAP_HTTP_SERVER` and `HUBMAP_S3_SERVER` are their addresses, `HUBMAP_SERVED` is the folder that the web server
//! shows.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::{Path, PathBuf};

use hubmap_io::contract::check_reader;
use hubmap_io::{
    Error, Layout, Location, RasterReader, RemoteOptions, Result, Size, TiffSpec, TiffWriter, Window, open,
};
use ndarray::Array3;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/servers.sh"))
}

fn open_remote(address: &str, options: &RemoteOptions) -> Result<Box<dyn RasterReader>> {
    Location::parse(Path::new(address), options)?.open()
}

fn options(pairs: &[(&str, &str)]) -> RemoteOptions {
    RemoteOptions::new(pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())))
}

/// Writes a slide into the folder that is served, and returns its name there and its pixels.
fn slide(folder: &Path, name: &str, size: Size) -> Array3<u8> {
    let (width, height) = (size.width as usize, size.height as usize);
    let picture = Array3::from_shape_fn((height, width, 3), |(y, x, c)| {
        ((y * 7 + x * 13 + c * 50 + y * x / 91) % 251) as u8
    });
    let spec = TiffSpec { layout: Layout::Tiled { tile: 64, planar: true }, ..TiffSpec::rgb(size) };
    let mut writer = TiffWriter::create(&folder.join(name), spec).unwrap();
    writer.write_rows(&picture).unwrap();
    writer.finish().unwrap();
    picture
}

#[test]
fn slides_on_a_web_server_read_as_they_do_from_disk() {
    let (server, folder) = (variable("HUBMAP_HTTP_SERVER"), PathBuf::from(variable("HUBMAP_SERVED")));
    let picture = slide(&folder, "web slide.tiff", Size::new(331, 203));
    let address = format!("{server}/web%20slide.tiff");
    let remote = open_remote(&address, &options(&[])).unwrap();
    check_reader(&*remote, &picture);
    assert_eq!(remote.path(), Path::new(&address));

    let missing = open_remote(&format!("{server}/none.tiff"), &options(&[])).err().expect("an error");
    assert!(matches!(&missing, Error::Io { .. }) && missing.to_string().contains("none.tiff"), "{missing}");
    std::fs::write(folder.join("text.tiff"), "no slide").unwrap();
    let text = open_remote(&format!("{server}/text.tiff"), &options(&[])).err().expect("an error");
    assert!(matches!(&text, Error::Format { .. }), "{text}");
}

#[test]
fn slides_in_a_bucket_read_as_they_do_from_disk() {
    let server = variable("HUBMAP_S3_SERVER");
    let options = options(&[
        ("AWS_ENDPOINT", &server),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ]);
    // The script has put this file under the same name into the bucket.
    let local = open(&PathBuf::from(variable("HUBMAP_SERVED")).join("bucket.tiff")).unwrap();
    let remote = open_remote("s3://slides/kidney/bucket.tiff", &options).unwrap();
    check_reader(&*remote, &local.read(local.size().window()).unwrap());

    // Under a prefix as in a folder: no deeper, and by names that lead back.
    let list = |address: &str| Location::parse(Path::new(address), &options).unwrap().list();
    let found = list("s3://slides/kidney/").unwrap();
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["s3://slides/kidney/a%20%25%20b.tiff", "s3://slides/kidney/bucket.tiff"]);
    let folder = tempfile::tempdir().unwrap();
    for slide in &found {
        let copy = folder.path().join("copy.tiff");
        slide.copy_to(&copy, |_| Ok(())).unwrap();
        assert_eq!(open(&copy).unwrap().size(), local.size());
        let stat = slide.stat().unwrap();
        assert_eq!(stat.n_bytes, std::fs::metadata(&copy).unwrap().len());
        assert!(stat.e_tag.is_some() && stat.modified > std::time::UNIX_EPOCH, "{stat:?}");
    }
    assert_eq!(found[0].sibling("bucket.tiff").as_ref(), Some(&found[1]));
    assert!(list("s3://slides/none/").unwrap().is_empty());
    assert!(list("s3://none/").unwrap_err().to_string().contains("s3://none/: cannot list"));
    let missing = open_remote("s3://slides/none.tiff", &options).err().expect("an error");
    assert!(missing.to_string().contains("s3://slides/none.tiff"), "{missing}");
}

/// The XML interface of Google Cloud Storage answers range requests as a web server does.
#[test]
fn slides_of_google_cloud_storage_are_asked_for_by_range() {
    let (server, folder) = (variable("HUBMAP_HTTP_SERVER"), PathBuf::from(variable("HUBMAP_SERVED")));
    std::fs::create_dir_all(folder.join("bucket")).unwrap();
    let picture = slide(&folder, "bucket/cloud.tiff", Size::new(200, 150));
    let options =
        options(&[("GOOGLE_BASE_URL", &server), ("GOOGLE_SKIP_SIGNATURE", "true"), ("allow_http", "true")]);
    let remote = open_remote("gs://bucket/cloud.tiff", &options).unwrap();
    let window = Window::new(-3, 40, 90, 80);
    let expected = hubmap_io::contract::pad_then_crop(&picture, window, 0);
    assert!(remote.read(window).unwrap() == expected);
}
