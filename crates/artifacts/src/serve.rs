//! A bundle over HTTP: its files as a mirror of upstream's sites has them, its images as a registry that is only read.
//!
//! What [`crate::Sources`] says of mirrors is what is served: a file at its upstream URL without `https://`, and every image at its
//! repository, whatever its registry is. Reference: the OCI distribution specification, "Pull"; containerd names the registry that it
//! means as `?ns=`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use crate::http_server::{Answer, Body, HttpServer, Served, Site};
use crate::oci::{self, ImageIndex};
use crate::{Bundle, Catalogue, ImageEntry, Origin, Sha256};

/// Serves a bundle. It is read, and never changed.
#[derive(Debug)]
pub struct Server {
    http: HttpServer<Shop>,
}

/// What is served.
#[derive(Debug)]
struct Shop {
    bundle: Bundle,
    /// Which file of the bundle is at which path.
    files: BTreeMap<String, usize>,
    /// The texts that say the digests of files, by the path where upstream has them.
    digests: BTreeMap<String, String>,
}

impl Server {
    /// Listens at an address. The catalogue says at which URLs upstream has the files, and the digests that are not in it.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub fn bind(
        bundle: Bundle,
        catalogue: &Catalogue,
        address: impl ToSocketAddrs,
    ) -> Result<Self, io::Error> {
        let mut files = BTreeMap::new();
        let mut digests = BTreeMap::<String, String>::new();
        for (place, entry) in bundle.files().iter().enumerate() {
            let Ok(file) = catalogue.file(&entry.name, &entry.version, entry.arch) else { continue };
            files.insert(path_of(&file.url), place);
            // What was compiled is not what upstream has published a digest of.
            if let Some(url) = file.sha256_url.as_ref().filter(|_| entry.origin == Origin::Upstream) {
                let name = file.url.rsplit('/').next().unwrap_or_default();
                let text = digests.entry(path_of(url)).or_default();
                // As upstream has them: one digest alone, or lines of sha256sum(1), which may be those of several files.
                match url.ends_with(".sha256") {
                    true => *text = entry.sha256.to_string(),
                    false => text.push_str(&format!("{}  {name}\n", entry.sha256)),
                }
            }
        }
        let shop = Shop { bundle, files, digests };
        Ok(Self { http: HttpServer::new(TcpListener::bind(address)?, shop) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr, io::Error> {
        self.http.address()
    }

    /// Answers for ever. `told` hears of every answer.
    ///
    /// # Errors
    /// The system has not one thread for it.
    pub fn run(&self, told: impl Fn(Served) + Send + Sync) -> Result<(), io::Error> {
        self.http.run(told)
    }
}

/// Where a URL is on a mirror.
fn path_of(url: &str) -> String {
    format!("/{}", url.split_once("://").map_or(url, |(_, rest)| rest))
}

impl Site for Shop {
    fn answer(&self, target: &str) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == "/" {
            return text(200, "text/plain; charset=utf-8", self.list().into_bytes());
        }
        if let Some(path) = path.strip_prefix("/v2/") {
            let registry = query.split('&').find_map(|pair| pair.strip_prefix("ns="));
            return self.of_registry(path, registry);
        }
        if let Some(digests) = self.digests.get(path) {
            return text(200, "text/plain; charset=utf-8", digests.clone().into_bytes());
        }
        let file = self.files.get(path).and_then(|place| self.bundle.files().get(*place));
        let Some(file) = file else { return failure(404, "the bundle has no such file") };
        match self.bundle.content(file) {
            Ok(content) => whole("application/octet-stream", None, Body::Stream(content, file.size)),
            Err(error) => failure(500, &error.to_string()),
        }
    }
}

impl Shop {
    /// What there is: the sha256 of each file and its path here, and the digest of each image and its name.
    fn list(&self) -> String {
        let mut list = String::new();
        for (path, place) in &self.files {
            if let Some(file) = self.bundle.files().get(*place) {
                list.push_str(&format!("{}  {path}\n", file.sha256));
            }
        }
        for image in self.bundle.images() {
            list.push_str(&format!("{}  {}  {}\n", image.manifest_digest, image.reference, image.arch));
        }
        list
    }

    /// `REPOSITORY/manifests/TAG`, `REPOSITORY/manifests/DIGEST`, `REPOSITORY/blobs/DIGEST`, `REPOSITORY/tags/list`.
    fn of_registry(&self, path: &str, registry: Option<&str>) -> Answer {
        if path.is_empty() {
            return text(200, "application/json", b"{}".to_vec());
        }
        let mut parts = path.rsplitn(3, '/');
        let (what, kind, repository) = (parts.next(), parts.next(), parts.next());
        let (Some(what), Some(kind), Some(repository)) = (what, kind, repository) else {
            return failure(404, "no such path in a registry");
        };
        // Docker's own images are in "library" for whoever asks as its registry wants to be asked.
        let is_of = |image: &&ImageEntry| {
            let own = &image.reference.repository;
            let same =
                own == repository || repository.strip_prefix("library/").is_some_and(|short| own == short);
            same && registry.is_none_or(|registry| registry == image.reference.registry)
        };
        let images: Vec<&ImageEntry> = self.bundle.images().iter().filter(is_of).collect();
        if images.is_empty() {
            return failure(404, "the bundle has no such image");
        }
        match (kind, Sha256::from_oci(what)) {
            ("tags", _) => {
                let tags: BTreeSet<&str> = images.iter().map(|image| image.reference.tag.as_str()).collect();
                let body = serde_json::json!({ "name": repository, "tags": tags });
                text(200, "application/json", body.to_string().into_bytes())
            }
            ("manifests", Some(digest)) => {
                match images.iter().find(|image| image.manifest_digest == digest) {
                    Some(image) => self.manifest(image),
                    None => failure(404, "the bundle has no such manifest"),
                }
            }
            ("manifests", None) => {
                let tagged: Vec<&ImageEntry> =
                    images.into_iter().filter(|image| image.reference.tag == what).collect();
                match tagged.as_slice() {
                    [] => failure(404, "the bundle has no such tag"),
                    [image] => self.manifest(image),
                    several => self.index(several),
                }
            }
            ("blobs", Some(digest)) if images.iter().any(|image| self.has(image, digest)) => {
                let path = self.bundle.blob_path(digest);
                let open = std::fs::File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
                match open {
                    Ok((size, file)) => {
                        whole("application/octet-stream", Some(digest), Body::Stream(Box::new(file), size))
                    }
                    Err(error) => failure(500, &format!("{}: {error}", path.display())),
                }
            }
            _ => failure(404, "the bundle has no such blob"),
        }
    }

    /// Whether a blob is one of an image.
    fn has(&self, image: &ImageEntry, digest: Sha256) -> bool {
        self.bundle
            .image_manifest(image)
            .is_ok_and(|(manifest, _)| manifest.blobs().any(|blob| blob.digest == digest.oci()))
    }

    fn manifest(&self, image: &ImageEntry) -> Answer {
        let path = self.bundle.blob_path(image.manifest_digest);
        match (self.bundle.image_manifest(image), std::fs::read(&path)) {
            (Ok((manifest, _)), Ok(bytes)) => {
                whole(media_type(&manifest.media_type), Some(image.manifest_digest), Body::Text(bytes))
            }
            (Err(error), _) => failure(500, &error.to_string()),
            (_, Err(error)) => failure(500, &format!("{}: {error}", path.display())),
        }
    }

    /// An image for several architectures.
    fn index(&self, images: &[&ImageEntry]) -> Answer {
        let described: Result<Vec<_>, _> =
            images.iter().map(|image| Ok((*image, self.bundle.image_manifest(image)?.1))).collect();
        match described {
            Ok(described) => {
                let bytes = ImageIndex::of_images(described).to_json();
                let digest = Some(Sha256::of(&bytes));
                whole(oci::INDEX, digest, Body::Text(bytes))
            }
            Err(error) => {
                let error: crate::BundleError = error;
                failure(500, &error.to_string())
            }
        }
    }
}

/// The content type of a manifest, by what it says itself.
fn media_type(said: &str) -> &'static str {
    if said == oci::DOCKER_MANIFEST { oci::DOCKER_MANIFEST } else { oci::MANIFEST }
}

/// What was asked for.
fn whole(content_type: &'static str, digest: Option<Sha256>, body: Body) -> Answer {
    let registry = ("Docker-Distribution-Api-Version", "registry/2.0".to_owned());
    let digest = digest.map(|digest| ("Docker-Content-Digest", digest.oci()));
    Answer { status: 200, content_type, headers: std::iter::once(registry).chain(digest).collect(), body }
}

fn text(status: u16, content_type: &'static str, body: Vec<u8>) -> Answer {
    Answer { status, ..whole(content_type, None, Body::Text(body)) }
}

/// In the form that registries give errors.
fn failure(status: u16, why: &str) -> Answer {
    let body = serde_json::json!({ "errors": [{ "code": "UNKNOWN", "message": why }] });
    text(status, "application/json", body.to_string().into_bytes())
}
