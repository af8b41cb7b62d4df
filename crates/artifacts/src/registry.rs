//! Images from a registry, by the OCI distribution specification.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>; tokens as Docker's registries give them:
//! <https://distribution.github.io/distribution/spec/auth/token/>.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;

use serde::Deserialize;

use crate::credentials::place;
use crate::fetch_error::FetchError;
use crate::http::{Document, Http, shown};
use crate::oci::{self, Descriptor, ImageIndex, ImageManifest};
use crate::{
    Arch, BundleError, BundleWriter, ImageReference, NewImage, Origin, Progress, ProgressSink, Sha256,
    Sources,
};

/// Registries, and what they want to hear.
pub(crate) struct Registry<'a> {
    http: &'a Http,
    sources: &'a Sources,
    /// What proves that we may, as the value of a header, by base URL and repository.
    authorizations: HashMap<(String, String), String>,
}

impl<'a> Registry<'a> {
    /// Those that `sources` name.
    pub(crate) fn new(http: &'a Http, sources: &'a Sources) -> Registry<'a> {
        Registry { http, sources, authorizations: HashMap::new() }
    }

    /// Downloads an image into the bundle. Blobs that are there already are not downloaded again.
    pub(crate) fn fetch(
        &mut self,
        reference: &ImageReference,
        arch: Arch,
        bundle: &mut BundleWriter,
        progress: &mut ProgressSink<'_>,
    ) -> Result<u64, FetchError> {
        let (base, repository) = self.place(reference);
        let bytes = self.manifest(&base, &repository, reference, arch, progress)?;
        let manifest: ImageManifest = serde_json::from_slice(&bytes)
            .map_err(|error| bad(reference, format!("its manifest cannot be read: {error}")))?;
        for blob in manifest.blobs() {
            self.blob(&base, &repository, reference, blob, bundle, progress)?;
        }
        check_platform(bundle, reference, &manifest.config, arch)?;
        let source = shown(&format!("{base}/v2/{repository}/manifests/{}", reference.tag));
        let new = NewImage { reference, arch, origin: Origin::Upstream, source: &source };
        Ok(bundle.add_image_of(&new, &bytes)?.size)
    }

    /// The URL of an image's registry, and the image's repository there.
    fn place(&self, reference: &ImageReference) -> (String, String) {
        let url = |place: &str| match place.contains("://") {
            true => place.to_owned(),
            false => format!("https://{place}"),
        };
        let repository = reference.repository.clone();
        if let Some(mirror) = self.sources.images_of.get(&reference.registry) {
            let mirror = url(mirror.trim_end_matches('/'));
            let host = mirror.find("://").map_or(0, |at| at + 3);
            return match mirror[host..].split_once('/') {
                Some((name, path)) => (format!("{}{name}", &mirror[..host]), format!("{path}/{repository}")),
                None => (mirror, repository),
            };
        }
        match (&self.sources.registry_host, reference.registry.as_str()) {
            (Some(mirror), _) => (url(mirror.trim_end_matches('/')), repository),
            // Docker's registry is not at the host that its images are named by, and its own images are in "library".
            (None, "docker.io") if !repository.contains('/') => {
                ("https://registry-1.docker.io".into(), format!("library/{repository}"))
            }
            (None, "docker.io") => ("https://registry-1.docker.io".into(), repository),
            (None, host) => (url(host), repository),
        }
    }

    /// The image's manifest for `arch`.
    fn manifest(
        &mut self,
        base: &str,
        repository: &str,
        reference: &ImageReference,
        arch: Arch,
        progress: &mut ProgressSink<'_>,
    ) -> Result<Vec<u8>, FetchError> {
        let url = |what: &str| format!("{base}/v2/{repository}/manifests/{what}");
        let answer = self.get(base, repository, &url(&reference.tag), progress)?;
        /// What tells an index from a manifest, should the content type not.
        #[derive(Deserialize)]
        struct Kind {
            manifests: Option<serde::de::IgnoredAny>,
        }
        let media_type = answer.content_type.split(';').next().unwrap_or_default().trim();
        let is_index = match media_type {
            oci::INDEX | oci::DOCKER_INDEX => true,
            oci::MANIFEST | oci::DOCKER_MANIFEST => false,
            _ => serde_json::from_slice::<Kind>(&answer.body).is_ok_and(|kind| kind.manifests.is_some()),
        };
        let known =
            |found| self.sources.image_digests.check(reference, found).map_err(|why| bad(reference, why));
        if !is_index {
            known(Sha256::of(&answer.body))?;
            return Ok(answer.body);
        }
        let index: ImageIndex = serde_json::from_slice(&answer.body)
            .map_err(|error| bad(reference, format!("its index cannot be read: {error}")))?;
        let fits = |found: &&Descriptor| {
            let platform = found.platform.as_ref();
            platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == arch.name())
        };
        let chosen = index
            .manifests
            .iter()
            .find(fits)
            .ok_or_else(|| bad(reference, format!("the registry does not have it for linux/{arch}")))?;
        let expected = digest_of(reference, chosen)?;
        known(expected)?;
        let url = url(&chosen.digest);
        let answer = self.get(base, repository, &url, progress)?;
        let found = Sha256::of(&answer.body);
        if found != expected {
            return Err(FetchError::Mismatch {
                what: format!("the manifest of {reference}"),
                url: shown(&url),
                expected,
                found,
            });
        }
        Ok(answer.body)
    }

    fn blob(
        &mut self,
        base: &str,
        repository: &str,
        reference: &ImageReference,
        blob: &Descriptor,
        bundle: &mut BundleWriter,
        progress: &mut ProgressSink<'_>,
    ) -> Result<(), FetchError> {
        let expected = digest_of(reference, blob)?;
        if bundle.has_blob(expected, blob.size) {
            return Ok(());
        }
        let url = format!("{base}/v2/{repository}/blobs/{}", blob.digest);
        let authorization = self.authorizations.get(&(base.to_string(), repository.to_string()));
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        let partial = bundle.partial(&expected.to_string());
        let what = format!("a layer of {reference}");
        let (found, _) =
            self.http.verified_download(&url, &headers, &partial, Some(expected), &what, progress)?;
        bundle.adopt_blob(&partial, found)?;
        Ok(())
    }

    /// Asks for a manifest; proves who asks, or gets a token first, where the registry wants that.
    fn get(
        &mut self,
        base: &str,
        repository: &str,
        url: &str,
        progress: &mut ProgressSink<'_>,
    ) -> Result<Document, FetchError> {
        let accept = [oci::INDEX, oci::DOCKER_INDEX, oci::MANIFEST, oci::DOCKER_MANIFEST].join(", ");
        let key = (base.to_string(), repository.to_string());
        let mut asked = false;
        loop {
            let mut headers = vec![("Accept", accept.as_str())];
            let authorization = self.authorizations.get(&key);
            headers.extend(authorization.iter().map(|value| ("Authorization", value.as_str())));
            let answer = self.http.document(url, &headers, progress)?;
            match (answer.status.as_u16(), &answer.authenticate) {
                (200, _) => return Ok(answer),
                (401, Some(challenge)) if !asked => {
                    asked = true;
                    let is_basic =
                        challenge.trim().get(..5).is_some_and(|word| word.eq_ignore_ascii_case("basic"));
                    let value = match is_basic {
                        true => {
                            self.sources.credentials.header_for(base).ok_or_else(|| self.not_known(base))?
                        }
                        false => {
                            format!("Bearer {}", self.token(base, repository, url, challenge, progress)?)
                        }
                    };
                    self.authorizations.insert(key.clone(), value);
                }
                (401, Some(_)) => return Err(self.not_known(base)),
                (status, _) => {
                    return Err(crate::HttpError::Refused { url: shown(url), status }.into());
                }
            }
        }
    }

    /// A registry that does not answer, because it does not know who asks.
    fn not_known(&self, base: &str) -> FetchError {
        let said = match self.sources.credentials.header_for(base) {
            Some(_) => "does not take the name and the password for it",
            None => "wants a name and a password, or does not have the image",
        };
        FetchError::Credentials { registry: place(base).to_owned(), said }
    }

    /// Gets the token that anybody gets, or whoever has the name and the password for the registry.
    fn token(
        &self,
        base: &str,
        repository: &str,
        url: &str,
        challenge: &str,
        progress: &mut ProgressSink<'_>,
    ) -> Result<String, FetchError> {
        let refused = || crate::HttpError::Refused { url: shown(url), status: 401 };
        let parameters = bearer_parameters(challenge).ok_or_else(refused)?;
        let realm = parameters.get("realm").ok_or_else(refused)?;
        // What came over TLS must not send us to a place without.
        if !realm.starts_with("https://") && base.starts_with("https://") {
            return Err(refused().into());
        }
        let own_scope = format!("repository:{repository}:pull");
        let scope = parameters.get("scope").unwrap_or(&own_scope);
        let mut token_url = format!("{realm}{}scope={scope}", if realm.contains('?') { '&' } else { '?' });
        if let Some(service) = parameters.get("service") {
            token_url.push_str(&format!("&service={}", service.replace(' ', "%20")));
        }
        let own = self.sources.credentials.header_for(base);
        let headers: Vec<(&str, &str)> = own.iter().map(|value| ("Authorization", value.as_str())).collect();
        let answer = self.http.document(&token_url, &headers, progress)?;
        /// Either name is in use.
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let token = serde_json::from_slice::<Token>(&answer.body).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        match (answer.status.as_u16(), token) {
            (200, Some(token)) => Ok(token),
            (401, _) => Err(self.not_known(base)),
            (status, _) => Err(crate::HttpError::Refused { url: shown(&token_url), status }.into()),
        }
    }
}

