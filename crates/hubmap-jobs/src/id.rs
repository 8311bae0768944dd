//! What slides are called.

use std::path::Path;

use percent_encoding::percent_decode_str;

/// The id of a slide that a list gives none: the name of its file without the extension, or the last part of an address, with
/// `%20` as a space and without what follows a `?` or `#`.
///
/// `None` for what has no such name, or one that is not Unicode.
pub fn slide_id(path: &Path) -> Option<String> {
    let Some(address) = path.to_str().filter(|text| is_address(text)) else {
        return path.file_stem()?.to_str().map(str::to_owned);
    };
    let (_, rest) = address.split_once("://")?;
    let (_, key) = rest.split(['?', '#']).next()?.split_once('/')?;
    let key = percent_decode_str(key).decode_utf8().ok()?;
    let name = key.rsplit('/').next().filter(|name| !name.is_empty())?;
    Path::new(name).file_stem()?.to_str().map(str::to_owned)
}

/// Whether a list means an address with a scheme such as `s3://`, not a path.
pub(crate) fn is_address(text: &str) -> bool {
    text.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_without_extension_and_what_is_only_for_the_way() {
        for (path, id) in [
            ("a.tiff", Some("a")),
            ("slides/a b.ome.tiff", Some("a b.ome")),
            ("slides/100%25.svs", Some("100%25")),
            ("s3://bucket/dir/a.svs", Some("a")),
            ("https://host/a%20b.tiff?X-Signature=c.d/e", Some("a b")),
            ("https://host/dir%2Fa.tiff#page", Some("a")),
            ("https://host/%C3%A4.tiff", Some("ä")),
            ("https://host/%FF.tiff", None),
            ("s3://bucket", None),
            ("s3://bucket/dir/", None),
            ("https://host/?a.tiff", None),
            ("..", None),
        ] {
            assert_eq!(slide_id(Path::new(path)).as_deref(), id, "{path}");
        }
    }
}
