//! The machines' root file systems: plain Debian with systemd and sshd, without Python, made by mmdebstrap once and
//! kept as a tar archive in the cache folder under a key of everything that went into it.
//!
//! In the engine the image lives only as long as a lab uses it: importing it again takes two seconds, while a
//! forgotten image would stay for ever.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::error::{Error, file_error};
use crate::host;
use crate::lock;
use crate::process::{self, command};
use crate::progress::Step;
use crate::spec::Release;

/// The images' name in the engine; the tag is release and key.
const REPOSITORY: &str = "muster-lab-machine";
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
/// The program that makes root file systems.
pub(crate) const BUILDER: &str = "mmdebstrap";
const CUSTOMIZE: &str = include_str!("../assets/customize.sh");
/// It takes 70 to 90 s with a good network.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
/// The archive has 180 MB, the folder it is made from 350 MB and the packages 80 MB.
const BUILD_NEEDS_MIB: u64 = 1024;

/// An image in the engine that cannot be removed from there as long as this value lives.
pub(crate) struct Image {
    pub(crate) name: String,
    _lock: File,
}

impl Image {
    /// The image for a release: from the engine, from the cache folder, or made now.
    pub(crate) fn ensure(
        engine: &Engine,
        cache: &Path,
        release: Release,
        step: Step<'_>,
    ) -> Result<Self, Error> {
        let folder = folder(cache);
        fs::create_dir_all(&folder).map_err(file_error("cannot make", &folder))?;
        let lock = lock::wait(&folder, step)?;
        let name = format!("{REPOSITORY}:debian{}-{}", release.number(), key(release));
        if !engine.has_image(&name)? {
            let archive = archive(cache, release);
            if !archive.exists() {
                build(&folder, &archive, release, step)?;
            }
            engine.import_image(&archive, &name, step)?;
        }
        Ok(Self { name, _lock: lock })
    }

    /// Removes from the engine all machine images that no lab uses. The archives stay.
    pub(crate) fn remove_unused(engine: &Engine, cache: &Path, step: Step<'_>) -> Result<(), Error> {
        let folder = folder(cache);
        // A cache folder that somebody has emptied says nothing about the engine.
        fs::create_dir_all(&folder).map_err(file_error("cannot make", &folder))?;
        let _lock = lock::wait(&folder, step)?;
        for image in engine.images(REPOSITORY)? {
            engine.remove_unused_image(&image)?;
        }
        Ok(())
    }
}

/// Whether the image for a release has been made before.
pub(crate) fn is_cached(cache: &Path, release: Release) -> bool {
    archive(cache, release).exists()
}

fn folder(cache: &Path) -> PathBuf {
    cache.join("machines")
}

fn archive(cache: &Path, release: Release) -> PathBuf {
    folder(cache).join(format!("debian{}-{}.tar", release.number(), key(release)))
}

/// The first 12 digits of a hash of all that determines the content, except the state of Debian's archive.
fn key(release: Release) -> String {
    let mut hash = Sha256::new();
    for part in [release.codename(), PACKAGES, CUSTOMIZE].iter().chain(&LEFT_OUT) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn build(folder: &Path, archive: &Path, release: Release, step: Step<'_>) -> Result<(), Error> {
    host::require_space(folder, BUILD_NEEDS_MIB, "making a machine image")?;
    step.say(&format!("making {release} with mmdebstrap, once: a minute or two"));
    let customize = folder.join("customize.sh");
    fs::write(&customize, CUSTOMIZE).map_err(file_error("cannot write", &customize))?;
    // The lock makes us the only one here, so that a file of an earlier attempt is nobody's.
    let unfinished = folder.join("unfinished.tar");
    let mut build = command(BUILDER, ["--variant=minbase", "--aptopt=Acquire::Languages \"none\""]);
    build.args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")));
    build.arg(format!("--include={PACKAGES}"));
    build.arg(format!("--customize-hook=sh {} \"$1\"", quoted(&customize)));
    build.arg(release.codename()).arg(&unfinished);
    // The new system is unpacked there, where there is room; /tmp may be in memory.
    build.env("TMPDIR", folder);
    let what = "mmdebstrap, which needs Debian's archive or a proxy for it (http_proxy),";
    let mut stage = String::new();
    let finished = process::finish(what, build, BUILD_LIMIT, |line| {
        // Its own words; the others are those of programs that it runs, and matter if it fails.
        if let Some(words) = line.strip_prefix("I: ") {
            words.clone_into(&mut stage);
        }
        step.say(&stage);
    });
    let finished = finished.and_then(|finished| {
        if finished.status.success() { Ok(()) } else { Err(process::failed(what, &finished)) }
    });
    fs::remove_file(&customize).map_err(file_error("cannot remove", &customize))?;
    if let Err(error) = finished {
        fs::remove_file(&unfinished)
            .or_else(missing_is_fine)
            .map_err(file_error("cannot remove", &unfinished))?;
        return Err(error);
    }
    fs::rename(&unfinished, archive).map_err(file_error("cannot make", archive))?;
    remove_outdated(folder, archive, release)
}

/// Removes the release's archives that were made by another recipe.
fn remove_outdated(folder: &Path, archive: &Path, release: Release) -> Result<(), Error> {
    let prefix = format!("debian{}-", release.number());
    for entry in fs::read_dir(folder).map_err(file_error("cannot read", folder))? {
        let path = entry.map_err(file_error("cannot read", folder))?.path();
        let is_archive = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        if is_archive && path != archive {
            fs::remove_file(&path).map_err(file_error("cannot remove", &path))?;
        }
    }
    Ok(())
}

fn missing_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// A path as one word of sh.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_has_its_own_key_and_it_is_stable() {
        assert_eq!(key(Release::Debian12), key(Release::Debian12));
        assert_ne!(key(Release::Debian12), key(Release::Debian13));
        assert_eq!(key(Release::Debian12).len(), 12);
    }

    #[test]
    fn no_package_brings_python_in_by_name() {
        assert!(!PACKAGES.contains("python") && !PACKAGES.contains(' '), "{PACKAGES}");
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
