//! Why something could not be done: what kind of error it is, what is wrong, and what to do about it, apart from each other.

use muster_artifacts::BundleError;
use muster_engine::advice::Advice;
use muster_engine::failure::{Failure, Problem};
use muster_inventory::{InventoryError, PatternError, VarsError};

/// What kind of error it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something on this side is missing or does not work.
    Failed,
    /// What the user wrote down cannot be read: an inventory, variables, a playbook.
    Written,
    /// What was asked for does not exist or cannot be done: a tag, a host, an inventory that is not there.
    Usage,
    /// The roles found these problems in what the user wrote, before any machine was contacted.
    Problems(Vec<Problem>),
    /// A plan does not fit any more.
    Outdated,
}

/// Why something could not be done.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// What is wrong, and where. May have several lines.
    pub message: String,
    /// What to do about it, each a sentence of its own.
    pub hints: Vec<String>,
}

impl Error {
    /// An error with nothing yet to do about it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// Something on this side is missing or does not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// What the user wrote down cannot be read.
    pub fn written(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Written, message)
    }

    /// What was asked for does not exist or cannot be done.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The message with its hints, a line each.
    #[cfg(test)]
    pub(crate) fn in_full(&self) -> String {
        let hints = self.hints.iter().map(|hint| format!("\nhint: {hint}"));
        format!("error: {}{}", self.message, hints.collect::<String>())
    }
}

impl From<InventoryError> for Error {
    fn from(error: InventoryError) -> Self {
        Self::written(error.to_string())
    }
}

impl From<VarsError> for Error {
    fn from(error: VarsError) -> Self {
        Self::written(error.to_string())
    }
}

impl From<PatternError> for Error {
    fn from(error: PatternError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = Self::failed(failure.to_string());
        let words = failure.remedy().and_then(Advice::in_words).filter(|words| !words.is_empty());
        match words {
            Some(words) => error.hint(words),
            None => error,
        }
    }
}
