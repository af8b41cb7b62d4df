//! A folder with a declared cluster, and the program run in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::proxy::{At, Fault};
use crate::services::{Login, Services, Turn};

/// A declaration of one control plane with a floating IP and one worker.
pub(crate) const SHOP: &str = "\
version: 1
login:
  user: debian
  public_key: key.pub
network:
  range: 10.8.0.0/24
  dns: [192.0.2.53]
  external: public
allow:
  ssh: [203.0.113.0/24]
  api: [203.0.113.7]
pools:
  - name: cp
    roles: [control_plane]
    count: 1
    flavor: small
    image: debian-12
    floating_ip: true
  - name: worker
    roles: [worker]
    count: 1
    flavor: small
    image: debian-12
    user_data: first-boot.yml
";

/// A test: its turn with the services, a folder with the cluster `shop`, and what the project had before.
pub(crate) struct Test {
    turn: Turn,
    folder: TempDir,
    before: Vec<String>,
}

/// How the program ended.
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

/// Which of some requests are broken, one after the other: all of them where `MUSTER_KILLS` is `all` (`./test --all`), else each
/// fifth one.
pub(crate) fn some<T>(requests: impl IntoIterator<Item = T>) -> Vec<T> {
    let all = std::env::var_os("MUSTER_KILLS").is_some_and(|which| which == "all");
    requests.into_iter().step_by(if all { 1 } else { 5 }).collect()
}

impl Test {
    /// Nothing, where the services cannot be had.
    pub(crate) fn begin() -> Option<Self> {
        let turn = Turn::take()?;
        let folder = tempfile::tempdir().expect("a folder");
        let before = turn.services().login("demo").everything();
        let test = Self { turn, folder, before };
        test.write("clusters/shop/cluster.yml", SHOP);
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFj+BJ+H9l7+IGC67rXnPLzBb9lv6Chhpk2B9ti0PA12 test\n";
        test.write("clusters/shop/key.pub", key);
        test.write("clusters/shop/first-boot.yml", "#cloud-config\n");
        Some(test)
    }

    pub(crate) fn services(&self) -> &Services {
        self.turn.services()
    }

    /// A login of the project's, past the program and the proxy.
    pub(crate) fn login(&self) -> Login<'_> {
        self.services().login("demo")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("a file")
    }

    /// Changes the declaration.
    #[track_caller]
    pub(crate) fn declare(&self, old: &str, new: &str) {
        let text = self.read("clusters/shop/cluster.yml");
        assert!(text.contains(old), "{old}");
        self.write("clusters/shop/cluster.yml", &text.replacen(old, new, 1));
    }

    /// Leaves out the worker, where a test makes machines very often.
    pub(crate) fn declare_one_machine(&self) {
        let worker = "roles: [worker]\n    count: ";
        self.declare(&format!("{worker}1"), &format!("{worker}0"));
    }

    /// Runs the program; requests are counted from its first one on.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, None, &[])
    }

    /// The same, while some requests are broken.
    pub(crate) fn broken(&self, arguments: &[&str], at: At, fault: Fault) -> Ended {
        self.run_with(arguments, Some((at, fault)), &[])
    }

    /// The same, with further variables.
    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        fault: Option<(At, Fault)>,
        variables: &[(&str, &str)],
    ) -> Ended {
        let proxy = &self.services().proxy;
        proxy.reset(fault);
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").expect("PATH")).env("HOME", self.folder.path());
        command.env("OS_AUTH_URL", format!("http://127.0.0.1:{}", proxy.port));
        for (name, value) in [
            ("OS_USERNAME", "demo"),
            ("OS_PASSWORD", "demo"),
            ("OS_PROJECT_NAME", "demo"),
            ("LANG", "C.UTF-8"),
        ] {
            command.env(name, value);
        }
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program");
        proxy.victim(child.id());
        let Output { stdout, stderr, status } = child.wait_with_output().expect("an end");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ended { stdout: text(stdout), stderr: text(stderr), code: status.code() }
    }

    /// The numbers of the requests of the last run that changed something.
    pub(crate) fn changing(&self) -> Vec<usize> {
        let log = self.services().proxy.log();
        let is_changing =
            |request: &str| !request.starts_with("GET") && !request.ends_with("/v3/auth/tokens");
        (1..=log.len()).filter(|number| is_changing(&log[number - 1])).collect()
    }

    /// What the project has that it had not before this test.
    pub(crate) fn left(&self) -> Vec<String> {
        self.login().everything().into_iter().filter(|object| !self.before.contains(object)).collect()
    }

    /// Deletes the cluster; nothing may be left of it.
    #[track_caller]
    pub(crate) fn delete(&self) {
        self.run(&["machines", "delete", "shop", "--yes"]).code(0);
        assert_eq!(self.left(), [""; 0], "left behind");
    }
}

impl Drop for Test {
    /// A test that failed leaves nothing to the next one.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.run(&["machines", "delete", "shop", "--yes"]);
        }
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "{text:?} in:\n{}", self.stderr);
        self
    }
}
