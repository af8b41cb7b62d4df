//! The rendered folder over HTTP.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use muster_artifacts::http_server::{Answer, Body, Site, plain};

/// A folder that is served. What leads out of it is not.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// The path of its URL, without a slash at the end.
    below: String,
}

impl Folder {
    /// Serves a folder below the path of a URL, which is empty or begins with a slash.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn new(root: &Path, below: &str) -> io::Result<Self> {
        Ok(Self { root: root.canonicalize()?, below: below.trim_end_matches('/').to_owned() })
    }

    /// The path in the folder that somebody asks for; none where it cannot be one.
    pub fn path_of(&self, target: &str) -> Option<String> {
        let path = target.split(['?', '#']).next()?.strip_prefix(&self.below)?.strip_prefix('/')?;
        let path = decoded(path)?;
        let is_plain = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
        (is_plain && !path.is_empty()).then_some(path)
    }

    fn open(&self, path: &str) -> io::Result<Answer> {
        let found = self.root.join(path).canonicalize()?;
        if !found.starts_with(&self.root) {
            return Ok(plain(403, "this leads out of the folder\n"));
        }
        if !fs::metadata(&found)?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = File::open(&found)?;
        let size = file.metadata()?.len();
        let content_type = match found.extension().and_then(|ending| ending.to_str()) {
            Some("ipxe") => "text/plain; charset=utf-8",
            Some("ign") => "application/json",
            _ => "application/octet-stream",
        };
        Ok(Answer {
            status: 200,
            content_type,
            headers: Vec::new(),
            body: Body::Stream(Box::new(file), size),
        })
    }
}

impl Site for Folder {
    fn answer(&self, target: &str) -> Answer {
        let Some(path) = self.path_of(target) else { return plain(404, "there is no such file\n") };
        match self.open(&path) {
            Ok(answer) => answer,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                plain(404, "there is no such file\n")
            }
            Err(error) => plain(500, &format!("{error}\n")),
        }
    }
}

/// A path with its `%XX` as the characters that they mean (RFC 3986, section 2.1).
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_served_and_what_is_outside_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let www = dir.path().join("www");
        fs::create_dir_all(www.join("images")).unwrap();
        fs::write(www.join("images/a b"), "four").unwrap();
        fs::write(dir.path().join("secret"), "no").unwrap();
        std::os::unix::fs::symlink("../secret", www.join("link")).unwrap();
        std::os::unix::fs::symlink("images", www.join("inside")).unwrap();
        let folder = Folder::new(&www, "/boot/").unwrap();
        let status = |target: &str| folder.answer(target).status;
        assert_eq!(status("/boot/images/a%20b?x=1"), 200);
        assert_eq!(status("/boot/inside/a%20b"), 200);
        let Body::Stream(_, size) = folder.answer("/boot/images/a%20b").body else { panic!("no file") };
        assert_eq!(size, 4);
        assert_eq!(status("/boot/link"), 403);
        for target in [
            "/images/a%20b",
            "/boot",
            "/boot/",
            "/boot/images",
            "/boot/images/a%20b/c",
            "/boot/../secret",
            "/boot/%2e%2e/secret",
            "/boot//etc/passwd",
            "/boot/%2fetc/passwd",
            "/boot/x%0",
            "/boot/x%00",
            "/bootimages/a%20b",
        ] {
            assert_eq!(status(target), 404, "{target}");
        }
    }
}
