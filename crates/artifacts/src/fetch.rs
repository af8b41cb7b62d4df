//! Downloading what a bundle lacks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::Instant;

use crate::fetch_error::FetchError;
use crate::http::{Http, shown};
use crate::registry::Registry;
use crate::{
    BundleError, BundleWriter, CatalogueFile, Credentials, HttpError, ImageDigests, ImageReference, NewFile,
    Origin, Progress, ProgressSink, Release, Retry, Sha256,
};

/// Where downloads come from: upstream, unless something else is given.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A mirror of files: this URL stands in place of `https://` in front of each file's own URL, so that
    /// `https://dl.k8s.io/release/…` becomes `FILES_REPO/dl.k8s.io/release/…`.
    pub files_repo: Option<String>,
    /// A mirror of images: `host[:port]`, or a URL like `http://host:port` where it has no TLS, in place of each image's
    /// registry.
    pub registry_host: Option<String>,
    /// Mirrors of single sites of files, in place of `https://HOST`, by that host: URLs. They win over `files_repo`.
    pub files_of: BTreeMap<String, String>,
    /// Mirrors of single registries, by their names in references: `host[:port]`, or a URL like `http://host:port`, with the beginning
    /// of the repositories there, if they have one. They win over `registry_host`.
    pub images_of: BTreeMap<String, String>,
    /// Names and passwords for registries.
    pub credentials: Credentials,
    /// The digests that images must have; none, where registries are believed.
    pub image_digests: ImageDigests,
    /// A proxy, e.g. `http://proxy:3128`.
    pub proxy: Option<String>,
    /// Hosts that are asked directly, separated by commas.
    pub no_proxy: String,
    /// How often what may pass is tried.
    pub retry: Retry,
}

/// What a fetch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Artifacts downloaded.
    pub downloaded: usize,
    /// Optional artifacts that could not be had, each with the reason.
    pub skipped: Vec<String>,
}

/// Downloads everything of `release` that `bundle` lacks. What is complete is kept, whatever happens to the rest; a download
/// that is cut off goes on from there the next time.
///
/// An artifact that does not exist or is not what it should be does not keep the others from being fetched; a source
/// that cannot be reached does.
pub fn fetch(
    release: &Release,
    bundle: &mut BundleWriter,
    sources: &Sources,
    progress: &mut ProgressSink<'_>,
) -> Result<Fetched, FetchError> {
    sources.validate()?;
    let http = Http::new(sources.proxy.as_deref(), &sources.no_proxy, sources.retry)?;
    let mut registry = Registry::new(&http, sources);
    let files =
        release.files.iter().filter(|file| bundle.file(&file.name, &file.version, file.arch).is_err());
    let images = release
        .images
        .iter()
        .filter(|image| bundle.image(&image.reference.to_string(), release.arch).is_err());
    let wanted: Vec<Wanted<'_>> =
        files.map(Wanted::File).chain(images.map(|image| Wanted::Image(&image.reference))).collect();

    for (by, files) in published(&wanted, sources) {
        progress(Progress::Published { files: &files.join(", "), by: &by });
    }
    let mut fetched = Fetched::default();
    let mut failures = Vec::new();
    for (index, one) in wanted.iter().enumerate() {
        let item = one.to_string();
        let started = Instant::now();
        progress(Progress::Start { item: &item, index: index + 1, of: wanted.len() });
        let result = match one {
            Wanted::File(file) => fetch_file(&http, file, bundle, sources, progress),
            Wanted::Image(reference) => registry.fetch(reference, release.arch, bundle, progress),
        };
        match result {
            Ok(size) => {
                fetched.downloaded += 1;
                progress(Progress::Done { size, elapsed: started.elapsed() });
            }
            Err(error) if !error.is_of_this_artifact() => return Err(error),
            Err(error) => {
                let reason = error.to_string();
                progress(Progress::Failed { reason: &reason });
                match one {
                    Wanted::File(file) if file.optional => fetched.skipped.push(reason),
                    _ => failures.push(reason),
                }
            }
        }
    }
    if failures.is_empty() { Ok(fetched) } else { Err(FetchError::Incomplete { failures, of: wanted.len() }) }
}