/// The parameters of `Bearer realm="https://auth.example.org/token",service="example"` (RFC 6750, section 3).
fn bearer_parameters(challenge: &str) -> Option<HashMap<String, String>> {
    let (scheme, mut rest) = challenge.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = HashMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(name.trim_matches([' ', ',']).to_ascii_lowercase(), value.to_string());
        rest = after;
    }
    Some(parameters)
}

/// A registry may give an image without an index: then only its configuration tells the platform.
fn check_platform(
    bundle: &BundleWriter,
    reference: &ImageReference,
    config: &Descriptor,
    arch: Arch,
) -> Result<(), FetchError> {
    let path = bundle.blob_path(digest_of(reference, config)?);
    let read = |source: io::Error| BundleError::Io { action: "read", path: path.clone(), source };
    let bytes = fs::read(&path).map_err(read)?;
    let platform: oci::Platform = serde_json::from_slice(&bytes)
        .map_err(|error| bad(reference, format!("its configuration cannot be read: {error}")))?;
    if platform.architecture != arch.name() || platform.os != "linux" {
        let found = format!("{}/{}", platform.os, platform.architecture);
        return Err(bad(
            reference,
            format!("the registry has it for {found} only, and linux/{arch} is wanted"),
        ));
    }
    Ok(())
}

