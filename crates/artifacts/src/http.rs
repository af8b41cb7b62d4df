//! HTTP as downloads need it: attempts that are counted, and downloads that go on where they were cut off.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};

use crate::{Progress, ProgressSink};

/// How long to wait for a connection, including its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait for the next byte.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often there is news while nothing comes.
const TICK: Duration = Duration::from_secs(2);
/// A download that got this many bytes further than ever before has its attempts counted anew.
const HEADWAY: u64 = 256 << 10;
/// The largest document (not download) that is taken.
const DOCUMENT_LIMIT: u64 = 8 << 20;

/// How often to try what may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// The pause after the first attempt; each further one is twice as long, up to ten seconds.
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 5, pause: Duration::from_secs(1) }
    }
}

/// A request did not give what it was for.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The server says that there is no such thing.
    #[error("{url} does not exist (the server answered {status})")]
    NotFound {
        /// What was asked for.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server does not let us have it, and asking again would not help.
    #[error("{url} was refused: the server answered {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// It could not be had, and trying again did not help.
    #[error("{url} could not be downloaded in {attempts} attempts; the last one: {reason}")]
    Failed {
        /// What was asked for.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// Why the last attempt failed.
        reason: String,
    },
    /// The URL or the proxy cannot be used at all.
    #[error("{url} cannot be asked for: {reason}")]
    Unusable {
        /// What was asked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The download cannot be stored.
    #[error("the download of {url} cannot be stored: {source}")]
    Store {
        /// What was asked for.
        url: String,
        /// Why not.
        source: io::Error,
    },
}

/// Why one attempt failed.
enum Attempt {
    /// The next one may succeed.
    Passing(String),
    /// The next one would fail, too.
    Lasting(HttpError),
}

/// A short answer, read in full.
pub(crate) struct Document {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) authenticate: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Makes requests.
#[derive(Debug)]
pub(crate) struct Http {
    agent: Agent,
    retry: Retry,
}

impl Http {
    /// `proxy` is a URL like `http://proxy:3128`; hosts of `no_proxy` (`*.example.org,10.1.2.3`) are asked directly.
    pub(crate) fn new(proxy: Option<&str>, no_proxy: &str, retry: Retry) -> Result<Http, HttpError> {
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            // The computer's own list of authorities: a mirror's certificate is often from the site's own.
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .timeout_per_write(Some(READ_TIMEOUT))
            // Not what the environment says: the caller decides.
            .proxy(proxy.map(|proxy| parse_proxy(proxy, no_proxy)).transpose()?);
        Ok(Http { agent: config.build().new_agent(), retry })
    }

    /// Asks for a short document. Every status but those that may pass is an answer.
    pub(crate) fn document(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        progress: &mut ProgressSink<'_>,
    ) -> Result<Document, HttpError> {
        let once = |_: &Sender<Bytes>| {
            let mut response = self.get(url, headers)?;
            let text =
                |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(String::from);
            let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
            let authenticate = text(header::WWW_AUTHENTICATE);
            let body = response.body_mut().with_config().limit(DOCUMENT_LIMIT).read_to_vec();
            let body = body.map_err(|error| classify(url, &error))?;
            Ok(Document { status: response.status(), content_type, authenticate, body })
        };
        self.attempt(url, progress, once, || false)
    }

    /// Downloads into `path`. What is there already is taken for the beginning; the caller verifies the whole. Returns
    /// whether there was such a beginning.
    pub(crate) fn download(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        path: &Path,
        progress: &mut ProgressSink<'_>,
    ) -> Result<bool, HttpError> {
        let resumed = fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
        let mut furthest = 0;
        let headway = || {
            let have = fs::metadata(path).map_or(0, |meta| meta.len());
            let headway = have >= furthest + HEADWAY;
            furthest = furthest.max(have);
            headway
        };
        self.attempt(url, progress, |news| self.download_rest(url, headers, path, news), headway)?;
        Ok(resumed)
    }

    /// One request for what is missing of a download.
    fn download_rest(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        path: &Path,
        news: &Sender<Bytes>,
    ) -> Result<(), Attempt> {
        let store = |source| Attempt::Lasting(HttpError::Store { url: shown(url), source });
        let mut have = fs::metadata(path).map_or(0, |meta| meta.len());
        let range = format!("bytes={have}-");
        let mut headers = headers.to_vec();
        if have > 0 {
            headers.push(("Range", &range));
        }
        let response = self.get(url, &headers)?;
        let status = response.status();
        if !matches!(status.as_u16(), 200 | 206 | 416) {
            return Err(Attempt::Lasting(HttpError::Refused { url: shown(url), status: status.as_u16() }));
        }
        // Only now, so that nothing is left behind of what does not exist.
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(store)?;
        match status {
            StatusCode::PARTIAL_CONTENT if content_range(&response).0 == Some(have) => {}
            StatusCode::RANGE_NOT_SATISFIABLE if content_range(&response).1 == Some(have) => return Ok(()),
            StatusCode::OK => {
                // The server gives only the whole.
                file.set_len(0).map_err(store)?;
                have = 0;
            }
            _ => {
                file.set_len(0).map_err(store)?;
                return Err(Attempt::Passing("what was there is no beginning of it; starting over".into()));
            }
        }
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let of = length.map(|length| have + length);
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            // Whoever listens does so until this ends.
            news.send(Bytes { done: have, of }).ok();
            let count = match body.read(&mut buffer) {
                Ok(count) => count,
                Err(error) => return Err(Attempt::Passing(format!("the connection broke: {error}"))),
            };
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).map_err(store)?;
            have += count as u64;
        }
        match of.filter(|of| *of != have) {
            Some(of) => Err(Attempt::Passing(format!("the connection ended after {have} of {of} bytes"))),
            None => Ok(()),
        }
    }

    /// One request. A status that may pass, or that says that there is nothing, is an error.
    fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<ureq::Body>, Attempt> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.call().map_err(|error| classify(url, &error))?;
        let status = response.status();
        match status.as_u16() {
            404 | 410 => {
                Err(Attempt::Lasting(HttpError::NotFound { url: shown(url), status: status.as_u16() }))
            }
            408 | 425 | 429 | 500..=599 => Err(Attempt::Passing(format!("the server answered {status}"))),
            _ => Ok(response),
        }
    }

    /// Tries until it works, is hopeless, or has been tried often enough. After an attempt that made `headway` the count
    /// begins anew.
    fn attempt<T: Send>(
        &self,
        url: &str,
        progress: &mut ProgressSink<'_>,
        once: impl Fn(&Sender<Bytes>) -> Result<T, Attempt> + Sync,
        mut headway: impl FnMut() -> bool,
    ) -> Result<T, HttpError> {
        let mut attempt = 1;
        loop {
            let reason = match tell_while(progress, &once) {
                Ok(value) => return Ok(value),
                Err(Attempt::Lasting(error)) => return Err(error),
                Err(Attempt::Passing(reason)) => reason,
            };
            if headway() {
                attempt = 1;
            }
            if attempt >= self.retry.attempts {
                return Err(HttpError::Failed { url: shown(url), attempts: attempt, reason });
            }
            let wait = self.retry.pause.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
            progress(Progress::Retry { attempt, of: self.retry.attempts, wait, reason: &reason });
            thread::sleep(wait);
            attempt += 1;
        }
    }
}

