//! What a user can do about a failure.

use serde::{Deserialize, Serialize};

/// What a user can do about a failure. The engine does not know how the program that hosts it is used: where the answer is
/// something to be asked of that program, it is named here and put into words there ([`crate::event_json::Words`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Advice {
    /// Have the known host key of a machine replaced, if it was installed anew; if it was not, something else answers there.
    ReplaceHostKey(Box<KnownHostKey>),
    /// Name a private key to log in with.
    GivePrivateKey,
    /// Give the password with which the user becomes root, or have the machine ask for none.
    GiveBecomePassword {
        /// The login name.
        user: String,
    },
    /// Give the right password: the one given was refused.
    CorrectBecomePassword,
    /// Wait until the run that holds the lock has ended, or break the lock when that run is gone for good.
    AwaitLock,
    /// See which roles there are.
    ListRoles,
    /// See whether the bundle's files are what they should be.
    CheckBundle,
    /// What is the same whichever program hosts the engine, in words. Empty where there is nothing to be said.
    #[serde(untagged)]
    Words(String),
}

/// Where a host key is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHostKey {
    /// The machine's address, as it is written in the inventory.
    pub machine: String,
    /// The file that holds the key.
    pub file: String,
    /// What the machine is called in that file.
    pub name: String,
}

impl Advice {
    /// The words, of what is in words already.
    pub fn in_words(&self) -> Option<&str> {
        match self {
            Self::Words(words) => Some(words),
            _ => None,
        }
    }
}

impl From<String> for Advice {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Advice {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}
