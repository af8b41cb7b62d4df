//! The documents of the OCI image specification, as far as a bundle needs them.
//!
//! <https://github.com/opencontainers/image-spec>: `descriptor.md`, `manifest.md`, `image-index.md`, `config.md`, `image-layout.md`.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{Arch, ImageEntry, Sha256};

/// Media type of an image manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's name for what OCI calls a manifest.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's name for what OCI calls an index.
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Content of `oci-layout`, the file that marks an image layout.
pub(crate) const LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}\n";

/// Points at content by digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) annotations: IndexMap<String, String>,
}

impl Descriptor {
    fn new(media_type: &str, digest: Sha256, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest: digest.oci(),
            size,
            platform: None,
            annotations: IndexMap::new(),
        }
    }
}

/// What a manifest of an index runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// An image manifest: the blobs of one image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest {
    pub(crate) schema_version: u32,
    // Old registries leave it out of the document and give it as the content type.
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl ImageManifest {
    /// Points at the manifest itself, given the bytes it was read from.
    pub(crate) fn descriptor(&self, bytes: &[u8]) -> Descriptor {
        let media_type = if self.media_type.is_empty() { MANIFEST } else { &self.media_type };
        Descriptor::new(media_type, Sha256::of(bytes), bytes.len() as u64)
    }

    /// The blobs the image consists of, the manifest itself not counted.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// An image index: manifests to choose from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageIndex {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

impl ImageIndex {
    /// The index of an image layout that holds `images`, each under its full name.
    pub(crate) fn of_images<'a>(
        images: impl IntoIterator<Item = (&'a ImageEntry, Descriptor)>,
    ) -> ImageIndex {
        let describe = |(image, manifest): (&ImageEntry, Descriptor)| {
            let name = image.reference.to_string();
            Descriptor {
                platform: Some(Platform { architecture: image.arch.name().into(), os: "linux".into() }),
                // containerd takes the image's name from the first, other programs from the second, which ought to be a
                // tag but by custom holds full names too.
                annotations: IndexMap::from([
                    ("io.containerd.image.name".to_string(), name.clone()),
                    ("org.opencontainers.image.ref.name".to_string(), name),
                ]),
                ..manifest
            }
        };
        let manifests = images.into_iter().map(describe).collect();
        ImageIndex { schema_version: 2, media_type: INDEX.into(), manifests }
    }

    /// The index as it is written.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// A layer that is in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the compressed layer.
    pub digest: Sha256,
    /// Size in bytes of the compressed layer.
    pub size: u64,
    /// Digest of the uncompressed tar.
    pub diff_id: Sha256,
}

/// How an image is run, as the `config` object of the specification says.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `NAME=value` for the process.
    pub env: Vec<String>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments when none are given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// `user` or `uid:gid`; empty for root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The working directory.
    pub working_dir: String,
}

/// The configuration document of an image made of `layers`.
pub(crate) fn config_json(arch: Arch, layers: &[Layer], run: &RunConfig) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.oci()).collect();
    let document = serde_json::json!({
        "architecture": arch.name(),
        "os": "linux",
        "config": run,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    document.to_string().into_bytes()
}

/// The manifest document of an image made of `layers`.
pub(crate) fn manifest_json(config: &[u8], layers: &[Layer]) -> Vec<u8> {
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        config: Descriptor::new(CONFIG, Sha256::of(config), config.len() as u64),
        layers: layers.iter().map(|layer| Descriptor::new(LAYER_GZIP, layer.digest, layer.size)).collect(),
    };
    to_json(&manifest)
}

#[expect(clippy::expect_used, reason = "documents of strings and numbers can always be written")]
fn to_json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("an OCI document is JSON")
}
