//! Why a download failed.

use thiserror::Error;

use crate::{BundleError, HttpError, ImageReference, Sha256};

/// A download failed.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The server did not give it.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// What came is not what the catalogue or the image names.
    #[error(
        "{what} from {url} has sha256 {found}, and {expected} was expected: the source has something else under this name, or it was damaged on the way. It was thrown away"
    )]
    Mismatch {
        /// The artifact.
        what: String,
        /// Where it came from.
        url: String,
        /// The digest it should have.
        expected: Sha256,
        /// The digest it has.
        found: Sha256,
    },
    /// The registry does not have the image in a usable form.
    #[error("image {reference} cannot be fetched: {message}")]
    Image {
        /// The image.
        reference: ImageReference,
        /// Why not.
        message: String,
    },
    /// The registry wants to know who asks.
    #[error(
        "{registry} {said}: say them in containerd_registry_auth, which is for the machines, too, or with docker login {registry}"
    )]
    Credentials {
        /// Its `host[:port]`.
        registry: String,
        /// What it does.
        said: &'static str,
    },
    /// What upstream publishes of a file's digest does not have it.
    #[error("{url} has no sha256 of {name}")]
    NoDigest {
        /// The name of the file.
        name: String,
        /// Where its digest was looked for.
        url: String,
    },
    /// A mirror's address cannot be used.
    #[error("{value:?} is not the address of a mirror: {expected}")]
    Mirror {
        /// What was given.
        value: String,
        /// What was meant.
        expected: &'static str,
    },
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Some artifacts could not be had; all others are in the bundle.
    #[error("{} of {of} artifacts could not be fetched:\n{}", .failures.len(), .failures.join("\n"))]
    Incomplete {
        /// Each with its reason.
        failures: Vec<String>,
        /// How many were to be fetched.
        of: usize,
    },
}
