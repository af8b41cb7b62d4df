//! Fan-out: machines that have an artifact hand it on to others, so that a hundred machines do not cost a hundred uploads.
//!
//! What serves is the machine's own sshd program with a configuration of this run, at an address and port that the roles
//! say; what fetches is ssh. Both keys, the server's and the client's, are made for the run and know nothing else: the
//! client's may read artifacts by their sha256 and nothing more. Whatever arrives counts only when its hash is right,
//! so a machine that serves something else can do no harm. What does not work, for a firewall or because there is no
//! sshd, is found out once, and then this side sends as it does without. Secrets never go this way.

mod planner;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tokio::sync::Notify;

use self::planner::{End, Planner, Source};
use crate::event::Event;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::resource::Upload;
use crate::script::sh;
use crate::ssh::ThrowawayKey;

/// Where a machine may hand artifacts on to others: the address and port at which they reach it. `None`: it takes no part.
pub type ServesAt = fn(&Host) -> Option<SocketAddr>;

/// From how many machines on it is worth it.
const MACHINES: usize = 5;

/// From which size on, in bytes: below, a connection between machines takes longer than sending.
const SIZE: u64 = 4 << 20;

/// Where a machine keeps what it hands on: a folder of the run in here, which goes with the run's lock.
const SHARES: &str = "/var/lib/muster/share";

/// How long a machine may take to begin to serve.
const SERVE_LIMIT: Duration = Duration::from_secs(30);

/// What lets machines find out who gives them what.
pub(crate) struct FanOut {
    serves_at: ServesAt,
    share: String,
    server_key: ThrowawayKey,
    client_key: ThrowawayKey,
    planner: Mutex<Planner>,
    ended: Notify,
    begun: Instant,
}

impl FanOut {
    /// For a run of so many machines; `None` where it is not worth it.
    pub(crate) fn of_run(serves_at: Option<ServesAt>, machines: usize, run: &str) -> Option<Arc<Self>> {
        let serves_at = serves_at.filter(|_| machines >= MACHINES)?;
        Some(Arc::new(Self {
            serves_at,
            share: format!("{SHARES}/{run}"),
            server_key: ThrowawayKey::make()?,
            client_key: ThrowawayKey::make()?,
            planner: Mutex::default(),
            ended: Notify::new(),
            begun: Instant::now(),
        }))
    }

    /// Whether this host gets something of this size from others, and hands it on.
    pub(crate) fn concerns(&self, host: &Host, size: u64) -> bool {
        size >= SIZE && (self.serves_at)(host).is_some()
    }

    /// The folder in which machines keep what they hand on.
    pub(crate) fn share(&self) -> &str {
        &self.share
    }

    /// Waits for the best source there is, and says who it is.
    pub(crate) async fn source(
        self: &Arc<Self>,
        host: &Host,
        sha256: &str,
        upload: &Upload,
        size: u64,
    ) -> Result<Ticket> {
        let sent = Arc::new(AtomicU64::new(0));
        loop {
            // Asked for before the question, so that no end is missed.
            let ended = self.ended.notified();
            let now = self.begun.elapsed();
            let source = self.planner().choose(host.name(), sha256, (size, &sent), now);
            if let Some(source) = source {
                let (fan_out, who, artifact) = (self.clone(), host.name().to_owned(), sha256.to_owned());
                let mut ticket = Ticket {
                    fan_out,
                    who,
                    artifact,
                    source,
                    sent: sent.clone(),
                    from: None,
                    end: End::Unknown,
                };
                let Source::Machine(name) = &ticket.source else { return Ok(ticket) };
                ticket.from = self.serving(host, name).await;
                if ticket.from.is_some() {
                    return Ok(ticket);
                }
                continue;
            }
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    host.may_go_on()?;
                    let what = format!("a machine that has {}", upload.name);
                    host.send(Event::Waiting { host: host.name().to_owned(), what, elapsed: now });
                }
            }
        }
    }

    /// Where a machine serves, from now on if it has not before.
    async fn serving(&self, host: &Host, name: &str) -> Option<SocketAddr> {
        let begin = || async {
            let served = match host.cluster().host(name) {
                Ok(source) => self.serve(&source).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = &served {
                self.planner().leave_out(name);
                host.warn(format!("{name} cannot hand artifacts on to other machines: {failure}"));
            }
            served
        };
        host.cluster().once(&format!("{name} hands artifacts on"), begin).await.ok().map(|at| *at)
    }

    async fn serve(&self, source: &Host) -> Result<SocketAddr> {
        let at = (self.serves_at)(source).ok_or_else(|| Failure::new("it has no address", ""))?;
        let (address, port) = (at.ip().to_string(), at.port().to_string());
        let script = sh(
            include_str!("serve.sh"),
            [&self.share, &address, &port, self.server_key.private.expose_secret(), &self.client_key.public],
        );
        source.change("handing artifacts on", script, SERVE_LIMIT).await?;
        Ok(at)
    }

    /// Whether a machine keeps something for others. One that does not answer is left out from now on.
    pub(crate) fn hands_on(&self, host: &Host, answers: bool) -> bool {
        let mut planner = self.planner();
        if !answers {
            planner.leave_out(host.name());
            self.ended.notify_waiters();
        }
        planner.gives(host.name())
    }

    fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place at a source, given back when dropped.
pub(crate) struct Ticket {
    fan_out: Arc<FanOut>,
    who: String,
    artifact: String,
    source: Source,
    /// How much this side has sent of it.
    pub sent: Arc<AtomicU64>,
    /// Where the machine serves that is the source; this side is it where there is none.
    pub from: Option<SocketAddr>,
    end: End,
}

impl Ticket {
    /// It has arrived, and is kept for others or not.
    pub(crate) fn arrived(mut self, kept: bool) {
        self.end = End::Arrived { kept };
    }

    /// It did not come from the machine, or was something else. Says so where that matters for more than this artifact.
    pub(crate) fn failed(mut self, host: &Host, wrong: bool, reason: &str) {
        let Source::Machine(name) = self.source.clone() else { return };
        self.end = if wrong { End::Wrong } else { End::Failed };
        let fan_out = self.fan_out.clone();
        let before = fan_out.planner().given_up();
        drop(self);
        if wrong {
            host.warn(format!(
                "{name} handed on something else than what it was asked for, and is asked no more"
            ));
        } else if fan_out.planner().given_up() && !before {
            host.warn(format!(
                "machines cannot hand artifacts on to each other, so this side sends to each: {reason}; \
                 open fan_out_port between them, or set fan_out: false"
            ));
        }
    }

    /// The keys for the machine that fetches: its own private one, and the public one of whoever serves.
    pub(crate) fn keys(&self) -> [&str; 2] {
        [self.fan_out.client_key.private.expose_secret(), &self.fan_out.server_key.public]
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fan_out.planner().end(&self.who, &self.artifact, &self.source, self.end);
        self.fan_out.ended.notify_waiters();
    }
}
