//! Binaries and images: what there is (the catalogue), where it lies (the bundle), and where it comes from (a mirror or upstream).
//!
//! Nothing here knows Kubernetes: names, versions and digests are in the catalogue's text, which the caller gives.
//!
//! - [`Catalogue`] reads that text and answers which files and images belong to a release.
//! - [`Bundle`] is a directory in which they lie, each named by its digest; [`BundleWriter`] adds to one.
//! - [`fetch`] downloads what a bundle lacks.
//! - [`Server`] is a mirror and a registry of what a bundle has.
//! - [`ImageArchive`] streams chosen images in the form that `ctr images import` reads.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arch;
mod archive;
mod bundle;
mod catalogue;
mod check;
mod credentials;
mod digest;
mod error;
mod fetch;
mod fetch_error;
mod http;
pub mod http_server;
mod image_digests;
mod manifest;
mod oci;
mod progress;
mod reference;
mod registry;
mod serve;
mod verified;
mod version;
mod writer;

pub use arch::Arch;
pub use archive::ImageArchive;
pub use bundle::Bundle;
pub use catalogue::{
    Catalogue, CatalogueError, CatalogueFile, CatalogueImage, Kind, NotInCatalogue, Release,
};
pub use check::Damage;
pub use credentials::Credentials;
pub use digest::Sha256;
pub use error::{BundleError, MissingArtifact};
pub use fetch::{Fetched, Sources, fetch};
pub use fetch_error::FetchError;
pub use http::{HttpError, Retry};
pub use http_server::Served;
pub use image_digests::ImageDigests;
pub use manifest::{Encoding, FileEntry, ImageEntry, Origin, StoredFile};
pub use oci::{Layer, RunConfig};
pub use progress::{Progress, ProgressSink};
pub use reference::ImageReference;
pub use serve::Server;
pub use writer::{BundleWriter, NewFile, NewImage};
