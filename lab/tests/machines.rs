//! A lab brought up, used and taken down, with the real engine. Needs root and the container engine, and the machine
//! image from the cache, or Debian's archive to make it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use muster_lab::{Control, Engine, Error, Lab, LabConfig, LabSpec, MachineState, Progress, UpOptions};

const NAME: &str = "test-machines";

/// A lab in a folder of its own, taken down whatever becomes of the test.
struct Fixture {
    lab: Lab,
    options: UpOptions,
    cache_dir: PathBuf,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = std::env::home_dir().expect("there is a home directory");
        let cache_dir =
            std::env::var_os("MUSTER_CACHE_DIR").map_or(home.join(".cache/muster"), PathBuf::from);
        let mut spec = LabSpec::with_count(2, Some("10.146.239.0/24".parse().unwrap())).unwrap();
        spec.machines[1].memory_mib = Some(512);
        spec.nameservers = (1..=4).map(|last| Ipv4Addr::new(10, 146, 239, last)).collect();
        let lab = lab(NAME, &cache_dir, &folder);
        Self { lab, options: UpOptions { spec, install: false }, cache_dir, folder }
    }

    fn up(&self) {
        self.lab.up(&self.options, &|_| {}).unwrap();
    }

    fn ssh(&self, machine: &str, script: &str) -> String {
        let mut ssh = self.lab.ssh(machine).unwrap();
        ssh.arg(script);
        output(ssh)
    }

    /// What tells one boot of one machine from another.
    fn boot(&self, machine: &str) -> (String, String) {
        let identity = self.ssh(machine, "cat /proc/sys/kernel/random/boot_id /etc/machine-id");
        let (boot, machine) = identity.split_once('\n').unwrap();
        (boot.to_owned(), machine.to_owned())
    }

    fn states(&self) -> Vec<MachineState> {
        self.lab.status().unwrap().into_iter().map(|machine| machine.state).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Err(error) = self.lab.down(&|_| {}) {
            eprintln!("the lab {NAME} is left behind: {error}");
        }
    }
}

fn lab(name: &str, cache_dir: &std::path::Path, folder: &tempfile::TempDir) -> Lab {
    let state_dir = folder.path().join("labs");
    Lab::open(LabConfig { name: name.to_owned(), cache_dir: cache_dir.to_owned(), state_dir }).unwrap()
}

