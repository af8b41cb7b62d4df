//! The programs that a build needs, and where they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::BuildError;
use super::jobs::Job;

/// The Go version below which `go` cannot fetch the version that a module asks for by itself (Go 1.21 release notes,
/// "Go toolchain").
const OLDEST_GO: (u32, u32) = (1, 21);

/// The Go command, known to be recent enough.
#[derive(Debug)]
pub(super) struct Go {
    pub(super) path: PathBuf,
}

/// Finds all that `jobs` need, or says everything that is missing at once.
pub(super) fn find(jobs: &[Job]) -> Result<Go, BuildError> {
    let mut missing: Vec<String> = Vec::new();
    let mut packages: Vec<&str> = Vec::new();
    let mut need = |is_there: bool, what: &str, names: &[&'static str]| {
        if !is_there {
            missing.push(what.to_string());
            packages.extend(names);
        }
    };
    if jobs.iter().any(|job| job.group.cgo) {
        need(runs("gcc", &["--version"]), "a C compiler (gcc)", &["gcc", "libc6-dev"]);
    }
    if jobs.iter().any(|job| job.group.tags.contains("seccomp")) {
        let found = runs("pkg-config", &["--exists", "libseccomp"]);
        need(found, "libseccomp's development files", &["libseccomp-dev", "pkg-config"]);
    }
    if jobs.iter().any(Job::needs_debian) {
        need(runs("mmdebstrap", &["--version"]), "mmdebstrap", &["mmdebstrap"]);
    }
    if jobs.iter().any(Job::needs_npm) {
        need(runs("npm", &["--version"]), "npm", &["npm"]);
    }
    let go = find_go();
    let mut remedies = Vec::new();
    if !packages.is_empty() {
        remedies.push(format!("apt-get install {}", packages.join(" ")));
    }
    let path = match go {
        Some((path, version)) if version >= OLDEST_GO => path,
        found => {
            let (major, minor) = OLDEST_GO;
            missing.push(match found {
                Some((path, (a, b))) => {
                    format!("Go {major}.{minor} or newer ({} is {a}.{b})", path.display())
                }
                None => format!("Go {major}.{minor} or newer"),
            });
            remedies.push(
                "the archive from go.dev/dl unpacked in /usr/local, or your distribution's golang".into(),
            );
            PathBuf::new()
        }
    };
    if missing.is_empty() {
        return Ok(Go { path });
    }
    Err(BuildError::Tools { missing: missing.join(", "), remedy: remedies.join("; ") })
}

/// The first `go` of the search path, or the one where Go's own archive puts it; with its version.
fn find_go() -> Option<(PathBuf, (u32, u32))> {
    ["go", "/usr/local/go/bin/go"].into_iter().find_map(|path| {
        let output = Command::new(path).arg("version").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some((Path::new(path).into(), parse_go_version(&text)?))
    })
}

/// Reads `go version go1.26.8 linux/amd64`.
fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_whitespace().nth(2)?.strip_prefix("go")?;
    let mut numbers = version.split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse().ok()
    });
    Some((numbers.next()??, numbers.next()??))
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_read() {
        assert_eq!(parse_go_version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(parse_go_version("go version go1.27rc1 linux/arm64"), Some((1, 27)));
        assert_eq!(parse_go_version("go version devel"), None);
        assert_eq!(parse_go_version(""), None);
    }
}
