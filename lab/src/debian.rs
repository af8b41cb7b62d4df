//! The machines' root file systems: plain Debian with systemd and sshd, without Python, made by mmdebstrap once and kept
//! in the cache folder under a key of everything that went into them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, file_error};
use crate::folder_lock;
use crate::program::{self, command};
use crate::progress::Step;
use crate::required_programs::MMDEBSTRAP;
use crate::spec::Release;

/// What a small installation of a server has, and what Kubernetes asks of one. No package of these needs Python.
const PACKAGES: &str = "systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,sudo,ca-certificates,curl,\
    iproute2,iputils-ping,netbase,iptables,nftables,ipset,conntrack,ethtool,socat,kmod,procps";
/// What nobody reads on a lab's machine.
const LEFT_OUT: [&str; 5] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];
/// The script that all kinds of machines have in common.
const INSTALLED: Script = Script { name: "debian.sh", text: include_str!("../assets/debian.sh") };
/// What the boot scripts of all kinds of machines begin with: a function for the first boot.
pub(crate) const FIRST_BOOT: &str = include_str!("../assets/first_boot.sh");
/// It takes 70 to 110 s with a good network.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// How the root file systems of a kind of machine are made.
pub(crate) struct Recipe {
    /// What the names of its files begin with in the cache folder: tells the kinds apart.
    pub(crate) prefix: &'static str,
    /// Packages besides those of all machines, each with a comma before it.
    pub(crate) packages: &'static str,
    /// Run when packages are unpacked and not yet configured.
    pub(crate) before: &'static [Script],
    /// Run when all packages are configured.
    pub(crate) after: &'static [Script],
    /// Files for these scripts, which find them in the folder `$2`.
    pub(crate) files: &'static [Script],
    /// The name under which mmdebstrap leaves the root file system: a `.tar`, or a folder.
    pub(crate) output: &'static str,
    /// Makes what is kept of that in the same folder, and says its name.
    pub(crate) finish: fn(&Path, Step<'_>) -> Result<&'static str, Error>,
    /// The room that all of it needs on the way.
    pub(crate) needs_mib: u64,
}

/// A script, or a file for one. A script's `$1` is the new root directory, `$2` the folder of the files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// The folder of all machine images; its lock is for those who make, use or remove images.
pub(crate) fn lock(cache: &Path, step: Step<'_>) -> Result<File, Error> {
    let folder = folder(cache);
    fs::create_dir_all(&folder).map_err(file_error("cannot make", &folder))?;
    folder_lock::wait(&folder, step)
}

fn folder(cache: &Path) -> PathBuf {
    cache.join("machines")
}

impl Recipe {
    /// Whether the release's root file system has been made before.
    pub(crate) fn is_made(&self, cache: &Path, release: Release) -> bool {
        self.path(cache, release).exists()
    }

