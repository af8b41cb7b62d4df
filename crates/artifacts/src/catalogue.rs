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
                    let message = format!(
                        "{:?} has a placeholder that is not {{version}}, {{arch}} or {{machine}}",
                        url.value
                    );
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

    /// The release with another version of all that is for these purposes, or is called so.
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
        let is_named = |name: &str| names.contains(&name) || purposes.contains(&name);
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
        Some(arch) => filled.replace("{arch}", arch.name()).replace("{machine}", arch.machine()),
        None => filled,
    }
}

#[cfg(test)]
mod tests;
