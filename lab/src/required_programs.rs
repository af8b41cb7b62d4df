//! The programs of this computer that a maker of machines runs, and getting those that are missing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, file_error};
use crate::program::{self, command};
use crate::progress::Step;

/// Packages come over the user's network.
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);

/// A program that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// What for: `to run machines`.
    pub(crate) why: &'static str,
    /// Debian's package of it.
    pub(crate) package: &'static str,
}

/// Makes root file systems of Debian.
pub(crate) const MMDEBSTRAP: Program =
    Program { name: "mmdebstrap", why: "to make the machine image", package: "mmdebstrap" };

/// What the network of a lab and the way to its machines need, whatever the machines are.
pub(crate) const NETWORK: [Program; 4] = [
    Program { name: "ip", why: "to make the lab's network", package: "iproute2" },
    Program { name: "nsenter", why: "to run commands in the lab's network", package: "util-linux" },
    Program { name: "ssh", why: "to reach the machines", package: "openssh-client" },
    Program { name: "ssh-keygen", why: "to make the lab's key", package: "openssh-client" },
];

/// Refuses to go on without root.
pub(crate) fn require_root() -> Result<(), Error> {
    let process = Path::new("/proc/self");
    let user = fs::metadata(process).map_err(file_error("cannot read", process))?.uid();
    if user == 0 { Ok(()) } else { Err(Error::NotRoot) }
}

/// Checks that all programs are there; with `install`, gets the missing ones with apt.
pub(crate) fn ensure(programs: &[Program], install: bool, step: Step<'_>) -> Result<(), Error> {
    let mut missing = Vec::new();
    for program in programs {
        if !is_there(program.name)? {
            missing.push(*program);
        }
    }
    let Some(&Program { name, why, package }) = missing.first() else { return Ok(()) };
    if !install {
        return Err(Error::MissingProgram { program: name, why, package });
    }
    if !is_there("apt-get")? {
        let programs: Vec<_> =
            missing.iter().map(|program| format!("{} ({})", program.name, program.why)).collect();
        return Err(Error::CannotInstall { programs: programs.join(", ") });
    }
    for Program { name, why, package } in &missing {
        step.say(&format!("{name} is missing: installing {package}, {why}"));
    }
    let mut packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    packages.dedup();
    if missing.contains(&MMDEBSTRAP) {
        // Without it, as on Ubuntu, Debian's archive cannot be trusted.
        packages.push("debian-archive-keyring");
    }
    if install_packages(&packages, step).is_err() {
        // A fresh machine has no package lists, or old ones. If they are not the reason, the second attempt says so.
        let update = apt_get(["update"]);
        program::finish("apt-get update", update, INSTALL_LIMIT, |line| step.say(line))?;
        install_packages(&packages, step)?;
    }
    Ok(())
}

/// Whether a program is on the search path.
pub(crate) fn is_there(program: &str) -> Result<bool, Error> {
    let search = command("sh", ["-c", "command -v -- \"$1\"", "sh", program]);
    Ok(program::finish("command -v", search, Duration::from_secs(30), |_| {})?.status.success())
}

/// Installs packages with apt, whose lists must be there.
pub(crate) fn install_packages(packages: &[&str], step: Step<'_>) -> Result<(), Error> {
    let arguments = ["install", "--yes", "--no-install-recommends"].iter().chain(packages);
    let finished = program::finish("apt-get install", apt_get(arguments.copied()), INSTALL_LIMIT, |line| {
        step.say(line)
    })?;
    if finished.status.success() { Ok(()) } else { Err(program::failed("apt-get install", &finished)) }
}

fn apt_get<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut apt = command("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120"]);
    apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_search_path() {
        assert!(is_there("sh").unwrap());
        assert!(!is_there("no-such-program-anywhere").unwrap());
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let absent = Program { name: "no-such-program-anywhere", why: "to fail", package: "none" };
        let step = Step { what: "", number: (1, 1), report: &|_| {} };
        let error = ensure(&[NETWORK[0], absent], false, step).unwrap_err();
        assert!(error.to_string().starts_with("no-such-program-anywhere is not installed"), "{error}");
        assert!(error.remedy().unwrap().starts_with("apt-get install none"), "{:?}", error.remedy());
    }
}
