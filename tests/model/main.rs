//! The roles on model machines: a whole set-up, and the same with the controller killed at every exchange.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod adopt;
mod care;
mod cluster;
mod components;
mod docker;
mod drain;
mod dual_stack;
mod etcd;
mod events;
mod external;
mod kills;
mod kubeadm;
mod kubeadm_files;
mod kubectl;
mod kubelets;
mod line;
mod members;
mod names;
mod networks;
mod nodes;
mod planes;
mod plans;
mod policies;
mod renewal;
mod reset;
mod rotation;
mod services;
mod surroundings;
mod system;
mod upgrade;
mod vip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use muster_artifacts::{Arch, Bundle, Encoding, FileEntry};
use muster_engine::event::{Change, Event, Events};
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::resource::INCOMING;
use muster_engine::run::{Outcome, Role, Run};
use muster_engine::transport::Transport;
use muster_inventory::{Inventory, Vars, VarsBuilder};
use muster_roles::adoption::Told;
use muster_roles::catalogue::CATALOGUE;
use muster_roles::upgrade::Settings;
use muster_roles::{COMMON_DEFAULTS, ROLES, Removal, Reset, group_rules};
use muster_testkit::fault_record::held;
use muster_testkit::model::disk::{Disk, Entry};
use muster_testkit::model::machine::{Kept, Machine, Nature};

use crate::cluster::{Cluster, address, write};
use crate::kills::{At, in_parallel};
use crate::line::{Controller, Kill, Line, Off};

/// The machines that there are, and those of them that are in the inventory until something happens.
const MACHINES: usize = 5;
const IN_USE: usize = 3;

/// Three etcd members, two control planes, one worker.
const GROUPS: &str = "[etcd]\nm[0:2]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";

/// What asks machines for more than a model has, or brings files to this side.
const NOT_MODELLED: [&str; 4] = ["preflight", "verify", "kubeconfig", "apps"];

/// What `setup-cluster` does, as far as models can.
static PLAYS: LazyLock<Vec<Play>> = LazyLock::new(|| {
    let mut plays: Vec<Play> =
        serde_saphyr::from_str(include_str!("../../playbooks/cluster.yml")).expect("the playbook");
    for play in &mut plays {
        play.roles.retain(|role| !NOT_MODELLED.contains(&role.as_str()));
    }
    plays.retain(|play| !play.roles.is_empty());
    plays
});

/// What `reset-cluster` does.
static RESET: LazyLock<Vec<Play>> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../playbooks/reset.yml")).expect("the playbook")
});

/// The hosts of an inventory, the groups, and the variables that a user sets.
fn project(hosts: &str, groups: &str, set: &[&str]) -> (Arc<Inventory>, Arc<Vars>) {
    let inventory =
        Arc::new(Inventory::from_ini("hosts.ini", &(hosts.to_owned() + groups), group_rules()).unwrap());
    let mut vars = VarsBuilder::new(inventory.clone()).defaults("common", COMMON_DEFAULTS).unwrap();
    for role in ROLES {
        vars = vars.defaults(role.name, role.defaults).unwrap();
    }
    for setting in ["extension_dir=/nowhere"].iter().chain(set) {
        vars = vars.extra_vars(setting).unwrap();
    }
    (inventory, vars.build().unwrap())
}

/// The lines of the inventory for so many machines.
fn hosts(count: usize) -> String {
    (0..count).map(|n| format!("m{n} ip={}\n", address(&format!("m{n}")))).collect()
}

static PROJECT: LazyLock<(Arc<Inventory>, Arc<Vars>)> =
    LazyLock::new(|| project(&hosts(IN_USE), GROUPS, &[]));

static BUNDLE: LazyLock<Arc<Bundle>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("model");
    // Of the run before.
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    for version in [upgrade::FROM, upgrade::TO].into_iter().chain(upgrade::OLD) {
        let release = CATALOGUE.release(version, Arch::Amd64).unwrap();
        muster_testkit::bundle::write_with(&folder, &release, &[], networks::content);
    }
    let bundle = Bundle::open(folder).unwrap();
    // What runs on this computer is unpacked before anything runs: a program that is still written cannot be run, and who begins
    // meanwhile has it open, too.
    for file in bundle.files().iter().filter(|file| ["helm", "cilium-chart"].contains(&file.name.as_str())) {
        bundle.program(file).unwrap();
    }
    Arc::new(bundle)
});

