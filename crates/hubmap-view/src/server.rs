//! HTTP on this machine's loopback.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::library::{Answer, Library};
use crate::problem::Problem;
use crate::route::Route;

/// Connections at a time; a browser opens six.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// How often the server asks whether it shall stop.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// The page may load what this server has and nothing else, and no other page may embed it.
///
/// The hash is that of the one rule of style that `OpenSeadragon` adds to a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; \
                      style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; img-src 'self' data: blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A server of a [`Library`] on 127.0.0.1.
///
/// It answers GET and HEAD requests whose `Host` is a name of the loopback, so that pages from elsewhere cannot reach it
/// through a name of their own (DNS rebinding).
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    library: Arc<Library>,
}

/// Who makes answers: so many at a time as there are processors.
#[derive(Clone)]
struct Makers {
    library: Arc<Library>,
    places: Arc<Semaphore>,
}

impl Server {
    /// Takes a port, 0 for any that is free; requests wait until [`Server::serve`].
    pub fn bind(library: Library, port: u16) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("cannot listen on port {port}: name another one, or none"))?;
        listener.set_nonblocking(true).context("cannot set up the port")?;
        let address = listener.local_addr().context("cannot set up the port")?;
        Ok(Self { listener, address, library: Arc::new(library) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to open in a browser.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers requests until `stop` says so, which is asked twenty times a second.
    pub fn serve(self, stop: impl Fn() -> bool) -> Result<()> {
        let n_makers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(n_makers)
            .thread_name("hubmap-view")
            .enable_all()
            .build()
            .context("cannot start the server's threads")?;
        let makers = Makers { library: self.library, places: Arc::new(Semaphore::new(n_makers)) };
        let result = runtime.block_on(async {
            let listener = TcpListener::from_std(self.listener).context("cannot set up the port")?;
            let accepting = tokio::spawn(accept(listener, makers));
            while !stop() && !accepting.is_finished() {
                tokio::time::sleep(STOP_INTERVAL).await;
            }
            accepting.abort();
            Ok(())
        });
        // A tile that is being made is not waited for.
        runtime.shutdown_background();
        result
    }
}

/// Takes connections for ever.
async fn accept(listener: TcpListener, makers: Makers) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files; the next attempt may find some closed.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(STOP_INTERVAL).await;
                continue;
            }
        };
        let makers = makers.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = converse(stream, makers).await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
}

async fn converse(stream: TcpStream, makers: Makers) -> hyper::Result<()> {
    // Answers are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let makers = makers.clone();
        async move { Ok::<_, Infallible>(respond(request, makers).await) }
    });
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
    connection.serve_connection(TokioIo::new(stream), service).await
}

async fn respond(request: Request<Incoming>, makers: Makers) -> Response<Full<Bytes>> {
    let is_head = request.method() == Method::HEAD;
    let answer = match check(&request) {
        Ok(route) => {
            let known = request.headers().get(header::IF_NONE_MATCH);
            makers.make(route, known.and_then(|known| known.to_str().ok()).map(str::to_owned)).await
        }
        Err(problem) => Err(problem),
    };
    let mut response = answer.map_or_else(|problem| refusal(&problem), success);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_head {
        let length = hyper::body::Body::size_hint(response.body()).exact().unwrap_or(0);
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        *response.body_mut() = Full::default();
    }
    response
}

/// What a request asks for, if it may.
fn check(request: &Request<Incoming>) -> Result<Route, Problem> {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let host = host.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "the request names no host"))?;
    if !is_loopback(host) {
        let message = format!("this server answers at 127.0.0.1 and localhost, not at {host}");
        return Err(Problem::new(StatusCode::FORBIDDEN, message));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message = format!("{} is not for this server: use GET", request.method());
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    let path = request.uri().path();
    Route::find(path, request.uri().query()).ok_or_else(|| Problem::not_found(format!("nothing at {path}")))
}

/// Whether a `Host`, with or without a port, names the loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

impl Makers {
    /// Waits for a place and makes the answer on a thread of its own.
    ///
    /// A browser that no longer wants a tile drops the request, and with it the wait.
    async fn make(self, route: Route, known: Option<String>) -> Result<Answer, Problem> {
        let broken =
            || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed to make this answer");
        let place = self.places.acquire_owned().await.map_err(|_| broken())?;
        let library = self.library;
        let made = tokio::task::spawn_blocking(move || {
            let _place = place;
            library.answer(route, known.as_deref())
        });
        made.await.unwrap_or_else(|_| Err(broken()))
    }
}

fn success(answer: Answer) -> Response<Full<Bytes>> {
    let status = if answer.body.is_some() { StatusCode::OK } else { StatusCode::NOT_MODIFIED };
    let mut response = Response::new(Full::new(answer.body.unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(tag) = answer.tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn refusal(problem: &Problem) -> Response<Full<Bytes>> {
    tracing::debug!("{}: {}", problem.status, problem.message);
    let body = serde_json::json!({ "error": problem.message }).to_string();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = problem.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if problem.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_are_hosts() {
        for host in
            ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:80", "[::1]", "localhost:"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "evil.example:127.0.0.1",
            "",
            ":80",
            "0.0.0.0",
            "127.0.0.1:80@evil.example",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
