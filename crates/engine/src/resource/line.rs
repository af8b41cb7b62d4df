//! One line of a file that others own.

use super::{Content, PathKind, PathProbe, Plan, Probe, Resource, Seen};
use crate::event::Change;
use crate::resource::file::unified;
use crate::script::sh;

/// A line in a file.
#[derive(Debug, Clone)]
pub struct Line {
    path: String,
    line: String,
}

/// The file holds this line; it is appended when it does not. The file must exist.
pub fn line(path: impl Into<String>, line: impl Into<String>) -> Line {
    Line { path: path.into(), line: line.into() }
}

impl Resource for Line {
    fn label(&self) -> String {
        format!("line in {}", self.path)
    }

    fn probe(&self) -> Probe {
        Probe {
            paths: vec![PathProbe { path: self.path.clone(), hash: false, content: Content::Yes }],
            script: None,
        }
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let state = seen
            .path(&self.path)
            .filter(|s| s.kind == PathKind::File)
            .ok_or_else(|| format!("{} is not there, and a line is wanted in it", self.path))?;
        let old = String::from_utf8_lossy(state.content.as_deref().unwrap_or_default()).into_owned();
        if old.lines().any(|l| l == self.line) {
            return Ok(Plan::nothing());
        }
        let separator = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
        let new = format!("{old}{separator}{}\n", self.line);
        let change = Change {
            resource: self.label(),
            what: format!("added: {}", self.line),
            diff: Some(unified(&self.path, &old, &new)),
        };
        // Looked at again, because a program that was long on its way may come after its own second attempt. A copy keeps
        // owner, mode and labels; the rename makes it all or nothing.
        let mend = r#"
! grep -qxF -e "$2" "$1" || exit 0
temporary=$(mktemp "${1%/*}/.muster.XXXXXX")
trap 'rm -f "$temporary"' EXIT
cp -p "$1" "$temporary"
[ -z "$(tail -c 1 "$temporary")" ] || echo >>"$temporary"
printf '%s\n' "$2" >>"$temporary"
sync "$temporary"
mv -f "$temporary" "$1""#;
        Ok(Plan {
            changes: vec![change],
            script: Some(sh(mend, [&self.path, &self.line])),
            uploads: Vec::new(),
        })
    }

    fn desired(&self) -> String {
        format!("{}: {}", self.label(), self.line)
    }
}
