//! Packages of the operating system.

use super::{Plan, Probe, Removable, Resource, STAMPS, Seen};
use crate::script::{Script, sh};

/// A tool, and the package that brings it where it is missing.
#[derive(Debug, Clone)]
pub struct Package {
    tool: String,
    name: String,
    lock_timeout: u32,
}

/// The command `tool` is there; where it is not, the package `name` is installed with the system's package manager.
/// The tool is what is checked, because images without a package manager may have it all the same. Removed is only a package
/// that was installed this way, and that no other package needs.
pub fn package(tool: impl Into<String>, name: impl Into<String>) -> Package {
    Package { tool: tool.into(), name: name.into(), lock_timeout: 300 }
}

impl Package {
    /// How many seconds apt waits for others who install packages (unattended-upgrades after a machine's first start);
    /// 300 unless said otherwise.
    pub fn lock_timeout(mut self, seconds: u32) -> Self {
        self.lock_timeout = seconds;
        self
    }

    /// Where the machine remembers that the package was not there before.
    fn stamp(&self) -> String {
        format!("{STAMPS}/package/{}", self.name)
    }

    fn script(&self, text: &'static str) -> Script {
        sh(text, [self.name.clone(), self.stamp(), self.lock_timeout.to_string()])
    }
}

const INSTALL: &str = concat!(include_str!("package.sh"), "install");
const REMOVE: &str = concat!(include_str!("package.sh"), "remove");

/// Whether the tool is there: 0, 1, or 2 where nothing can install it. The first line tells whether the package is ours.
/// A machine that lost its power in the middle has the tool, and dpkg knows that it is not done with its package. It is
/// asked only where some package is in such a state, because that takes it 20 ms.
const LOOK: &str = r#"
tool=$1 package=$2 stamp=$3
unfinished() {
  [ -e /var/lib/dpkg/updates/0000 ] || grep -q '^Status: .* \(unpacked\|half-.*\)$' /var/lib/dpkg/status || return 1
  case $(dpkg-query -W -f '${db:Status-Status}' "$package") in unpacked | half-*) ;; *) return 1 ;; esac
} 2>/dev/null
[ ! -e "$stamp" ] || echo installed by muster
command -v "$tool" && ! unfinished && exit 0
for m in apt-get dnf yum zypper apk; do ! command -v $m || exit 1; done
exit 2"#;

impl Resource for Package {
    fn label(&self) -> String {
        format!("package {}", self.name)
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(LOOK, [self.tool.clone(), self.name.clone(), self.stamp()]))
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
        Ok(Plan::change(self, "installed", self.script(INSTALL)))
    }

    fn desired(&self) -> String {
        self.label()
    }

    fn takes_long(&self) -> bool {
        true
    }
}

impl Removable for Package {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        if !seen.answer().output.starts_with("installed by muster\n") {
            return Ok(Plan::nothing());
        }
        Ok(Plan::change(self, "removed, unless other packages need it", self.script(REMOVE)))
    }
}
