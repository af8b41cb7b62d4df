//! A folder in the place of a machine's root: real shells look at it, and do there what is typed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::foreign::{Foreign, LOOK};

/// The folder.
pub(super) struct Sandbox {
    root: TempDir,
}

impl Sandbox {
    /// With these files; a content `link TARGET` makes a link. What lies in a folder `bin` or `sbin` can be executed.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let sandbox = Self { root: tempfile::tempdir().unwrap() };
        for (path, content) in files {
            let at = sandbox.root.path().join(&path[1..]);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            match content.strip_prefix("link ") {
                Some(target) => symlink(target, &at).unwrap(),
                None => fs::write(&at, content).unwrap(),
            }
            if path.contains("bin/") {
                fs::write(&at, sandbox.here(content).trim_start()).unwrap();
                fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        sandbox
    }

    /// What a shell sees of others there.
    pub(super) fn look(&self, shell: &[&str]) -> Foreign {
        let out = self.run(shell, &["-euc", &self.here(LOOK), "look", "10-flannel.conflist"]);
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        Foreign::parse(&String::from_utf8_lossy(&out.stdout).replace(&self.path(), ""))
    }

    /// Does what somebody types as root. Units are nobody's here.
    pub(super) fn typed(&self, command: &str) {
        let program = format!("systemctl() {{ :; }}\n{}", self.here(command));
        let out = self.run(&["sh"], &["-ec", &program]);
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn run(&self, shell: &[&str], arguments: &[&str]) -> Output {
        let path = format!("{}/usr/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.path());
        Command::new(shell[0]).args(&shell[1..]).args(arguments).env("PATH", path).output().unwrap()
    }

    fn path(&self) -> String {
        self.root.path().display().to_string()
    }

    /// A program with the paths below this folder.
    fn here(&self, program: &str) -> String {
        let top = ["etc", "run", "usr", "lib", "snap", "sys", "proc"];
        top.iter().fold(format!(" {program}"), |text, name| {
            [" ", "\""].iter().fold(text, |text, before| {
                text.replace(&format!("{before}/{name}/"), &format!("{before}{}/{name}/", self.path()))
            })
        })
    }
}