/// What compressed programs hold, by the sha256 of the compressed file.
static COMPRESSED: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let bundle = &BUNDLE;
    let compressed = bundle.files().iter().filter(|file| file.stored.encoding == Encoding::Gzip);
    let content = |file: &FileEntry| {
        let mut content = Vec::new();
        bundle.content(file).unwrap().read_to_end(&mut content).unwrap();
        (file.stored.sha256.to_string(), content)
    };
    compressed.map(content).collect()
});

/// What may be seen at a path.
type Visible = BTreeMap<String, BTreeSet<Vec<u8>>>;

/// Machines, and what controllers do with them.
struct World {
    machines: Vec<Arc<Machine>>,
    cluster: Arc<Cluster>,
    project: Mutex<(Arc<Inventory>, Arc<Vars>)>,
    /// The hosts that take part, where not all do.
    limit: Mutex<Vec<String>>,
    /// The roles that are done, where not all are.
    roles: Mutex<Vec<String>>,
    /// Whether runs only look.
    check: AtomicBool,
    /// Who is taken out of the cluster, where it is not set up.
    removal: Mutex<Option<Removal>>,
    /// How the cluster is taken away, where it is not set up.
    reset: Mutex<Option<Reset>>,
    /// Whether it is upgraded instead.
    upgrades: AtomicBool,
    /// Whether it is adopted instead.
    adopts: AtomicBool,
    /// Whether the controller is on the first machine.
    is_on_first: AtomicBool,
    /// What is done, where it is something else, and the roles of that.
    instead: Mutex<Option<(Vec<Play>, Vec<Role>)>>,
}

struct Ran {
    outcome: Outcome,
    changes: Vec<Change>,
    /// What changed, by host, as `ROLE: RESOURCE`.
    told: BTreeMap<String, Vec<String>>,
    /// The roles of which any host has done a step, be it only to look.
    looked: BTreeSet<String>,
    warnings: Vec<String>,
    /// What was told, what was tried out, and what was shown while something was waited for.
    shown: Vec<String>,
}

impl World {
    fn new(visible: &[Visible]) -> Self {
        let bundle = &BUNDLE;
        let image = |image: &muster_artifacts::ImageEntry| {
            format!("{} a-type {} 1 MiB\n", image.reference, image.manifest_digest.oci())
        };
        let names = |folder: &str, names: &[&str]| names.iter().map(|n| format!("{folder}/{n}")).collect();
        let members = |file: &FileEntry| -> Vec<String> {
            match file.name.as_str() {
                "etcd" => {
                    names(&format!("etcd-v{}-linux-amd64", file.version), &["etcd", "etcdctl", "etcdutl"])
                }
                "containerd" => names("bin", &["containerd", "containerd-shim-runc-v2", "ctr"]),
                "docker" => names("docker", &["docker", "docker-proxy", "dockerd"]),
                "cni-plugins" => names(
                    ".",
                    &["bridge", "host-local", "loopback", "portmap", "bandwidth", "firewall", "tuning"],
                ),
                _ => Vec::new(),
            }
        };
        let archives = bundle.files().iter();
        let archives =
            archives.map(|file| (format!("{} {}", file.name, file.version), members(file))).collect();
        let images = bundle.images().iter().map(image).collect();
        let cluster = Arc::new(Cluster::new(images, archives, COMPRESSED.clone()));
        let machine = |number: usize| {
            let nature = Nature {
                units: &[
                    (
                        "containerd.service",
                        &["/etc/containerd/config.toml", "/etc/systemd/system/containerd.service"],
                    ),
                    ("docker.service", &["/etc/docker/daemon.json", "/etc/systemd/system/docker.service"]),
                    ("etcd.service", &["/etc/etcd.env", "/etc/systemd/system/etcd.service"]),
                    ("kubelet.service", &["/etc/systemd/system/kubelet.service"]),
                    ("nodelocaldns.service", &["/etc/systemd/system/nodelocaldns.service"]),
                ],
                visible: visible.get(number).cloned().unwrap_or_default(),
                secret: b"PRIVATE KEY",
                programs: Some(cluster.clone()),
            };
            let name = format!("m{number}");
            Machine::new(&name, blank(&name), Arc::new(nature))
        };
        let machines: Vec<_> = (0..MACHINES).map(machine).collect();
        cluster.know(&machines);
        Self {
            machines,
            cluster,
            project: Mutex::new(PROJECT.clone()),
            limit: Mutex::default(),
            roles: Mutex::default(),
            check: AtomicBool::new(false),
            removal: Mutex::default(),
            reset: Mutex::default(),
            upgrades: AtomicBool::new(false),
            adopts: AtomicBool::new(false),
            is_on_first: AtomicBool::new(false),
            instead: Mutex::default(),
        }
    }

