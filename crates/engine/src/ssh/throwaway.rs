//! Keys that are made for one run.

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use secrecy::SecretString;

/// A key pair that nobody knows from before.
pub(crate) struct ThrowawayKey {
    /// As ssh reads it from a file.
    pub private: SecretString,
    /// As a line of authorized_keys, without a comment.
    pub public: String,
}

impl ThrowawayKey {
    /// Makes one; `None` where that fails, which it does only without a source of random numbers.
    pub(crate) fn make() -> Option<Self> {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).ok()?;
        let private = key.to_openssh(LineEnding::LF).ok()?;
        Some(Self { private: private.as_str().into(), public: key.public_key().to_openssh().ok()? })
    }
}
