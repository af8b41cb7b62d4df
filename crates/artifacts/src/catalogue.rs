//! The catalogue: which files and images there are, where they are published, and which belong together.
//!
//! It is data. This module knows its form; the names and figures are in the text that is given to [`Catalogue::parse`].

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};
use thiserror::Error;

use crate::version;
use crate::{Arch, ImageReference, Sha256};

/// How a file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One file as it is: an executable, or a text.
    Binary,
    /// A gzip-compressed tar with upstream's member names.
    Archive,
}

/// A file that the catalogue knows: one artifact in one version for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueFile {
    /// The artifact's name, e.g. `kubelet`.
    pub name: String,
    /// Its version, without a leading `v`.
    pub version: String,
    /// The architecture it runs on.
    pub arch: Arch,
    /// How it is published.
    pub kind: Kind,
    /// Where upstream publishes it.
    pub url: String,
    /// The digest upstream published; `None` if the catalogue does not have it.
    pub sha256: Option<Sha256>,
    /// Where upstream publishes the digest, where the catalogue does not have it.
    pub sha256_url: Option<String>,
    /// Whether a cluster runs without it.
    pub optional: bool,
}

/// An image that the catalogue knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueImage {
    /// The artifact's name, e.g. `kube-proxy`.
    pub name: String,
    /// Its version, without a leading `v`.
    pub version: String,
    /// Where upstream publishes it.
    pub reference: ImageReference,
}

/// Everything that belongs to one release.
#[derive(Debug, Clone)]
pub struct Release {
    /// The release, e.g. `1.36.3`.
    pub version: String,
    /// The architecture of the files.
    pub arch: Arch,
    /// The files, in the catalogue's order.
    pub files: Vec<CatalogueFile>,
    /// The images, in the catalogue's order.
    pub images: Vec<CatalogueImage>,
}

impl Release {
    /// The file of that name.
    pub fn file(&self, name: &str) -> Option<&CatalogueFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The image of that name.
    pub fn image(&self, name: &str) -> Option<&CatalogueImage> {
        self.images.iter().find(|image| image.name == name)
    }
}

/// The catalogue's text is wrong.
#[derive(Debug, Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct CatalogueError {
    /// The name the text was given.
    pub file: String,
    /// Line, counted from 1.
    pub line: u64,
    /// Column, counted from 1.
    pub column: u64,
    /// What is wrong, and what was meant.
    pub message: String,
}

/// Something was asked for that the catalogue does not have.
#[derive(Debug, Error)]
pub enum NotInCatalogue {
    /// No artifact of that name.
    #[error("{catalogue} has no artifact {name:?}; it has {known}")]
    Name {
        /// What was asked for.
        name: String,
        /// The catalogue's own name.
        catalogue: String,
        /// The names it has.
        known: String,
    },
    /// The artifact is known, the version is not.
    #[error("{name} {version} is not in the catalogue {catalogue}; the nearest versions there are {nearest}")]
    Version {
        /// The artifact, or `release`.
        name: String,
        /// What was asked for.
        version: String,
        /// The catalogue's own name.
        catalogue: String,
        /// Up to five versions, the nearest first.
        nearest: String,
    },
    /// There is no release as old as this.
    #[error(
        "release {version} is older than all in the catalogue {catalogue}, which begins with {oldest}: {why}"
    )]
    TooOld {
        /// What was asked for.
        version: String,
        /// The catalogue's own name.
        catalogue: String,
        /// The oldest minor version that it has.
        oldest: String,
        /// Why it begins there, and what can be done about it.
        why: &'static str,
    },
    /// The version is known, but not for this architecture.
    #[error("{name} {version} is in the catalogue {catalogue}, but not for {arch}")]
    Arch {
        /// The artifact.
        name: String,
        /// Its version.
        version: String,
        /// What was asked for.
        arch: Arch,
        /// The catalogue's own name.
        catalogue: String,
    },
}

/// The catalogue, read and checked.
#[derive(Debug)]
pub struct Catalogue {
    name: String,
    data: Data,
    /// Why there is no older release, and what can be done about it.
    begins_because: Option<&'static str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    default_release: Spanned<String>,
    files: IndexMap<String, Spanned<FileRecord>>,
    images: IndexMap<String, Spanned<String>>,
    #[serde(rename = "for", default)]
    purposes: IndexMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    options: IndexMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    apps: IndexMap<String, Vec<Spanned<String>>>,
    releases: IndexMap<String, Components>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    kind: Kind,
    url: Spanned<String>,
    #[serde(default)]
    sha256: IndexMap<String, IndexMap<Arch, Sha256>>,
    sha256_url: Option<Spanned<String>>,
    #[serde(default)]
    published: Vec<String>,
    #[serde(default)]
    unpinned: Vec<String>,
    #[serde(default)]
    optional: bool,
}

