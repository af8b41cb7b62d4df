//! A user of this machine for the time of a test. Needs root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::sshd::run;

const DOAS_CONF: &str = "/etc/doas.conf";
/// Users made so far by this process, for their names.
static MADE: AtomicUsize = AtomicUsize::new(0);
/// The files of users are changed by one at a time.
static CHANGING: Mutex<()> = Mutex::new(());

/// A user with a home, a password and a login shell. Gone, with what was allowed to it, when dropped.
#[derive(Debug)]
pub struct Account {
    name: String,
    home: TempDir,
    /// Files to remove.
    rules: Vec<PathBuf>,
}

impl Account {
    /// Makes one. None, after a line that says why, where that cannot be: the shell is not installed, or we are not root.
    pub fn new(shell: &str, password: &str) -> Option<Self> {
        if !Path::new(shell).exists() {
            eprintln!("skipped: {shell} is not installed");
            return None;
        }
        if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
            eprintln!("skipped: only root can make users");
            return None;
        }
        let home = tempfile::Builder::new().prefix("muster-home-").tempdir().expect("temporary directory");
        let name = format!("muster-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        change(
            Command::new("useradd")
                .args(["--no-create-home", "--no-user-group", "--shell", shell, "--home-dir"])
                .arg(home.path())
                .arg(&name),
        );
        let account = Self { name, home, rules: Vec::new() };
        run(Command::new("chown").arg(&account.name).arg(account.home()));
        const SET: &str = "printf '%s:%s\\n' \"$1\" \"$2\" | chpasswd --crypt-method SHA512";
        change(Command::new("sh").args(["-c", SET, "sh", &account.name, password]));
        Some(account)
    }

    /// The login name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Adds lines to sudoers(5); `USER` in them is this user. False, after a line that says why, without sudo.
    pub fn sudoers(&mut self, lines: &[&str]) -> bool {
        let path = Path::new("/etc/sudoers.d").join(&self.name);
        installed("/usr/bin/sudo") && self.rules(&path, 0o440, lines)
    }

    /// Writes doas.conf(5) likewise. There is one for all users: where the machine has its own, it is left alone.
    pub fn doas(&mut self, lines: &[&str]) -> bool {
        if Path::new(DOAS_CONF).exists() {
            eprintln!("skipped: {DOAS_CONF} is not ours");
            return false;
        }
        installed("/usr/bin/doas") && self.rules(Path::new(DOAS_CONF), 0o400, lines)
    }

    fn rules(&mut self, path: &Path, mode: u32, lines: &[&str]) -> bool {
        // A name with a dot is passed over by sudo: nobody sees half a file.
        let beside = path.with_extension("new");
        let text: String = lines.iter().map(|line| line.replace("USER", &self.name) + "\n").collect();
        fs::write(&beside, text).expect("rules");
        fs::set_permissions(&beside, fs::Permissions::from_mode(mode)).expect("a mode");
        fs::rename(&beside, path).expect("rules in place");
        self.rules.push(path.to_owned());
        true
    }
}

/// Changes the files of users.
fn change(command: &mut Command) {
    let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    run(command);
}

fn installed(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

impl Drop for Account {
    fn drop(&mut self) {
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        for path in &self.rules {
            // Nothing can be done about failures here, and there is a next one to remove.
            fs::remove_file(path).ok();
        }
        // --force: a program of a test that failed may still run.
        Command::new("userdel").args(["--force", &self.name]).stderr(Stdio::null()).status().ok();
    }
}
