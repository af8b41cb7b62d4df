//! Why a host could not go on.

use muster_inventory::VarsError;
use serde::{Deserialize, Serialize};

use crate::advice::Advice;
use crate::transport::TransportError;

/// What the steps of a role return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Something found wrong before anything was changed: one line of preflight's table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// What was checked: `memory`.
    pub check: String,
    /// What was found: `498 MB`.
    pub found: String,
    /// What is needed: `at least 1500 MB on a control plane`.
    pub needed: String,
    /// How to mend it, as something to type or to change.
    pub remedy: String,
}

/// Why a host could not go on. How it is serialised is in `failure_form.rs`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The machine could not be reached, or not be worked on as root.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A variable is missing or is not what a role needs: which, why, and where it was written.
    #[error("{0}")]
    Vars(String),
    /// A change failed on the machine.
    #[error("{resource}: failed with status {status}")]
    Change {
        /// What was to be changed.
        resource: String,
        /// The exit status of the commands.
        status: i32,
        /// The last lines they wrote.
        tail: String,
    },
    /// Something did not become true in time.
    #[error("{what}: not within {} s", .limit.as_secs())]
    Waited {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: std::time::Duration,
        /// The last answer.
        tail: String,
    },
    /// Something did not become well, for a reason that was found, maybe on other machines than the one that looked.
    #[error("{message}")]
    Unwell {
        /// What is wrong, where, and why.
        message: String,
        /// The hosts that must be part of a run for it to mend this or to see it mended; where it is none, all of them.
        hosts: Vec<String>,
        /// What to do.
        remedy: Advice,
        /// What was last seen.
        tail: String,
    },
    /// What another host was to provide did not come, because that host failed.
    #[error("needs {what} from {host}, which failed")]
    Dependency {
        /// What was needed.
        what: String,
        /// The host that was to provide it.
        host: String,
    },
    /// Problems found by looking, before changing anything.
    #[error("{} problem{} found", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Problems(Vec<Problem>),
    /// Somebody else holds the machine's lock or has taken it from us, or a program of theirs is still at work.
    #[error("{message}")]
    Locked {
        /// Who, since when.
        message: String,
        /// What to do.
        remedy: Advice,
    },
    /// Another play's failure ended the run for all.
    #[error("stopped, because {0}")]
    Stopped(String),
    /// Anything else, with what to do about it.
    #[error("{message}")]
    Other {
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: Advice,
        /// The last lines a program wrote, where there are some.
        tail: String,
    },
}

impl From<VarsError> for Failure {
    fn from(error: VarsError) -> Self {
        Self::Vars(error.to_string())
    }
}

impl Failure {
    /// A failure in words, with what to do about it.
    pub fn new(message: impl Into<String>, remedy: impl Into<Advice>) -> Self {
        Self::Other { message: message.into(), remedy: remedy.into(), tail: String::new() }
    }

    /// Whether the machine itself could not be worked on (Ansible's `unreachable`), as against failing at something.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_unreachable())
    }

    /// The last lines a program wrote, where there are some.
    pub fn tail(&self) -> Option<&str> {
        match self {
            Self::Change { tail, .. }
            | Self::Waited { tail, .. }
            | Self::Unwell { tail, .. }
            | Self::Other { tail, .. }
                if !tail.is_empty() =>
            {
                Some(tail)
            }
            _ => None,
        }
    }

    /// What the user can do about it.
    pub fn remedy(&self) -> Option<&Advice> {
        match self {
            Self::Transport(error) => error.remedy(),
            Self::Locked { remedy, .. } | Self::Unwell { remedy, .. } | Self::Other { remedy, .. } => {
                Some(remedy)
            }
            _ => None,
        }
    }
}
