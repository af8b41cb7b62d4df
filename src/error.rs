//! Why a command could not do what it was asked to, and the exit codes.

use std::fmt;
use std::process::ExitCode;

use muster_app::{Error, ErrorKind};
use muster_artifacts::BundleError;
use muster_engine::failure::Failure;
use muster_inventory::{InventoryError, PatternError, VarsError};

use crate::output::advice;

/// The exit codes, for `--help`. Where ansible-playbook has a code for it, it is the same one.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   everything was done
  1   an error before any machine was contacted, or on this computer
  2   a host failed
  3   problems were found; whether anything was changed before is told
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
        Error::failed(message).into()
    }

    /// What the user wrote down cannot be read.
    pub(crate) fn written(message: impl Into<String>) -> Self {
        Error::written(message).into()
    }

    /// What the user typed cannot be understood.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Error::usage(message).into()
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
            ErrorKind::Problems(_) => Exit::Problems.code(),
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

impl From<Error> for CommandError {
    fn from(Error { kind, message, hints }: Error) -> Self {
        Self { kind, message, hints }
    }
}

impl From<InventoryError> for CommandError {
    fn from(error: InventoryError) -> Self {
        Error::from(error).into()
    }
}

impl From<VarsError> for CommandError {
    fn from(error: VarsError) -> Self {
        Error::from(error).into()
    }
}

impl From<PatternError> for CommandError {
    fn from(error: PatternError) -> Self {
        Error::from(error).into()
    }
}

impl From<BundleError> for CommandError {
    fn from(error: BundleError) -> Self {
        Error::from(error).into()
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let error = Self::failed(failure.to_string());
        match advice::hint(failure.remedy()) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