/// How far a download is.
#[derive(Clone, Copy)]
struct Bytes {
    done: u64,
    of: Option<u64>,
}

/// Does `work` on a thread of its own, so that there is news also while it waits for the network.
fn tell_while<T: Send>(progress: &mut ProgressSink<'_>, work: &(impl Fn(&Sender<Bytes>) -> T + Sync)) -> T {
    let (sender, news) = mpsc::channel();
    thread::scope(|scope| {
        let worker = scope.spawn(move || work(&sender));
        let mut last = Bytes { done: 0, of: None };
        loop {
            match news.recv_timeout(TICK) {
                Ok(bytes) => last = bytes,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            progress(Progress::Bytes { done: last.done, of: last.of });
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A URL as it may be shown and recorded: without the user and password that it may hold.
pub(crate) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    if scheme.is_empty() { rest[host..].into() } else { format!("{scheme}://{}", &rest[host..]) }
}

/// Whether an error of a request may pass.
fn classify(url: &str, error: &ureq::Error) -> Attempt {
    let unusable = || Attempt::Lasting(HttpError::Unusable { url: shown(url), reason: error.to_string() });
    match error {
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::TooManyRedirects
        | ureq::Error::RedirectFailed
        | ureq::Error::BodyExceedsLimit(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::TlsRequired => unusable(),
        // TLS failures, such as a certificate that nobody vouches for, come out of the transport as this.
        ureq::Error::Io(io) if io.kind() == io::ErrorKind::InvalidData => unusable(),
        other => Attempt::Passing(other.to_string()),
    }
}

/// The first byte and the whole size of `Content-Range: bytes 5-9/10` or `bytes */10` (RFC 9110, section 14.4).
fn content_range<T>(response: &Response<T>) -> (Option<u64>, Option<u64>) {
    let value = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let Some((range, size)) = value.and_then(|value| value.strip_prefix("bytes ")?.split_once('/')) else {
        return (None, None);
    };
    (range.split_once('-').and_then(|(first, _)| first.parse().ok()), size.parse().ok())
}

/// Reads `http://[user:password@]host:port`.
fn parse_proxy(proxy: &str, no_proxy: &str) -> Result<ureq::Proxy, HttpError> {
    let unusable = |reason: String| HttpError::Unusable { url: shown(proxy), reason };
    let parsed = ureq::Proxy::new(proxy).map_err(|error| unusable(format!("it is not a proxy: {error}")))?;
    let mut builder = ureq::Proxy::builder(parsed.protocol()).host(parsed.host()).port(parsed.port());
    if let Some(user) = parsed.username() {
        builder = builder.username(user);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    for host in no_proxy.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build().map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://me:secret@mirror:1/a@b?c=d@e"), "https://mirror:1/a@b?c=d@e");
        assert_eq!(shown("https://me:se@cret@mirror"), "https://mirror");
        assert_eq!(shown("https://mirror/x"), "https://mirror/x");
        assert_eq!(shown("me:secret@proxy:3128"), "proxy:3128");
        let error = parse_proxy("me:secret@not a proxy", "").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
