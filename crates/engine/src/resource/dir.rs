//! Directories.

use super::{Access, PathKind, Plan, Probe, Resource, Seen, with_access};
use crate::script::sh;

/// A directory.
#[derive(Debug, Clone)]
pub struct Dir {
    path: String,
    access: Access,
}

/// A directory owned by root, mode 0755. Missing parents are made too, with mode 0755.
pub fn dir(path: impl Into<String>) -> Dir {
    Dir { path: path.into(), access: Access::root(0o755) }
}

with_access!(Dir);

impl Resource for Dir {
    fn label(&self) -> String {
        format!("directory {}", self.path)
    }

    fn probe(&self) -> Probe {
        Probe::path(&self.path)
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let what = match seen.path(&self.path) {
            None => vec!["created".to_owned()],
            Some(state) if state.kind == PathKind::Dir => self.access.differences(state),
            Some(_) => return Err(format!("{} is there, and is no directory", self.path)),
        };
        if what.is_empty() {
            return Ok(Plan::nothing());
        }
        let mend = r#"
mkdir -p "$1"
chown "$3:$4" "$1"
chmod "$2" "$1""#;
        let script = sh(mend, [&self.path, &self.access.mode_text(), &self.access.owner, &self.access.group]);
        Ok(Plan::change(self, what.join(", "), script))
    }

    fn desired(&self) -> String {
        format!("{}:{:?}", self.label(), self.access)
    }
}
