//! Symbolic links.

use super::removal::unlink;
use super::{PathKind, Plan, Probe, Removable, Resource, Seen};
use crate::script::sh;

/// A symbolic link.
#[derive(Debug, Clone)]
pub struct Link {
    path: String,
    target: String,
}

/// A symbolic link at `path` that points to `target`. Another link or a file there is replaced, a directory is not.
pub fn link(path: impl Into<String>, target: impl Into<String>) -> Link {
    Link { path: path.into(), target: target.into() }
}

impl Resource for Link {
    fn label(&self) -> String {
        format!("link {}", self.path)
    }

    fn probe(&self) -> Probe {
        Probe::path(&self.path)
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let what = match seen.path(&self.path) {
            None => format!("created, to {}", self.target),
            Some(state) if state.kind == PathKind::Dir => {
                return Err(format!("{} is a directory, and a link is wanted there", self.path));
            }
            Some(state) => match &state.target {
                Some(target) if *target == self.target => return Ok(Plan::nothing()),
                Some(target) => format!("{target} -> {}", self.target),
                None => format!("replaced a file by a link to {}", self.target),
            },
        };
        // A link cannot be overwritten in one step; a new one is renamed over it instead.
        let mend = r#"
mkdir -p "${1%/*}"
rm -f "$1.muster"
ln -s "$2" "$1.muster"
mv -f -T "$1.muster" "$1" 2>/dev/null || mv -f "$1.muster" "$1""#;
        Ok(Plan::change(self, what, sh(mend, [&self.path, &self.target])))
    }

    fn desired(&self) -> String {
        format!("{} -> {}", self.label(), self.target)
    }
}

impl Removable for Link {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        match seen.path(&self.path) {
            None => Ok(Plan::nothing()),
            Some(state) if state.kind == PathKind::Link => Ok(unlink(self, &self.path, None)),
            Some(_) => Err(format!("{} is no link, and a link was to be removed", self.path)),
        }
    }
}
