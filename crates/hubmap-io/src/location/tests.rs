use super::*;

#[test]
fn addresses_are_told_from_paths() {
    for name in ["s3://bucket/a.svs", "gs://b/c", "http://h/a", "https://h/a", "S3://bucket/a"] {
        assert!(is_remote(name), "{name}");
    }
    for name in ["a.svs", "/a/b.svs", "C:\\a.svs", "s3:/a", "://a", "az://b/c", "a b://c", ""] {
        assert!(!is_remote(name), "{name}");
    }
    let none = RemoteOptions::default();
    for path in ["slides/a.svs", "/a", "://a", "a b://c", ""] {
        let location = Location::parse(Path::new(path), &none).unwrap();
        assert_eq!(location, Location::from(Path::new(path)));
        assert_eq!((location.as_file(), location.to_string()), (Some(Path::new(path)), path.to_owned()));
    }
    let error = Location::parse(Path::new("az://container/a.svs"), &none).unwrap_err();
    assert!(
        matches!(error, Error::Usage { .. }) && error.to_string().contains("az:// is not read"),
        "{error}"
    );
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_build_that_reads_no_addresses_says_which_does() {
    let error = Location::parse(Path::new("s3://bucket/a.svs"), &RemoteOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("s3://bucket/a.svs: ") && text.contains("cargo build --release --features remote"),
        "{text}"
    );
}

#[test]
fn folders_are_listed_in_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.tiff", "a.tiff", "c"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let location = Location::from(folder.path());
    assert!(location.is_folder());
    let found = location.list().unwrap();
    let path = |name: &str| Location::from(folder.path().join(name));
    assert_eq!(found, [path("a.tiff"), path("b.tiff"), path("c")]);
    assert!(!found[0].is_folder());
    assert_eq!(found[0].sibling("c"), Some(path("c")));
    assert_eq!(found[2].stat().unwrap().n_bytes, 1);
    let missing = path("none");
    assert!(missing.list().unwrap_err().to_string().contains("none: cannot list"));
    assert!(missing.stat().unwrap_err().to_string().contains("none: cannot open"));
    assert!(
        missing.copy_to(&folder.path().join("copy"), |_| Ok(())).unwrap_err().to_string().contains("none")
    );
}
