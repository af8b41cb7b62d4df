//! `manifest.json`: what a bundle says about itself.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Arch, BundleError, ImageReference, Kind, Sha256};

/// The number that `format` has today. It changes when an older muster could misread a newer bundle.
pub(crate) const FORMAT: u32 = 1;

/// Everything that is in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) images: Vec<ImageEntry>,
}

/// Where an artifact's content came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Downloaded; its digest is the one upstream published, if it published one.
    Upstream,
    /// Compiled from source; its digest is its own.
    Built,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Origin::Upstream => "upstream",
            Origin::Built => "built",
        })
    }
}

/// How a file's content is kept in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As published.
    Identity,
    /// Compressed: the receiver decompresses with `gunzip` (gzip or busybox).
    Gzip,
}

/// A file as it lies in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Its name below `files/`.
    pub name: String,
    /// How the content is kept.
    pub encoding: Encoding,
    /// The digest of the stored bytes.
    pub sha256: Sha256,
    /// Size of the stored bytes.
    pub size: u64,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// The artifact's name in the catalogue.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: Arch,
    /// Whether it is an executable or an archive.
    pub kind: Kind,
    /// The digest of the content as published: what a machine that has the file computes.
    pub sha256: Sha256,
    /// Size in bytes of the content as published.
    pub size: u64,
    /// How it is kept.
    pub stored: StoredFile,
    /// Downloaded or compiled.
    pub origin: Origin,
    /// The URL it was downloaded from, or the module and version it was compiled from.
    pub source: String,
}

/// An image of the bundle, for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    /// The name machines and manifests know it by.
    pub reference: ImageReference,
    /// Its architecture.
    pub arch: Arch,
    /// The digest of the image's manifest: what `ctr images ls` shows for it on a machine that imported it.
    pub manifest_digest: Sha256,
    /// Size in bytes of the manifest, the configuration and all layers, as they are stored and sent.
    pub size: u64,
    /// Downloaded or compiled.
    pub origin: Origin,
    /// The registry's URL it was downloaded from, or the module and version it was compiled from.
    pub source: String,
}

impl Manifest {
    /// A manifest of nothing.
    pub(crate) fn empty() -> Manifest {
        Manifest { format: FORMAT, files: Vec::new(), images: Vec::new() }
    }

    /// Reads a manifest; `path` is for messages.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Manifest, BundleError> {
        /// Enough to tell a newer format from a broken file.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let bad = |error: serde_json::Error| BundleError::Manifest {
            path: path.into(),
            line: error.line(),
            column: error.column(),
            // The location is in front already; the parser repeats it at the end.
            message: error.to_string().split(" at line ").next().unwrap_or_default().to_string(),
        };
        let head: Head = serde_json::from_str(text).map_err(bad)?;
        if head.format != FORMAT {
            return Err(BundleError::Format { path: path.into(), found: head.format });
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(bad)?;
        for entry in &manifest.files {
            let name = &entry.stored.name;
            if name.contains('/') || name == ".." || name.is_empty() {
                return Err(BundleError::Manifest {
                    path: path.into(),
                    line: 1,
                    column: 1,
                    message: format!("{name:?} is not the name of a file below files/"),
                });
            }
        }
        Ok(manifest)
    }

    /// The manifest as it is written to disk.
    #[expect(clippy::expect_used, reason = "documents of strings and numbers can always be written")]
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest is JSON");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let sha256 = Sha256::of(b"x");
        Manifest {
            format: FORMAT,
            files: vec![FileEntry {
                name: "kubelet".into(),
                version: "1.36.3".into(),
                arch: Arch::Amd64,
                kind: Kind::Binary,
                sha256,
                size: 1,
                stored: StoredFile { name: "kubelet.gz".into(), encoding: Encoding::Gzip, sha256, size: 21 },
                origin: Origin::Built,
                source: "k8s.io/kubernetes@v1.36.3".into(),
            }],
            images: vec![ImageEntry {
                reference: "registry.k8s.io/pause:3.10.2".parse().unwrap(),
                arch: Arch::Arm64,
                manifest_digest: sha256,
                size: 100,
                origin: Origin::Upstream,
                source: "https://registry.k8s.io".into(),
            }],
        }
    }

    fn parse(text: &str) -> Result<Manifest, BundleError> {
        Manifest::parse(text, Path::new("b/manifest.json"))
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(parse(&sample().to_json()).unwrap(), sample());
    }

    #[test]
    fn errors_name_the_place() {
        let text = sample().to_json();
        let error = parse(&text.replace("\"built\"", "\"stolen\"")).unwrap_err().to_string();
        assert!(error.starts_with("b/manifest.json:17:") && error.contains("stolen"), "{error}");

        let error =
            parse(&text.replace("\"format\": 1", "\"format\": 2, \"new\": 1")).unwrap_err().to_string();
        assert!(error.contains("format 2") && error.contains("format 1"), "{error}");

        let error = parse(&text.replace("kubelet.gz", "../../etc/passwd")).unwrap_err().to_string();
        assert!(error.contains("not the name of a file"), "{error}");

        assert!(parse("").is_err());
    }
}
