//! Networks of their own for tests: a computer with a switch, and machines at it, each in a network namespace that ends with the
//! test. Nothing in them reaches a real network.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The address of the computer at its switch, whose interface is `br0`.
pub(crate) const DESK: &str = "192.0.2.1";

/// A network namespace, for as long as a process is in it.
pub(crate) struct Computer {
    holder: Child,
}

/// A computer with a switch.
pub(crate) struct Network {
    pub(crate) desk: Computer,
    ports: usize,
}

/// Whether networks can be made here, and these programs are there; else says what is left out, and why.
pub(crate) fn can_be_made(left_out: &str, programs: &[&str]) -> bool {
    let works = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let inside = "ip link set lo up && ip link add br0 type bridge && ip link add z type veth peer name y";
    let mut reasons: Vec<String> = Vec::new();
    if !works(&["unshare", "--net", "sh", "-c", inside]) {
        reasons.push("network namespaces with a bridge cannot be made (they need root)".to_owned());
    }
    let missing = programs.iter().filter(|program| !works(&["sh", "-c", "command -v \"$0\"", **program]));
    reasons.extend(missing.map(|program| format!("{program} is missing")));
    if !reasons.is_empty() {
        eprintln!("left out: {left_out}; {}", reasons.join("; "));
    }
    reasons.is_empty()
}

impl Computer {
    fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().expect("unshare");
        let computer = Self { holder };
        let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        let begun = Instant::now();
        // It is in its namespace when it has become sleep.
        while std::fs::read_link(computer.namespace()).is_ok_and(|there| there == own) {
            assert!(begun.elapsed() < Duration::from_secs(10), "unshare does nothing");
            thread::sleep(Duration::from_millis(10));
        }
        computer.run("ip", &["link", "set", "lo", "up"]);
        computer
    }

    fn namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// A program of this computer in its network.
    pub(crate) fn command(&self, program: &str) -> Command {
        // By its path, because whoever changes PATH means that of the program.
        let folders = std::env::var_os("PATH").expect("PATH");
        let nsenter =
            std::env::split_paths(&folders).map(|folder| folder.join("nsenter")).find(|path| path.is_file());
        let mut command = Command::new(nsenter.expect("nsenter of util-linux"));
        command.arg(format!("--net={}", self.namespace().display())).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs one, which may fail.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().expect("the program to start")
    }

    /// Runs one, which does not fail.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.output(program, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    }

    /// Does something in its network, in a thread of its own.
    pub(crate) fn inside<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.namespace()).expect("a namespace");
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("setns");
                action()
            });
            thread.join().expect("no panic")
        })
    }
}

impl Drop for Computer {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

impl Network {
    /// A computer with a switch, and nobody at it.
    pub(crate) fn new() -> Self {
        let desk = Computer::new();
        desk.run("ip", &["link", "add", "br0", "type", "bridge"]);
        desk.run("ip", &["address", "add", &format!("{DESK}/24"), "dev", "br0"]);
        desk.run("ip", &["link", "set", "br0", "up"]);
        Self { desk, ports: 0 }
    }

    /// A machine at the switch with a card of this address, `eth0`.
    pub(crate) fn machine(&mut self, mac: &str) -> Computer {
        let machine = Computer::new();
        self.ports += 1;
        let (port, process) = (format!("port{}", self.ports), machine.holder.id().to_string());
        self.desk
            .run("ip", &["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &process]);
        self.desk.run("ip", &["link", "set", &port, "master", "br0", "up"]);
        machine.run("ip", &["link", "set", "eth0", "address", mac, "up"]);
        machine
    }
}