impl FileRecord {
    fn versions(&self) -> impl Iterator<Item = &str> {
        self.sha256.keys().chain(&self.published).chain(&self.unpinned).map(String::as_str)
    }
}

type Components = IndexMap<String, Spanned<String>>;

/// What stands for the release itself among the versions of its components.
const RELEASE: &str = "{release}";

/// The key of what belongs to every release.
const EVERY: &str = "every";

impl Catalogue {
    /// Reads a catalogue from YAML. `name` is the name of the text in messages: a file's path, or what the user knows it by.
    pub fn parse(text: &str, name: &str) -> Result<Catalogue, CatalogueError> {
        let fail = |at: Option<Location>, message: String| CatalogueError {
            file: name.to_string(),
            line: at.map_or(1, |at| at.line()),
            column: at.map_or(1, |at| at.column()),
            message,
        };
        let data: Data = serde_saphyr::from_str(text).map_err(|error| {
            let message = error.without_snippet().to_string();
            // The location is in front already; the parser repeats it at the end.
            let message = message.split(" at line ").next().unwrap_or_default().to_string();
            fail(error.location(), message)
        })?;
        let catalogue = Catalogue { name: name.to_string(), data, begins_because: None };
        catalogue.validate().map_err(|(at, message)| fail(Some(at), message))?;
        Ok(catalogue)
    }

    /// The same, and whoever asks for an older release is told why there is none.
    #[must_use]
    pub fn begins_because(self, why: &'static str) -> Self {
        Self { begins_because: Some(why), ..self }
    }

    fn validate(&self) -> Result<(), (Location, String)> {
        for (name, record) in &self.data.files {
            if record.value.versions().next().is_none() {
                let message = format!("{name} has no version: give sha256, published or unpinned");
                return Err((record.referenced, message));
            }
            if record.value.sha256_url.is_none() && !record.value.published.is_empty() {
                return Err((record.referenced, format!("{name} has published versions, and no sha256_url")));
            }
            for url in std::iter::once(&record.value.url).chain(&record.value.sha256_url) {
                let filled = fill(&url.value, "", Some(Arch::Amd64));
                if filled.contains(['{', '}']) {
                    let message =
                        format!("{:?} has a placeholder that is neither {{version}} nor {{arch}}", url.value);
                    return Err((url.referenced, message));
                }
                if !filled.starts_with("https://") {
                    return Err((url.referenced, format!("{:?} does not start with https://", url.value)));
                }
            }
        }
        for (name, template) in &self.data.images {
            if self.data.files.contains_key(name) {
                return Err((template.referenced, format!("{name} is the name of a file already")));
            }
            fill(&template.value, "0", None)
                .parse::<ImageReference>()
                .map_err(|message| (template.referenced, message))?;
        }
        for (name, version) in self.data.releases.values().flatten() {
            let at = version.referenced;
            match self.data.files.get(name) {
                Some(record) => {
                    let known = |v: &str| record.value.versions().any(|known| known == v);
                    if version.value != RELEASE && !known(&version.value) {
                        return Err((at, self.unknown_version(name, &version.value).to_string()));
                    }
                }
                None if self.data.images.contains_key(name) => {}
                None => return Err((at, format!("{name} is neither among the files nor among the images"))),
            }
        }
        for name in self.purposes().flat_map(|(_, names)| names) {
            if !self.data.files.contains_key(&name.value) && !self.data.images.contains_key(&name.value) {
                let message = format!("{} is neither among the files nor among the images", name.value);
                return Err((name.referenced, message));
            }
        }
        let default = &self.data.default_release;
        if !self.releases().contains(&default.value.as_str()) {
            return Err((default.referenced, self.unknown_release(&default.value).to_string()));
        }
        Ok(())
    }

    /// The release to take when none is asked for.
    pub fn default_release(&self) -> &str {
        &self.data.default_release.value
    }

