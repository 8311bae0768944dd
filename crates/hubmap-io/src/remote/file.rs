//! The bytes of an object.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{
    GetOptions, GetRange, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    coalesce_ranges,
};

use super::object::RemoteObject;
use super::request::Request;
use crate::{ByteSource, RemoteOptions, Result};

/// Small reads, such as those of directories and their tags, are answered from blocks of this size.
const BLOCK_LEN: u64 = 64 << 10;

/// Blocks that a file keeps: 8 MiB.
const MAX_BLOCKS: usize = 128;

/// Bytes of each request when all of an object is read, and requests under way at once.
const PART_LEN: u64 = 8 << 20;
const N_PARTS: usize = 4;

/// An object of a store: `s3://bucket/key`, `gs://bucket/key`, `https://host/path`.
///
/// The object must not change while it is read: every request names the version that was opened, and every answer is compared
/// with it, by entity tag or, where the store has none, by length and time of change.
#[derive(Debug)]
pub struct RemoteFile {
    object: Arc<Object>,
    /// A part of the address that no message may show.
    secret: Option<String>,
    blocks: Mutex<Blocks>,
}

/// One version of an object.
#[derive(Debug)]
struct Object {
    store: Arc<dyn ObjectStore>,
    key: Key,
    opened: ObjectMeta,
}

impl Object {
    /// One range, as a request of its own.
    async fn get(self: Arc<Self>, range: Range<u64>) -> object_store::Result<Bytes> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            // A weak tag matches nothing here, not even itself.
            if_match: self.opened.e_tag.clone().filter(|e_tag| !e_tag.starts_with("W/")),
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(&self.key, options).await?;
        if !self.is_opened(&answer.meta) {
            let source = "the answer is of another version".into();
            return Err(object_store::Error::Precondition { path: self.key.to_string(), source });
        }
        answer.bytes().await
    }

    /// Whether what a server said is said of the version that was opened; not all heed what a request names.
    fn is_opened(&self, now: &ObjectMeta) -> bool {
        fn strong(e_tag: &str) -> &str {
            e_tag.strip_prefix("W/").unwrap_or(e_tag)
        }
        now.size == self.opened.size
            && match (&now.e_tag, &self.opened.e_tag) {
                (Some(now), Some(opened)) => strong(now) == strong(opened),
                _ => now.last_modified == self.opened.last_modified,
            }
    }
}

/// Asks for the state of an object: by its head, or by its first byte where an address lets in for nothing else.
pub(super) fn head(
    store: Arc<dyn ObjectStore>,
    key: Key,
    by_first_byte: bool,
) -> io::Result<Request<ObjectMeta>> {
    Request::start(async move {
        if !by_first_byte {
            return store.head(&key).await;
        }
        let options = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        Ok(store.get_opts(&key, options).await?.meta)
    })
}

/// Blocks that were read lately.
#[derive(Debug, Default)]
struct Blocks {
    bytes: HashMap<u64, Bytes>,
    /// From the oldest.
    order: VecDeque<u64>,
}

impl RemoteFile {
    /// Asks the store for the size of the object at an address.
    pub fn open(address: &str, options: &RemoteOptions) -> Result<Self> {
        RemoteObject::new(address, options)?.open()
    }

    /// The object under a key of a store that is open already.
    pub fn new(store: Arc<dyn ObjectStore>, key: Key) -> io::Result<Self> {
        Self::open_in(store, key, None)
    }

    /// The same; `secret` is a part of the address that no message may show, and lets in for reading only.
    pub(super) fn open_in(store: Arc<dyn ObjectStore>, key: Key, secret: Option<&str>) -> io::Result<Self> {
        let opened = head(Arc::clone(&store), key.clone(), secret.is_some())?.wait(secret)?;
        let object = Arc::new(Object { store, key, opened });
        Ok(Self { object, secret: secret.map(str::to_owned), blocks: Mutex::default() })
    }

    /// Hands out all bytes in their order; some requests are under way at a time.
    pub(crate) fn read_all(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let len = self.byte_len();
        let mut starts = (0..len).step_by(PART_LEN as usize);
        let mut under_way = VecDeque::new();
        loop {
            for start in starts.by_ref().take(N_PARTS - under_way.len()) {
                let range = start..(start + PART_LEN).min(len);
                let n_bytes = range.end - range.start;
                under_way.push_back((n_bytes, Request::start(Arc::clone(&self.object).get(range))?));
            }
            let Some((n_bytes, request)) = under_way.pop_front() else { return Ok(()) };
            let bytes = request.wait(self.secret.as_deref())?;
            if bytes.len() as u64 != n_bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            take(&bytes)?;
        }
    }

    /// Makes a request and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        Request::start(request)?.wait(self.secret.as_deref())
    }

    fn block(&self, idx: u64) -> io::Result<Bytes> {
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = lock().bytes.get(&idx) {
            return Ok(bytes.clone());
        }
        let start = idx * BLOCK_LEN;
        let range = start..(start + BLOCK_LEN).min(self.byte_len());
        let bytes = self.wait(Arc::clone(&self.object).get(range))?;
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
        self.object.opened.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|&end| end <= self.byte_len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if buffer.len() as u64 > BLOCK_LEN {
            return fill(buffer, &self.wait(Arc::clone(&self.object).get(offset..end))?);
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
        let parts = self.wait(async move {
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