    /// From now on runs do this, with these roles, as far as models can.
    fn does(&self, plays: &[Play], roles: Vec<Role>) {
        let mut plays = plays.to_vec();
        for play in &mut plays {
            play.roles.retain(|role| !NOT_MODELLED.contains(&role.as_str()));
        }
        plays.retain(|play| !play.roles.is_empty());
        *self.instead.lock().unwrap() = Some((plays, roles));
    }

    /// From now on runs set the cluster up again.
    fn sets_up(&self) {
        *self.instead.lock().unwrap() = None;
    }

    /// One run of the engine, which may be killed.
    async fn run(&self, controller: &Arc<Controller>) -> Option<Ran> {
        let ((inventory, vars), bundle) = (self.project.lock().unwrap().clone(), BUNDLE.clone());
        let limit = self.limit.lock().unwrap().clone();
        let check = self.check.load(Ordering::Relaxed);
        let wanted = self.roles.lock().unwrap().clone();
        let parts = |plays: &[Play]| {
            let mut plays = plays.to_vec();
            for play in &mut plays {
                play.roles.retain(|role| wanted.is_empty() || wanted.contains(role));
            }
            plays.retain(|play| !play.roles.is_empty());
            plays
        };
        let hosts = inventory.hosts().map(|host| host.name().to_owned());
        let hosts: Vec<String> = hosts.filter(|host| limit.is_empty() || limit.contains(host)).collect();
        let connect = |name: &str| {
            if self.cluster.is_off(name) {
                return Ok(Arc::new(Off) as Arc<dyn Transport>);
            }
            let number: usize = name[1..].parse().unwrap();
            let (controller, machine) = (controller.clone(), self.machines[number].clone());
            let is_here = number == 0 && self.is_on_first.load(Ordering::Relaxed);
            Ok(Arc::new(Line { controller, machine, number, is_here }) as Arc<dyn Transport>)
        };
        let (events, mut receiver) = Events::channel();
        let name = format!("run {}", controller.number);
        // Every earlier run is known to have ended.
        let lock = LockRequest::new(name.clone(), "a test", name, Arc::new(|_| true));
        let lock = LockRequest { run: format!("run{}", controller.number), ..lock };
        let removal = self.removal.lock().unwrap().clone();
        let instead = self.instead.lock().unwrap().clone();
        let (plays, roles) = match (removal, *self.reset.lock().unwrap()) {
            (Some(removal), _) => (removal.plays(true), removal.roles()),
            (None, Some(with)) => (RESET.clone(), muster_roles::reset(with).into()),
            (None, None) if self.upgrades.load(Ordering::Relaxed) => {
                (parts(&upgrade::PLAYS), muster_roles::upgrading(Settings::default()))
            }
            (None, None) if self.adopts.load(Ordering::Relaxed) => {
                (parts(&adopt::PLAYS), muster_roles::adopting(Told::default()))
            }
            (None, None) => instead.unwrap_or_else(|| (parts(&PLAYS), ROLES.to_vec())),
        };
        let run = Run {
            plays: &plays,
            roles: &roles,
            hosts,
            bundle,
            project: "/nowhere".into(),
            check,
            lock: (!check).then_some(lock),
            forks: 10,
            ..Run::new(inventory, vars, &connect, events)
        };
        let outcome = tokio::select! {
            biased;
            () = controller.killed.cancelled() => return None,
            outcome = tokio::time::timeout(Duration::from_secs(24 * 3600), run.execute()) => outcome,
        };
        let outcome = outcome.expect("a run ends").unwrap();
        let (mut changes, mut told, mut warnings, mut shown) =
            (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new());
        let mut looked = BTreeSet::new();
        while let Ok(event) = receiver.try_recv() {
            match event {
                Event::StepEnded { host, role, changes: more, .. } => {
                    if !more.is_empty() {
                        let told: &mut Vec<String> = told.entry(host).or_default();
                        told.extend(more.iter().map(|change| format!("{role}: {}", change.resource)));
                    }
                    changes.extend(more);
                    looked.insert(role);
                }
                Event::Warning { text, .. } => warnings.push(text),
                Event::Output { line, .. } => shown.push(line),
                Event::Told { text, .. } | Event::Tested { what: text, .. } => shown.push(text),
                _ => {}
            }
        }
        Some(Ran { outcome, changes, told, looked, warnings, shown })
    }

