//! A lab of virtual machines brought up, used and taken down. Needs root, QEMU, and the machine image from the cache or
//! Debian's archive to make it. Where the processor is emulated it takes minutes, so it is run when asked for:
//! `cargo test -p muster-lab --test virtual_machines -- --ignored`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_lab::{Control, Error, Lab, LabConfig, LabSpec, MachineState, MakerKind, UpOptions};

const NAME: &str = "test-vms";

/// A lab in a folder of its own, taken down whatever becomes of the test.
struct Fixture {
    lab: Lab,
    options: UpOptions,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = std::env::home_dir().expect("there is a home directory");
        let cache_dir =
            std::env::var_os("MUSTER_CACHE_DIR").map_or(home.join(".cache/muster"), PathBuf::from);
        let mut spec = LabSpec::with_count(2, Some("10.146.238.0/24".parse().unwrap())).unwrap();
        spec.maker = MakerKind::VirtualMachine;
        spec.machines.iter_mut().for_each(|machine| machine.memory_mib = Some(768));
        let config = LabConfig { name: NAME.to_owned(), cache_dir, state_dir: folder.path().join("labs") };
        Self { lab: Lab::open(config).unwrap(), options: UpOptions { spec, install: false }, folder }
    }

    fn up(&self) {
        self.lab.up(&self.options, &|news| eprintln!("{}: {}", news.what, news.detail)).unwrap();
    }

    fn ssh(&self, machine: &str, script: &str) -> String {
        let mut ssh = self.lab.ssh(machine).unwrap();
        ssh.arg(script);
        output(ssh)
    }

    fn boot(&self, machine: &str) -> String {
        self.ssh(machine, "cat /proc/sys/kernel/random/boot_id")
    }

    fn states(&self) -> Vec<MachineState> {
        self.lab.status().unwrap().into_iter().map(|machine| machine.state).collect()
    }

    fn machine_folder(&self, machine: &str) -> PathBuf {
        self.folder.path().join("labs").join(NAME).join("machines").join(machine)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Err(error) = self.lab.down(&|_| {}) {
            eprintln!("the lab {NAME} is left behind: {error}");
        }
    }
}