/// The files whose digests are fetched as well, by where that is.
fn published(wanted: &[Wanted<'_>], sources: &Sources) -> Vec<(String, Vec<String>)> {
    let mut places: Vec<(String, Vec<String>)> = Vec::new();
    for one in wanted {
        let Wanted::File(CatalogueFile { sha256_url: Some(url), .. }) = one else { continue };
        let url = shown(&sources.mirrored(url));
        let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default().to_owned();
        match places.iter_mut().find(|(known, _)| *known == host) {
            Some((_, files)) => files.push(one.to_string()),
            None => places.push((host, vec![one.to_string()])),
        }
    }
    places
}

/// Something to download.
enum Wanted<'a> {
    File(&'a CatalogueFile),
    Image(&'a ImageReference),
}

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::File(file) => write!(f, "{} {}", file.name, file.version),
            Wanted::Image(reference) => reference.fmt(f),
        }
    }
}

impl FetchError {
    /// Whether other artifacts may well be had from the same source.
    fn is_of_this_artifact(&self) -> bool {
        match self {
            FetchError::Http(HttpError::NotFound { .. } | HttpError::Refused { .. }) => true,
            FetchError::Mismatch { .. } | FetchError::Image { .. } | FetchError::NoDigest { .. } => true,
            FetchError::Credentials { .. } => true,
            FetchError::Bundle(BundleError::Image { .. }) => true,
            FetchError::Http(_)
            | FetchError::Mirror { .. }
            | FetchError::Bundle(_)
            | FetchError::Incomplete { .. } => false,
        }
    }
}

impl Sources {
    /// Where a file is downloaded from.
    pub fn file_url(&self, file: &CatalogueFile) -> String {
        self.mirrored(&file.url)
    }

    /// What to tell whoever gets images from a registry without TLS, and does not say their digests: nobody but the registry says
    /// what an image of that name is, because the catalogue has no digests of images.
    #[must_use]
    pub fn unproven(&self) -> Option<String> {
        let hosts = self.registry_host.iter().chain(self.images_of.values());
        let host = hosts.into_iter().find(|host| host.starts_with("http://"))?;
        if !self.image_digests.is_empty() {
            return None;
        }
        Some(format!(
            "images come from {} without TLS: nothing proves that they are the ones that their names say, because there are no \
             image_digests (files are compared with the catalogue's sha256)",
            shown(host)
        ))
    }

    fn mirrored(&self, url: &str) -> String {
        let rest = url.trim_start_matches("https://");
        let of_site = rest.split_once('/').and_then(|(host, path)| Some((self.files_of.get(host)?, path)));
        if let Some((mirror, path)) = of_site {
            return format!("{}/{path}", mirror.trim_end_matches('/'));
        }
        match &self.files_repo {
            Some(mirror) => {
                format!("{}/{rest}", mirror.trim_end_matches('/'))
            }
            None => url.to_owned(),
        }
    }

    fn validate(&self) -> Result<(), FetchError> {
        let is_url = |value: &str| value.starts_with("http://") || value.starts_with("https://");
        if let Some(value) = self.files_repo.iter().chain(self.files_of.values()).find(|value| !is_url(value))
        {
            let expected = "write a URL, such as http://mirror.example.org/files";
            return Err(FetchError::Mirror { value: shown(value), expected });
        }
        let is_host = |value: &str| is_url(value) || !value.contains('/') && !value.is_empty();
        if let Some(value) = self.registry_host.as_ref().filter(|value| !is_host(value)) {
            let expected = "write host[:port], or http://host:port if it has no TLS";
            return Err(FetchError::Mirror { value: shown(value), expected });
        }
        let is_place = |value: &str| {
            is_url(value) || !value.contains("://") && !value.starts_with('/') && !value.is_empty()
        };
        if let Some(value) = self.images_of.values().find(|value| !is_place(value)) {
            let expected = "write host[:port], with the beginning of the repositories there, if any: registry.example.org/k8s";
            return Err(FetchError::Mirror { value: shown(value), expected });
        }
        Ok(())
    }
}

