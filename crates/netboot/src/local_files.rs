//! The folder of files that a configuration takes in, and contents as URLs.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The folder that `local` paths are relative to.
#[derive(Debug, Clone, Default)]
pub struct LocalFiles {
    /// `None` where none was named; then nothing may be taken in.
    pub dir: Option<PathBuf>,
}

impl LocalFiles {
    /// What a file holds.
    ///
    /// # Errors
    /// There is no folder, or the file cannot be read; in words for the user.
    pub(crate) fn read(&self, local: &str) -> Result<Vec<u8>, String> {
        let path = self.path(local)?;
        std::fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    }

    /// The same as a text.
    pub(crate) fn read_text(&self, local: &str) -> Result<String, String> {
        String::from_utf8(self.read(local)?).map_err(|_| format!("{local} is no text in UTF-8"))
    }

    /// Where a local path is.
    pub(crate) fn path(&self, local: &str) -> Result<PathBuf, String> {
        let dir = self.dir.as_ref().ok_or_else(|| {
            format!(
                "\"{local}\" is a local file, and the folder of local files was not named: --files-dir DIR"
            )
        })?;
        Ok(dir.join(local.trim_start_matches('/')))
    }

    /// Everything below a folder, in the order of names; folders before what is in them.
    pub(crate) fn tree(&self, local: &str) -> Result<Vec<PathBuf>, String> {
        let base = self.path(local)?;
        let mut found = Vec::new();
        walk(&base, Path::new(""), &mut found)
            .map_err(|error| format!("{} cannot be read as a folder: {error}", base.display()))?;
        Ok(found)
    }
}

fn walk(base: &Path, below: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut names: Vec<_> =
        base.join(below).read_dir()?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
    names.sort();
    for name in names {
        let path = below.join(name);
        let is_dir = base.join(&path).symlink_metadata()?.is_dir();
        found.push(path.clone());
        if is_dir {
            walk(base, &path, found)?;
        }
    }
    Ok(())
}

/// A content as a URL (RFC 2397): escaped, or in base64 where that is shorter.
pub(crate) fn data_url(content: &[u8]) -> String {
    let mut escaped = String::from("data:,");
    for &byte in content {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    let encoded = format!("data:;base64,{}", STANDARD.encode(content));
    if encoded.len() < escaped.len() { encoded } else { escaped }
}
