//! A folder of its own for each test, and the program run in it with an environment of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use muster_artifacts::Arch;
use muster_roles::catalogue::CATALOGUE;
use muster_testkit::program;
use tempfile::TempDir;

/// A test being put together.
pub(crate) struct Test {
    folder: TempDir,
    program: &'static str,
    environment: BTreeMap<String, String>,
}

/// How the program ended.
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    code: Option<i32>,
    before: BTreeMap<PathBuf, String>,
    after: BTreeMap<PathBuf, String>,
}

/// A test of `muster`.
pub(crate) fn muster() -> Test {
    test("muster")
}

/// A test of `setup-cluster`: the same program under another name.
pub(crate) fn setup_cluster() -> Test {
    test("setup-cluster")
}

fn test(program: &'static str) -> Test {
    let folder = tempfile::Builder::new().prefix("muster-it-").tempdir().expect("a temporary folder");
    for name in ["home", "project"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let set = |name: &str, value: String| (name.to_owned(), value);
    let environment = [
        set("HOME", folder.path().join("home").display().to_string()),
        set("LANG", "C.UTF-8".into()),
        set("PATH", std::env::var("PATH").expect("PATH")),
        set("USER", "root".into()),
    ];
    Test { folder, program, environment: environment.into() }
}

impl Test {
    /// The folder the program runs in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// A file in it.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    /// A program in it.
    pub(crate) fn program(self, path: &str, text: &str) -> Self {
        program::write(&self.folder().join(path), text);
        self
    }

    /// A variable of the environment.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// A bundle in `bundle/` that has everything of the default release but images whose reference holds one of these
    /// words. The contents mean nothing.
    pub(crate) fn bundle_without(self, left_out: &[&str]) -> Self {
        let release =
            CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).expect("the default release");
        muster_testkit::bundle::write(&self.folder().join("bundle"), &release, left_out);
        self
    }

    /// A complete bundle in `bundle/`.
    pub(crate) fn bundle(self) -> Self {
        self.bundle_without(&[])
    }

    /// The program with its arguments, to be started. It has no terminal, not even the developer's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(self.link()).args(arguments).stdin(Stdio::null());
        self.at_home(command)
    }

    /// Goes on with another program in the same folder.
    pub(crate) fn with(mut self, program: &'static str) -> Self {
        self.program = program;
        self
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.execute(self.command(arguments), "")
    }

    /// Runs the program in a terminal of its own, where somebody types this. All it prints is standard output.
    pub(crate) fn run_in_terminal(&self, arguments: &[&str], typed: &str) -> Ended {
        let link = self.link().display().to_string();
        let words = [&[link.as_str()][..], arguments].concat();
        let words: Vec<String> = words.into_iter().map(muster_engine::script::quote).collect();
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
        self.execute(self.at_home(command), typed)
    }

    fn link(&self) -> PathBuf {
        let link = self.folder.path().join(self.program);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muster"), &link).expect("a link");
        }
        link
    }

    /// A program in the folder and the environment of the test.
    pub(crate) fn at_home(&self, mut command: Command) -> Command {
        command.current_dir(self.folder()).env_clear().envs(&self.environment);
        command
    }

    /// Runs a command to its end, and types this.
    pub(crate) fn execute(&self, mut command: Command, typed: &str) -> Ended {
        let before = listing(self.folder.path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program to start");
        // A few words fit into the pipe. Whoever does not read them has ended, which is seen below.
        child.stdin.take().expect("piped").write_all(typed.as_bytes()).ok();
        let output = child.wait_with_output().expect("an end");
        let text = |bytes: Vec<u8>| {
            let folder = self.folder().display().to_string();
            String::from_utf8(bytes).expect("UTF-8").replace(&folder, "PROJECT")
        };
        Ended {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code(),
            before,
            after: listing(self.folder.path()),
        }
    }
}

impl Ended {
    /// The exit code is this one.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard error is this text, blanks around it aside.
    #[track_caller]
    pub(crate) fn stderr(self, expected: &str) -> Self {
        assert_eq!(self.stderr.trim(), expected.trim(), "stdout:\n{}", self.stdout);
        self
    }

    /// Standard error holds each of these texts.
    #[track_caller]
    pub(crate) fn stderr_has(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "{part:?} is not in stderr:\n{}\nstdout:\n{}",
                self.stderr,
                self.stdout
            );
        }
        self
    }

    /// Standard output holds each of these texts.
    #[track_caller]
    pub(crate) fn stdout_has(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stdout.contains(part),
                "{part:?} is not in stdout:\n{}\nstderr:\n{}",
                self.stdout,
                self.stderr
            );
        }
        self
    }

    /// No file or folder is there that was not there before, none is missing, and none has another content.
    #[track_caller]
    pub(crate) fn nothing_written(self) -> Self {
        let differs = |path: &&PathBuf| self.before.get(*path) != self.after.get(*path);
        let all: BTreeSet<&PathBuf> = self.before.keys().chain(self.after.keys()).collect();
        let written: Vec<&PathBuf> = all.into_iter().filter(differs).collect();
        assert!(written.is_empty(), "written or removed: {written:?}");
        self
    }
}

/// Every path below a folder, with what it holds and its mode.
fn listing(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("metadata");
            let content = if metadata.is_file() { fs::read(&path).expect("a file") } else { Vec::new() };
            let mode = metadata.permissions().mode();
            if metadata.is_dir() {
                open.push(path.clone());
            }
            found.insert(path, format!("{mode:o} {}", String::from_utf8_lossy(&content)));
        }
    }
    found
}
