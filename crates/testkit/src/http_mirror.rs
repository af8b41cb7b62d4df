//! A mirror of files and images on 127.0.0.1, with faults on demand.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use muster_artifacts::{Bundle, Release, Sha256};

/// What goes wrong with the next request for a path. Each fault happens once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The answer is this status and nothing else.
    Status(u16),
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// One byte of the body is another.
    WrongByte,
    /// The server knows nothing of ranges and gives the whole.
    NoRange,
    /// The answer is this URL, where it is.
    Redirect(String),
    /// Nothing is answered for so long, then the connection ends.
    Silence(Duration),
}

type Content = Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>;

#[derive(Default)]
struct State {
    contents: HashMap<String, (String, Content)>,
    faults: HashMap<String, VecDeque<Fault>>,
    requests: Vec<String>,
    authorizations: Vec<String>,
    /// What requests below /v2/ must bring.
    token: Option<String>,
    /// What requests for a token must bring; without a token, those below /v2/.
    credentials: Option<String>,
}

/// A server that is up until it is dropped.
pub struct HttpMirror {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
}

impl HttpMirror {
    /// Starts an empty one, on a port of the system's choice.
    pub fn start() -> io::Result<HttpMirror> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::<Mutex<State>>::default();
        let stopping = Arc::<AtomicBool>::default();
        let (shared, stop) = (state.clone(), stopping.clone());
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let shared = shared.clone();
                // A client that goes away in the middle is an ordinary thing here.
                thread::spawn(move || drop(answer(&connection, address, &shared)));
            }
        });
        Ok(HttpMirror { address, state, stopping })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves `content` at `path`.
    pub fn add(&self, path: &str, content_type: &str, content: Vec<u8>) {
        self.add_lazily(path, content_type, move || Ok(content.clone()));
    }

    fn add_lazily(
        &self,
        path: &str,
        content_type: &str,
        content: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) {
        self.state().contents.insert(path.into(), (content_type.into(), Arc::new(content)));
    }

    /// Serves everything of `release` that `bundle` has: files below `/HOST/…`, as their URLs have them, and a registry.
    /// Every tag is an index, in which the image stands behind one for another platform.
    pub fn add_bundle(&self, bundle: &Arc<Bundle>, release: &Release) -> io::Result<()> {
        for file in &release.files {
            let Ok(entry) = bundle.file(&file.name, &file.version, file.arch).cloned() else { continue };
            let bundle = bundle.clone();
            let path = format!("/{}", file.url.trim_start_matches("https://"));
            self.add_lazily(&path, "application/octet-stream", move || {
                let mut bytes = Vec::new();
                bundle.content(&entry).map_err(io::Error::other)?.read_to_end(&mut bytes)?;
                Ok(bytes)
            });
        }
        for image in &release.images {
            let Ok(entry) = bundle.image(&image.reference.to_string(), release.arch) else { continue };
            let repository = &image.reference.repository;
            let blobs = bundle.dir().join("images/blobs/sha256");
            let manifest = std::fs::read(blobs.join(entry.manifest_digest.to_string()))?;
            self.add_manifest(repository, &entry.manifest_digest.oci(), manifest.clone());
            let parsed: serde_json::Value = serde_json::from_slice(&manifest)?;
            let layers = parsed["layers"].as_array().into_iter().flatten();
            for blob in layers.chain([&parsed["config"]]) {
                let digest = blob["digest"].as_str().unwrap_or_default().to_string();
                let file = blobs.join(digest.trim_start_matches("sha256:"));
                self.add_lazily(
                    &format!("/v2/{repository}/blobs/{digest}"),
                    "application/octet-stream",
                    move || std::fs::read(&file),
                );
            }
            let describe = |digest: String, arch: &str| {
                serde_json::json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": digest,
                    "size": manifest.len(),
                    "platform": {"os": "linux", "architecture": arch},
                })
            };
            let other = describe(Sha256::of(b"another platform").oci(), "s390x");
            let own = describe(entry.manifest_digest.oci(), release.arch.name());
            let index = serde_json::json!({"schemaVersion": 2, "manifests": [other, own]});
            self.add(
                &format!("/v2/{repository}/manifests/{}", image.reference.tag),
                "application/vnd.oci.image.index.v1+json",
                index.to_string().into_bytes(),
            );
        }
        Ok(())
    }

    /// Serves an image manifest under a tag or digest.
    pub fn add_manifest(&self, repository: &str, tag: &str, manifest: Vec<u8>) {
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.add(&path, "application/vnd.oci.image.manifest.v1+json", manifest);
    }

    /// From now on the registry wants this header (`Authorization`): at `/token` where it wants a token, and else with each request.
    pub fn require_credentials(&self, header: &str) {
        self.state().credentials = Some(header.into());
    }

    /// From now on the registry wants a token, which anybody gets at `/token`.
    pub fn require_token(&self, token: &str) {
        self.state().token = Some(token.into());
    }

    /// The next requests for `path` meet these faults, one each.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(path.into()).or_default().extend(faults);
    }

    /// Every request so far, as `PATH` or `PATH bytes=N-`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// The `Authorization` of every request that brought one.
    pub fn authorizations(&self) -> Vec<String> {
        self.state().authorizations.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for HttpMirror {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one request; every connection carries one.
fn answer(connection: &TcpStream, address: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split_whitespace().nth(1).unwrap_or_default().to_string();
    let path = target.split('?').next().unwrap_or_default().to_string();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_string()),
            None => break,
        };
    }
    let range = headers.get("range").cloned();
    let (fault, found, token, credentials) = {
        let mut state = lock(state);
        let range = range.as_ref().map(|range| format!(" {range}")).unwrap_or_default();
        state.requests.push(format!("{path}{range}"));
        state.authorizations.extend(headers.get("authorization").cloned());
        let fault = state.faults.get_mut(&path).and_then(VecDeque::pop_front);
        (fault, state.contents.get(&path).cloned(), state.token.clone(), state.credentials.clone())
    };
    let brings = |wanted: &String| headers.get("authorization") == Some(wanted);
    if path == "/token" && credentials.as_ref().is_some_and(|wanted| !brings(wanted)) {
        return send(connection, "401 Unauthorized", &[], b"", usize::MAX);
    }
    if path == "/token" {
        let body = serde_json::json!({"token": token.unwrap_or_default()}).to_string();
        return send(connection, "200 OK", &[], body.as_bytes(), usize::MAX);
    }
    let wanted = token.map(|token| format!("Bearer {token}"));
    let is_basic = wanted.is_none();
    let wanted = wanted.or(credentials).filter(|_| path.starts_with("/v2/"));
    if wanted.is_some_and(|wanted| !brings(&wanted)) {
        let challenge = match is_basic {
            true => "WWW-Authenticate: Basic realm=\"a mirror\"".to_owned(),
            false => {
                format!("WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"a mirror\"")
            }
        };
        return send(connection, "401 Unauthorized", &[&challenge], b"", usize::MAX);
    }
    match &fault {
        Some(Fault::Status(status)) => {
            return send(connection, &format!("{status} Fault"), &[], b"", usize::MAX);
        }
        Some(Fault::Redirect(url)) => {
            let location = format!("Location: {url}");
            return send(connection, "307 Temporary Redirect", &[&location], b"", usize::MAX);
        }
        Some(Fault::Silence(time)) => {
            thread::sleep(*time);
            return Ok(());
        }
        _ => {}
    }
    let Some((content_type, content)) = found else {
        return send(connection, "404 Not Found", &[], b"", usize::MAX);
    };
    let mut body = content()?;
    let size = body.len();
    if fault == Some(Fault::WrongByte) && size > 0 {
        body[size / 2] ^= 1;
    }
    let most = if let Some(Fault::CutAfter(most)) = fault { most } else { usize::MAX };
    let content_type = format!("Content-Type: {content_type}");
    let first = range
        .filter(|_| fault != Some(Fault::NoRange))
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match first {
        None => send(connection, "200 OK", &[&content_type], &body, most),
        Some(first) if first >= size => {
            let content_range = format!("Content-Range: bytes */{size}");
            send(connection, "416 Range Not Satisfiable", &[&content_range], b"", most)
        }
        Some(first) => {
            let content_range = format!("Content-Range: bytes {first}-{}/{size}", size - 1);
            send(connection, "206 Partial Content", &[&content_type, &content_range], &body[first..], most)
        }
    }
}

fn send(mut to: &TcpStream, status: &str, headers: &[&str], body: &[u8], most: usize) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    to.write_all(head.as_bytes())?;
    to.write_all(&body[..body.len().min(most)])?;
    to.flush()
}