fn fetch_file(
    http: &Http,
    file: &CatalogueFile,
    bundle: &mut BundleWriter,
    sources: &Sources,
    progress: &mut ProgressSink<'_>,
) -> Result<u64, FetchError> {
    let url = sources.file_url(file);
    let what = format!("{} {}", file.name, file.version);
    let partial = bundle.partial(&format!("{}-{}-{}", file.name, file.version, file.arch));
    let expected = match &file.sha256_url {
        Some(published) => Some(published_sha256(http, file, &sources.mirrored(published), progress)?),
        None => file.sha256,
    };
    let (sha256, size) = http.verified_download(&url, &[], &partial, expected, &what, progress)?;
    let new = NewFile {
        name: &file.name,
        version: &file.version,
        arch: file.arch,
        kind: file.kind,
        origin: Origin::Upstream,
        source: &shown(&url),
        expected: Some(sha256),
    };
    let io_at = |action, source| BundleError::Io { action, path: partial.clone(), source };
    let mut content = File::open(&partial).map_err(|error| io_at("read", error))?;
    bundle.add_file(&new, &mut content)?;
    fs::remove_file(&partial).map_err(|error| io_at("remove", error))?;
    Ok(size)
}

/// The digest that upstream publishes beside a file.
fn published_sha256(
    http: &Http,
    file: &CatalogueFile,
    url: &str,
    progress: &mut ProgressSink<'_>,
) -> Result<Sha256, FetchError> {
    let text = http.document(url, &[], progress)?;
    let name = file.url.rsplit('/').next().unwrap_or_default();
    digest_of(&String::from_utf8_lossy(&text.body), name)
        .ok_or_else(|| FetchError::NoDigest { name: name.to_owned(), url: shown(url) })
}

/// The digest of a file in a text that holds nothing else, or lines of sha256sum(1).
fn digest_of(text: &str, name: &str) -> Option<Sha256> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let digest = lines.find_map(|words| match words[..] {
        [digest] => Some(digest),
        [digest, of] if of.trim_start_matches('*') == name => Some(digest),
        _ => None,
    });
    digest?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_digest_is_found_alone_and_among_others() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let found = |text: &str| digest_of(text, "etcd.tar.gz").map(|digest| digest.to_string());
        assert_eq!(found(&one), Some(one.clone()));
        assert_eq!(found(&format!("{two}  other\n{one}  etcd.tar.gz\n")), Some(one.clone()));
        assert_eq!(found(&format!("{one} *etcd.tar.gz\n")), Some(one.clone()));
        for wrong in ["", "<html>", "12ab\n", &format!("{two}  other\n")] {
            assert_eq!(found(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_site_of_files_may_have_a_mirror_of_its_own() {
        let files_of = BTreeMap::from([("github.com".to_owned(), "http://mirror/gh/".to_owned())]);
        let sources = Sources { files_repo: Some("https://all".into()), files_of, ..Sources::default() };
        let found = ["https://github.com/a/b", "https://dl.k8s.io/a"].map(|url| sources.mirrored(url));
        assert_eq!(found, ["http://mirror/gh/a/b", "https://all/dl.k8s.io/a"]);
        let wrong = |files: &str, images: &str| {
            let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let sources = Sources {
                files_of: one("github.com", files),
                images_of: one("docker.io", images),
                ..Sources::default()
            };
            sources.validate().err().map(|error| error.to_string())
        };
        assert_eq!(wrong("https://m/x", "r.lan:5000/hub"), None);
        assert_eq!(wrong("https://m/x", "http://r.lan/hub"), None);
        assert!(wrong("mirror", "r.lan").unwrap().contains("\"mirror\" is not the address"));
        assert!(wrong("https://m", "/hub").unwrap().contains("\"/hub\" is not the address"));
    }

    #[test]
    fn images_of_a_registry_without_tls_are_told_of() {
        let of = |host: Option<&str>| {
            Sources { registry_host: host.map(str::to_owned), ..Sources::default() }.unproven()
        };
        assert!(of(Some("http://me:word@mirror:5000")).unwrap().starts_with("images come from http://"));
        assert!(!of(Some("http://me:word@mirror:5000")).unwrap().contains("word"));
        let image_digests = ImageDigests::from_yaml("image_digests: {\"a.example.org/b:1\": []}").unwrap();
        let images_of = BTreeMap::from([("docker.io".to_owned(), "http://mirror/hub".to_owned())]);
        assert!(Sources { images_of, ..Sources::default() }.unproven().is_some());
        let known =
            Sources { registry_host: Some("http://mirror".into()), image_digests, ..Sources::default() };
        assert_eq!(known.unproven(), None);
        assert_eq!([of(None), of(Some("mirror:5000")), of(Some("https://mirror"))], [None, None, None]);
    }
}