fn digest_of(reference: &ImageReference, descriptor: &Descriptor) -> Result<Sha256, FetchError> {
    Sha256::from_oci(&descriptor.digest).ok_or_else(|| {
        bad(
            reference,
            format!("it names a blob by {:?}, and only sha256 digests are known here", descriptor.digest),
        )
    })
}

fn bad(reference: &ImageReference, message: String) -> FetchError {
    FetchError::Image { reference: reference.clone(), message }
}

impl Http {
    /// Downloads into `partial` and verifies the whole. A beginning from an earlier run that proves wrong is thrown away
    /// and everything downloaded once more. Returns digest and size.
    pub(crate) fn verified_download(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        partial: &std::path::Path,
        expected: Option<Sha256>,
        what: &str,
        progress: &mut ProgressSink<'_>,
    ) -> Result<(Sha256, u64), FetchError> {
        let io_at = |action, source| BundleError::Io { action, path: partial.into(), source };
        loop {
            let resumed = self.download(url, headers, partial, progress)?;
            let (found, size) = File::open(partial)
                .and_then(|mut file| Sha256::of_reader(&mut file))
                .map_err(|error| io_at("read", error))?;
            match expected.filter(|expected| *expected != found) {
                None => return Ok((found, size)),
                Some(expected) => {
                    fs::remove_file(partial).map_err(|error| io_at("remove", error))?;
                    if !resumed {
                        return Err(FetchError::Mismatch {
                            what: what.into(),
                            url: shown(url),
                            expected,
                            found,
                        });
                    }
                    let reason = "what an earlier run left of it was damaged; starting over";
                    let wait = std::time::Duration::ZERO;
                    progress(Progress::Retry { attempt: 1, of: 2, wait, reason });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let parameters = bearer_parameters(text).unwrap();
        assert_eq!(parameters["realm"], "https://auth.docker.io/token");
        assert_eq!(parameters["service"], "registry.docker.io");
        assert_eq!(parameters["scope"], "repository:a/b:pull,push");
        assert_eq!(bearer_parameters("Bearer realm=x, service=y").unwrap()["service"], "y");
        assert!(bearer_parameters("Basic realm=\"x\"").is_none());
    }

    #[test]
    fn images_are_found_where_their_registry_is() {
        let http = Http::new(None, "", crate::Retry::default()).unwrap();
        let images_of = |own: &[(&str, &str)]| {
            own.iter().map(|(registry, mirror)| ((*registry).to_owned(), (*mirror).to_owned())).collect()
        };
        let with = |mirror: Option<&str>, own: &[(&str, &str)], reference: &str| {
            let sources = Sources {
                registry_host: mirror.map(str::to_owned),
                images_of: images_of(own),
                ..Sources::default()
            };
            let (base, repository) = Registry::new(&http, &sources).place(&reference.parse().unwrap());
            format!("{base} {repository}")
        };
        let place = |mirror: Option<&str>, reference: &str| with(mirror, &[], reference);
        assert_eq!(place(None, "registry.k8s.io/pause:1"), "https://registry.k8s.io pause");
        assert_eq!(place(None, "docker.io/haproxy:1"), "https://registry-1.docker.io library/haproxy");
        assert_eq!(
            place(None, "docker.io/flannel/flannel:1"),
            "https://registry-1.docker.io flannel/flannel"
        );
        assert_eq!(
            place(Some("mirror:5000"), "docker.io/flannel/flannel:1"),
            "https://mirror:5000 flannel/flannel"
        );
        assert_eq!(place(Some("http://m:1/"), "registry.k8s.io/pause:1"), "http://m:1 pause");
        let own = [("registry.k8s.io", "r.lan/k8s/"), ("docker.io", "http://r.lan:5000")];
        let places = ["registry.k8s.io/coredns/coredns:1", "docker.io/haproxy:1", "ghcr.io/a/b:1"]
            .map(|reference| with(Some("mirror"), &own, reference));
        assert_eq!(
            places,
            ["https://r.lan k8s/coredns/coredns", "http://r.lan:5000 haproxy", "https://mirror a/b"]
        );
    }
}
