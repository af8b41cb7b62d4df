//! One line of a file that others own.

use super::{Content, PathKind, PathProbe, PathState, Plan, Probe, Removable, Resource, Seen};
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

impl Line {
    /// What the file holds.
    fn text(&self, state: &PathState) -> Result<String, String> {
        let content =
            state.content.as_deref().ok_or_else(|| format!("{} is too large to be edited", self.path))?;
        Ok(String::from_utf8_lossy(content).into_owned())
    }

    fn plan_edit(&self, what: &str, old: &str, new: &str, script: &'static str) -> Plan {
        let change = Change {
            resource: self.label(),
            what: format!("{what}: {}", self.line),
            diff: Some(unified(&self.path, old, new)),
            momentary: false,
        };
        let script = sh(script, [&self.path, &self.line]);
        Plan { changes: vec![change], script: Some(script), uploads: Vec::new() }
    }
}

/// Looks again, because a program that was long on its way may come after its own second attempt. A copy keeps owner, mode
/// and labels; the rename makes it all or nothing.
const ADD: &str = r#"
file=$1 line=$2
! grep -qxF -e "$line" "$file" || exit 0
temporary=$(mktemp "${file%/*}/.muster.XXXXXX")
trap 'rm -f "$temporary"' EXIT
cp -p "$file" "$temporary"
[ -z "$(tail -c 1 "$temporary")" ] || echo >>"$temporary"
printf '%s\n' "$line" >>"$temporary"
sync "$temporary"
mv -f "$temporary" "$file""#;

/// The same the other way round. The file stays, also when nothing is left in it: then grep says 1.
const TAKE_OUT: &str = r#"
file=$1 line=$2
temporary=$(mktemp "${file%/*}/.muster.XXXXXX")
trap 'rm -f "$temporary"' EXIT
cp -p "$file" "$temporary"
grep -vxF -e "$line" "$file" >"$temporary" || [ $? = 1 ]
sync "$temporary"
mv -f "$temporary" "$file""#;

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
        let old = self.text(state)?;
        if old.lines().any(|l| l == self.line) {
            return Ok(Plan::nothing());
        }
        let separator = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
        let new = format!("{old}{separator}{}\n", self.line);
        Ok(self.plan_edit("added", &old, &new, ADD))
    }

    fn desired(&self) -> String {
        format!("{}: {}", self.label(), self.line)
    }
}

impl Removable for Line {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        let Some(state) = seen.path(&self.path) else { return Ok(Plan::nothing()) };
        if state.kind != PathKind::File {
            return Err(format!("{} is no file, and a line was to be taken out of it", self.path));
        }
        let old = self.text(state)?;
        if !old.lines().any(|line| line == self.line) {
            return Ok(Plan::nothing());
        }
        let kept = old.lines().filter(|line| *line != self.line);
        let new: String = kept.map(|line| format!("{line}\n")).collect();
        Ok(self.plan_edit("removed", &old, &new, TAKE_OUT))
    }
}
