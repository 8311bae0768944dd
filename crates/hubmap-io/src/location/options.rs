//! What lets a reader into a store.

use std::fmt;

/// How to reach and to be let into a store: pairs such as `aws_region` and `eu-central-1`.
///
/// Keys are those of `object_store`, in any case: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`,
/// `AWS_SKIP_SIGNATURE`, `GOOGLE_SERVICE_ACCOUNT`, and so on. Others are ignored.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RemoteOptions(Vec<(String, String)>);

impl RemoteOptions {
    /// Keeps the pairs that concern stores: `RemoteOptions::new(std::env::vars())` follows the environment.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_store = |(key, _): &(String, String)| {
            let lower = key.to_ascii_lowercase();
            ["aws_", "google_"].iter().any(|prefix| lower.starts_with(prefix)) || is_of_client(&lower)
        };
        Self(pairs.into_iter().filter(is_store).collect())
    }

    #[cfg(feature = "remote")]
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(feature = "remote")]
fn is_of_client(key: &str) -> bool {
    key.parse::<object_store::ClientConfigKey>().is_ok()
}

/// Without the library that knows these keys there is no use for them.
#[cfg(not(feature = "remote"))]
const fn is_of_client(_key: &str) -> bool {
    false
}

/// Keys only: values may be secret.
impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}
