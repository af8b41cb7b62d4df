//! Packages of the operating system.

use super::{Plan, Probe, Resource, Seen};
use crate::script::sh;

/// A tool, and the package that brings it where it is missing.
#[derive(Debug, Clone)]
pub struct Package {
    tool: String,
    name: String,
    lock_timeout: u32,
}

/// The command `tool` is there; where it is not, the package `name` is installed with the system's package manager.
/// The tool is what is checked, because images without a package manager may have it all the same.
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
}

impl Resource for Package {
    fn label(&self) -> String {
        format!("package {}", self.name)
    }

    fn probe(&self) -> Probe {
        // A machine that lost its power in the middle has the tool, and dpkg knows that it is not done with its package.
        // It is asked only where some package is in such a state, because that takes it 20 ms.
        Probe::script(sh(
            r#"
unfinished() {
  [ -e /var/lib/dpkg/updates/0000 ] || grep -q '^Status: .* \(unpacked\|half-.*\)$' /var/lib/dpkg/status || return 1
  case $(dpkg-query -W -f '${db:Status-Status}' "$1") in unpacked | half-*) ;; *) return 1 ;; esac
} 2>/dev/null
command -v "$1" && ! unfinished "$2" && exit 0
for m in apt-get dnf yum zypper apk; do ! command -v $m || exit 1; done
exit 2"#,
            [&self.tool, &self.name],
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
        // While apt waits for a lock it says each second who holds it. The lists are fetched only when the package is not
        // known yet, and before that what an interrupted dpkg has left is finished.
        let mend = r#"
if command -v apt-get; then
  export DEBIAN_FRONTEND=noninteractive
  apt() { apt-get -y -o DPkg::Lock::Timeout="$lock_timeout" -o Dpkg::Use-Pty=0 "$@"; }
  package=$1 lock_timeout=$2
  apt install --no-install-recommends "$package" || {
    dpkg --configure -a || {
      echo "dpkg cannot go on: wait for who holds its lock, or end it; mend the package that it names; then run this again" >&2
      exit 1
    }
    apt update
    apt install --no-install-recommends "$package"
  }
elif command -v dnf; then dnf install -y "$1"
elif command -v yum; then yum install -y "$1"
elif command -v zypper; then zypper --non-interactive install "$1"
else apk add "$1"
fi"#;
        Ok(Plan::change(self, "installed", sh(mend, [&self.name, &self.lock_timeout.to_string()])))
    }

    fn desired(&self) -> String {
        self.label()
    }

    fn takes_long(&self) -> bool {
        true
    }
}
