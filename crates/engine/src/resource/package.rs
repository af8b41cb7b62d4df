//! Packages of the operating system.

use super::{Plan, Probe, Resource, Seen};
use crate::script::sh;

/// A tool, and the package that brings it where it is missing.
#[derive(Debug, Clone)]
pub struct Package {
    tool: String,
    name: String,
}

/// The command `tool` is there; where it is not, the package `name` is installed with the system's package manager.
/// The tool is what is checked, because images without a package manager may have it all the same.
pub fn package(tool: impl Into<String>, name: impl Into<String>) -> Package {
    Package { tool: tool.into(), name: name.into() }
}

impl Resource for Package {
    fn label(&self) -> String {
        format!("package {}", self.name)
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(
            r#"command -v "$1" && exit 0
for m in apt-get dnf yum zypper apk; do ! command -v $m || exit 1; done
exit 2"#,
            [&self.tool],
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        match seen.answer().status {
            0 => return Ok(Plan::nothing()),
            2 => {
                return Err(format!(
                    "{} is missing and there is no package manager: put it into the machine's image",
                    self.tool
                ));
            }
            _ => {}
        }
        // The lists are fetched only when the package is not known yet; locks held by others are waited for.
        let mend = r#"
if command -v apt-get; then
  export DEBIAN_FRONTEND=noninteractive
  install() { apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$1"; }
  install "$1" || { dpkg --configure -a; apt-get update -o DPkg::Lock::Timeout=120; install "$1"; }
elif command -v dnf; then dnf install -y "$1"
elif command -v yum; then yum install -y "$1"
elif command -v zypper; then zypper --non-interactive install "$1"
else apk add "$1"
fi"#;
        Ok(Plan::change(self, "installed", sh(mend, [&self.name])))
    }

    fn desired(&self) -> String {
        self.label()
    }

    fn takes_long(&self) -> bool {
        true
    }
}
