//! Files of the controller, of any size and with any bytes.

use std::fs::File;
use std::io;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use muster_artifacts::Sha256;

use super::removal::unlink;
use super::{
    Access, Bytes, Content, PathKind, PathProbe, Plan, Probe, Removable, Resource, Seen, Upload, with_access,
};
use crate::event::Change;
use crate::script::sh;
use crate::transport::blocking_input;

/// A regular file with the bytes of one on the controller. It is sent only where the bytes differ.
#[derive(Debug, Clone)]
pub struct LocalFile {
    path: String,
    source: PathBuf,
    sha256: String,
    size: u64,
    access: Access,
}

/// A file at `path` on the machine with the bytes of `source` on the controller, owned by root, mode 0644. Reads `source`
/// once, to know its hash.
///
/// # Errors
/// `source` cannot be read.
pub fn local_file(path: impl Into<String>, source: impl Into<PathBuf>) -> io::Result<LocalFile> {
    let source = source.into();
    let (sha256, size) = Sha256::of_reader(&mut File::open(&source)?)?;
    let sha256 = sha256.to_string();
    Ok(LocalFile { path: path.into(), source, sha256, size, access: Access::root(0o644) })
}

with_access!(LocalFile);

/// What arrived is copied, because a rename works within a file system only.
const PLACE: &str = concat!(
    include_str!("replace.sh"),
    r#"
arrived=$5
content() { cat "$arrived"; }
replace "$@"
rm -f "$arrived""#
);

/// The same bytes with another owner or mode: a copy takes its place, if it is still what was seen.
const ANEW: &str = concat!(
    include_str!("replace.sh"),
    r#"
path=$1 sha256=$5
content() {
  [ -f "../${path##*/}" ] && cat "../${path##*/}"
  echo "$sha256  new" | sha256sum -c >/dev/null 2>&1 || foul "$path"
}
replace "$@""#
);

impl Resource for LocalFile {
    fn label(&self) -> String {
        format!("file {}", self.path)
    }

    fn probe(&self) -> Probe {
        Probe {
            paths: vec![PathProbe { path: self.path.clone(), hash: true, content: Content::No }],
            script: None,
        }
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let (mut what, mut send) = (Vec::new(), true);
        match seen.path(&self.path) {
            None => what.push("created".to_owned()),
            Some(state) if state.kind == PathKind::Dir => {
                return Err(format!("{} is a directory, and a file is wanted there", self.path));
            }
            Some(state) => {
                if state.kind != PathKind::File {
                    what.push("replaced what was no regular file".to_owned());
                } else if state.sha256.as_deref() != Some(&self.sha256) {
                    what.push("content".to_owned());
                } else {
                    send = false;
                }
                what.extend(self.access.differences(state));
            }
        }
        if what.is_empty() {
            return Ok(Plan::nothing());
        }
        let bytes = Bytes::Sha256(self.sha256.clone());
        let Access { owner, group, .. } = &self.access;
        let from = if send { bytes.path() } else { self.sha256.clone() };
        let args = [&self.path, &self.access.mode_text(), owner, group, &from];
        let source = self.source.clone();
        let upload = Upload {
            name: self.source.display().to_string(),
            bytes,
            size: self.size,
            open: Arc::new(move |from| {
                let mut file = File::open(&source)?;
                file.seek(SeekFrom::Start(from))?;
                Ok(blocking_input(file))
            }),
        };
        Ok(Plan {
            changes: vec![Change {
                resource: self.label(),
                what: what.join(", "),
                diff: None,
                momentary: false,
            }],
            script: Some(sh(if send { PLACE } else { ANEW }, args)),
            uploads: send.then_some(upload).into_iter().collect(),
        })
    }

    fn desired(&self) -> String {
        format!("{}:{:?}:{}", self.label(), self.access, self.sha256)
    }
}

impl Removable for LocalFile {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        match seen.path(&self.path) {
            None => Ok(Plan::nothing()),
            Some(state) if state.kind == PathKind::Dir => {
                Err(format!("{} is a directory, and a file was to be removed", self.path))
            }
            Some(_) => Ok(unlink(self, &self.path, None)),
        }
    }
}