    /// The first 12 digits of a hash of all that determines the content, except the state of Debian's archive.
    pub(crate) fn key(&self, release: Release) -> String {
        let mut hash = Sha256::new();
        let scripts = [&[INSTALLED][..], self.before, self.after, self.files].concat();
        let scripts = scripts.iter().flat_map(|script| [script.name, script.text]);
        for part in [release.codename(), PACKAGES, self.packages].into_iter().chain(LEFT_OUT).chain(scripts) {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The release's root file system, made if it is not there. The caller holds the [`lock`], so that what an earlier
    /// attempt has left is nobody's.
    pub(crate) fn ensure(&self, cache: &Path, release: Release, step: Step<'_>) -> Result<PathBuf, Error> {
        let path = self.path(cache, release);
        if path.exists() {
            return Ok(path);
        }
        let folder = folder(cache);
        let work = folder.join("unfinished");
        remove(&work)?;
        require_space(&folder, self.needs_mib)?;
        fs::create_dir_all(&work).map_err(file_error("cannot make", &work))?;
        let made = self.build(&work, release, step).and_then(|()| {
            let kept = work.join((self.finish)(&work, step)?);
            fs::rename(kept, &path).map_err(file_error("cannot make", &path))
        });
        remove(&work)?;
        made?;
        self.remove_outdated(&folder, &path, release)?;
        Ok(path)
    }

    fn path(&self, cache: &Path, release: Release) -> PathBuf {
        let ending =
            Path::new(self.output).extension().map_or(String::new(), |e| format!(".{}", e.display()));
        folder(cache).join(format!("{}{}{ending}", self.release_prefix(release), self.key(release)))
    }

    fn release_prefix(&self, release: Release) -> String {
        format!("{}debian{}-", self.prefix, release.number())
    }

    fn build(&self, work: &Path, release: Release, step: Step<'_>) -> Result<(), Error> {
        step.say(&format!("making {release} with mmdebstrap, once: a minute or two"));
        let files = work.join("files");
        fs::create_dir_all(&files).map_err(file_error("cannot make", &files))?;
        for Script { name, text } in [&[INSTALLED][..], self.before, self.after, self.files].concat() {
            let path = files.join(name);
            fs::write(&path, text).map_err(file_error("cannot write", &path))?;
        }
        let hook = |when: &str, script: &Script| {
            let words = [&files.join(script.name), &files].map(|path| quoted(path));
            format!("--{when}-hook=sh {} \"$1\" {}", words[0], words[1])
        };
        let mut build =
            command(MMDEBSTRAP.name, ["--variant=minbase", "--aptopt=Acquire::Languages \"none\""]);
        build.args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")));
        build.arg(format!("--include={PACKAGES}{}", self.packages));
        build.args(self.before.iter().map(|script| hook("essential", script)));
        build.args([&INSTALLED].into_iter().chain(self.after).map(|script| hook("customize", script)));
        build.arg(release.codename()).arg(work.join(self.output));
        // The new system is unpacked there, where there is room; /tmp may be in memory.
        build.env("TMPDIR", work);
        let what = "mmdebstrap, which needs Debian's archive or a proxy for it (http_proxy),";
        let mut stage = String::new();
        let finished = program::finish(what, build, BUILD_LIMIT, |line| {
            // Its own words; the others are those of programs that it runs, and matter if it fails.
            if let Some(words) = line.strip_prefix("I: ") {
                words.clone_into(&mut stage);
            }
            step.say(&stage);
        })?;
        if finished.status.success() { Ok(()) } else { Err(program::failed(what, &finished)) }
    }

    /// Removes the release's root file systems that were made by another recipe.
    fn remove_outdated(&self, folder: &Path, path: &Path, release: Release) -> Result<(), Error> {
        let prefix = self.release_prefix(release);
        for entry in fs::read_dir(folder).map_err(file_error("cannot read", folder))? {
            let other = entry.map_err(file_error("cannot read", folder))?.path();
            let is_ours = other.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
            if is_ours && other != path {
                remove(&other)?;
            }
        }
        Ok(())
    }
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file_error("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes sure that a folder's disk has room for making an image.
fn require_space(place: &Path, needed_mib: u64) -> Result<(), Error> {
    let mut df = command("df", ["--output=avail", "--block-size=1M"]);
    df.arg(place);
    let text = program::output("df", df, Duration::from_secs(30))?;
    // A disk whose free space cannot be told is not a reason to refuse.
    let free_mib = text.lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or(u64::MAX);
    if free_mib < needed_mib {
        return Err(Error::DiskFull { place: place.to_owned(), free_mib, needed_mib });
    }
    Ok(())
}

/// A path as one word of sh.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe {
        prefix: "test-",
        packages: "",
        before: &[],
        after: &[],
        files: &[],
        output: "root.tar",
        finish: |_, _| Ok("root.tar"),
        needs_mib: 0,
    };

    #[test]
    fn each_release_and_recipe_has_its_own_key_and_it_is_stable() {
        assert_eq!(RECIPE.key(Release::Debian12), RECIPE.key(Release::Debian12));
        assert_ne!(RECIPE.key(Release::Debian12), RECIPE.key(Release::Debian13));
        let other = Recipe { files: &[Script { name: "boot.sh", text: "true" }], ..RECIPE };
        assert_ne!(RECIPE.key(Release::Debian12), other.key(Release::Debian12));
        assert_eq!(RECIPE.key(Release::Debian12).len(), 12);
    }

    #[test]
    fn only_the_same_kind_of_the_same_release_is_outdated() {
        let cache = tempfile::tempdir().unwrap();
        let folder = folder(cache.path());
        fs::create_dir_all(folder.join("test-debian12-old")).unwrap();
        for name in ["test-debian13-x.tar", "debian12-x.tar"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let path = RECIPE.path(cache.path(), Release::Debian12);
        fs::write(&path, "").unwrap();
        assert!(RECIPE.is_made(cache.path(), Release::Debian12));
        RECIPE.remove_outdated(&folder, &path, Release::Debian12).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        let new = path.file_name().unwrap().to_owned();
        assert_eq!(left, ["debian12-x.tar".into(), new, "test-debian13-x.tar".into()]);
    }

    #[test]
    fn no_package_brings_python_in_by_name() {
        assert!(!PACKAGES.contains("python") && !PACKAGES.contains(' '), "{PACKAGES}");
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused() {
        let error = require_space(Path::new("/"), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("/ has "), "{error}");
        require_space(Path::new("/"), 0).unwrap();
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
