//! What happens during a run, as one vocabulary. The engine sends events; whoever shows or records them listens.
//! Nothing ever flows back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::seconds;

/// How one resource of a machine differs, or differed, from what a role wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is about, as the resource calls itself: `file /etc/hosts`.
    pub resource: String,
    /// What differs, in a few words: `mode 0644 -> 0600`, `created`.
    pub what: String,
    /// The difference of the contents as a unified diff, where there is one that may be shown.
    pub diff: Option<String>,
}

/// What a finished step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Resources looked at, the changed ones included (Ansible's `ok`).
    pub ok: usize,
    /// Resources changed, or in check mode: that would be changed.
    pub changed: usize,
    /// Resources passed over because of tags or check mode.
    pub skipped: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.ok += other.ok;
        self.changed += other.changed;
        self.skipped += other.skipped;
    }
}

/// Something that happened. `host` is the inventory's name of the machine. How one is written as JSON, where nobody knows
/// these types, is [`crate::event_json`]; a changed name of a field or a variant changes that form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins: the hosts in inventory order, and the names of the plays.
    RunStarted { hosts: Vec<String>, plays: Vec<String>, check: bool },
    /// The first host enters a play.
    PlayStarted { play: String, hosts: Vec<String> },
    /// A connection was made and the facts are known.
    Connected {
        host: String,
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// A host begins a role.
    RoleStarted { host: String, play: String, role: String },
    /// A host is through a role.
    RoleEnded {
        host: String,
        role: String,
        counts: Counts,
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// A host begins a step of its role.
    StepStarted { host: String, role: String, step: String },
    /// A host is through a step. `exchanges`: programs sent and answered.
    StepEnded {
        host: String,
        role: String,
        step: String,
        counts: Counts,
        changes: Vec<Change>,
        exchanges: usize,
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// A line that a program on the machine wrote while it runs.
    Output { host: String, line: String },
    /// A file is on its way to the machine: bytes sent, of how many.
    Transfer { host: String, name: String, sent: u64, total: u64 },
    /// A host waits for something: for another host, or for a condition on the machine.
    Waiting {
        host: String,
        what: String,
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// Something transient failed and is tried again: attempt n of m.
    Retrying {
        host: String,
        what: String,
        reason: String,
        attempt: usize,
        attempts: usize,
        #[serde(with = "seconds")]
        delay: Duration,
    },
    /// Something the user should know, which stops nothing.
    Warning { host: Option<String>, text: String },
    /// Something was tried out through a host, and works.
    Tested { host: String, what: String },
    /// A host cannot go on.
    HostFailed { host: String, role: Option<String>, step: Option<String>, failure: Failure },
    /// A host is through all its plays.
    HostDone { host: String },
    /// The run ends.
    RunEnded {
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
}

/// Where events go.
#[derive(Clone)]
pub struct Events(tokio::sync::mpsc::UnboundedSender<Event>);

impl Events {
    /// A sender of events and the end where they arrive, in order.
    pub fn channel() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells whoever listens. A listener that went away must not stop the run, so nothing is returned.
    pub fn send(&self, event: Event) {
        self.0.send(event).ok();
    }
}
