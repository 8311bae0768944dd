use std::path::Path;

use super::*;

fn object(address: &str) -> RemoteObject {
    RemoteObject::new(address, &RemoteOptions::default()).unwrap()
}

#[test]
fn addresses_are_shown_without_what_may_be_secret() {
    for (address, shown) in [
        ("s3://bucket/a b.tiff", "s3://bucket/a b.tiff"),
        ("https://host/a.tiff?X-Amz-Signature=s3cret", "https://host/a.tiff?…"),
        ("https://host/a.tiff?", "https://host/a.tiff?…"),
        ("https://user:s3cret@host:8080/a%20b.tiff#c", "https://…@host:8080/a%20b.tiff"),
        ("https://s3cret@host/a.tiff?s3cret", "https://…@host/a.tiff?…"),
    ] {
        assert_eq!(object(address).shown(), Path::new(shown));
    }
    let error = RemoteObject::new("https://?s3cret", &RemoteOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with("https://: not an address") && !error.contains("s3cret"), "{error}");
}

#[test]
fn siblings_are_under_the_same_prefix() {
    let sibling = object("s3://bucket/dir/a%20b.tiff").sibling("c d.json").unwrap();
    assert_eq!(sibling.shown(), Path::new("s3://bucket/dir/c d.json"));
    assert_eq!(sibling.url.path(), "/dir/c%20d.json");
    assert_eq!(object("http://host/a.tiff?b").sibling("c"), None);
}

#[test]
fn keys_become_addresses_that_lead_back_to_them() {
    let prefix = object("s3://bucket/dir/");
    assert!(prefix.is_folder() && !object("s3://bucket/dir").is_folder());
    for key in ["dir/a b.tiff", "dir/100%.tiff", "dir/a%20b.tiff", "dir/ä#?.tiff"] {
        let key = object_store::path::Path::parse(key).unwrap();
        let url = prefix.of_key(&key).unwrap();
        assert_eq!(store_of(&url, &RemoteOptions::default()).unwrap().1, key, "{url}");
        assert!(url.as_str().starts_with("s3://bucket/dir/") && url.query().is_none());
    }
    assert!(object("http://host/dir/").list().unwrap_err().to_string().contains("a web server does not say"));
}

#[test]
fn slides_of_a_bucket_share_a_store() {
    let store = |address: &str, options: &RemoteOptions| {
        let store = store_of(&Url::parse(address).unwrap(), options).unwrap().0;
        std::sync::Arc::as_ptr(&store).cast::<()>()
    };
    let none = RemoteOptions::default();
    assert_eq!(store("s3://shared/a", &none), store("s3://shared/b", &none));
    assert_eq!(store("http://127.0.0.1:9/a", &none), store("http://127.0.0.1:9/b/c", &none));
    assert_ne!(store("s3://shared/a", &none), store("s3://other/a", &none));
    let options = RemoteOptions::new([("AWS_REGION".to_owned(), "eu-central-1".to_owned())]);
    assert_ne!(store("s3://shared/a", &none), store("s3://shared/a", &options));
    let by_path = |bucket: &str| store(&format!("https://s3.eu-central-1.amazonaws.com/{bucket}/a"), &none);
    assert_ne!(by_path("one"), by_path("two"));
}
