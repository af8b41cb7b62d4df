//! What can go wrong with a bundle.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Sha256;
use crate::manifest::FORMAT;

/// A bundle cannot be read or written.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The directory is not a bundle.
    #[error("{} is not a bundle: it has no manifest.json. Make one there with `muster bundle fetch` or `muster bundle build`", .dir.display())]
    NotABundle {
        /// The directory.
        dir: PathBuf,
    },
    /// The manifest cannot be understood.
    #[error("{}:{line}:{column}: {message}", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The bundle was made by another version of muster.
    #[error("{} has format {found}, and this muster reads format {FORMAT}: use the muster that made the bundle, or make it anew", .path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Another process is writing the bundle.
    #[error("another muster is writing the bundle {}; wait until it is done", .dir.display())]
    Locked {
        /// The bundle.
        dir: PathBuf,
    },
    /// Content is not what its digest says.
    #[error(
        "{what} has sha256 {found}, and {expected} was expected: its source was changed or damaged on the way"
    )]
    Mismatch {
        /// The artifact or blob.
        what: String,
        /// The digest it should have.
        expected: Sha256,
        /// The digest it has.
        found: Sha256,
    },
    /// An image's manifest cannot be used.
    #[error("the manifest of image {reference} cannot be used: {message}")]
    Image {
        /// The image.
        reference: String,
        /// Why not.
        message: String,
    },
    /// The bundle lacks something.
    #[error(transparent)]
    Missing(#[from] MissingArtifact),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, e.g. `read`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Something is not in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the bundle {} has no {what}; {has}", .bundle.display())]
pub struct MissingArtifact {
    /// What was asked for, e.g. `kubelet 1.36.4 for amd64`.
    pub what: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// What it has of the same name, in words.
    pub has: String,
}

/// Makes a function that turns an [`io::Error`] into a [`BundleError`] about `path`.
pub(crate) fn io_at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BundleError + 'a {
    move |source| BundleError::Io { action, path: path.into(), source }
}