fn output(mut command: Command) -> String {
    let output = command.output().expect("the command can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn host(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command)
}

/// Everything of the lab that the engine and the host have.
fn traces() -> Vec<String> {
    let filter = format!("--filter=label=muster.lab={NAME}");
    let containers = host("docker", &["ps", "--all", "--quiet", &filter]);
    let networks = host("docker", &["network", "ls", "--quiet", &filter]);
    let namespaces = host("ip", &["netns", "list"]);
    let namespaces = namespaces.lines().filter(|line| line.contains(NAME));
    containers.lines().chain(networks.lines()).chain(namespaces).map(str::to_owned).collect()
}

/// The volumes of the lab's machines.
fn disks() -> Vec<String> {
    let filter = format!("--filter=label=muster.lab={NAME}");
    let containers = host("docker", &["ps", "--all", "--quiet", &filter]);
    let mut arguments = vec!["inspect", "--format={{range .Mounts}}{{println .Name}}{{end}}"];
    arguments.extend(containers.lines());
    host("docker", &arguments).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_lab_from_up_to_down() {
    if let Err(error) = Engine::connect() {
        eprintln!("\n*** SKIPPED, NOTHING ABOUT LAB MACHINES WAS TESTED: {error} ***\n");
        return;
    }
    let fixture = Fixture::new();

    comes_up_ready(&fixture);
    machines_are_bare_debian(&fixture);
    machines_can_run_containers(&fixture);
    nothing_gets_in_or_out(&fixture);
    up_again_changes_nothing(&fixture);
    machines_survive_reboots(&fixture);
    reimaged_machines_are_new(&fixture);

    let disks = disks();
    assert_eq!(disks.len(), 2, "one for each machine: {disks:?}");
    assert!(fixture.lab.down(&|_| {}).unwrap());
    assert!(!fixture.lab.down(&|_| {}).unwrap(), "the second time there is nothing to do");
    assert!(matches!(fixture.lab.command("true"), Err(Error::NotUp { .. })));
    assert_eq!(traces(), Vec::<String>::new());
    let volumes = host("docker", &["volume", "ls", "--quiet"]);
    assert!(!disks.iter().any(|disk| volumes.contains(disk)), "a disk is left");
    assert!(!fixture.folder.path().join("labs").exists());
}

fn comes_up_ready(fixture: &Fixture) {
    let news = Mutex::new(Vec::new());
    let report = |Progress { what, detail, .. }: Progress<'_>| {
        news.lock().unwrap().push(format!("{what}: {detail}"));
    };
    fixture.lab.up(&fixture.options, &report).unwrap();
    for machine in ["node1", "node2"] {
        assert!(news.lock().unwrap().contains(&format!("{machine}: ready")), "{news:?}");
    }
    assert_eq!(fixture.states(), [MachineState::Running; 2]);
}

fn machines_are_bare_debian(fixture: &Fixture) {
    let ssh = |machine, script| fixture.ssh(machine, script);
    assert_eq!(
        ssh("node1", "systemctl is-system-running; hostname; . /etc/os-release; echo $ID"),
        "running\nnode1\ndebian\n"
    );
    assert_eq!(ssh("admin@10.146.239.5", "whoami; sudo -n whoami"), "admin\nroot\n");
    assert_eq!(ssh("node1", "command -v python3 python gcc; find / -xdev -name '*.py'"), "");
    let seen =
        ssh("node2", "grep -c ^nameserver /etc/resolv.conf; awk '/^MemTotal/ { print $2 }' /proc/meminfo");
    assert_eq!(seen, "4\n524288\n");
    // The engine's bind mounts would not allow what careful programs do: replacing a file by rename.
    ssh("node1", "set -e; cd /etc; for f in hosts hostname resolv.conf; do cp $f $f.new; mv $f.new $f; done");
}

fn machines_can_run_containers(fixture: &Fixture) {
    fixture.ssh(
        "node1",
        "set -e
         group=/sys/fs/cgroup/lab-test; [ -e /sys/fs/cgroup/cgroup.controllers ] || group=/sys/fs/cgroup/memory/lab-test
         mkdir $group; rmdir $group
         mkdir -p /var/lib/t/lower /var/lib/t/upper /var/lib/t/work /var/lib/t/merged; cd /var/lib/t
         mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; umount merged
         findmnt -n -o PROPAGATION / | grep -q shared
         test -c /dev/kmsg; test ! -e /lib/modules; test $(wc -l </proc/swaps) = 1",
    );
}

fn nothing_gets_in_or_out(fixture: &Fixture) {
    fixture.ssh("node1", "ping -c 1 -W 2 10.146.239.5 && ping -c 1 -W 2 10.146.239.1");
    // 198.51.100.0/24 is for documentation (RFC 5737): nobody has it, and the router answers before anybody is asked.
    assert_eq!(
        fixture.ssh("node1", "ping -c 1 -W 2 198.51.100.1 | grep -o 'From.*'"),
        "From 10.146.239.1 icmp_seq=1 Destination Host Unreachable\n"
    );
    let inside = |script: &str| {
        let mut shell = fixture.lab.command("sh").unwrap();
        shell.args(["-c", script]);
        shell
    };
    let addresses = output(inside("ip -4 -oneline address show scope global; ip route show default"));
    assert!(
        addresses.contains("10.146.239.1/24") && addresses.contains("unreachable default"),
        "{addresses}"
    );
    assert_eq!(addresses.lines().count(), 2, "{addresses}");
    output(inside("test -r \"$MUSTER_PRIVATE_KEY_FILE\" && test -n \"$MUSTER_KNOWN_HOSTS\""));
    assert_eq!(inside("exit 7").status().unwrap().code(), Some(7));
    let routes = host("ip", &["-4", "route", "show", "table", "all"]);
    assert!(!routes.contains("10.146.239."), "the host has a route into the lab: {routes}");
}

fn up_again_changes_nothing(fixture: &Fixture) {
    let before = fixture.boot("node1");
    fixture.up();
    assert_eq!(fixture.boot("node1"), before);

    let mut other = fixture.options.clone();
    other.spec.nameservers.clear();
    assert!(matches!(fixture.lab.up(&other, &|_| {}), Err(Error::UpWithOtherMachines { .. })));
    let second = lab("test-machines-2", &fixture.cache_dir, &fixture.folder);
    let refused = second.up(&fixture.options, &|_| {});
    assert!(matches!(&refused, Err(Error::SubnetInUse { lab: Some(lab), .. }) if lab == NAME), "{refused:?}");
    assert!(second.record().unwrap().is_none(), "a refused lab leaves nothing");
}

fn machines_survive_reboots(fixture: &Fixture) {
    fixture.ssh("node1", "echo kept | tee /root/file /var/lib/file; nft add table ip lost");
    let before = fixture.boot("node1");
    fixture.lab.control("node1", Control::Restart).unwrap();
    fixture.lab.wait_until_ready("node1", &|_| {}).unwrap();
    assert_eq!(fixture.ssh("node1", "cat /root/file /var/lib/file; nft list tables"), "kept\nkept\n");
    let after = fixture.boot("node1");
    assert_ne!(after.0, before.0, "another boot");
    assert_eq!(after.1, before.1, "of the same machine");

    fixture.lab.control("node2", Control::Kill).unwrap();
    assert_eq!(fixture.states(), [MachineState::Running, MachineState::Stopped]);
    fixture.lab.control("node1", Control::Pause).unwrap();
    assert_eq!(fixture.states(), [MachineState::Paused, MachineState::Stopped]);
    fixture.up();
    assert_eq!(fixture.states(), [MachineState::Running; 2]);
}

fn reimaged_machines_are_new(fixture: &Fixture) {
    let (first, second) = (fixture.boot("node1"), fixture.boot("node2"));
    let host_key = "cat /etc/ssh/ssh_host_ed25519_key.pub";
    let old_key = fixture.ssh("node1", host_key);
    fixture.lab.reimage("node1", &|_| {}).unwrap();
    assert_ne!(fixture.boot("node1"), first);
    assert_ne!(fixture.ssh("node1", host_key), old_key);
    assert_eq!(fixture.ssh("node1", "ls /root/file /var/lib/file 2>/dev/null | wc -l"), "0\n");
    assert_eq!(fixture.boot("node2"), second, "its neighbour stays as it was");
}
