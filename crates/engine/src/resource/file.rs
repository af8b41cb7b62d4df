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
}

/// A file owned by root, mode 0644, empty until [`File::content`] says otherwise.
pub fn file(path: impl Into<String>) -> File {
    File { path: path.into(), content: String::new(), access: Access::root(0o644), secret: false }
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
        let diff = (!self.secret && !is_same).then(|| {
            let old = state.and_then(|s| s.content.as_deref()).unwrap_or_default();
            unified(&self.path, &String::from_utf8_lossy(old), &self.content)
        });
        let script = sh(
            WRITE,
            [&self.path, &self.access.mode_text(), &self.access.owner, &self.access.group, &self.content],
        );
        let change = Change { resource: self.label(), what: what.join(", "), diff };
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
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::script::tests::shells;

    /// Whom the folder belongs to: nobody.
    const OTHER: u32 = 65534;

    fn program(path: &Path, text: &str) {
        fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Root writes into a folder of somebody else, who puts a link to a folder or a file of root's into the place of what
    /// is being made, at the moment when `moment` (a program) ends.
    #[test]
    fn whoever_owns_the_folder_leads_nobody_elsewhere() {
        for (shell, moment) in shells().iter().flat_map(|shell| [(shell, "mktemp"), (shell, "chmod")]) {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            for name in ["theirs", "ours", "bin"] {
                fs::create_dir(at(name)).unwrap();
            }
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            chown(at("theirs"), Some(OTHER), Some(OTHER)).unwrap();
            fs::write(at("ours/new"), "ours").unwrap();
            fs::set_permissions(at("ours/new"), fs::Permissions::from_mode(0o600)).unwrap();
            let swap =
                format!("for f in .muster.*; do mv $f away; ln -s {}/ours $f; done", folder.path().display());
            let swap = format!(
                "(cd {}/theirs && setpriv --reuid {OTHER} --clear-groups sh -c '{swap}')",
                folder.path().display()
            );
            program(
                &at("bin").join(moment),
                &format!("PATH=${{PATH#*:}}\n{moment} \"$@\" || exit\n{swap}\n"),
            );

            let wanted = file(at("theirs/text").to_str().unwrap()).content("text").mode(0o644);
            let script = wanted.plan(&Seen::default()).unwrap().script.unwrap().text();
            let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
            let ran = Command::new(shell[0])
                .args(&shell[1..])
                .args(["-euc", &script])
                .env("PATH", path)
                .output()
                .unwrap();

            assert!(at("theirs/away").exists(), "{shell:?} {moment}: nothing was put in its place; {ran:?}");
            assert_eq!(fs::read_to_string(at("ours/new")).unwrap(), "ours", "{shell:?} {moment}");
            assert_eq!(
                fs::metadata(at("ours/new")).unwrap().permissions().mode() & 0o777,
                0o600,
                "{shell:?} {moment}"
            );
            assert_eq!(fs::read_dir(at("ours")).unwrap().count(), 1, "{shell:?} {moment}");
            if ran.status.success() {
                assert_eq!(fs::read_to_string(at("theirs/text")).unwrap(), "text", "{shell:?} {moment}");
            } else {
                assert!(String::from_utf8_lossy(&ran.stderr).contains("somebody has put"), "{ran:?}");
            }
        }
    }
}
