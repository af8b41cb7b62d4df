//! A bundle: a directory with binaries, archives and images, each known by its digest.
//!
//! ```text
//! manifest.json          what there is
//! files/                 binaries (gzip-compressed) and archives (as published)
//! images/                one OCI image layout; layers that images share lie there once
//! partial/               downloads that were cut off and will be resumed
//! ```

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use muster_files::write_whole;

use crate::error::io_at;
use crate::manifest::Manifest;
use crate::oci::{self, Descriptor, ImageIndex, ImageManifest};
use crate::{
    Arch, BundleError, Encoding, FileEntry, ImageArchive, ImageEntry, Kind, MissingArtifact, Release, Sha256,
};

/// A bundle, read. It can be shared between threads; to change one, see [`crate::BundleWriter`].
#[derive(Debug)]
pub struct Bundle {
    pub(crate) dir: PathBuf,
    /// Where programs are unpacked that run on this computer.
    programs: PathBuf,
    pub(crate) manifest: Manifest,
}

impl Bundle {
    /// Opens the bundle in `dir`.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Bundle, BundleError> {
        let dir = dir.into();
        let path = dir.join("manifest.json");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Bundle::of(dir, Manifest::parse(&text, &path)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BundleError::NotABundle { dir }),
            Err(error) => Err(io_at("read", &path)(error)),
        }
    }

    /// A bundle in which nothing lies, for those who need none or look what is missing. `dir` need not exist.
    pub fn empty(dir: impl Into<PathBuf>) -> Bundle {
        Bundle::of(dir.into(), Manifest::empty())
    }

    fn of(dir: PathBuf, manifest: Manifest) -> Bundle {
        Bundle { programs: dir.join("programs"), dir, manifest }
    }

    /// The same, which unpacks programs for this computer into another folder than one of its own.
    pub fn with_programs_in(self, programs: PathBuf) -> Bundle {
        Bundle { programs, ..self }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All files, in the order in which they were added.
    pub fn files(&self) -> &[FileEntry] {
        &self.manifest.files
    }

    /// All images, in the order in which they were added.
    pub fn images(&self) -> &[ImageEntry] {
        &self.manifest.images
    }

    /// The file of that name, version and architecture.
    pub fn file(&self, name: &str, version: &str, arch: Arch) -> Result<&FileEntry, MissingArtifact> {
        let of_name = || self.files().iter().filter(|entry| entry.name == name);
        of_name().find(|entry| entry.version == version && entry.arch == arch).ok_or_else(|| {
            self.missing(
                format!("{name} {version} for {arch}"),
                of_name().map(|entry| format!("{} for {}", entry.version, entry.arch)),
            )
        })
    }

    /// The image of that full reference and architecture.
    pub fn image(&self, reference: &str, arch: Arch) -> Result<&ImageEntry, MissingArtifact> {
        let found = |entry: &&ImageEntry| entry.arch == arch && entry.reference.to_string() == reference;
        self.images().iter().find(found).ok_or_else(|| {
            let repository = |text: &str| text.rsplit_once(':').map(|(head, _)| head.to_string());
            let wanted = repository(reference);
            let alike =
                self.images().iter().filter(|entry| repository(&entry.reference.to_string()) == wanted);
            self.missing(
                format!("image {reference} for {arch}"),
                alike.map(|entry| format!("{} for {}", entry.reference.tag, entry.arch)),
            )
        })
    }

    /// Everything of `release` that the bundle lacks, optional artifacts not counted.
    pub fn missing_of(&self, release: &Release) -> Vec<MissingArtifact> {
        let files = release.files.iter().filter(|file| !file.optional);
        let files = files.filter_map(|file| self.file(&file.name, &file.version, file.arch).err());
        let images = release.images.iter();
        let images = images.filter_map(|image| self.image(&image.reference.to_string(), release.arch).err());
        files.chain(images).collect()
    }

    /// Where a file's stored bytes are.
    pub fn path(&self, entry: &FileEntry) -> PathBuf {
        self.dir.join("files").join(&entry.stored.name)
    }

    /// Reads a file's content as it was published, decompressed if it is stored compressed.
    pub fn content(&self, entry: &FileEntry) -> Result<Box<dyn Read + Send>, BundleError> {
        let path = self.path(entry);
        let file = File::open(&path).map_err(io_at("read", &path))?;
        Ok(match entry.stored.encoding {
            Encoding::Identity => Box::new(BufReader::with_capacity(1 << 16, file)),
            Encoding::Gzip => Box::new(GzDecoder::new(file)),
        })
    }

    /// The program of a file as one that this computer can run: unpacked once, and named by its hash, so what is there is what the
    /// bundle has. An archive has it in some folder.
    pub fn program(&self, entry: &FileEntry) -> Result<PathBuf, BundleError> {
        let name = format!("{}-{}-{:.12}", entry.name, entry.version, entry.sha256.to_string());
        let program = self.programs.join(name);
        if program.is_file() {
            return Ok(program);
        }
        fs::create_dir_all(&self.programs).map_err(io_at("make the folder", &self.programs))?;
        let write = |content: &mut dyn Read| {
            write_whole(&program, Some(0o755), content).map_err(io_at("write", &program))
        };
        let mut content = self.content(entry)?;
        if entry.kind == Kind::Binary {
            write(&mut content)?;
            return Ok(program);
        }
        let path = self.path(entry);
        let mut archive = tar::Archive::new(GzDecoder::new(content));
        for member in archive.entries().map_err(io_at("read", &path))? {
            let mut member = member.map_err(io_at("read", &path))?;
            let is_it = member.path().is_ok_and(|path| path.file_name() == Some(entry.name.as_ref()));
            if is_it && member.header().entry_type().is_file() {
                write(&mut member)?;
                return Ok(program);
            }
        }
        Err(io_at("find the program in", &path)(io::ErrorKind::NotFound.into()))
    }

    /// A tar of an OCI image layout with just these images, for `ctr --namespace k8s.io images import -`.
    ///
    /// Layers that the images share are in it once. `references` are full ones; an image that is named twice is in it once.
    pub fn image_archive(&self, references: &[&str], arch: Arch) -> Result<ImageArchive, BundleError> {
        let mut named = HashSet::new();
        let mut written = HashSet::new();
        let mut described = Vec::new();
        let mut blobs = Vec::new();
        for reference in references.iter().filter(|reference| named.insert(**reference)) {
            let entry = self.image(reference, arch)?;
            let (manifest, descriptor) = self.image_manifest(entry)?;
            for blob in std::iter::once(&descriptor).chain(manifest.blobs()) {
                let digest = self.digest_of(entry, blob)?;
                if written.insert(digest) {
                    blobs.push((digest, self.blob_path(digest), blob.size));
                }
            }
            described.push((entry, descriptor));
        }
        Ok(ImageArchive::new(ImageIndex::of_images(described).to_json(), blobs))
    }

    /// An image's manifest, and what points at it.
    pub(crate) fn image_manifest(
        &self,
        entry: &ImageEntry,
    ) -> Result<(ImageManifest, Descriptor), BundleError> {
        let path = self.blob_path(entry.manifest_digest);
        let bytes = fs::read(&path).map_err(io_at("read", &path))?;
        let found = Sha256::of(&bytes);
        if found != entry.manifest_digest {
            let what = format!("{} (the manifest of {})", path.display(), entry.reference);
            return Err(BundleError::Mismatch { what, expected: entry.manifest_digest, found });
        }
        let manifest: ImageManifest = serde_json::from_slice(&bytes).map_err(|error| BundleError::Image {
            reference: entry.reference.to_string(),
            message: error.to_string(),
        })?;
        let descriptor = manifest.descriptor(&bytes);
        Ok((manifest, descriptor))
    }

    /// The digest that a descriptor of `entry`'s manifest names.
    pub(crate) fn digest_of(&self, entry: &ImageEntry, blob: &Descriptor) -> Result<Sha256, BundleError> {
        Sha256::from_oci(&blob.digest).ok_or_else(|| BundleError::Image {
            reference: entry.reference.to_string(),
            message: format!("it names a blob by {:?}, and only sha256 digests are known here", blob.digest),
        })
    }

    /// Where a blob is, or would be.
    pub(crate) fn blob_path(&self, digest: Sha256) -> PathBuf {
        self.dir.join("images/blobs/sha256").join(digest.to_string())
    }

    /// What `images/index.json` has to say, for programs other than muster that read the layout.
    pub(crate) fn layout_index(&self) -> Result<Vec<u8>, BundleError> {
        let described: Result<Vec<_>, BundleError> =
            self.images().iter().map(|entry| Ok((entry, self.image_manifest(entry)?.1))).collect();
        Ok(oci::ImageIndex::of_images(described?).to_json())
    }

    fn missing(&self, what: String, has: impl Iterator<Item = String>) -> MissingArtifact {
        let has: Vec<String> = has.collect();
        let has =
            if has.is_empty() { "it has none at all".into() } else { format!("it has {}", has.join(", ")) };
        MissingArtifact { what, bundle: self.dir.clone(), has }
    }
}
