//! What a run knows of the sources of its artifacts, and the places that machines take there. It knows machines by their
//! names only.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use secrecy::ExposeSecret;
use tokio::sync::Notify;

use super::planner::{End, Planner, Source};
use crate::ssh::ThrowawayKey;

/// From how many machines on it is worth it.
const MACHINES: usize = 5;

/// From which size on, in bytes: below, a connection between machines takes longer than sending.
const SIZE: u64 = 4 << 20;

/// Where a machine keeps what it hands on: a folder of the run in here, which goes with the run's lock.
const SHARES: &str = "/var/lib/muster/share";

/// What lets machines find out who gives them what.
pub(crate) struct FanOut {
    share: String,
    pub(super) server_key: ThrowawayKey,
    pub(super) client_key: ThrowawayKey,
    planner: Mutex<Planner>,
    pub(super) ended: Notify,
    pub(super) begun: Instant,
}

impl FanOut {
    /// For a run of so many machines; `None` where it is not worth it.
    pub(crate) fn of_run(machines: usize, run: &str) -> Option<Arc<Self>> {
        if machines < MACHINES {
            return None;
        }
        Some(Arc::new(Self {
            share: format!("{SHARES}/{run}"),
            server_key: ThrowawayKey::make()?,
            client_key: ThrowawayKey::make()?,
            planner: Mutex::default(),
            ended: Notify::new(),
            begun: Instant::now(),
        }))
    }

    /// Whether it is worth it for something of this size.
    pub(crate) fn concerns(size: u64) -> bool {
        size >= SIZE
    }

    /// The folder in which machines keep what they hand on.
    pub(crate) fn share(&self) -> &str {
        &self.share
    }

    /// Whether a machine keeps something for others. One that does not answer is left out from now on.
    pub(crate) fn hands_on(&self, machine: &str, answers: bool) -> bool {
        let mut planner = self.planner();
        if !answers {
            planner.leave_out(machine);
            self.ended.notify_waiters();
        }
        planner.gives(machine)
    }

    pub(super) fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place at a source, given back when dropped.
pub(crate) struct Ticket {
    pub(super) fan_out: Arc<FanOut>,
    pub(super) who: String,
    pub(super) artifact: String,
    pub(super) source: Source,
    /// How much this side has sent of it.
    pub sent: Arc<AtomicU64>,
    /// Where the machine serves that is the source; this side is it where there is none.
    pub from: Option<SocketAddr>,
    pub(super) end: End,
}

impl Ticket {
    /// It has arrived, and is kept for others or not.
    pub(crate) fn arrived(mut self, kept: bool) {
        self.end = End::Arrived { kept };
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
