//! The serialised form of a failure, which stays as it is described in `docs/events.md` whatever becomes of the types.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::advice::Advice;
use crate::failure::{Failure, Problem};
use crate::seconds;
use crate::transport::TransportError;

/// A failure as it is written down: what every one has for whoever tells it, and what its kind has besides.
#[derive(Serialize, Deserialize)]
struct FailureForm {
    /// `None` in what was written before failures had kinds, and where a newer engine knows more of them: it is then told
    /// by its message alone.
    #[serde(flatten)]
    kind: Option<Kind>,
    message: String,
    unreachable: bool,
    #[serde(default)]
    stopped: bool,
    remedy: Option<String>,
    /// The remedy where it is not in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advice: Option<Advice>,
    output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<Problem>>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    Unreachable {
        address: String,
        reason: String,
    },
    Refused {
        address: String,
        user: String,
        tried: String,
    },
    HostKey {
        address: String,
        reason: String,
        changed: bool,
    },
    Privilege {
        address: String,
        user: String,
        reason: String,
    },
    Lost {
        address: String,
        reason: String,
    },
    Input {
        address: String,
        reason: String,
    },
    Flood {
        address: String,
        limit: usize,
    },
    TimedOut {
        address: String,
        #[serde(with = "seconds")]
        limit: Duration,
    },
    Variables,
    Change {
        resource: String,
        status: i32,
    },
    Waited {
        what: String,
        #[serde(with = "seconds")]
        limit: Duration,
    },
    Unwell {
        hosts: Vec<String>,
    },
    Dependency {
        what: String,
        host: String,
    },
    Problems,
    Locked,
    Stopped {
        because: String,
    },
    Other,
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FailureForm::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FailureForm::deserialize(deserializer).map(Self::from)
    }
}

impl From<Failure> for FailureForm {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        let unreachable = failure.is_unreachable();
        let output = failure.tail().map(str::to_owned);
        let (remedy, advice) = match failure.remedy() {
            None => (None, None),
            Some(Advice::Words(words)) => (Some(words.clone()), None),
            Some(advice) => (None, Some(advice.clone())),
        };
        let mut problems = None;
        let kind = match failure {
            Failure::Transport(error) => Kind::from(error),
            Failure::Vars(_) => Kind::Variables,
            Failure::Change { resource, status, .. } => Kind::Change { resource, status },
            Failure::Waited { what, limit, .. } => Kind::Waited { what, limit },
            Failure::Unwell { hosts, .. } => Kind::Unwell { hosts },
            Failure::Dependency { what, host } => Kind::Dependency { what, host },
            Failure::Problems(found) => {
                problems = Some(found);
                Kind::Problems
            }
            Failure::Locked { .. } => Kind::Locked,
            Failure::Stopped(because) => Kind::Stopped { because },
            Failure::Other { .. } => Kind::Other,
        };
        let stopped = matches!(kind, Kind::Stopped { .. });
        Self { kind: Some(kind), message, unreachable, stopped, remedy, advice, output, problems }
    }
}

impl From<TransportError> for Kind {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Unreachable { address, reason, .. } => Self::Unreachable { address, reason },
            TransportError::Refused { address, user, tried, .. } => Self::Refused { address, user, tried },
            TransportError::HostKey { address, reason, changed, .. } => {
                Self::HostKey { address, reason, changed }
            }
            TransportError::Privilege { address, user, reason, .. } => {
                Self::Privilege { address, user, reason }
            }
            TransportError::Lost { address, reason } => Self::Lost { address, reason },
            TransportError::Input { address, reason } => Self::Input { address, reason },
            TransportError::Flood { address, limit } => Self::Flood { address, limit },
            TransportError::TimedOut { address, limit } => Self::TimedOut { address, limit },
        }
    }
}

impl From<FailureForm> for Failure {
    fn from(form: FailureForm) -> Self {
        let FailureForm { kind, message, output, problems, .. } = form;
        let tail = output.unwrap_or_default();
        let remedy = form.advice.unwrap_or_else(|| form.remedy.unwrap_or_default().into());
        let error = match kind {
            Some(Kind::Unreachable { address, reason }) => {
                TransportError::Unreachable { address, reason, remedy }
            }
            Some(Kind::Refused { address, user, tried }) => {
                TransportError::Refused { address, user, tried, remedy }
            }
            Some(Kind::HostKey { address, reason, changed }) => {
                TransportError::HostKey { address, reason, changed, remedy }
            }
            Some(Kind::Privilege { address, user, reason }) => {
                TransportError::Privilege { address, user, reason, remedy }
            }
            Some(Kind::Lost { address, reason }) => TransportError::Lost { address, reason },
            Some(Kind::Input { address, reason }) => TransportError::Input { address, reason },
            Some(Kind::Flood { address, limit }) => TransportError::Flood { address, limit },
            Some(Kind::TimedOut { address, limit }) => TransportError::TimedOut { address, limit },
            Some(Kind::Variables) => return Self::Vars(message),
            Some(Kind::Change { resource, status }) => return Self::Change { resource, status, tail },
            Some(Kind::Waited { what, limit }) => return Self::Waited { what, limit, tail },
            Some(Kind::Unwell { hosts }) => return Self::Unwell { message, hosts, remedy, tail },
            Some(Kind::Dependency { what, host }) => return Self::Dependency { what, host },
            Some(Kind::Locked) => return Self::Locked { message, remedy },
            Some(Kind::Stopped { because }) => return Self::Stopped(because),
            Some(Kind::Problems | Kind::Other) | None => {
                return match problems {
                    Some(problems) => Self::Problems(problems),
                    None => Self::Other { message, remedy, tail },
                };
            }
        };
        Self::Transport(error)
    }
}
