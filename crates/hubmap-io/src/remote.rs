//! Slides on object stores and web servers, read by ranges.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{
    ClientConfigKey, GetOptions, GetRange, OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, ObjectStoreExt as _,
    coalesce_ranges,
};
use tokio::runtime::Runtime;
use url::Url;

use crate::{ByteSource, Error, Result};

/// Small reads, such as those of directories and their tags, are answered from blocks of this size.
const BLOCK_LEN: u64 = 64 << 10;

/// Blocks that a file keeps: 8 MiB.
const MAX_BLOCKS: usize = 128;

/// Threads that move bytes; decoding happens on the threads that read windows.
const N_THREADS: usize = 2;

/// How to reach and to be let into a store: pairs such as `aws_region` and `eu-central-1`.
///
/// Keys are those of `object_store`, in any case: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`,
/// `AWS_SKIP_SIGNATURE`, `GOOGLE_SERVICE_ACCOUNT`, and so on. Others are ignored.
#[derive(Clone, Default)]
pub struct RemoteOptions(Vec<(String, String)>);

impl RemoteOptions {
    /// Keeps the pairs that concern stores: `RemoteOptions::new(std::env::vars())` follows the environment.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_store = |(key, _): &(String, String)| {
            let key = key.to_ascii_lowercase();
            ["aws_", "google_"].iter().any(|prefix| key.starts_with(prefix))
                || key.parse::<ClientConfigKey>().is_ok()
        };
        Self(pairs.into_iter().filter(is_store).collect())
    }
}

/// Keys only: values may be secret.
impl std::fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

/// An object of a store: `s3://bucket/key`, `gs://bucket/key`, `https://host/path`.
///
/// The object must not change while it is read: every request names the version that was opened, if the store has
/// versions or entity tags.
#[derive(Debug)]
pub struct RemoteFile {
    object: Arc<Object>,
    len: u64,
    blocks: Mutex<Blocks>,
}

/// One version of an object.
#[derive(Debug)]
struct Object {
    store: Arc<dyn ObjectStore>,
    key: Key,
    e_tag: Option<String>,
}

impl Object {
    /// One range, as a request of its own.
    async fn get(self: Arc<Self>, range: Range<u64>) -> object_store::Result<Bytes> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        self.store.get_opts(&self.key, options).await?.bytes().await
    }
}

/// Blocks that were read lately.
#[derive(Debug, Default)]
struct Blocks {
    bytes: HashMap<u64, Bytes>,
    /// From the oldest.
    order: VecDeque<u64>,
}

/// Whether a name is an address that [`RemoteFile::open`] understands, rather than the path of a file.
pub fn is_remote(name: &str) -> bool {
    ["s3://", "gs://", "http://", "https://"].iter().any(|scheme| name.starts_with(scheme))
}

impl RemoteFile {
    /// Asks the store for the size of the object at an address.
    pub fn open(address: &str, options: &RemoteOptions) -> Result<Self> {
        let name = Path::new(address);
        let url = Url::parse(address).map_err(|e| Error::usage(name, format!("not an address: {e}")))?;
        let plain_http = (url.scheme() == "http").then(|| ("allow_http".to_owned(), "true".to_owned()));
        let options = options.0.iter().cloned().chain(plain_http);
        let (store, key) = object_store::parse_url_opts(&url, options)
            .map_err(|e| Error::usage(name, format!("not the address of an object: {e}")))?;
        Self::new(Arc::from(store), key).map_err(|e| Error::io(name, "open", e))
    }

    /// The object under a key of a store that is open already.
    pub fn new(store: Arc<dyn ObjectStore>, key: Key) -> io::Result<Self> {
        let (asked, place) = (Arc::clone(&store), key.clone());
        let meta = wait(async move { asked.head(&place).await })?;
        let object = Arc::new(Object { store, key, e_tag: meta.e_tag });
        Ok(Self { object, len: meta.size, blocks: Mutex::default() })
    }

    fn block(&self, idx: u64) -> io::Result<Bytes> {
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = lock().bytes.get(&idx) {
            return Ok(bytes.clone());
        }
        let start = idx * BLOCK_LEN;
        let bytes = wait(Arc::clone(&self.object).get(start..(start + BLOCK_LEN).min(self.len)))?;
        let mut blocks = lock();
        if blocks.bytes.insert(idx, bytes.clone()).is_none() {
            blocks.order.push_back(idx);
        }
        if blocks.order.len() > MAX_BLOCKS
            && let Some(oldest) = blocks.order.pop_front()
        {
            blocks.bytes.remove(&oldest);
        }
        Ok(bytes)
    }
}

impl ByteSource for RemoteFile {
    fn byte_len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|&end| end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if buffer.len() as u64 > BLOCK_LEN {
            return fill(buffer, &wait(Arc::clone(&self.object).get(offset..end))?);
        }
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let block = self.block(at / BLOCK_LEN)?;
            let held = block.get((at % BLOCK_LEN) as usize..).unwrap_or_default();
            let n_bytes = held.len().min(rest.len());
            if n_bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = rest.split_at_mut(n_bytes);
            now.copy_from_slice(&held[..n_bytes]);
            rest = later;
            at += n_bytes as u64;
        }
        Ok(())
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let (object, wanted) = (Arc::clone(&self.object), ranges.to_vec());
        let parts = wait(async move {
            let get = |range| Arc::clone(&object).get(range);
            coalesce_ranges(&wanted, get, OBJECT_STORE_COALESCE_DEFAULT).await
        })?;
        let whole = |(range, part): (&Range<u64>, Bytes)| {
            let is_whole = part.len() as u64 == range.end - range.start;
            if is_whole { Ok(part.to_vec()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        };
        ranges.iter().zip(parts).map(whole).collect()
    }
}

fn fill(buffer: &mut [u8], bytes: &[u8]) -> io::Result<()> {
    if bytes.len() != buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    buffer.copy_from_slice(bytes);
    Ok(())
}

/// Runs a request on the crate's own runtime and waits for it, from any thread, one of another runtime included.
fn wait<T: Send + 'static>(
    request: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        let result = request.await;
        // Nobody waits any more if the thread that asked is gone.
        let _ = sender.send(result);
    });
    let result = receiver.recv().map_err(|_| io::Error::other("the request was dropped"))?;
    result.map_err(|error| {
        let kind = match &error {
            object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                io::ErrorKind::PermissionDenied
            }
            object_store::Error::Precondition { .. } => {
                return io::Error::other("the object has changed since it was opened");
            }
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    })
}

/// Made at the first request; requests of all files share its threads.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(N_THREADS)
        .thread_name("hubmap-remote")
        .enable_all()
        .build()?;
    // Another thread may have been faster; then this one is shut down without waiting for anything.
    if let Err(extra) = RUNTIME.set(runtime) {
        extra.shutdown_background();
    }
    RUNTIME.get().ok_or_else(|| io::Error::other("no runtime"))
}
