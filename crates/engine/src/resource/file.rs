//! Files with a given content.

use sha2::{Digest, Sha256};
use similar::TextDiff;

use super::removal::unlink;
use super::{Access, Content, PathKind, PathProbe, Plan, Probe, Removable, Resource, Seen, with_access};
use crate::event::Change;
use crate::script::sh;

/// A regular file with a given text.
#[derive(Debug, Clone)]
pub struct File {
    path: String,
    content: String,
    access: Access,
    secret: bool,
    shown: bool,
    check: Option<&'static str>,
    /// Whether one that is there stays as it is.
    only_missing: bool,
}

/// A file owned by root, mode 0644, empty until [`File::content`] says otherwise.
pub fn file(path: impl Into<String>) -> File {
    let access = Access::root(0o644);
    File {
        path: path.into(),
        content: String::new(),
        access,
        secret: false,
        shown: false,
        check: None,
        only_missing: false,
    }
}

impl File {
    /// The whole content. Text: big or binary files are artifacts.
    pub fn content(mut self, content: impl Into<String>) -> Self {
        self.content = content.into();
        self
    }

    /// The whole content, which must never be shown: mode 0600 unless said otherwise, no diffs.
    pub fn secret(mut self, content: impl Into<String>) -> Self {
        self.content = content.into();
        self.secret = true;
        self.access.mode = 0o600;
        self
    }

    /// What is at this path is no secret, now and before, though nobody but its owner may read it: differences are shown.
    pub fn shown(mut self) -> Self {
        self.shown = true;
        self
    }

    /// A program for sh that says whether the content, which it reads from its standard input, is good. Where it fails, the file
    /// stays as it was.
    pub fn taken_by(mut self, check: &'static str) -> Self {
        self.check = Some(check);
        self
    }

    /// A file that is there stays as it is, whatever it holds.
    pub fn unless_there(mut self) -> Self {
        self.only_missing = true;
        self
    }
}

with_access!(File);

/// By way of cat, which says why it cannot write; the shell's own printf says "I/O error" when the disk is full.
const WRITE: &str = concat!(
    include_str!("replace.sh"),
    r#"
text=$5
content() { printf '%s' "$text" | cat; }
replace "$@""#
);

/// The same of what a program takes.
const WRITE_TAKEN: &str = concat!(
    include_str!("replace.sh"),
    r#"
text=$5 check=$6
content() { printf '%s' "$text" | cat; }
content | (eval "$check")
replace "$@""#
);

impl Resource for File {
    fn label(&self) -> String {
        format!("file {}", self.path)
    }

    fn probe(&self) -> Probe {
        let content =
            if self.secret { Content::No } else { Content::Unless(sha256(self.content.as_bytes())) };
        Probe { paths: vec![PathProbe { path: self.path.clone(), hash: true, content }], script: None }
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let state = seen.path(&self.path);
        let mut what = Vec::new();
        let is_same = state.is_some_and(|s| s.sha256.as_deref() == Some(&sha256(self.content.as_bytes())));
        match state {
            None => what.push("created".to_owned()),
            Some(state) if state.kind == PathKind::Dir => {
                return Err(format!("{} is a directory, and a file is wanted there", self.path));
            }
            Some(_) if self.only_missing => return Ok(Plan::nothing()),
            Some(state) => {
                if state.kind != PathKind::File {
                    what.push("replaced what was no regular file".to_owned());
                } else if !is_same {
                    what.push("content".to_owned());
                }
                what.extend(self.access.differences(state));
            }
        }
        if what.is_empty() {
            return Ok(Plan::nothing());
        }
        // What nobody but its owner may read may be a secret, also where its successor is none.
        let was_secret = !self.shown && state.is_some_and(|state| state.mode & 0o077 == 0);
        let diff = (!self.secret && !was_secret && !is_same).then(|| {
            let old = state.and_then(|s| s.content.as_deref()).unwrap_or_default();
            unified(&self.path, &String::from_utf8_lossy(old), &self.content)
        });
        let mode = self.access.mode_text();
        let args = [&self.path, &mode, &self.access.owner, &self.access.group, &self.content];
        let args = args.into_iter().map(String::as_str);
        let script = match self.check {
            None => sh(WRITE, args),
            Some(check) => sh(WRITE_TAKEN, args.chain([check])),
        };
        let change = Change { resource: self.label(), what: what.join(", "), diff, momentary: false };
        Ok(Plan { changes: vec![change], script: Some(script), uploads: Vec::new() })
    }

    fn desired(&self) -> String {
        format!("{}:{:?}:{}", self.label(), self.access, sha256(self.content.as_bytes()))
    }
}

impl Removable for File {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        let Some(state) = seen.path(&self.path) else { return Ok(Plan::nothing()) };
        if state.kind == PathKind::Dir {
            return Err(format!("{} is a directory, and a file was to be removed", self.path));
        }
        // What nobody but its owner may read may be a secret, whoever wrote it.
        let shown = state.kind == PathKind::File && !self.secret && state.mode & 0o077 != 0;
        let is_same = state.sha256.as_deref() == Some(&sha256(self.content.as_bytes()));
        let old = if is_same { Some(self.content.as_bytes()) } else { state.content.as_deref() };
        let diff = old.filter(|old| shown && !old.is_empty());
        let diff = diff.map(|old| unified(&self.path, &String::from_utf8_lossy(old), ""));
        Ok(unlink(self, &self.path, diff))
    }
}

/// The sha256 of some bytes, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A unified diff with the machine's path on both sides.
pub fn unified(path: &str, old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new).unified_diff().context_radius(2).header(path, path).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::PathState;
    use super::*;

    #[test]
    fn one_that_is_only_to_be_there_stays_as_it_is() {
        let other = PathState {
            kind: PathKind::File,
            mode: 0o600,
            owner: "root".into(),
            group: "root".into(),
            size: 3,
            mtime: 0,
            inode: 1,
            sha256: Some("another one".into()),
            content: None,
            target: None,
        };
        let seen = Seen { paths: Arc::new(BTreeMap::from([("/x".to_owned(), other)])), answer: None };
        let changes = |file: File, seen: &Seen| file.plan(seen).unwrap().changes.len();
        let wanted = || file("/x").content("new");
        assert_eq!((changes(wanted(), &seen), changes(wanted().unless_there(), &seen)), (1, 0));
        assert_eq!(changes(wanted().unless_there(), &Seen::default()), 1);
    }
}
