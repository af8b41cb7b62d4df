//! Uploads: from this side, or from a machine that has the same already. One that broke off goes on where it stopped.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::advice::Advice;
use crate::event::Event;
use crate::failure::{Failure, Result};
use crate::fan_out::sources::Ticket;
use crate::host::Host;
use crate::lock::{Fence, Kind, REFUSED};
use crate::resource::{Bytes, Upload};
use crate::script::{Script, nonce, sh};
use crate::transport::{Exit, Input, OnLine, Program};

/// How long an upload may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// What a program ends with that got something else than what its sha256 says (`EX_DATAERR` of sysexits.h).
const WRONG: i32 = 65;

/// Brings a file to the machine.
pub(crate) async fn send(host: &Host, upload: &Upload) -> Result<()> {
    let (sha256, size) = match &upload.bytes {
        Bytes::Sha256(sha256) => (sha256.clone(), upload.size),
        Bytes::Named(name) => {
            let digest = host.cluster().once(&format!("sha256 of {name}"), || digest(upload)).await?;
            (digest.0.clone(), digest.1)
        }
    };
    Arrival { host, upload, file: upload.bytes.path(), sha256, size }.bring().await
}

/// The sha256, in hex, and the size of what an upload holds.
async fn digest(upload: &Upload) -> Result<(String, u64)> {
    let mut input = open(upload, 0)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut chunk = vec![0; 1 << 18];
    loop {
        match input.read(&mut chunk).await.map_err(|error| unreadable(upload, &error))? {
            0 => break,
            read => {
                hash.update(&chunk[..read]);
                size += read as u64;
            }
        }
    }
    Ok((hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), size))
}

fn open(upload: &Upload, from: u64) -> Result<Input> {
    (upload.open)(from).map_err(|error| unreadable(upload, &error))
}

fn unreadable(upload: &Upload, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", upload.name), Advice::CheckBundle)
}

/// Runs a program of one line under the lock.
async fn run(
    host: &Host,
    what: &str,
    script: &Script,
    input: Input,
    on_line: OnLine,
) -> Result<(Exit, Fence)> {
    let fence = host.fence().await?;
    let line = format!("{} {}", fence.guard(&nonce(), Kind::Upload, what), script.one_line());
    let exit = host.exec_with(Program::Reader { line, input }, LIMIT, on_line).await?;
    if exit.status == REFUSED {
        return Err(host.refused(&fence).await);
    }
    Ok((exit, fence))
}

/// A file that is to arrive.
struct Arrival<'a> {
    host: &'a Host,
    upload: &'a Upload,
    /// Where it is when it is complete.
    file: String,
    sha256: String,
    size: u64,
}

impl Arrival<'_> {
    async fn bring(&self) -> Result<()> {
        loop {
            let Some(there) = self.look().await? else { return Ok(()) };
            let Some(fan_out) = self.host.fan_out(self.size) else { return self.receive(there, None).await };
            let ticket = fan_out.source(self.host, &self.sha256, self.upload, self.size).await?;
            if ticket.from.is_none() {
                return self.receive(there, Some(ticket)).await;
            }
            if self.fetch(ticket).await? {
                return Ok(());
            }
        }
    }

    /// How many bytes of it are there; `None` when it is complete: the name says what it holds, and only a complete file
    /// is renamed to it.
    async fn look(&self) -> Result<Option<u64>> {
        let look =
            sh(r#"[ -f "$1" ] && echo complete || stat -c %s "$1.part" 2>/dev/null || echo 0"#, [&self.file]);
        let answer = self.host.query(look).await?.output;
        Ok(if answer.trim() == "complete" { None } else { answer.trim().parse().ok().or(Some(0)) })
    }

    /// From this side, beginning with this byte.
    async fn receive(&self, mut there: u64, ticket: Option<Ticket>) -> Result<()> {
        let what = format!("sending {}", self.upload.name);
        let sent = ticket.as_ref().map_or_else(Arc::default, |ticket| ticket.sent.clone());
        loop {
            there = there.min(self.size);
            let script = self.script(RECEIVE, ticket.is_some(), [there.to_string()]);
            let input = self.metered(open(self.upload, there)?, there, &sent);
            let (exit, fence) = run(self.host, &what, &script, input, self.host.on_line()).await?;
            match exit.status {
                0 => {
                    if let Some(ticket) = ticket {
                        ticket.arrived(is_kept(&exit));
                    }
                    return Ok(());
                }
                // What was there before was wrong, and is gone: a power cut leaves zeros, a machine may lie.
                WRONG if there > 0 => there = 0,
                WRONG => {
                    return Err(Failure::new(
                        format!("{}: what arrived is not what its sha256 says", self.upload.name),
                        Advice::CheckBundle,
                    ));
                }
                status => {
                    // Whoever takes the lock ends it.
                    self.host.still_ours(&fence).await?;
                    return Err(Failure::Change { resource: what, status, tail: exit.tail() });
                }
            }
        }
    }

    /// From another machine. Whether it came.
    async fn fetch(&self, ticket: Ticket) -> Result<bool> {
        let Some(from) = ticket.from else { return Ok(false) };
        let what = format!("fetching {}", self.upload.name);
        let [private, public] = ticket.keys();
        // A line holds no line breaks.
        let private = private.trim_end().replace('\n', "|");
        let script = self.script(
            FETCH,
            true,
            [from.ip().to_string(), from.port().to_string(), private, public.to_owned()],
        );
        let (host, name, total, show) =
            (self.host.name().to_owned(), self.upload.name.clone(), self.size, self.host.on_line());
        let events = self.host.events();
        let on_line: OnLine =
            Arc::new(move |line: &str| match line.strip_prefix(AT).map(|at| at.trim().parse()) {
                Some(Ok(sent)) => {
                    events.send(Event::Transfer { host: host.clone(), name: name.clone(), sent, total })
                }
                _ => show(line),
            });
        let (exit, fence) = run(self.host, &what, &script, Box::new(tokio::io::empty()), on_line).await?;
        if exit.status == 0 {
            ticket.arrived(is_kept(&exit));
            return Ok(true);
        }
        // Whoever takes the lock ends it.
        self.host.still_ours(&fence).await?;
        let said = exit.tail();
        let reason = said.lines().rfind(|line| !line.starts_with(AT)).unwrap_or("it did not come");
        ticket.failed(self.host, exit.status == WRONG, reason);
        Ok(false)
    }

    fn script(&self, text: &'static str, keep: bool, more: impl IntoIterator<Item = String>) -> Script {
        let share = self.host.fan_out(self.size).filter(|_| keep).map(|fan_out| fan_out.share().to_owned());
        let first =
            [self.file.clone(), self.sha256.clone(), self.size.to_string(), share.unwrap_or_default()];
        sh(text, first.into_iter().chain(more))
    }

    fn metered(&self, input: Input, there: u64, sent: &Arc<AtomicU64>) -> Input {
        sent.store(there, std::sync::atomic::Ordering::Relaxed);
        self.host.metered(input, &self.upload.name, self.size, sent.clone())
    }
}

fn is_kept(exit: &Exit) -> bool {
    exit.stdout.ends_with(b"kept\n")
}

/// What lines begin with that tell how much has come from another machine.
const AT: &str = "muster-at ";

const RECEIVE: &str = concat!(include_str!("upload.sh"), r#"receive "$@""#);
const FETCH: &str = concat!(include_str!("upload.sh"), r#"fetch "$@""#);