    /// Every release that all files are known for, the newest first. There are more: other patches of these minor versions
    /// ([`Self::is_unlisted_patch`]).
    pub fn releases(&self) -> Vec<&str> {
        let mut records = self.files_of_release();
        let Some(first) = records.next() else { return Vec::new() };
        let mut versions: Vec<&str> =
            first.value.versions().filter(|version| self.components(version).is_some()).collect();
        for record in records {
            versions.retain(|version| record.value.versions().any(|known| known == *version));
        }
        versions.sort_by(|a, b| version::compare(b, a));
        versions
    }

    /// The files whose version is that of the release.
    fn files_of_release(&self) -> impl Iterator<Item = &Spanned<FileRecord>> {
        let follows_release = self.every().filter(|(_, version)| version.value == RELEASE);
        follows_release.filter_map(|(name, _)| self.data.files.get(name))
    }

    /// Whether a release is a patch of a minor version that is known, which is not in the catalogue: upstream may have published it
    /// since, with the digests of its files.
    pub fn is_unlisted_patch(&self, release: &str) -> bool {
        self.components(release).is_some()
            && version::is_of_three_numbers(release)
            && !self.releases().contains(&release)
            && self.files_of_release().all(|record| record.value.sha256_url.is_some())
    }

    /// The versions of an artifact that the catalogue has a digest (or, for unpinned ones, a URL) for, the newest first.
    /// Images have none: any tag may be asked for.
    pub fn versions(&self, name: &str) -> Vec<&str> {
        let mut versions: Vec<&str> =
            self.data.files.get(name).into_iter().flat_map(|record| record.value.versions()).collect();
        versions.sort_by(|a, b| version::compare(b, a));
        versions
    }

    /// Everything that belongs to a release.
    pub fn release(&self, release: &str, arch: Arch) -> Result<Release, NotInCatalogue> {
        if !self.releases().contains(&release) && !self.is_unlisted_patch(release) {
            return Err(self.unknown_release(release));
        }
        let line = self.components(release).into_iter().flatten();
        let mut found = Release { version: release.into(), arch, files: Vec::new(), images: Vec::new() };
        for (name, version) in self.every().chain(line) {
            let version = version.value.replace(RELEASE, release);
            if self.data.files.contains_key(name) {
                found.files.push(self.file(name, &version, arch)?);
            } else {
                let reference = self.image(name, &version)?;
                found.images.push(CatalogueImage { name: name.clone(), version, reference });
            }
        }
        Ok(found)
    }

    /// What of a release is needed by a cluster that is for these purposes (`for`, `options` and `apps` in the catalogue): all
    /// that every cluster needs, and what is only needed for one of them.
    pub fn needed(&self, mut release: Release, is_purpose: impl Fn(&str) -> bool) -> Release {
        let needed = |name: &str| {
            let purpose = self.purposes().find(|(_, names)| names.iter().any(|known| known.value == name));
            purpose.is_none_or(|(purpose, _)| is_purpose(purpose))
        };
        release.files.retain(|file| needed(&file.name));
        release.images.retain(|image| needed(&image.name));
        release
    }

    /// What of a release a bundle has that is made for no inventory: everything but the options and applications, and of those
    /// these.
    pub fn with_options(&self, release: Release, with: &[String]) -> Release {
        self.needed(release, |purpose| {
            self.data.purposes.contains_key(purpose) || with.iter().any(|option| option == purpose)
        })
    }

    /// The release with another version of all that is for these purposes.
    ///
    /// # Errors
    /// The catalogue does not have that version of one of the files.
    pub fn in_version(
        &self,
        mut release: Release,
        purposes: &[&str],
        version: &str,
    ) -> Result<Release, NotInCatalogue> {
        let named = self.purposes().filter(|(known, _)| purposes.contains(&known.as_str()));
        let names: Vec<&str> = named.flat_map(|(_, names)| names).map(|name| name.value.as_str()).collect();
        let is_named = |name: &str| names.contains(&name);
        for file in release.files.iter_mut().filter(|file| is_named(&file.name)) {
            *file = self.file(&file.name, version, release.arch)?;
        }
        for image in release.images.iter_mut().filter(|image| is_named(&image.name)) {
            let reference = self.image(&image.name, version)?;
            *image = CatalogueImage { name: image.name.clone(), version: version.into(), reference };
        }
        Ok(release)
    }

