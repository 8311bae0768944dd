//! Requests to stores from threads that wait for them.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};

use tokio::runtime::Runtime;

/// Threads that move bytes; decoding happens on the threads that read windows.
const N_THREADS: usize = 2;

/// A request under way on the crate's own runtime, whoever's thread or runtime started it.
#[derive(Debug)]
pub(super) struct Request<T>(Receiver<object_store::Result<T>>);

impl<T: Send + 'static> Request<T> {
    pub(super) fn start(
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime()?.spawn(async move {
            let result = request.await;
            // Nobody waits any more if the thread that asked is gone.
            let _ = sender.send(result);
        });
        Ok(Self(receiver))
    }

    /// What came of it. `secret` is a part of the address that no message may show.
    pub(super) fn wait(self, secret: Option<&str>) -> io::Result<T> {
        let result = self.0.recv().map_err(|_| io::Error::other("the request was dropped"))?;
        result.map_err(|error| {
            let kind = match &error {
                object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
                object_store::Error::Precondition { .. } => {
                    return io::Error::other("the object has changed since it was opened");
                }
                _ => io::ErrorKind::Other,
            };
            match secret {
                None => io::Error::new(kind, error),
                // As text, for its causes show the address too.
                Some(secret) => io::Error::new(kind, error.to_string().replace(secret, "…")),
            }
        })
    }
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
