//! A small web server of this process, for slides that are read by address.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A web server on a free port of 127.0.0.1, with files of which each version has an entity tag of its own.
///
/// It heeds `Range` and `If-Match`, and ends with the process.
#[derive(Debug, Clone)]
pub struct WebServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Served>,
    n_versions: usize,
    /// First lines of all requests.
    requests: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Served {
    bytes: Arc<Vec<u8>>,
    e_tag: String,
    /// Answered to every request, instead of the file.
    status: Option<u16>,
    /// Requests that are still answered; then connections end without a word.
    n_answers: Option<usize>,
    /// What must follow the `?`, and lets in for nothing but GET.
    signature: Option<String>,
    /// Whether a request for another version is answered all the same.
    ignores_versions: bool,
}

impl WebServer {
    /// Starts a server without files.
    ///
    /// # Panics
    ///
    /// There is no free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.unwrap_or_else(|e| panic!("no port for a web server: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("a port without a number: {e}"));
        let server = Self { address, state: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let server = serving.clone();
                std::thread::spawn(move || drop(server.serve(&connection)));
            }
        });
        server
    }

    /// The address of a file, whose name may hold `%20`.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Serves a file, or a new version of it.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        state.n_versions += 1;
        let e_tag = format!("\"version-{}\"", state.n_versions);
        let served = Served { bytes: Arc::new(bytes), e_tag, ..Served::default() };
        state.files.insert(name.to_owned(), served);
    }

    /// Answers all requests for a file with a status, such as 403.
    pub fn refuse(&self, name: &str, status: u16) {
        self.change(name, |served| served.status = Some(status));
    }

    /// Answers so many further requests for a file; then it is as if the server were gone.
    pub fn vanish_after(&self, name: &str, n_answers: usize) {
        self.change(name, |served| served.n_answers = Some(n_answers));
    }

    /// Wants `?signature` behind the address of a file, which lets in for nothing but GET.
    pub fn sign(&self, name: &str, signature: &str) {
        self.change(name, |served| served.signature = Some(signature.to_owned()));
    }

    /// Answers requests that name another version of a file all the same.
    pub fn ignore_versions(&self, name: &str) {
        self.change(name, |served| served.ignores_versions = true);
    }

    /// First lines of the requests so far, such as `GET /a.tiff HTTP/1.1`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Served)) {
        change(self.state().files.entry(name.to_owned()).or_default());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request.
    fn serve(&self, mut connection: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut headers = HashMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let Some(answer) = self.answer(&first, &headers) else { return Ok(()) };
        connection.write_all(&answer)?;
        connection.shutdown(std::net::Shutdown::Write)?;
        // Closing with bytes unread would reset the connection before the client has read its answer.
        std::io::copy(&mut connection.take(1 << 16), &mut std::io::sink()).map(drop)
    }

    /// All bytes of the answer to a request; none if the server is to be gone.
    fn answer(&self, first: &str, headers: &HashMap<String, String>) -> Option<Vec<u8>> {
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (name, query) =
            target.split_once('?').map_or((target, None), |(name, query)| (name, Some(query)));
        let mut state = self.state();
        state.requests.push(first.to_owned());
        let Some(served) = state.files.get_mut(name.trim_start_matches('/')) else {
            return Some(answer(404, "", b"not here"));
        };
        if let Some(n_answers) = &mut served.n_answers {
            *n_answers = n_answers.checked_sub(1)?;
        }
        if let Some(status) = served.status {
            return Some(answer(status, "", b"refused"));
        }
        if served.signature.as_deref().is_some_and(|wanted| query != Some(wanted) || method != "GET") {
            return Some(answer(403, "", b"another signature"));
        }
        let is_other = headers.get("if-match").is_some_and(|tag| *tag != served.e_tag);
        if is_other && !served.ignores_versions {
            return Some(answer(412, "", b""));
        }
        let e_tag = format!("ETag: {}\r\nAccept-Ranges: bytes\r\n", served.e_tag);
        let len = served.bytes.len();
        if method == "HEAD" {
            let mut head = answer(200, &e_tag, &served.bytes);
            head.truncate(head.len() - len);
            return Some(head);
        }
        let range = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let Some((start, end)) = range else { return Some(answer(200, &e_tag, &served.bytes)) };
        let start: usize = start.parse().ok()?;
        let end = end.parse::<usize>().map_or(len, |last| (last + 1).min(len));
        let Some(bytes) = served.bytes.get(start..end).filter(|bytes| !bytes.is_empty()) else {
            return Some(answer(416, "", b""));
        };
        let range = format!("{e_tag}Content-Range: bytes {start}-{}/{len}\r\n", end - 1);
        Some(answer(206, &range, bytes))
    }
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