    /// A run that nobody disturbs, and what was wrong with it.
    async fn calm(&self, number: u32) -> (Arc<Controller>, Ran, Vec<String>) {
        let controller = Controller::new(number, MACHINES, None);
        let ran = self.run(&controller).await.expect("nobody kills it");
        let failures =
            ran.outcome.iter().filter_map(|(host, o)| Some(format!("{host}: {:?}", o.failure.as_ref()?)));
        let mut wrong: Vec<String> = failures.collect();
        wrong.extend(self.cluster.wrong());
        for machine in &self.machines {
            let said = std::mem::take(&mut machine.state().wrong);
            wrong.extend(said.into_iter().map(|text| format!("{}: {text}", machine.name)));
        }
        (controller, ran, wrong)
    }

    /// The files of each machine.
    fn files(&self) -> Vec<BTreeMap<String, Vec<u8>>> {
        let of = |machine: &Arc<Machine>| {
            let state = machine.state();
            let disk = &state.kept.disk;
            let content = |entry: &Entry| match entry {
                Entry::File(number) => disk.inode(*number).content.clone(),
                Entry::Dir(mode) => format!("{mode:o}").into_bytes(),
                Entry::Link(target) => target.clone().into_bytes(),
            };
            disk.all().map(|(path, entry)| (path.to_owned(), content(entry))).collect()
        };
        self.machines.iter().map(of).collect()
    }

    /// What was sent to the machines and lies there.
    fn arrived(&self) -> Vec<String> {
        let arrived = self.files().into_iter().flat_map(BTreeMap::into_keys);
        arrived.filter(|path| path.starts_with(&format!("{INCOMING}/"))).collect()
    }

    fn changes(&self) -> usize {
        self.machines.iter().map(|machine| machine.state().changes).sum()
    }
}

