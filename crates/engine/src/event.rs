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
    /// Whether it tells only how things are at this moment, as the names of pods: a plan is the same one with other words for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub momentary: bool,
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
    /// The run begins.
    RunStarted {
        /// The machines of the run, in inventory order.
        hosts: Vec<String>,
        /// The names of the plays, in order.
        plays: Vec<String>,
        /// Whether the run only looks, and changes nothing.
        check: bool,
    },
    /// The first host enters a play.
    PlayStarted {
        /// The name of the play.
        play: String,
        /// The machines that the play is for.
        hosts: Vec<String>,
    },
    /// A connection was made and the facts are known.
    Connected {
        /// The machine.
        host: String,
        /// How long that took.
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// A host begins a role.
    RoleStarted {
        /// The machine.
        host: String,
        /// The play that the role is part of.
        play: String,
        /// The role.
        role: String,
    },
    /// A host is through a role.
    RoleEnded {
        /// The machine.
        host: String,
        /// The role.
        role: String,
        /// The sum of its steps.
        counts: Counts,
        /// How long the role took, with its waiting.
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// A host begins a step of its role.
    StepStarted {
        /// The machine.
        host: String,
        /// The role.
        role: String,
        /// The step, as its role calls it.
        step: String,
    },
    /// A host is through a step.
    StepEnded {
        /// The machine.
        host: String,
        /// The role.
        role: String,
        /// The step, as its role calls it.
        step: String,
        /// What the step did.
        counts: Counts,
        /// What differed.
        changes: Vec<Change>,
        /// How many programs were sent and answered.
        exchanges: usize,
        /// How long the step took.
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// A program on the machine wrote a line while it runs.
    Output {
        /// The machine.
        host: String,
        /// The line, without its end.
        line: String,
    },
    /// A file is on its way to the machine.
    Transfer {
        /// The machine.
        host: String,
        /// What is sent.
        name: String,
        /// How much of it was sent, in bytes, earlier attempts included.
        sent: u64,
        /// Its size in bytes.
        total: u64,
    },
    /// A host waits for something: for another host, or for a condition on the machine.
    Waiting {
        /// The machine.
        host: String,
        /// What it waits for.
        what: String,
        /// How long it has been waiting.
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// Something transient failed and is tried again.
    Retrying {
        /// The machine.
        host: String,
        /// What failed.
        what: String,
        /// Why it failed.
        reason: String,
        /// Which attempt comes next, from 2 on.
        attempt: usize,
        /// How many attempts there are at most, the first one included.
        attempts: usize,
        /// How long it is until the next attempt.
        #[serde(with = "seconds")]
        delay: Duration,
    },
    /// Something the user should know, which stops nothing.
    Warning {
        /// The machine; `None` where it is about none or all of them.
        host: Option<String>,
        /// What it is, in words for the user.
        text: String,
    },
    /// Something the user should know of the run, and need not do anything about.
    Told {
        /// The machine through which it was seen.
        host: String,
        /// What it is, in words for the user.
        text: String,
    },
    /// Something was tried out through a host, and works.
    Tested {
        /// The machine.
        host: String,
        /// What it is, in words for the user.
        what: String,
    },
    /// A host cannot go on.
    HostFailed {
        /// The machine.
        host: String,
        /// The role that it was in, if it was in one.
        role: Option<String>,
        /// The step that it was in, if it was in one.
        step: Option<String>,
        /// Why it cannot go on, and what to do about it.
        failure: Failure,
    },
    /// A host is through all its plays.
    HostDone {
        /// The machine.
        host: String,
    },
    /// The run ends.
    RunEnded {
        /// How long the run took.
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