    /// What is only needed for something, by what it is for.
    fn purposes(&self) -> impl Iterator<Item = (&String, &Vec<Spanned<String>>)> {
        self.data.purposes.iter().chain(&self.data.options).chain(&self.data.apps)
    }

    /// The options, in the catalogue's order: what a bundle has only where it is asked for, and which is no application.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.data.options.keys().map(String::as_str)
    }

    /// The applications, in the catalogue's order.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.data.apps.keys().map(String::as_str)
    }

    /// The names of the images that an application runs.
    pub fn images_of_app(&self, app: &str) -> Vec<&str> {
        let names = self.data.apps.get(app).into_iter().flatten().map(|name| name.value.as_str());
        names.filter(|name| self.data.images.contains_key(*name)).collect()
    }

    /// A file in a version for an architecture.
    pub fn file(&self, name: &str, version: &str, arch: Arch) -> Result<CatalogueFile, NotInCatalogue> {
        let record = &self.data.files.get(name).ok_or_else(|| self.unknown_name(name))?.value;
        let follows_release =
            || self.every().any(|(known, version)| known == name && version.value == RELEASE);
        let is_published = record.published.iter().any(|known| known == version)
            || follows_release() && self.is_unlisted_patch(version);
        let sha256 = match record.sha256.get(version) {
            Some(by_arch) => Some(*by_arch.get(&arch).ok_or_else(|| NotInCatalogue::Arch {
                name: name.into(),
                version: version.into(),
                arch,
                catalogue: self.name.clone(),
            })?),
            None if is_published || record.unpinned.iter().any(|known| known == version) => None,
            None => return Err(self.unknown_version(name, version)),
        };
        Ok(CatalogueFile {
            name: name.into(),
            version: version.into(),
            arch,
            kind: record.kind,
            url: fill(&record.url.value, version, Some(arch)),
            sha256,
            sha256_url: record
                .sha256_url
                .as_ref()
                .filter(|_| is_published)
                .map(|url| fill(&url.value, version, Some(arch))),
            optional: record.optional,
        })
    }

    /// The reference of an image in a version. Any version may be asked for: upstream's tags are not listed.
    pub fn image(&self, name: &str, version: &str) -> Result<ImageReference, NotInCatalogue> {
        let template = self.data.images.get(name).ok_or_else(|| self.unknown_name(name))?;
        fill(&template.value, version, None).parse().map_err(|_| self.unknown_version(name, version))
    }

    /// The components of every release.
    fn every(&self) -> impl Iterator<Item = (&String, &Spanned<String>)> {
        self.data.releases.get(EVERY).into_iter().flatten()
    }

    /// The components of the minor release that `release` belongs to.
    fn components(&self, release: &str) -> Option<&Components> {
        let minor_end = release.match_indices('.').nth(1).map_or(release.len(), |(at, _)| at);
        self.data.releases.get(&release[..minor_end])
    }

    fn unknown_name(&self, name: &str) -> NotInCatalogue {
        let known: Vec<&str> =
            self.data.files.keys().chain(self.data.images.keys()).map(String::as_str).collect();
        NotInCatalogue::Name { name: name.into(), catalogue: self.name.clone(), known: known.join(", ") }
    }

    fn unknown_version(&self, name: &str, version: &str) -> NotInCatalogue {
        self.not_found(name, version, self.versions(name))
    }

    fn unknown_release(&self, release: &str) -> NotInCatalogue {
        let releases = self.releases();
        let oldest = releases.last().and_then(|oldest| oldest.rsplit_once('.')).map(|(minor, _)| minor);
        let is_older = |oldest: &str| {
            version::begins_with_a_number(release) && version::compare(release, oldest).is_lt()
        };
        match (self.begins_because, oldest.filter(|oldest| is_older(oldest))) {
            (Some(why), Some(oldest)) => NotInCatalogue::TooOld {
                version: release.into(),
                catalogue: self.name.clone(),
                oldest: oldest.into(),
                why,
            },
            _ => self.not_found("release", release, releases),
        }
    }

    fn not_found(&self, name: &str, version: &str, known: Vec<&str>) -> NotInCatalogue {
        let nearest = version::nearest(known, version, 5);
        let nearest = if nearest.is_empty() { "none".to_string() } else { nearest.join(", ") };
        NotInCatalogue::Version {
            name: name.into(),
            version: version.into(),
            catalogue: self.name.clone(),
            nearest,
        }
    }
}

