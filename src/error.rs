//! Why a command could not do what it was asked to, and the exit codes.

use std::fmt;
use std::process::ExitCode;

use muster_artifacts::BundleError;
use muster_engine::failure::Failure;
use muster_inventory::{InventoryError, PatternError, VarsError};

/// The exit codes, for `--help`. Where ansible-playbook has a code for it, it is the same one.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   everything was done
  1   an error before any machine was contacted, or on this computer
  2   a host failed
  3   preflight found problems, nothing was changed
  4   a host was unreachable; or the inventory or a file of variables cannot be read
  5   wrong options: an unknown option, tag, role, group or host
  6   the plan is outdated: the machines would now get something else; nothing was changed
  75  another run has locked a machine, or has taken over its lock
  99  interrupted";

/// What a command ends with, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done,
    /// A host failed.
    HostFailed,
    /// Preflight found problems.
    Problems,
    /// A host was unreachable.
    Unreachable,
    /// Another run has a machine's lock (`EX_TEMPFAIL` of sysexits.h).
    Locked,
    /// A plan does not fit any more.
    Outdated,
    /// The user stopped it.
    Interrupted,
    /// The answer is no, where a command answers a question.
    No,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::HostFailed => 2,
            Self::Problems => 3,
            Self::Unreachable => 4,
            Self::Outdated => 6,
            Self::Locked => 75,
            Self::Interrupted => 99,
        }
    }
}

/// What kind of error it is. Each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// Something on this side is missing or does not work.
    Failed,
    /// What the user wrote down cannot be read: an inventory, variables, a playbook.
    Written,
    /// What the user typed cannot be meant.
    Usage,
    /// Preflight found problems in what the user wrote.
    Problems,
    /// A plan does not fit any more.
    Outdated,
}

/// Why a command could not do what it was asked to, in words for the user.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: ErrorKind,
    /// What is wrong, and where. May have several lines.
    pub(crate) message: String,
    /// What to do about it, each on a line of its own.
    pub(crate) hints: Vec<String>,
}

impl CommandError {
    /// Something on this side is missing or does not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), hints: Vec::new() }
    }

    /// What the user wrote down cannot be read.
    pub(crate) fn written(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Written, message: message.into(), hints: Vec::new() }
    }

    /// What the user typed cannot be meant.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, message: message.into(), hints: Vec::new() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            ErrorKind::Failed => 1,
            ErrorKind::Written => 4,
            ErrorKind::Usage => 5,
            ErrorKind::Problems => Exit::Problems.code(),
            ErrorKind::Outdated => Exit::Outdated.code(),
        })
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for CommandError {}

impl From<InventoryError> for CommandError {
    fn from(error: InventoryError) -> Self {
        Self::written(error.to_string())
    }
}

impl From<VarsError> for CommandError {
    fn from(error: VarsError) -> Self {
        Self::written(error.to_string())
    }
}

impl From<PatternError> for CommandError {
    fn from(error: PatternError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<BundleError> for CommandError {
    fn from(error: BundleError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let error = Self::failed(failure.to_string());
        match failure.remedy() {
            Some(remedy) if !remedy.is_empty() => error.hint(remedy),
            _ => error,
        }
    }
}
