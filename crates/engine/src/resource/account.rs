//! System users and groups.

use super::{Plan, Probe, Resource, Seen};
use crate::script::sh;

/// A system group.
#[derive(Debug, Clone)]
pub struct Group {
    name: String,
}

/// A system group of this name.
pub fn group(name: impl Into<String>) -> Group {
    Group { name: name.into() }
}

impl Resource for Group {
    fn label(&self) -> String {
        format!("group {}", self.name)
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(r#"grep "^$1:" /etc/group"#, [&self.name]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        if seen.answer().status == 0 {
            return Ok(Plan::nothing());
        }
        // Alpine and other small systems have addgroup only.
        let mend = r#"if command -v groupadd; then groupadd --system "$1"; else addgroup -S "$1"; fi"#;
        Ok(Plan::change(self, "created", sh(mend, [&self.name])))
    }

    fn desired(&self) -> String {
        self.label()
    }
}

/// A system user that nobody logs in as.
#[derive(Debug, Clone)]
pub struct User {
    name: String,
    group: String,
    home: String,
}

/// A system user with a group of the same name, no shell, and no home directory of its own.
pub fn user(name: impl Into<String>) -> User {
    let name = name.into();
    User { group: name.clone(), name, home: "/nonexistent".into() }
}

impl User {
    /// The primary group, which must exist.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// What the account names as its home directory. It is not created.
    pub fn home(mut self, home: impl Into<String>) -> Self {
        self.home = home.into();
        self
    }
}

impl Resource for User {
    fn label(&self) -> String {
        format!("user {}", self.name)
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(r#"grep "^$1:" /etc/passwd"#, [&self.name]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        if seen.answer().status == 0 {
            return Ok(Plan::nothing());
        }
        let mend = r#"
shell=/bin/false
[ ! -x /usr/sbin/nologin ] || shell=/usr/sbin/nologin
if command -v useradd; then
  grep -q "^$2:" /etc/group || groupadd --system "$2"
  useradd --system --gid "$2" --home-dir "$3" --no-create-home --shell "$shell" "$1"
else
  grep -q "^$2:" /etc/group || addgroup -S "$2"
  adduser -S -D -H -G "$2" -h "$3" -s "$shell" "$1"
fi"#;
        Ok(Plan::change(self, "created", sh(mend, [&self.name, &self.group, &self.home])))
    }

    fn desired(&self) -> String {
        self.label()
    }
}
