//! A machine in a folder: a real sshd whose sessions have that folder as their root, with busybox and nothing else, as a
//! user who calls himself root and may change nothing outside of it. What is done to it can be looked at, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_testkit::sshd::{Sshd, run};
use tempfile::TempDir;

/// Nobody, on all systems that have one.
const ID: u32 = 65534;

/// The machine.
pub(crate) struct Scratch {
    root: TempDir,
    sshd: Sshd,
    /// What has sessions begin in the folder.
    enter: String,
}

impl Scratch {
    /// Starts one. Needs root, as a server that lets root in does.
    pub(crate) fn start() -> Self {
        let root = tempfile::Builder::new().prefix("muster-scratch-").tempdir().expect("a temporary folder");
        let at = |path: &str| root.path().join(path);
        for folder in ["bin", "dev", "etc", "opt", "proc", "run", "tmp", "usr/local/bin", "var/lib"] {
            fs::create_dir_all(at(folder)).expect("a folder");
        }
        fs::copy("/bin/busybox", at("bin/busybox")).expect("busybox: apt-get install busybox");
        let libraries = Command::new("ldd").arg("/bin/busybox").output().expect("ldd").stdout;
        for library in
            String::from_utf8_lossy(&libraries).split_whitespace().filter(|word| word.starts_with('/'))
        {
            let inside = at(library.trim_start_matches('/'));
            fs::create_dir_all(inside.parent().expect("a folder")).expect("a folder");
            fs::copy(library, inside).expect("a library");
        }
        run(Command::new("mknod").args(["-m", "666"]).arg(at("dev/null")).args(["c", "1", "3"]));
        fs::write(at("etc/passwd"), format!("root:x:{ID}:{ID}:root:/:/bin/sh\n")).expect("passwd");
        fs::write(at("etc/group"), format!("root:x:{ID}:\n")).expect("group");
        // What flannel's daemon would write, for which the role cni waits.
        fs::create_dir(at("run/flannel")).expect("a folder");
        fs::write(at("run/flannel/subnet.env"), "").expect("subnet.env");
        run(Command::new("chroot").arg(root.path()).args(["/bin/busybox", "--install", "-s", "/bin"]));
        own(root.path());
        // The lock is kept by what /proc tells. It is mounted for the session alone, so that nothing of it can be left behind.
        let enter = format!(
            "ForceCommand exec /usr/bin/unshare --mount /bin/sh -c 'mount --bind /proc {root}/proc && \
             exec /usr/sbin/chroot --userspec={ID}:{ID} {root} /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"'",
            root = root.path().display()
        );
        let sshd = Sshd::builder().line(&enter).start();
        Self { root, sshd, enter }
    }

    /// Its line of an inventory.
    pub(crate) fn line(&self, name: &str) -> String {
        format!(
            "{name} ansible_host={} ansible_port={} ansible_user={} ansible_ssh_private_key_file={} ip=127.0.0.1\n",
            self.sshd.address(),
            self.sshd.port(),
            self.sshd.user(),
            self.sshd.key().display()
        )
    }

    /// A path on it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Switches it off.
    pub(crate) fn stop(&mut self) {
        self.sshd.stop();
    }

    /// Switches it on again.
    pub(crate) fn start_again(&mut self) {
        self.sshd.restart_with(&[&self.enter]);
    }

    /// Everything on it: of each path the mode, when it was last changed, and what it holds.
    pub(crate) fn everything(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.root.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let metadata = fs::symlink_metadata(&path).expect("metadata");
                let content = if metadata.is_file() { fs::read(&path).expect("a file") } else { Vec::new() };
                let (mode, changed) = (metadata.permissions().mode(), metadata.modified().expect("a time"));
                if metadata.is_dir() {
                    open.push(path.clone());
                }
                found.insert(path, format!("{mode:o} {changed:?} {}", String::from_utf8_lossy(&content)));
            }
        }
        found
    }
}

/// Gives everything below a folder to the one user there is.
fn own(folder: &Path) {
    chown(folder, Some(ID), Some(ID)).expect("chown");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        match metadata.is_dir() {
            true => own(&path),
            false => std::os::unix::fs::lchown(&path, Some(ID), Some(ID)).expect("lchown"),
        }
    }
}
