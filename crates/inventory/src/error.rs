//! What can be wrong with an inventory: errors that name the place and show it.

use crate::origin::Origin;

/// An inventory or a file of variables cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// A file cannot be read from disk.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The path as the user gave it.
        path: String,
        /// The operating system's words.
        reason: String,
    },
    /// The text breaks the rules of its format.
    #[error("{origin}: {message}{}", origin.excerpt())]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong and what was meant.
        message: String,
    },
    /// An inventory script failed.
    #[error("inventory script {path}: {reason}")]
    Script {
        /// The path as the user gave it.
        path: String,
        /// What happened, with what the script said.
        reason: String,
    },
    /// No source held an inventory.
    #[error("{path} is no inventory: {reason}")]
    NotAnInventory {
        /// The path as the user gave it.
        path: String,
        /// Why each reading of it failed.
        reason: String,
    },
}

impl InventoryError {
    pub(crate) fn syntax(origin: Origin, message: impl Into<String>) -> Self {
        Self::Syntax { origin, message: message.into() }
    }
}