/// Fills in a template's placeholders.
fn fill(template: &str, version: &str, arch: Option<Arch>) -> String {
    let filled = template.replace("{version}", version);
    match arch {
        Some(arch) => filled.replace("{arch}", arch.name()),
        None => filled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../roles/catalogue/catalogue.yml");

    const SMALL: &str = r#"default_release: "1.36.1"
files:
  kubelet:
    kind: binary
    url: "https://dl.k8s.io/v{version}/{arch}/kubelet"
    sha256:
      "1.36.1": {amd64: "0000000000000000000000000000000000000000000000000000000000000001"}
      "1.36.0": {amd64: "0000000000000000000000000000000000000000000000000000000000000000"}
images:
  pause: "registry.k8s.io/pause:{version}"
releases:
  every:
    kubelet: "{release}"
  "1.36":
    pause: "3.10"
"#;

    /// The error of the small catalogue after one change to it.
    fn error_after(from: &str, to: &str) -> String {
        assert!(SMALL.contains(from), "{from}");
        Catalogue::parse(&SMALL.replacen(from, to, 1), "c.yml").unwrap_err().to_string()
    }

    #[test]
    fn shipped_catalogue_is_sound() {
        let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
        for arch in Arch::ALL {
            for release in catalogue.releases() {
                let release = catalogue.release(release, arch).unwrap();
                assert_eq!(release.file("kubelet").unwrap().version, release.version);
                assert!(release.image("coredns").is_some());
            }
        }
        let release = catalogue.release("1.36.3", Arch::Amd64).unwrap();
        assert_eq!(
            release.image("coredns").unwrap().reference.to_string(),
            "registry.k8s.io/coredns/coredns:v1.14.2"
        );
        assert_eq!(release.file("flannel-cni").unwrap().sha256, None);
        assert_eq!(
            release.file("kubeadm").unwrap().url,
            "https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubeadm"
        );
    }

    #[test]
    fn a_cluster_needs_only_what_it_is_for() {
        let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
        let release = catalogue.release("1.36.3", Arch::Amd64).unwrap();
        let needed = |purpose: &str| catalogue.needed(release.clone(), |known| known == purpose);
        let dns = needed("dns");
        assert!(dns.image("coredns").is_some() && dns.image("kube-proxy").is_some());
        assert!(dns.file("flannel-cni").is_none() && dns.image("flannel").is_none());
        assert!(
            needed("flannel").file("flannel-cni").is_some() && needed("flannel").image("coredns").is_none()
        );
    }

    #[test]
    fn a_bundle_for_nobody_has_no_application_that_was_not_asked_for() {
        let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
        let has = |with: &[String]| {
            let release = catalogue.with_options(catalogue.release("1.36.3", Arch::Amd64).unwrap(), with);
            ["coredns", "agnhost", "metrics-server", "local-path-provisioner", "calico-node", "calico-typha"]
                .map(|name| release.image(name).is_some())
        };
        assert_eq!(has(&[]), [true, true, false, false, false, false]);
        assert_eq!(has(&["metrics-server".to_owned()]), [true, true, true, false, false, false]);
        assert_eq!(has(&["calico".to_owned()]), [true, true, false, false, true, false]);
    }

    #[test]
    fn another_version_of_what_is_for_a_purpose_is_taken_where_there_is_one() {
        let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
        let release = catalogue.release("1.36.3", Arch::Amd64).unwrap();
        let versions = |version: &str| {
            let release = catalogue.in_version(release.clone(), &["calico", "typha"], version).unwrap();
            let (file, image) =
                (release.file("calico-manifest").unwrap(), release.image("calico-typha").unwrap());
            assert_eq!(image.reference.tag, format!("v{}", image.version));
            assert!(file.url.contains(&format!("/v{}/", file.version)));
            assert_eq!(release.image("flannel").unwrap().version, "0.28.4");
            [file.version.clone(), image.version.clone()]
        };
        assert_eq!(versions("3.28.5"), ["3.28.5", "3.28.5"]);
        let error = catalogue.in_version(release.clone(), &["calico"], "3.3.1").unwrap_err().to_string();
        assert!(error.starts_with("calico-manifest 3.3.1 is not in the catalogue"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let catalogue = Catalogue::parse(SMALL, "c.yml").unwrap();
        let error = catalogue.release("1.36.7", Arch::Amd64).unwrap_err().to_string();
        assert_eq!(
            error,
            "release 1.36.7 is not in the catalogue c.yml; the nearest versions there are 1.36.1, 1.36.0"
        );
        let error = catalogue.file("kublet", "1.36.1", Arch::Amd64).unwrap_err().to_string();
        assert_eq!(error, r#"c.yml has no artifact "kublet"; it has kubelet, pause"#);
        let error = catalogue.file("kubelet", "1.36.1", Arch::Arm64).unwrap_err().to_string();
        assert_eq!(error, "kubelet 1.36.1 is in the catalogue c.yml, but not for arm64");
        assert!(catalogue.image("pause", "3.9/../evil").is_err());
    }

    #[test]
    fn another_patch_of_a_minor_version_is_taken_by_the_digests_that_upstream_publishes() {
        let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap().begins_because("it does");
        let newest = catalogue.releases().into_iter().find(|release| release.starts_with("1.36.")).unwrap();
        let newer = format!("{newest}9");
        assert!(catalogue.is_unlisted_patch(&newer) && !catalogue.is_unlisted_patch(newest));
        let release = catalogue.release(&newer, Arch::Arm64).unwrap();
        let kubelet = release.file("kubelet").unwrap();
        assert_eq!((kubelet.version.as_str(), kubelet.sha256), (newer.as_str(), None));
        let url = format!("https://dl.k8s.io/release/v{newer}/bin/linux/arm64/kubelet");
        assert_eq!((&kubelet.url, kubelet.sha256_url.as_ref()), (&url, Some(&format!("{url}.sha256"))));
        // What goes with it is what goes with its minor version, and what is pinned stays so.
        let listed = catalogue.release(newest, Arch::Arm64).unwrap();
        assert_eq!(release.image("coredns"), listed.image("coredns"));
        assert_eq!(release.file("etcd"), listed.file("etcd"));
        assert!(
            catalogue.release(newest, Arch::Amd64).unwrap().file("kubelet").unwrap().sha256_url.is_none()
        );

        let refused = |version: &str| catalogue.release(version, Arch::Amd64).unwrap_err().to_string();
        for wrong in
            ["1.99.0", "1.36", "1.36.07", "1.36.9-rc.1", "1.36.9.1", "1.36.x", "v1.36.9", "1.36.9/.."]
        {
            let told = refused(wrong);
            assert!(told.starts_with(&format!("release {wrong} is not in the catalogue")), "{told}");
        }
        for old in ["1.31.14", "1.9.0"] {
            let told = refused(old);
            assert!(
                told.starts_with(&format!("release {old} is older than all")) && told.ends_with(": it does"),
                "{told}"
            );
        }
        // Nobody publishes a checksum of another version of what does not follow the release.
        assert!(catalogue.file("containerd", &newer, Arch::Amd64).is_err());
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let error = error_after("0000000000000000000000000000000000000000000000000000000000000001", "12ab");
        assert!(error.starts_with("c.yml:7:25: "), "{error}");
        assert!(error.contains("\"12ab\" is not a sha256: 64 hexadecimal digits were expected"), "{error}");

        let error = error_after("kind: binary", "kind: program");
        assert!(error.starts_with("c.yml:4:11: ") && error.contains("program"), "{error}");

        let error = error_after("kind: binary", "kind: binary\n    colour: red");
        assert!(error.starts_with("c.yml:5:5: ") && error.contains("colour"), "{error}");

        let error = error_after("v{version}/{arch}", "v{versoin}/{arch}");
        assert!(error.starts_with("c.yml:5:10: ") && error.contains("placeholder"), "{error}");

        let error = error_after("registry.k8s.io/pause", "pause");
        assert!(error.starts_with("c.yml:10:10: ") && error.contains("no registry"), "{error}");

        let error = error_after("    pause: \"3.10\"", "    puase: \"3.10\"");
        assert!(error.starts_with("c.yml:15:12: ") && error.contains("neither"), "{error}");

        let error = error_after("default_release: \"1.36.1\"", "default_release: \"1.37.0\"");
        assert!(error.starts_with("c.yml:1:18: ") && error.contains("nearest"), "{error}");

        let error = error_after("releases:", "for:\n  names: [coredsn]\nreleases:");
        assert!(error.starts_with("c.yml:12:11: ") && error.contains("neither"), "{error}");

        let error = error_after("files:", "files: [");
        assert!(error.starts_with("c.yml:"), "{error}");
    }
}
