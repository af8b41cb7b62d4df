//! Layers of Debian packages: the one under images whose program calls iptables, nft or conntrack (just those, their libraries and
//! busybox), and those of images whose program is a Debian package itself.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use muster_artifacts::Sha256;

use super::go_compiler::Runner;
use super::{BuildError, Working, io_at};

const SUITE: &str = "bookworm";

/// What a layer is made of.
pub(super) struct Packages<'a> {
    /// Their names, with commas.
    names: &'a str,
    /// Names that Debian's alternatives system gives when packages are configured, which they are not here.
    alternatives: &'a [(&'a str, &'a str)],
    /// The commands that busybox stands for.
    busybox: &'a [&'a str],
}

/// The layer under images whose program calls others.
pub(super) const BASE: Packages<'static> = Packages {
    names: "iptables,nftables,conntrack,ipset,busybox",
    alternatives: ALTERNATIVES,
    busybox: BUSYBOX,
};

impl<'a> Packages<'a> {
    /// Packages, by their names with commas, and what they need; nothing else.
    pub(super) fn alone(names: &'a str) -> Self {
        Self { names, alternatives: &[], busybox: &[] }
    }
}

/// What the packages bring that no program in the images reads.
const UNUSED: &[&str] = &[
    "dev/",
    "etc/apt/",
    "etc/dpkg/",
    "etc/fstab",
    "etc/hostname",
    "etc/init.d/",
    "etc/resolv.conf",
    "lib/systemd/",
    "usr/share/",
    "var/",
];

/// Libraries that libc6 brings for programs that are not here, and tables for character sets.
const UNUSED_LIBRARIES: &[&str] =
    &["/gconv/", "/libmvec.", "/libnsl.so.1", "/libnss_hesiod.", "/libBrokenLocale.", "/libc_malloc_debug."];

const ALTERNATIVES: &[(&str, &str)] = &[
    ("usr/sbin/iptables", "xtables-nft-multi"),
    ("usr/sbin/iptables-save", "xtables-nft-multi"),
    ("usr/sbin/iptables-restore", "xtables-nft-multi"),
    ("usr/sbin/ip6tables", "xtables-nft-multi"),
    ("usr/sbin/ip6tables-save", "xtables-nft-multi"),
    ("usr/sbin/ip6tables-restore", "xtables-nft-multi"),
];

/// flannel's manifest calls `cp`; the rest is for whoever looks into a container.
const BUSYBOX: &[&str] = &[
    "awk", "cat", "cp", "date", "env", "grep", "head", "hostname", "id", "ip", "ln", "ls", "mkdir", "mv",
    "nc", "nslookup", "ping", "ps", "rm", "sed", "sh", "sleep", "tail", "test", "wget",
];

/// What is there when packages are configured: the name of root, and the folder for what runs.
const CONFIGURED: (&str, &str, &str) = ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", "run/");

/// A layer as an uncompressed tar; made when it is first asked for.
pub(super) fn layer(
    packages: &Packages<'_>,
    work: &Path,
    working: &mut Working<'_>,
) -> Result<PathBuf, BuildError> {
    let dir = work.join("base");
    fs::create_dir_all(&dir).map_err(io_at("create", &dir))?;
    // A changed definition gives another layer.
    let Packages { names, alternatives, busybox } = packages;
    let definition =
        format!("{SUITE}{names}{UNUSED:?}{UNUSED_LIBRARIES:?}{CONFIGURED:?}{alternatives:?}{busybox:?}");
    let name = Sha256::of(definition.as_bytes()).to_string();
    let path = dir.join(format!("{SUITE}-{}.tar", &name[..12]));
    if path.exists() {
        return Ok(path);
    }
    let everything = dir.join("everything.tar");
    let everything_name = everything.display().to_string();
    let include = format!("--include={names}");
    // "extract": unpacked without being configured, so that no shell, perl or package manager has to be in it.
    let arguments = ["--variant=extract", &include, SUITE, &everything_name];
    let runner = Runner { program: Path::new("mmdebstrap"), cgo: false };
    runner.go(&dir, &arguments, "extracting Debian packages", working)?;
    let new = dir.join("new.tar");
    File::open(&everything)
        .and_then(|from| reduce(packages, BufReader::new(from), BufWriter::new(File::create(&new)?)))
        .and_then(|()| fs::remove_file(&everything))
        .and_then(|()| fs::rename(&new, &path))
        .map_err(io_at("make", &path))?;
    Ok(path)
}

