//! Slides that a user names: files, and addresses in builds that read them.

use std::path::Path;

use hubmap_io::{Location, RemoteOptions};

use crate::nearest::check_inputs;
use crate::outcome::UsageError;

/// What the environment says of stores and how to be let in: `AWS_ACCESS_KEY_ID` and its like, see
/// [`RemoteOptions`].
pub fn remote_options() -> RemoteOptions {
    // Values that are no text concern others.
    let pairs = std::env::vars_os();
    RemoteOptions::new(
        pairs.filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
    )
}

/// Where a slide is that a user named.
///
/// # Errors
///
/// A [`UsageError`] for a file that is not there, with the nearest name that is, and for an address that this build does not
/// read.
pub fn location(name: &Path) -> anyhow::Result<Location> {
    let location = Location::parse(name, &remote_options()).map_err(UsageError::mark)?;
    if let Some(path) = location.as_file() {
        check_inputs([path])?;
    }
    Ok(location)
}

/// Whether a user means an address of a slide, even if it is one that is not read.
#[cfg(feature = "inference")]
pub(crate) fn is_address(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_must_be_there_and_addresses_be_read_by_this_build() {
        // Tests run in the folder of their package.
        assert_eq!(location(Path::new("Cargo.toml")).unwrap(), Location::from(Path::new("Cargo.toml")));
        let error = location(Path::new("Cargo.tmol")).unwrap_err();
        assert!(
            error.is::<UsageError>() && error.to_string().contains("did you mean Cargo.toml?"),
            "{error}"
        );
        let address = location(Path::new("s3://bucket/slide.svs"));
        if cfg!(feature = "remote") {
            assert_eq!(address.unwrap().to_string(), "s3://bucket/slide.svs");
        } else {
            let error = address.unwrap_err();
            assert!(error.is::<UsageError>() && error.to_string().contains("--features remote"), "{error}");
        }
    }
}
