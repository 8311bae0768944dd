//! Connections to stores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{ClientConfigKey, ObjectStore, ObjectStoreScheme};
use url::{Position, Url};

use crate::RemoteOptions;

/// Stores by what comes before the keys of addresses, and how they were entered.
type Stores = HashMap<(String, RemoteOptions), Arc<dyn ObjectStore>>;

/// The store of an address and the key of the object in it.
///
/// Slides of one bucket share a store, and so its connections and what it was told by whoever gives out credentials.
pub(super) fn store_of(
    url: &Url,
    options: &RemoteOptions,
) -> object_store::Result<(Arc<dyn ObjectStore>, Key)> {
    static STORES: Mutex<Option<Stores>> = Mutex::new(None);
    let stores = || STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let plain_http = (url.scheme() == "http").then(|| ("allow_http".to_owned(), "true".to_owned()));
    let pairs = options.pairs().iter().cloned().chain(plain_http);
    let (scheme, key) = ObjectStoreScheme::parse(url)?;
    let host = &url[..Position::BeforePath];
    // What is behind the `?` of a signed address belongs to one object, and goes with every request. Azure is a web server
    // like others here: its signatures are of this kind.
    if let (Some(_), _) | (_, ObjectStoreScheme::MicrosoftAzure) = (url.query(), &scheme) {
        let query = url.query().map(|query| format!("/?{query}")).unwrap_or_default();
        let is_of_client = |(key, value): (String, String)| {
            Some((key.to_ascii_lowercase().parse::<ClientConfigKey>().ok()?, value))
        };
        let builder = HttpBuilder::new().with_url(format!("{host}{query}"));
        let builder = pairs
            .filter_map(is_of_client)
            .fold(builder, |builder, (key, value)| builder.with_config(key, value));
        return Ok((Arc::new(builder.build()?), Key::from_url_path(url.path())?));
    }
    // Addresses of Amazon's own hosts may have the bucket in their path.
    let is_by_path = url.scheme() == "https" && scheme != ObjectStoreScheme::Http;
    let place = (if is_by_path { url.as_str() } else { host }.to_owned(), options.clone());
    if let Some(store) = stores().get_or_insert_default().get(&place) {
        return Ok((Arc::clone(store), key));
    }
    let (store, key) = object_store::parse_url_opts(url, pairs)?;
    let store: Arc<dyn ObjectStore> = Arc::from(store);
    stores().get_or_insert_default().insert(place, Arc::clone(&store));
    Ok((store, key))
}
