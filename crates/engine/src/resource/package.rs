//! Packages of the operating system.

use super::{Plan, Probe, Removable, Resource, STAMPS, Seen};
use crate::script::{Script, sh};

/// A tool (or a file, by its path), and the package that brings it where it is missing.
#[derive(Debug, Clone)]
pub struct Package {
    tool: String,
    name: String,
    lock_timeout: u32,
    proxy: Proxy,
}

/// The proxies of a package manager: the values of `http_proxy`, `https_proxy` and `no_proxy`. What is empty is not set.
#[derive(Debug, Clone, Default)]
pub struct Proxy {
    /// For addresses with `http:`.
    pub http: String,
    /// For addresses with `https:`.
    pub https: String,
    /// What is reached without one, separated by commas.
    pub none: String,
}

/// The command `tool` is there, or the file of this path; where it is not, the package `name` is installed with the system's package
/// manager. The tool is what is checked, because images without a package manager may have it all the same. Removed is only a package
/// that was installed this way, and that no other package needs.
pub fn package(tool: impl Into<String>, name: impl Into<String>) -> Package {
    Package { tool: tool.into(), name: name.into(), lock_timeout: 300, proxy: Proxy::default() }
}

impl Package {
    /// How many seconds apt waits for others who install packages (unattended-upgrades after a machine's first start);
    /// 300 unless said otherwise.
    pub fn lock_timeout(mut self, seconds: u32) -> Self {
        self.lock_timeout = seconds;
        self
    }

    /// Through which proxies the package manager reaches its repositories. Of the environment of a login it sees nothing.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// Where the machine remembers that the package was not there before.
    fn stamp(&self) -> String {
        format!("{STAMPS}/package/{}", self.name)
    }

    fn script(&self, text: &'static str) -> Script {
        let Proxy { http, https, none } = self.proxy.clone();
        sh(text, [self.name.clone(), self.stamp(), self.lock_timeout.to_string(), http, https, none])
    }
}

const INSTALL: &str = concat!(include_str!("package.sh"), "install");
const REMOVE: &str = concat!(include_str!("package.sh"), "remove");

/// Whether the tool is there: 0, 1, or 2 where nothing can install it. The first line tells whether the package is ours.
/// A machine that lost its power in the middle has the tool, and dpkg knows that it is not done with its package. It is
/// asked only where some package is in such a state, because that takes it 20 ms.
const LOOK: &str = r#"
tool=$1 package=$2 stamp=$3
is_here() { case $tool in /*) [ -e "$tool" ] ;; *) command -v "$tool" ;; esac; }
unfinished() {
  [ -e /var/lib/dpkg/updates/0000 ] || grep -q '^Status: .* \(unpacked\|half-.*\)$' /var/lib/dpkg/status || return 1
  case $(dpkg-query -W -f '${db:Status-Status}' "$package") in unpacked | half-*) ;; *) return 1 ;; esac
} 2>/dev/null
[ ! -e "$stamp" ] || echo installed by muster
is_here && ! unfinished && exit 0
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// A machine whose package manager does this, and is asked for a package through a proxy; returns whether it went well, and what a
    /// file of this name holds afterwards.
    fn installed(manager: &str) -> (bool, impl Fn(&str) -> Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        // A package is there when the manager says so.
        for (name, text) in [("apt-get", manager), ("dpkg-query", "cat there"), ("dpkg", "exit 0")] {
            fs::write(at(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let proxy =
            Proxy { http: "http://192.0.2.1:3128".into(), none: "192.0.2.9".into(), ..Proxy::default() };
        let wanted = package("no-such-tool", "no-such-package").proxy(proxy);
        let script =
            format!("set -eu\n{}", wanted.script(INSTALL).text().replace(&wanted.stamp(), &at("stamp")));
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut dash = Command::new("dash");
        let status =
            dash.env("PATH", path).args(["-c", &script]).current_dir(folder.path()).status().unwrap();
        (status.success(), move |name: &str| fs::read_to_string(folder.path().join(name)).ok())
    }

    #[test]
    fn the_package_manager_gets_the_proxies_that_it_is_given_and_no_others() {
        let (well, holds) = installed("env | grep _proxy= | sort >seen; echo installed >there");
        assert!(well);
        assert_eq!(holds("seen").unwrap(), "http_proxy=http://192.0.2.1:3128\nno_proxy=192.0.2.9\n");
        assert!(holds("stamp").is_some(), "it remembers that the package was not there");
    }

    #[test]
    fn a_package_may_bring_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let look = |path: &str| {
            let script = sh(LOOK, [path, "no-such-package", "/nowhere/stamp"]).text();
            Command::new("dash").args(["-c", &script]).output().unwrap().status.code().unwrap()
        };
        assert_eq!(look(file.path().to_str().unwrap()), 0);
        assert_ne!(look("/nowhere/file"), 0);
    }

    #[test]
    fn a_package_that_did_not_come_is_nobodys_yet() {
        let (well, holds) = installed("exit 100");
        assert!(!well && holds("stamp").is_none(), "somebody may install it later");
        let (well, holds) = installed("echo half-installed >there; exit 100");
        assert!(!well && holds("stamp").is_some(), "half of it is ours");
    }
}
