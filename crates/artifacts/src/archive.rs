//! Images as one stream: a tar of an OCI image layout, made while it is read.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;

use crate::Sha256;
use crate::oci;

/// Size in bytes of a tar block (POSIX.1-1988, ustar).
const BLOCK: u64 = 512;

/// A tar of an OCI image layout, to be read once from front to end. Nothing is held in memory but the part being read.
#[derive(Debug)]
pub struct ImageArchive {
    parts: VecDeque<Part>,
    size: u64,
}

#[derive(Debug)]
enum Part {
    Bytes(Cursor<Vec<u8>>),
    /// A file that is opened when its turn comes.
    Blob {
        path: PathBuf,
        size: u64,
    },
    Open {
        file: File,
        path: PathBuf,
        left: u64,
    },
}

impl ImageArchive {
    pub(crate) fn new(index: Vec<u8>, blobs: Vec<(Sha256, PathBuf, u64)>) -> ImageArchive {
        let mut archive = ImageArchive { parts: VecDeque::new(), size: 0 };
        archive.push_bytes("oci-layout", oci::LAYOUT.as_bytes().to_vec());
        archive.push_bytes("index.json", index);
        for (digest, path, size) in blobs {
            archive.push(&format!("blobs/sha256/{digest}"), size, Part::Blob { path, size });
        }
        // The end of a tar: two blocks of zeros.
        archive.pad(2 * BLOCK);
        archive
    }

    /// Size in bytes of the whole archive.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn push_bytes(&mut self, name: &str, bytes: Vec<u8>) {
        self.push(name, bytes.len() as u64, Part::Bytes(Cursor::new(bytes)));
    }

    #[expect(
        clippy::expect_used,
        reason = "names are oci-layout, index.json and blobs/sha256/ with 64 digits: none is too long for a header"
    )]
    fn push(&mut self, name: &str, size: u64, content: Part) {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).expect("a short relative path fits a tar header");
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        self.size += BLOCK + size;
        self.parts.push_back(Part::Bytes(Cursor::new(header.as_bytes().to_vec())));
        self.parts.push_back(content);
        self.pad(size.next_multiple_of(BLOCK) - size);
    }

    fn pad(&mut self, count: u64) {
        self.size += count;
        self.parts.push_back(Part::Bytes(Cursor::new(vec![0; count as usize])));
    }
}

impl Read for ImageArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = self.parts.front_mut() {
            let count = match part {
                Part::Bytes(bytes) => bytes.read(buffer)?,
                Part::Blob { path, size } => {
                    let file = File::open(&*path).map_err(|error| about(path, &error))?;
                    *part = Part::Open { file, path: std::mem::take(path), left: *size };
                    continue;
                }
                Part::Open { file, path, left } => {
                    let most = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let count = file.read(&mut buffer[..most]).map_err(|error| about(path, &error))?;
                    if count == 0 && *left > 0 && most > 0 {
                        let short = format!("{} is {left} bytes too short", path.display());
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
                    }
                    *left -= count as u64;
                    count
                }
            };
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.parts.pop_front();
        }
        Ok(0)
    }
}

fn about(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}
