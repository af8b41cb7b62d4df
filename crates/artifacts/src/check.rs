//! Verifying a bundle: every byte of it against the digests in its manifest.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::read::GzDecoder;

use crate::digest::HashingReader;
use crate::oci;
use crate::{Bundle, Encoding, FileEntry, ImageEntry, Progress, ProgressSink, Sha256};

/// One thing that is wrong with a bundle on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file that is wrong.
    pub path: PathBuf,
    /// The artifact it belongs to.
    pub artifact: String,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.path.display(), self.artifact, self.problem)
    }
}

impl Bundle {
    /// Reads the whole bundle and returns all that is damaged or not there; nothing if it is sound.
    ///
    /// Building or fetching again mends what [`crate::BundleWriter::forget`] was told of.
    pub fn check(&self, progress: &mut ProgressSink<'_>) -> Vec<Damage> {
        let mut damage = Vec::new();
        let of = self.files().len() + self.images().len();
        for (index, entry) in self.files().iter().enumerate() {
            let item = format!("{} {}", entry.name, entry.version);
            progress(Progress::Start { item: &item, index: index + 1, of });
            let started = Instant::now();
            if let Err(problem) = self.check_file(entry, progress) {
                damage.push(Damage { path: self.path(entry), artifact: item, problem });
            }
            progress(Progress::Done { size: entry.stored.size, elapsed: started.elapsed() });
        }
        let mut seen = HashSet::new();
        for (index, entry) in self.images().iter().enumerate() {
            let item = entry.reference.to_string();
            progress(Progress::Start { item: &item, index: self.files().len() + index + 1, of });
            let started = Instant::now();
            self.check_image(entry, &mut seen, &mut damage, progress);
            progress(Progress::Done { size: entry.size, elapsed: started.elapsed() });
        }
        if damage.is_empty() && !self.images().is_empty() {
            self.check_layout(&mut damage);
        }
        damage
    }

    fn check_file(&self, entry: &FileEntry, progress: &mut ProgressSink<'_>) -> Result<(), String> {
        let stored = &entry.stored;
        let file = open(&self.path(entry), stored.size)?;
        let read_error = |error: io::Error| format!("cannot be read: {error}");
        let mut reader = HashingReader::new(Reporting { inner: file, done: 0, of: stored.size, progress });
        let published = match stored.encoding {
            Encoding::Identity => None,
            Encoding::Gzip => {
                let content = Sha256::of_reader(&mut GzDecoder::new(&mut reader));
                // Bytes behind the end of the compressed stream count too.
                io::copy(&mut reader, &mut io::sink()).map_err(read_error)?;
                Some(content)
            }
        };
        io::copy(&mut reader, &mut io::sink()).map_err(read_error)?;
        same(reader.finish().0, stored.sha256)?;
        match published {
            None => same(stored.sha256, entry.sha256),
            Some(content) => same(content.map_err(read_error)?.0, entry.sha256),
        }
    }

    fn check_image(
        &self,
        entry: &ImageEntry,
        seen: &mut HashSet<Sha256>,
        damage: &mut Vec<Damage>,
        progress: &mut ProgressSink<'_>,
    ) {
        let mut report = |path: PathBuf, problem: String| {
            damage.push(Damage { path, artifact: entry.reference.to_string(), problem });
        };
        let manifest_path = self.blob_path(entry.manifest_digest);
        let manifest = match self.image_manifest(entry) {
            Ok((manifest, _)) => manifest,
            Err(error) => return report(manifest_path, error.to_string()),
        };
        let mut done = 0;
        for blob in manifest.blobs() {
            let digest = match self.digest_of(entry, blob) {
                Ok(digest) => digest,
                Err(error) => return report(manifest_path, error.to_string()),
            };
            if seen.insert(digest) {
                let path = self.blob_path(digest);
                let checked = open(&path, blob.size).and_then(|file| {
                    let mut reader = Reporting { inner: file, done, of: entry.size, progress };
                    let (found, _) =
                        Sha256::of_reader(&mut reader).map_err(|error| format!("cannot be read: {error}"))?;
                    same(found, digest)
                });
                if let Err(problem) = checked {
                    report(path, problem);
                }
            }
            done += blob.size;
        }
    }

    /// The two documents that only other programs read.
    fn check_layout(&self, damage: &mut Vec<Damage>) {
        let images = self.dir.join("images");
        let index = self.layout_index().unwrap_or_default();
        for (name, expected) in [("oci-layout", oci::LAYOUT.as_bytes()), ("index.json", &index)] {
            let path = images.join(name);
            if !fs::read(&path).is_ok_and(|found| found == expected) {
                let problem = "is not what the manifest demands".into();
                damage.push(Damage { path, artifact: "the image layout".into(), problem });
            }
        }
    }
}

pub(crate) fn open(path: &Path, expected_size: u64) -> Result<File, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_string(),
        _ => format!("cannot be read: {error}"),
    })?;
    let size = file.metadata().map_err(|error| format!("cannot be read: {error}"))?.len();
    if size != expected_size {
        return Err(format!("has {size} bytes, and {expected_size} were expected"));
    }
    Ok(file)
}

pub(crate) fn same(found: Sha256, expected: Sha256) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("has sha256 {found}, and {expected} was expected")) }
}

/// Tells how far reading has come.
struct Reporting<'a, 'b> {
    inner: File,
    done: u64,
    of: u64,
    progress: &'a mut ProgressSink<'b>,
}

impl Read for Reporting<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        (self.progress)(Progress::Bytes { done: self.done, of: Some(self.of) });
        Ok(count)
    }
}
