//! What a file has to be to be a snapshot of etcd.
//!
//! `etcdctl snapshot save` writes the database, whose size is a multiple of 512 bytes, and after it the SHA-256 of all of that
//! (etcd: client/v3/snapshot/v3_snapshot.go). The database is one of bbolt, which its first page says at byte 16 (bbolt:
//! internal/common/meta.go).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use muster_artifacts::Sha256;

/// What bbolt's first page has after its header, in the byte order of the machine: all that Kubernetes runs on are little-endian.
const MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();

/// Where the magic number stands.
const MAGIC_AT: u64 = 16;

/// The size of a SHA-256.
const HASH: u64 = 32;

/// A file that was found to be a whole snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The SHA-256 of the whole file, in hex.
    pub sha256: String,
    /// Its size, in bytes.
    pub size: u64,
}

impl SnapshotFile {
    /// Reads a file, and finds out whether it is a whole snapshot; if not, why not, as the end of a sentence.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> io::Result<Result<Self, &'static str>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut magic = [0; 4];
        if size > MAGIC_AT + 4 {
            file.seek(SeekFrom::Start(MAGIC_AT))?;
            file.read_exact(&mut magic)?;
        }
        if magic != MAGIC {
            return Ok(Err("it is no database of etcd"));
        }
        match size % 512 {
            HASH => {}
            0 => {
                return Ok(Err(
                    "it is a copy of a member's database, and no snapshot: it has no hash at its end",
                ));
            }
            _ => return Ok(Err("it is cut off: its size is not that of a whole snapshot")),
        }
        file.rewind()?;
        let (content, _) = Sha256::of_reader(&mut (&mut file).take(size - HASH))?;
        let mut hash = [0; HASH as usize];
        file.read_exact(&mut hash)?;
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        if content.to_string() != hash {
            return Ok(Err("it is damaged: its content does not have the hash that stands at its end"));
        }
        file.rewind()?;
        let (sha256, size) = Sha256::of_reader(&mut file)?;
        Ok(Ok(Self { sha256: sha256.to_string(), size }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The bytes of a file that counts as a snapshot.
    pub(crate) fn snapshot(content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[16..20].copy_from_slice(&MAGIC);
        bytes[100..100 + content.len()].copy_from_slice(content);
        let hash = Sha256::of(&bytes).to_string();
        bytes.extend((0..64).step_by(2).map(|at| u8::from_str_radix(&hash[at..at + 2], 16).unwrap()));
        bytes
    }

    #[test]
    fn only_a_whole_snapshot_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            SnapshotFile::read(&path).unwrap()
        };
        let whole = snapshot(b"objects");
        assert_eq!(read(&whole).unwrap().size, 1056);
        let refused = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(refused(b"").contains("no database"));
        assert!(refused(b"apiVersion: v1\nkind: Secret\nand more\n").contains("no database"));
        assert!(refused(&whole[..1024]).contains("no snapshot"));
        assert!(refused(&whole[..1000]).contains("cut off"));
        let mut damaged = whole.clone();
        damaged[500] ^= 1;
        assert!(refused(&damaged).contains("damaged"));
    }
}
