//! Fan-out: machines that have an artifact hand it on to others, so that a hundred machines do not cost a hundred uploads.
//!
//! What serves is the machine's own sshd program with a configuration of this run, at an address and port that the roles
//! say; what fetches is ssh. Both keys, the server's and the client's, are made for the run and know nothing else: the
//! client's may read artifacts by their sha256 and nothing more. Whatever arrives counts only when its hash is right,
//! so a machine that serves something else can do no harm. What does not work, for a firewall or because there is no
//! sshd, is found out once, and then this side sends as it does without. Secrets never go this way.

mod planner;
pub(crate) mod sources;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use secrecy::ExposeSecret;

use self::planner::{End, Source};
use self::sources::{FanOut, Ticket};
use crate::event::Event;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::resource::Upload;
use crate::script::sh;

/// How long a machine may take to begin to serve.
const SERVE_LIMIT: Duration = Duration::from_secs(30);

impl FanOut {
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
        let at = source.serves_at().ok_or_else(|| Failure::new("it has no address", ""))?;
        let (address, port) = (at.ip().to_string(), at.port().to_string());
        let script = sh(
            include_str!("serve.sh"),
            [self.share(), &address, &port, self.server_key.private.expose_secret(), &self.client_key.public],
        );
        source.change("handing artifacts on", script, SERVE_LIMIT).await?;
        Ok(at)
    }
}

impl Ticket {
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
}
