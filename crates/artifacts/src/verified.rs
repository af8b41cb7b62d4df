//! Which files of a bundle were found sound, so that not every run reads hundreds of megabytes.
//!
//! `verified.json` beside the manifest holds, for each file that was hashed, the size, the time of change and the inode
//! that it had. Whoever changes a file changes one of them. A record that cannot be read or written only costs time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use muster_files::write_whole;

use crate::check::{open, same};
use crate::{Bundle, BundleError, Damage, Release, Sha256};

/// A file of the bundle that a release needs.
struct Needed {
    artifact: String,
    path: PathBuf,
    size: u64,
    sha256: Sha256,
}

impl Bundle {
    /// What is damaged among the files that a release needs: the stored bytes against their digests. Files that were found
    /// sound before, and were not touched since, are not read again. What the bundle lacks is no damage
    /// ([`Bundle::missing_of`]).
    ///
    /// # Errors
    /// An image's manifest cannot be read.
    pub fn damage_of(&self, release: &Release) -> Result<Vec<Damage>, BundleError> {
        let record = self.dir.join("verified.json");
        let mut verified: BTreeMap<String, String> = fs::read_to_string(&record)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let before = verified.clone();
        let mut damage = Vec::new();
        for needed in self.needed_by(release)? {
            let key = needed.path.strip_prefix(&self.dir).unwrap_or(&needed.path).display().to_string();
            let state = state(&needed.path, needed.sha256);
            if state.is_some() && state.as_ref() == verified.get(&key) {
                continue;
            }
            let checked = open(&needed.path, needed.size).and_then(|mut file| {
                let hashed = Sha256::of_reader(&mut file);
                same(hashed.map_err(|error| format!("cannot be read: {error}"))?.0, needed.sha256)
            });
            match (checked, state) {
                (Ok(()), Some(state)) => drop(verified.insert(key, state)),
                (Ok(()), None) => {}
                (Err(problem), _) => {
                    verified.remove(&key);
                    damage.push(Damage { path: needed.path, artifact: needed.artifact, problem });
                }
            }
        }
        if verified != before {
            remember(&record, &verified);
        }
        Ok(damage)
    }

    fn needed_by(&self, release: &Release) -> Result<Vec<Needed>, BundleError> {
        let mut needed = Vec::new();
        for file in &release.files {
            let Ok(entry) = self.file(&file.name, &file.version, file.arch) else { continue };
            needed.push(Needed {
                artifact: format!("{} {}", entry.name, entry.version),
                path: self.path(entry),
                size: entry.stored.size,
                sha256: entry.stored.sha256,
            });
        }
        for image in &release.images {
            let Ok(entry) = self.image(&image.reference.to_string(), release.arch) else { continue };
            let (manifest, _) = self.image_manifest(entry)?;
            for blob in manifest.blobs() {
                let sha256 = self.digest_of(entry, blob)?;
                let (artifact, path) = (entry.reference.to_string(), self.blob_path(sha256));
                needed.push(Needed { artifact, path, size: blob.size, sha256 });
            }
        }
        Ok(needed)
    }
}

/// What is remembered of a file, `None` when it is not there.
fn state(path: &Path, sha256: Sha256) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    Some(format!("{sha256} {} {}.{:09} {}", meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

/// Written whole or not at all, because another run may read it now. A bundle that cannot be written is read each time.
fn remember(record: &Path, verified: &BTreeMap<String, String>) {
    if let Ok(text) = serde_json::to_vec(verified) {
        write_whole(record, None, &mut text.as_slice()).ok();
    }
}