/// Copies what is used, without times and owners, so that the same packages give the same layer.
fn reduce(packages: &Packages<'_>, from: impl io::Read, to: impl Write) -> io::Result<()> {
    let mut to = tar::Builder::new(to);
    for entry in tar::Archive::new(from).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Ok(path) = path.strip_prefix(".").map(|path| path.to_string_lossy().into_owned()) else {
            continue;
        };
        let is_unused = |unused: &&str| path.starts_with(*unused) || format!("{path}/") == **unused;
        if path.is_empty()
            || UNUSED.iter().any(is_unused)
            || UNUSED_LIBRARIES.iter().any(|unused| format!("/{path}/").contains(unused))
        {
            continue;
        }
        let mut header = plain_header(entry.header().entry_type(), entry.header().mode()?, entry.size());
        match entry.link_name()? {
            Some(target) => to.append_link(&mut header, &path, target)?,
            None => to.append_data(&mut header, &path, &mut entry)?,
        }
    }
    let (passwd, text, run) = CONFIGURED;
    let mut header = plain_header(tar::EntryType::Regular, 0o644, text.len() as u64);
    to.append_data(&mut header, passwd, text.as_bytes())?;
    to.append_data(&mut plain_header(tar::EntryType::Directory, 0o755, 0), run, io::empty())?;
    let busybox = packages.busybox.iter().map(|name| (format!("bin/{name}"), "busybox"));
    let alternatives = packages.alternatives.iter().map(|(name, target)| ((*name).to_string(), *target));
    for (name, target) in alternatives.chain(busybox) {
        let mut header = plain_header(tar::EntryType::Symlink, 0o777, 0);
        to.append_link(&mut header, name, target)?;
    }
    to.into_inner()?.flush()
}

/// A header of root's, at the beginning of time.
pub(super) fn plain_header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_used_stays_and_the_commands_get_their_names() {
        let mut from = tar::Builder::new(Vec::new());
        for (name, kind) in [
            ("./", tar::EntryType::Directory),
            ("./var/", tar::EntryType::Directory),
            ("./var/lib/dpkg/status", tar::EntryType::Regular),
            ("./etc/resolv.conf", tar::EntryType::Regular),
            ("./etc/protocols", tar::EntryType::Regular),
            ("./usr/lib/gconv/UTF-16.so", tar::EntryType::Regular),
            ("./usr/sbin/xtables-nft-multi", tar::EntryType::Regular),
        ] {
            let mut header = plain_header(kind, 0o755, 0);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mtime(1_700_000_000);
            header.set_cksum();
            from.append(&header, io::empty()).unwrap();
        }
        let mut to = Vec::new();
        reduce(&BASE, &from.into_inner().unwrap()[..], &mut to).unwrap();
        let mut names = Vec::new();
        for entry in tar::Archive::new(&to[..]).entries().unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            let target = entry.link_name().unwrap().map(|target| format!(" -> {}", target.display()));
            names.push(format!("{}{}", entry.path().unwrap().display(), target.unwrap_or_default()));
        }
        assert_eq!(names[..3], ["etc/protocols", "usr/sbin/xtables-nft-multi", "etc/passwd"]);
        assert!(names.contains(&"usr/sbin/iptables -> xtables-nft-multi".to_string()), "{names:?}");
        assert!(names.contains(&"bin/cp -> busybox".to_string()), "{names:?}");
        assert_eq!(names.len(), 4 + ALTERNATIVES.len() + BUSYBOX.len());
    }
}