/// A machine with an operating system.
fn blank(name: &str) -> Kept {
    let mut disk = Disk::default();
    for folder in ["/etc", "/opt", "/run", "/srv", "/usr", "/usr/local", "/var", "/var/lib"] {
        disk.enter(folder, Entry::Dir(0o755)).unwrap();
    }
    let addresses = format!("2: eth0    inet {}/24 brd 192.0.2.255 scope global eth0\n", address(name));
    let name = format!("{name}\n");
    let files = [
        ("/proc/net/ip-addr", addresses.as_str()),
        ("/etc/hostname", name.as_str()),
        ("/etc/hosts", "127.0.0.1 localhost\n"),
        ("/etc/resolv.conf", "nameserver 192.0.2.53\n"),
        ("/proc/sys/kernel/hostname", &name),
        ("/proc/sys/kernel/osrelease", "6.1.0\n"),
        ("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n"),
        ("/proc/sys/net/ipv4/ip_forward", "0\n"),
        ("/proc/swaps", "Filename Type Size Used Priority\n"),
        ("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
    ];
    for (path, content) in files {
        write(&mut disk, path, content, 0o644);
    }
    if name != "m0\n" {
        // Machines that join have been in another cluster before.
        write(&mut disk, "/etc/kubernetes/ssl/ca.crt", "another certificate\n", 0o644);
    }
    let tools = ["conntrack", "ethtool", "ip", "iptables", "socat"].map(str::to_owned).into();
    Kept { disk, tools, ..Kept::default() }
}

/// Time stands still while something is at work, and jumps to when something happens.
fn simulated<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

/// An undisturbed set-up, and the run after it.
fn set_up(visible: &[Visible]) -> (World, Vec<usize>) {
    simulated(async {
        let world = World::new(visible);
        let (controller, ran, wrong) = world.calm(1).await;
        assert!(wrong.is_empty() && !ran.changes.is_empty(), "{}", wrong.join("\n"));
        let exchanges = controller.exchanges.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(world.arrived(), Vec::<String>::new());
        let before = world.changes();
        let (controller, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
        assert!(!controller.changing.load(Ordering::Relaxed) && world.changes() == before);
        (world, exchanges)
    })
}

/// What is the same after two set-ups: all but keys, times, and what the engine keeps for itself.
fn same(one: &World, other: &World) -> Vec<Visible> {
    let both = one.files().into_iter().zip(other.files());
    both.map(|(one, other)| {
        let own = |path: &str| ["/var/lib/muster", "/run", "/proc"].iter().any(|own| path.starts_with(own));
        let same = one.into_iter().filter(|(path, content)| !own(path) && other.get(path) == Some(content));
        same.map(|(path, content)| (path, BTreeSet::from([content]))).collect()
    })
    .collect()
}

#[test]
fn a_controller_may_be_killed_at_every_exchange_of_a_set_up_and_the_same_command_converges() {
    let (reference, exchanges) = set_up(&[]);
    let wanted = same(&reference, &set_up(&[]).0);
    let seen = reference.cluster.seen();
    let kills = At::BothSides.of(&exchanges);
    assert!(exchanges.iter().sum::<usize>() > 100, "{exchanges:?}");
    // What a file holds that was there before is seen until it is replaced.
    let visible: Vec<Visible> = (0..MACHINES)
        .map(|number| {
            let files = World::new(&[]).files().swap_remove(number);
            let mut visible = wanted[number].clone();
            visible.retain(|path, contents| {
                contents.extend(files.get(path).cloned());
                // It is written in place, because it is a mount in a container; what was cut off is finished (roles/hosts_file.sh).
                contents.extend((path == "/etc/hosts").then(Vec::new));
                // What it holds until the member has taken part is judged by etcd.
                path != "/etc/etcd.initial.env"
                    && reference.machines[number].state().kept.disk.file(path).is_some()
            });
            visible
        })
        .collect();
    let play = |kill: Kill| {
        simulated(async {
            let world = World::new(&visible);
            let disturbed = world.run(&Controller::new(1, MACHINES, Some(kill))).await;
            let mut wrong =
                if disturbed.is_some() { vec!["nobody was killed".to_owned()] } else { Vec::new() };
            wrong.extend(world.calm(2).await.2);
            for (number, (files, wanted)) in world.files().iter().zip(&wanted).enumerate().take(IN_USE) {
                let differs = wanted
                    .iter()
                    .filter(|(path, content)| files.get(*path).is_none_or(|found| !content.contains(found)));
                wrong.extend(differs.map(|(path, _)| format!("m{number}: {path} is another one")));
                wrong.extend(
                    world.machines[number].outdated().iter().map(|unit| format!("{unit} is outdated")),
                );
            }
            wrong.extend(world.arrived().into_iter().map(|path| format!("{path} is left")));
            if world.cluster.seen() != seen {
                wrong.push(format!("the cluster is {}, not {seen}", world.cluster.seen()));
            }
            let before = world.changes();
            let (controller, ran, more) = world.calm(3).await;
            wrong.extend(more);
            let changing = controller.changing.load(Ordering::Relaxed);
            if changing || !ran.changes.is_empty() || world.changes() != before {
                wrong.push(format!("the run after changes something: {:?}", ran.changes));
            }
            wrong
        })
    };
    in_parallel(&kills, |kill| play(*kill));
    let injected = "before and after every exchange of a set-up by all roles but preflight, verify, kubeconfig and apps, on three model machines";
    held(
        "controller killed",
        injected,
        kills.len(),
        "the same command converges, the run after it changes nothing",
    );
}