fn output(mut command: Command) -> String {
    let output = command.output().expect("the command can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The processes of the lab's machines.
fn processes() -> usize {
    let mark = format!("muster-lab/{NAME}/");
    let is_machine = |entry: &fs::DirEntry| {
        let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        words.contains("qemu-system") && words.contains(&mark)
    };
    fs::read_dir("/proc").unwrap().flatten().filter(is_machine).count()
}

#[test]
#[ignore = "takes minutes where the processor is emulated"]
fn a_lab_of_virtual_machines_comes_up_is_switched_and_goes_away() {
    let fixture = Fixture::new();
    fixture.up();
    assert_eq!(fixture.states(), [MachineState::Running; 2]);
    machines_have_a_kernel_of_their_own(&fixture);
    nothing_gets_out(&fixture);
    up_again_changes_nothing(&fixture);
    machines_are_switched(&fixture);
    what_a_killed_run_left_is_found(&fixture);

    assert!(fixture.lab.down(&|_| {}).unwrap());
    assert!(!fixture.lab.down(&|_| {}).unwrap(), "the second time there is nothing to do");
    assert!(matches!(fixture.lab.command("true"), Err(Error::NotUp { .. })));
    assert_eq!(processes(), 0);
    assert!(!Path::new("/run/netns").join(format!("muster-lab-{NAME}")).exists());
    assert!(!fixture.folder.path().join("labs").exists());
}

fn machines_have_a_kernel_of_their_own(fixture: &Fixture) {
    let seen = fixture.ssh("node1", "systemctl is-system-running; hostname; . /etc/os-release; echo $ID");
    assert_eq!(seen, "running\nnode1\ndebian\n");
    fixture.ssh("node1", "modprobe br_netfilter; test -e /sys/fs/cgroup/cgroup.controllers");
    assert_eq!(fixture.ssh("admin@10.146.238.5", "whoami; sudo -n whoami; hostname"), "admin\nroot\nnode2\n");
    assert_eq!(fixture.ssh("node1", "command -v python3 python; find / -xdev -name '*.py'"), "");
    let ids = ["node1", "node2"]
        .map(|node| fixture.ssh(node, "cat /sys/class/dmi/id/product_uuid /etc/machine-id"));
    assert_ne!(ids[0], ids[1]);
    let mut journal = fixture.lab.logs("node1").unwrap();
    journal.args(["-u", "lab-boot"]);
    assert!(output(journal).contains("lab-boot"));
}

fn nothing_gets_out(fixture: &Fixture) {
    fixture.ssh("node1", "ping -c 1 -W 20 10.146.238.5 && ping -c 1 -W 20 10.146.238.1");
    // 198.51.100.0/24 is for documentation (RFC 5737): nobody has it, and the router answers before anybody is asked.
    assert_eq!(
        fixture.ssh("node1", "ping -c 1 -W 20 198.51.100.1 | grep -o 'From.*'"),
        "From 10.146.238.1 icmp_seq=1 Destination Host Unreachable\n"
    );
    let mut routes = Command::new("ip");
    routes.args(["-4", "route", "show", "table", "all"]);
    assert!(!output(routes).contains("10.146.238."), "the host has a route into the lab");
}

fn up_again_changes_nothing(fixture: &Fixture) {
    let before = fixture.boot("node1");
    fixture.up();
    assert_eq!(fixture.boot("node1"), before);
    let mut containers = fixture.options.clone();
    containers.spec.maker = MakerKind::Container;
    let refused = fixture.lab.up(&containers, &|_| {});
    assert!(refused.is_err(), "a lab has one maker");
    assert_eq!(fixture.lab.record().unwrap().unwrap(), fixture.options.spec);
}

fn machines_are_switched(fixture: &Fixture) {
    let lab = &fixture.lab;
    let before = fixture.boot("node1");
    fixture.ssh("node1", "echo kept >/root/file; sync");
    lab.control("node2", Control::Pause).unwrap();
    assert_eq!(fixture.states(), [MachineState::Running, MachineState::Paused]);
    lab.control("node2", Control::Unpause).unwrap();
    fixture.boot("node2");

    lab.control("node2", Control::Kill).unwrap();
    assert_eq!(fixture.states(), [MachineState::Running, MachineState::Stopped]);
    assert!(matches!(lab.control("node2", Control::Pause), Err(Error::MachineOff { .. })));
    assert!(output(lab.logs("node2").unwrap()).contains("Linux version"), "its last words");

    let host_key = "cat /etc/ssh/ssh_host_ed25519_key.pub";
    let old_key = fixture.ssh("node1", host_key);
    lab.control("node1", Control::Restart).unwrap();
    lab.wait_until_ready("node1", &|_| {}).unwrap();
    assert_ne!(fixture.boot("node1"), before, "another boot");
    assert_eq!(fixture.ssh("node1", "cat /root/file"), "kept\n");
    assert_eq!(fixture.ssh("node1", host_key), old_key);
    let shutdowns = fixture.ssh("node1", "journalctl --no-pager -b -1 | grep -c 'Power key pressed'");
    assert_eq!(shutdowns, "1\n", "it was shut down in good order");

    lab.reimage("node1", &|_| {}).unwrap();
    assert_ne!(fixture.ssh("node1", host_key), old_key);
    assert_eq!(fixture.ssh("node1", "ls /root/file 2>/dev/null | wc -l"), "0\n");
}

/// node2 is off. What a run has left that was killed while it made a machine, or after somebody has removed all files of
/// one that is on.
fn what_a_killed_run_left_is_found(fixture: &Fixture) {
    fs::rename(fixture.machine_folder("node2"), fixture.machine_folder("node2.new")).unwrap();
    assert_eq!(fixture.states(), [MachineState::Running, MachineState::Unfinished]);
    fixture.up();
    assert_eq!(fixture.states(), [MachineState::Running; 2]);
    fs::remove_dir_all(fixture.machine_folder("node2")).unwrap();
    fs::remove_file(fixture.folder.path().join("labs").join(NAME).join("lab.json")).unwrap();
    assert_eq!(processes(), 2, "`down` has to find both without a record");
}
