//! An address of an object, or of all objects under a prefix.

use std::path::{Path, PathBuf};

use object_store::{ObjectMeta, ObjectStoreScheme};
use url::{Position, Url};

use super::file::{RemoteFile, head};
use super::request::Request;
use super::store::store_of;
use crate::{Error, RemoteOptions, Result, Stat};

/// Requests for the state of objects that are under way at once.
const N_STATS: usize = 64;

/// What stands for what is not shown.
const HIDDEN: &str = "…";

/// An address with what it takes to be let in. Nothing is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteObject {
    url: Url,
    /// The address as the user wrote it, without what may be secret.
    shown: PathBuf,
    options: RemoteOptions,
}

impl RemoteObject {
    pub(crate) fn new(address: &str, options: &RemoteOptions) -> Result<Self> {
        let url = Url::parse(address)
            // Not the address itself, which nothing can be hidden of.
            .map_err(|e| Error::usage(Path::new(until_query(address)), format!("not an address: {e}")))?;
        let has_login = !url.username().is_empty() || url.password().is_some();
        let mut shown = if has_login {
            format!("{}://{HIDDEN}@{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPath])
        } else {
            until_query(address).to_owned()
        };
        if url.query().is_some() {
            shown.push('?');
            shown.push_str(HIDDEN);
        }
        let shown = PathBuf::from(shown);
        ObjectStoreScheme::parse(&url)
            .map_err(|e| Error::usage(&shown, format!("not the address of an object: {e}")))?;
        Ok(Self { url, shown, options: options.clone() })
    }

    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// The part of the address that no message may show.
    fn secret(&self) -> Option<&str> {
        self.url.query().filter(|query| !query.is_empty())
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.url.path().ends_with('/')
    }

    pub(crate) fn open(&self) -> Result<RemoteFile> {
        let open = || {
            let (store, key) = store_of(&self.url, &self.options).map_err(std::io::Error::other)?;
            RemoteFile::open_in(store, key, self.secret())
        };
        open().map_err(|e| Error::io(self.shown(), "open", e))
    }

    pub(crate) fn stat(&self) -> Result<Stat> {
        self.finish_stat(self.start_stat())
    }

    fn start_stat(&self) -> std::io::Result<Request<ObjectMeta>> {
        let (store, key) = store_of(&self.url, &self.options).map_err(std::io::Error::other)?;
        head(store, key, self.secret().is_some())
    }

    fn finish_stat(&self, request: std::io::Result<Request<ObjectMeta>>) -> Result<Stat> {
        let found = request.and_then(|request| request.wait(self.secret()));
        let found = found.map_err(|e| Error::io(self.shown(), "open", e))?;
        let ObjectMeta { size, last_modified, e_tag, version, .. } = found;
        Ok(Stat { n_bytes: size, modified: last_modified.into(), e_tag, version })
    }

    /// The objects under this prefix, down to the next slash.
    pub(crate) fn list(&self) -> Result<Vec<Self>> {
        if matches!(self.url.scheme(), "http" | "https") {
            let problem =
                "a web server does not say which files it has: name each slide, or give a list of them";
            return Err(Error::usage(self.shown(), problem));
        }
        let list = || {
            let (store, prefix) = store_of(&self.url, &self.options).map_err(std::io::Error::other)?;
            let list = async move {
                let mut found = store.list_with_delimiter(Some(&prefix)).await?.objects;
                // Programs that show folders leave objects with their names.
                found.retain(|found| found.location != prefix);
                Ok(found)
            };
            Request::start(list)?.wait(self.secret())
        };
        let found = list().map_err(|e| Error::io(self.shown(), "list", e))?;
        let mut addresses: Vec<Url> = found.iter().filter_map(|found| self.of_key(&found.location)).collect();
        addresses.sort();
        Ok(addresses.into_iter().map(|url| self.at(url)).collect())
    }

    /// The address of a key of this bucket.
    fn of_key(&self, key: &object_store::path::Path) -> Option<Url> {
        let mut url = self.url.clone();
        url.path_segments_mut().ok()?.clear().extend(key.as_ref().split('/'));
        Some(url)
    }

    /// Another object of the same store.
    fn at(&self, url: Url) -> Self {
        Self { shown: url.as_str().into(), url, options: self.options.clone() }
    }

    /// The object of this name under the same prefix.
    pub(crate) fn sibling(&self, name: &str) -> Option<Self> {
        if self.url.query().is_some() {
            return None;
        }
        let mut url = self.url.clone();
        url.path_segments_mut().ok()?.pop().push(name);
        let mut shown = self.shown.clone();
        shown.set_file_name(name);
        Some(Self { shown, url, options: self.options.clone() })
    }
}

/// The states of objects, in their order.
pub(crate) fn stat_all(objects: &[&RemoteObject]) -> Vec<Result<Stat>> {
    let mut stats = Vec::with_capacity(objects.len());
    for some in objects.chunks(N_STATS) {
        let started: Vec<_> = some.iter().map(|object| object.start_stat()).collect();
        stats.extend(some.iter().zip(started).map(|(object, request)| object.finish_stat(request)));
    }
    stats
}

fn until_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
