//! HTTP for whoever only reads: what `muster bundle serve` and `muster netboot serve` have in common.
//!
//! A request is answered, and the connection closed; `GET` and `HEAD` are all that there is, and a range that goes to the end, with
//! which downloads go on that broke off (RFC 9110, section 14).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// How many connections are answered at once; whoever comes then waits, in the system's queue of the port.
const AT_ONCE: usize = 64;

/// How long nobody is accepted after that has failed, as it does when there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// How long somebody may be silent, or not take what is sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest request that is read, in bytes.
const LONGEST_REQUEST: u64 = 16 << 10;

/// What is served.
pub trait Site: Sync {
    /// The answer for a target of a request: a path, and perhaps a query.
    fn answer(&self, target: &str) -> Answer;
}

/// What is said to somebody.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What kind of content it is.
    pub content_type: &'static str,
    /// Further lines of the head.
    pub headers: Vec<(&'static str, String)>,
    /// The content.
    pub body: Body,
}

/// What is sent.
pub enum Body {
    /// These bytes.
    Text(Vec<u8>),
    /// So many bytes that are read.
    Stream(Box<dyn Read + Send>, u64),
}

/// Something that was asked for, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Who asked.
    pub peer: SocketAddr,
    /// The method and the path.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// How many bytes of content there were for this answer.
    pub size: u64,
    /// How many of them were sent; fewer where the connection was cut off.
    pub sent: u64,
}

impl Served {
    /// Whether all of the answer was sent.
    pub fn is_whole(&self) -> bool {
        self.sent == self.size
    }
}

/// Answers at one address.
#[derive(Debug)]
pub struct HttpServer<S> {
    listener: TcpListener,
    site: S,
}

impl<S: Site> HttpServer<S> {
    /// Serves a site to whoever comes to a socket that listens.
    pub fn new(listener: TcpListener, site: S) -> Self {
        Self { listener, site }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr, io::Error> {
        self.listener.local_addr()
    }

    /// Answers for ever. `told` hears of every answer, also of one that was cut off.
    ///
    /// # Errors
    /// The system has not one thread for it.
    pub fn run(&self, told: impl Fn(Served) + Send + Sync) -> Result<(), io::Error> {
        let told = &told;
        thread::scope(|scope| {
            for threads in 0..AT_ONCE {
                match thread::Builder::new().spawn_scoped(scope, move || self.answer_one_by_one(told)) {
                    Err(error) if threads == 0 => return Err(error),
                    // Those that there are do it, too.
                    Err(_) => break,
                    Ok(_) => {}
                }
            }
            Ok(())
        })
    }

    /// Answers one connection after the other.
    fn answer_one_by_one(&self, told: &impl Fn(Served)) {
        loop {
            // Whatever keeps somebody from being accepted passes.
            let Ok((stream, peer)) = self.listener.accept() else {
                thread::sleep(PAUSE);
                continue;
            };
            // Who goes away before asking comes again.
            if let Ok(Some(served)) = self.serve(&stream, peer) {
                told(served);
            }
        }
    }

    /// Answers one request. Nothing where nobody asked.
    fn serve(&self, stream: &TcpStream, peer: SocketAddr) -> Result<Option<Served>, io::Error> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.take(LONGEST_REQUEST)).lines();
        let Some(first) = lines.next().transpose()? else { return Ok(None) };
        let mut from = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("range")
            {
                from = value
                    .trim()
                    .strip_prefix("bytes=")
                    .and_then(|range| range.strip_suffix('-')?.parse::<u64>().ok());
            }
        }
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let answer = match method {
            "GET" | "HEAD" => self.site.answer(target),
            _ => plain(405, "nothing can be changed here\n"),
        };
        let asked = format!("{method} {target}");
        Ok(Some(send(stream, answer, from, method == "HEAD", peer, asked)))
    }
}

/// An answer in words.
pub fn plain(status: u16, text: &str) -> Answer {
    Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        headers: Vec::new(),
        body: Body::Text(text.as_bytes().to_vec()),
    }
}

/// Sends an answer, from a byte on where somebody has the beginning.
fn send(
    stream: &TcpStream,
    answer: Answer,
    from: Option<u64>,
    head_only: bool,
    peer: SocketAddr,
    asked: String,
) -> Served {
    let (mut content, size): (Box<dyn Read + Send>, u64) = match answer.body {
        Body::Text(bytes) => {
            let size = bytes.len() as u64;
            (Box::new(io::Cursor::new(bytes)), size)
        }
        Body::Stream(content, size) => (content, size),
    };
    let from = from.filter(|_| answer.status == 200);
    let (status, skipped) = match from {
        Some(from) if from >= size => (416, size),
        Some(from) => (206, from),
        None => (answer.status, 0),
    };
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nAccept-Ranges: bytes\r\n",
        if status < 300 { "OK" } else { "No" },
        answer.content_type,
        size - skipped,
    );
    for (name, value) in answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match status {
        206 => head.push_str(&format!("Content-Range: bytes {skipped}-{}/{size}\r\n", size - 1)),
        416 => head.push_str(&format!("Content-Range: bytes */{size}\r\n")),
        _ => {}
    }
    let size = if head_only { 0 } else { size - skipped };
    let mut out = Counted { stream, written: 0 };
    let head = format!("{head}\r\n");
    let mut send = || {
        out.write_all(head.as_bytes())?;
        if size > 0 {
            io::copy(&mut content.by_ref().take(skipped), &mut io::sink())?;
            io::copy(&mut content.by_ref().take(size), &mut out)?;
        }
        out.flush()
    };
    // Who goes away in the middle comes again; `sent` says how far it was.
    send().ok();
    Served { peer, asked, status, size, sent: out.written.saturating_sub(head.len() as u64) }
}

/// Counts what the other side's system has taken.
struct Counted<'a> {
    stream: &'a TcpStream,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
