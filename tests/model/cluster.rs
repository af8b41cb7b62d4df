//! A cluster of model machines: what kubeadm, kubectl, containerd and tar do, as far as the roles look at it (etcd is
//! in `etcd.rs`). It notices what must happen once, or never twice at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_testkit::model::disk::{Disk, Entry, parent};
use muster_testkit::model::look::sha256;
use muster_testkit::model::machine::{Machine, Programs};
use muster_testkit::model::shell::{Done, Shell, Stop};

use crate::drain::Pods;
use crate::etcd::{Member, awk};
use crate::external;
use crate::kubeadm_files::{Authority, base64};
use crate::kubectl::Objects;
use crate::names;
use crate::networks;
use crate::nodes;
use crate::policies;
use crate::rotation::{self, Running};
use crate::{upgrade, vip};

/// What the bundle holds.
pub(crate) struct Cluster {
    /// Lines of `ctr images ls`.
    images: String,
    /// Members of archives, by what an archive's content is in these tests.
    archives: BTreeMap<String, Vec<String>>,
    /// What compressed programs hold, by the sha256 of the compressed file.
    compressed: BTreeMap<String, Vec<u8>>,
    pub(crate) state: Arc<Mutex<State>>,
}

/// The cluster as it is now.
#[derive(Default)]
pub(crate) struct State {
    /// The boots that the cluster knows of, by node.
    pub(crate) boots: BTreeMap<String, u64>,
    pub(crate) members: Vec<Member>,
    /// How many members there ever were.
    pub(crate) added: u32,
    /// How often etcd has begun with nothing.
    pub(crate) etcd_began: u32,
    /// The authorities of clusters that have begun, the latest last.
    pub(crate) authorities: Vec<Authority>,
    /// All machines, and which of them are off.
    pub(crate) machines: BTreeMap<String, Arc<Machine>>,
    pub(crate) off: BTreeSet<String>,
    /// Whether etcd must have a majority whenever somebody asks for it.
    pub(crate) must_have_quorum: bool,
    /// By machine, what is at work there now.
    pub(crate) busy: BTreeSet<String>,
    pub(crate) nodes: BTreeMap<String, Arc<Machine>>,
    /// Their labels, annotations and taints, but for what cordons them.
    pub(crate) marks: BTreeMap<String, nodes::Marks>,
    /// Nodes that muster has cordoned, and those that somebody else has.
    pub(crate) cordoned: BTreeSet<String>,
    pub(crate) held: BTreeSet<String>,
    /// How many nodes leave at once, and may be cordoned for it.
    pub(crate) leaving: usize,
    /// How many have been cordoned at once.
    pub(crate) together: usize,
    /// How often kube-proxy is still found to roll out.
    pub(crate) late_looks: u32,
    /// The nodes that were taken away, in order.
    pub(crate) removed: Vec<String>,
    /// The versions of the kubelets that run, by node, of kubeadm's configuration and of kube-proxy; the last one is empty where there is
    /// no kube-proxy.
    pub(crate) kubelets: BTreeMap<String, String>,
    /// Machines whose kubelets do not start with what they have, and all those of which that was ever so.
    pub(crate) down: BTreeSet<String>,
    pub(crate) were_down: BTreeSet<String>,
    pub(crate) version: String,
    pub(crate) proxy: String,
    /// The configuration of kubelets, as the cluster keeps it.
    pub(crate) kubelet_config: String,
    /// Where the cluster says that its API is (`HOST:PORT`): in kubeadm's configuration, and to those who join by hand.
    pub(crate) endpoint: String,
    pub(crate) info: String,
    /// What the certificates of API servers are good for: of one that joins, and of each machine's.
    pub(crate) names: String,
    pub(crate) certificates: BTreeMap<String, String>,
    pub(crate) objects: Objects,
    pub(crate) pods: Pods,
    /// What the programs of machines trust, where that is looked at; what API servers have trusted since they were asked to forget it.
    pub(crate) running: BTreeMap<String, Running>,
    pub(crate) once_trusted: String,
    /// The addresses at which machines have a DNS cache, by machine.
    pub(crate) caches: BTreeMap<String, String>,
    /// A node that joins when the API server gets its next certificate.
    pub(crate) arrives: Option<String>,
    /// Machines that do not hear each other as control planes that share an address, and those that do not find one elsewhere, each with
    /// the URL there.
    pub(crate) deaf: BTreeSet<String>,
    pub(crate) filtered: BTreeSet<String>,
    pub(crate) wrong: Vec<String>,
}

/// Where the roles put programs.
const BIN: &str = "/usr/local/bin";

const PROGRAMS: [&str; 22] = [
    "awk",
    "base64",
    "containerd",
    "ctr",
    "dockerd",
    "etcd",
    "etcdctl",
    "etcdutl",
    "getent",
    "gzip",
    "ipset",
    "kubeadm",
    "kubectl",
    "kubelet",
    "nproc",
    "od",
    "sed",
    "sort",
    "systemd-run",
    "tar",
    "timeout",
    "xargs",
];
/// Those that a machine has before muster comes.
const OF_THE_SYSTEM: [&str; 13] = [
    "awk",
    "base64",
    "getent",
    "gzip",
    "ipset",
    "nproc",
    "od",
    "sed",
    "sort",
    "systemd-run",
    "tar",
    "timeout",
    "xargs",
];

/// What a control plane is at in the middle of a change of its configuration.
pub(crate) const MAKES_CERTIFICATE: &str = "kubeadm init phase certs";
pub(crate) const MAKES_MANIFESTS: &str = "kubeadm init phase control-plane";

/// The address of a machine by its name: m0, m1, ...
pub(crate) fn address(machine: &str) -> String {
    format!("192.0.2.1{}", &machine[1..])
}

/// A container of an application that runs control planes of its own.
const TENANT: &str = "tenant-kube-apiserver";

/// Where flannel's daemon writes which network the node's pods have, and what it writes on every node.
pub(crate) const SUBNET_FILE: &str = "/run/flannel/subnet.env";
pub(crate) const SUBNET: &str = "FLANNEL_SUBNET=10.233.64.1/24\n";

/// Every node's network for pods, as the cluster says it.
pub(crate) const NETWORK: &str = "10.233.64.0/24";

impl Cluster {
    pub(crate) fn new(
        images: String,
        archives: BTreeMap<String, Vec<String>>,
        compressed: BTreeMap<String, Vec<u8>>,
    ) -> Self {
        Self { images, archives, compressed, state: Arc::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes the machines known.
    pub(crate) fn know(&self, machines: &[Arc<Machine>]) {
        let named = machines.iter().map(|machine| (machine.name.clone(), machine.clone()));
        self.state().machines = named.collect();
    }

    /// Switches a machine off.
    pub(crate) fn switch_off(&self, machine: &str) {
        self.state().off.insert(machine.to_owned());
    }

    /// Switches it on again.
    pub(crate) fn switch_on(&self, machine: &str) {
        self.state().off.remove(machine);
    }

    pub(crate) fn is_off(&self, machine: &str) -> bool {
        self.state().off.contains(machine)
    }

    /// What makes it this cluster: how often it began, its authority, how often etcd began, and what is in it.
    pub(crate) fn identity(&self) -> String {
        let state = self.state();
        let authorities: Vec<_> = state.authorities.iter().map(|authority| &authority.certificate).collect();
        format!("{authorities:?} {} {}", state.etcd_began, state.objects.seen())
    }

    /// The nodes that are cordoned.
    pub(crate) fn cordoned(&self) -> BTreeSet<String> {
        self.state().cordoned.clone()
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.state().nodes.len()
    }

    /// The names of etcd's members, by the machine's address.
    pub(crate) fn member_names(&self) -> Vec<(String, String)> {
        let state = self.state();
        let mut names: Vec<_> = state.members.iter().map(|m| (m.url.clone(), m.name.clone())).collect();
        names.sort();
        names
    }

    /// The cluster as its users see it.
    pub(crate) fn seen(&self) -> String {
        let state = self.state();
        let mut members: Vec<_> =
            state.members.iter().map(|m| (&m.name, &m.url, m.started, m.learner)).collect();
        members.sort();
        let begun = state.authorities.len();
        format!("{members:?} {begun} {:?} {}", state.nodes.keys(), state.objects.seen())
    }

    /// What must not have happened.
    pub(crate) fn wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.state().wrong)
    }

    async fn called(&self, shell: &mut Shell, name: &str, words: &[&str]) -> Done {
        let installed = |program| shell.machine.state().kept.disk.file(&format!("{BIN}/{program}")).is_some();
        if !OF_THE_SYSTEM.contains(&name) && !installed(name) {
            return say(shell, &format!("{name}: not found"), 127);
        }
        match name {
            "awk" => match rotation::awk(shell, words).await {
                Some(done) => done,
                None => awk(shell, words).await,
            },
            "gzip" => {
                let path = words.last().copied().unwrap_or_default();
                let there = shell.machine.state().kept.disk.file(path).map(|file| sha256(&file.content));
                let Some(content) = there.and_then(|sha256| self.compressed.get(&sha256)) else {
                    return say(shell, &format!("gzip: {path} is not compressed"), 1);
                };
                shell.write(1, content).map(|_| 0)
            }
            "sed" => {
                let out = match rotation::sed(shell, words).or_else(|| names::sed_of_file(shell, words)) {
                    None => {
                        let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
                        upgrade::sed(&text, words).or_else(|| names::sed(&text, words))
                    }
                    of_file => of_file,
                };
                match out {
                    Some(out) => shell.write(1, out.as_bytes()).map(|_| 0),
                    None => unknown(shell, name, words),
                }
            }
            "getent" => vip::getent(shell, words),
            "systemd-run" => self.restarts(shell, words),
            "kubelet" if words == ["--version"] => {
                let version = upgrade::installed(&shell.machine, "kubelet");
                shell.write(1, format!("Kubernetes v{version}\n").as_bytes()).map(|_| 0)
            }
            "ipset" => policies::ipset(shell, words),
            "nproc" => shell.write(1, b"2\n").map(|_| 0),
            "od" | "sort" => names::filtered(shell, name, words).await,
            "timeout" => self.within(shell, words).await,
            "tar" => self.tar(shell, words),
            "xargs" => {
                let &["-n", "1", "-P", _, "ctr", ref words @ ..] = words else {
                    return unknown(shell, name, words);
                };
                let lines = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
                for line in lines.lines() {
                    let status = self.ctr(shell, &[words, &[line]].concat()).await?;
                    if status != 0 {
                        return Ok(123);
                    }
                }
                Ok(0)
            }
            "containerd" => {
                let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
                match words {
                    ["--config", "/dev/stdin", "config", "dump"] if text.starts_with("version = 3\n") => {
                        Ok(0)
                    }
                    _ => unknown(shell, name, words),
                }
            }
            "ctr" => self.ctr(shell, words).await,
            "dockerd" => {
                let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
                let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                match words {
                    ["--validate", "--config-file", "/dev/stdin"] if is_json => Ok(0),
                    _ => unknown(shell, name, words),
                }
            }
            "etcd" => {
                let said = format!("etcd Version: {}\n", upgrade::installed(&shell.machine, name));
                shell.write(1, said.as_bytes()).map(|_| 0)
            }
            "etcdctl" => self.etcdctl(shell, words),
            "etcdutl" => self.etcdutl(shell, words),
            "base64" => {
                let bytes = shell.read(0).await?;
                shell.write(1, base64(&bytes).as_bytes()).map(|_| 0)
            }
            "kubeadm" => self.kubeadm(shell, words).await,
            _ => self.kubectl(shell, words).await,
        }
    }

    fn tar(&self, shell: &mut Shell, words: &[&str]) -> Done {
        let &["-xzf", archive, "-C", folder] = words else { return unknown(shell, "tar", words) };
        let content = shell.machine.state().kept.disk.file(archive).map(|file| file.content.clone());
        let content = content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let Some(members) = self.archives.get(&content) else {
            return say(shell, &format!("tar: {archive} is no archive"), 1);
        };
        for member in members {
            put(shell, &format!("{folder}/{member}"), &format!("{content} {member}"), 0o755);
        }
        Ok(0)
    }

    async fn ctr(&self, shell: &mut Shell, words: &[&str]) -> Done {
        if !is_active(&shell.machine, "containerd.service") {
            return say(shell, "ctr: containerd does not answer", 1);
        }
        match words {
            ["-n", "k8s.io", "images", "ls", filters @ ..] => {
                let there = shell
                    .machine
                    .state()
                    .kept
                    .disk
                    .file("/var/lib/containerd/io.containerd.content.v1.content/images")
                    .is_some();
                let asked =
                    |line: &&str| filters.iter().any(|f| f.strip_prefix("name==") == line.split(' ').next());
                let lines: String = self.images.split_inclusive('\n').filter(asked).collect();
                shell.write(1, if there { lines.as_bytes() } else { b"" }).map(|_| 0)
            }
            ["-n", "k8s.io", "images", "import", .., archive] => {
                let archive = shell.machine.state().kept.disk.file(archive).map(|file| file.content.clone());
                // Two blocks of zeros end an archive of tar.
                if !archive.is_some_and(|archive| archive.ends_with(&[0; 1024])) {
                    return say(shell, "ctr: unexpected EOF", 1);
                }
                self.alone(shell, "ctr images import").await?;
                put(shell, "/var/lib/containerd/io.containerd.content.v1.content/images", "", 0o600);
                Ok(0)
            }
            ["-n", "k8s.io", "tasks", "kill", "-s", "SIGTERM", container] => {
                if *container == TENANT {
                    self.state().wrong.push(format!("{} has ended a pod of somebody's", shell.machine.name));
                }
                rotation::api_server_ends(&mut self.state(), &shell.machine);
                Ok(0)
            }
            // None has ended.
            ["-n", "k8s.io", "tasks", "ls"] => {
                let pods = vip::pods(&shell.machine);
                let lines: String = pods.iter().map(|pod| format!("{pod}    1000    RUNNING\n")).collect();
                shell.write(1, lines.as_bytes()).map(|_| 0)
            }
            // It takes up its configuration.
            ["-n", "k8s.io", "tasks", "kill", "--signal", _, _] => Ok(0),
            ["-n", "k8s.io", "containers", "ls", "-q", filter] if filter.contains("==api-vip-") => {
                let pods = vip::pods(&shell.machine);
                let asked = pods.iter().filter(|pod| filter.contains(&format!("=={pod},")));
                let lines: String = asked.map(|pod| format!("{pod}\n")).collect();
                shell.write(1, lines.as_bytes()).map(|_| 0)
            }
            // A container of the API server is as old as its manifest; the load balancer has read its configuration. Pods of
            // applications may have containers with the same names.
            ["-n", "k8s.io", "containers", "ls", "-q", filter] => {
                let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
                let found = shell.machine.state().kept.disk.file(manifest).map(|file| sha256(&file.content));
                let found = found.filter(|_| filter.contains("kube-apiserver")).unwrap_or_default();
                let of_system = filter.contains("\"io.kubernetes.pod.namespace\"==kube-system");
                let others = if of_system { String::new() } else { format!("\n{TENANT}\n") };
                shell.write(1, (found + &others).as_bytes()).map(|_| 0)
            }
            _ => unknown(shell, "ctr", words),
        }
    }

    /// Whether the API does.
    pub(crate) fn answers(&self) -> bool {
        let state = self.state();
        !state.authorities.is_empty() && state.has_quorum()
    }

    /// Whether there is an API server at an address, `https://HOST:PORT`.
    pub(crate) fn serves(&self, server: &str) -> bool {
        let state = self.state();
        let at = |machine: &&Arc<Machine>| {
            [external::URL, vip::OTHER].contains(&server)
                || server == format!("https://{}:6443", address(&machine.name))
        };
        let mut machines = state.machines.values().filter(at);
        machines.any(|machine| {
            let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
            !state.off.contains(&machine.name) && !content(machine, manifest).is_empty()
        })
    }

    /// Whether a machine finds an API server at an address: at 127.0.0.1 its own, or any that its load balancer knows.
    pub(crate) fn finds(&self, machine: &Arc<Machine>, server: &str) -> bool {
        let server = &vip::by_hosts_line(machine, server);
        if !self.reaches_shared(machine, server) {
            return false;
        }
        if server != "https://127.0.0.1:6443" {
            return self.serves(server);
        }
        let own = format!("https://{}:6443", address(&machine.name));
        let runs = is_active(machine, "kubelet.service")
            && !content(machine, "/etc/kubernetes/manifests/api-balancer.yaml").is_empty();
        let config = content(machine, "/etc/kubernetes/api-balancer/haproxy.cfg");
        let balanced = config.lines().filter_map(|line| line.trim().strip_prefix("server ")?.split_once(' '));
        self.serves(&own) || runs && balanced.into_iter().any(|(_, at)| self.serves(&format!("https://{at}")))
    }

    /// What daemons of networks do on every node, after a while: they write files. flannel's writes one. Before that no pod has a network.
    pub(crate) fn daemons(&self) {
        networks::bring_soon(&self.state);
        let state = self.state.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let mut state = state.lock().unwrap();
            if !state.objects.has("DaemonSet", "kube-flannel") {
                return;
            }
            for node in state.nodes.clone().into_values() {
                let disk = &mut node.state().kept.disk;
                if disk.file(SUBNET_FILE).is_none() {
                    // One that runs does not look at its file: it begins anew first.
                    let is_taken_away = disk.file("/run/flannel/former-subnet.env").is_some();
                    let begins_anew = !state.pods.anew.is_empty();
                    if is_taken_away && !begins_anew {
                        continue;
                    }
                    if !begins_anew && disk.file("/etc/cni/net.d/10-flannel.conflist").is_some() {
                        state.wrong.push(format!("{} takes pods, and has no network for them", node.name));
                    }
                    write(disk, SUBNET_FILE, SUBNET, 0o644);
                }
            }
        });
    }

    /// Takes some seconds, in which it must be the only one of its kind on the machine.
    pub(crate) async fn alone(&self, shell: &mut Shell, what: &str) -> Done<()> {
        let name = format!("{what} on {}", shell.machine.name);
        if !self.state().busy.insert(name.clone()) {
            self.state().wrong.push(format!("{name} twice at once"));
        }
        let done = shell.machine.work(&shell.process, 1000..4000).await;
        self.state().busy.remove(&name);
        done
    }
}

impl Programs for Cluster {
    fn knows(&self, name: &str) -> bool {
        PROGRAMS.contains(&name)
    }

    fn run<'s>(&'s self, shell: &'s mut Shell, name: &'s str, words: &'s [&'s str]) -> BoxFuture<'s, Done> {
        Box::pin(self.called(shell, name, words))
    }

    fn started(&self, machine: &Machine, unit: &str) {
        if unit == "etcd.service" {
            self.etcd_started(machine);
        }
        if unit == "kubelet.service" {
            self.kubelet_started(machine);
            networks::bring_soon(&self.state);
        }
        if unit == "nodelocaldns.service" {
            self.cache_started(machine);
        }
        rotation::started(&mut self.state(), machine, unit);
    }

    fn addresses(&self, machine: &Machine) -> Vec<String> {
        self.shared_addresses(machine)
    }

    fn address_of(&self, machine: &Machine, interface: &str) -> Option<String> {
        self.cache_address(machine).filter(|_| interface == "nodelocaldns")
    }
}

/// A file as text; one that is not there is empty.
pub(crate) fn content(machine: &Machine, path: &str) -> String {
    let content = machine.state().kept.disk.file(path).map(|file| file.content.clone());
    String::from_utf8_lossy(&content.unwrap_or_default()).into_owned()
}

pub(crate) fn is_active(machine: &Machine, unit: &str) -> bool {
    machine.state().kept.units.get(unit).is_some_and(|unit| unit.active)
}

pub(crate) fn say(shell: &mut Shell, text: &str, status: i32) -> Done {
    shell.write(2, format!("{text}\n").as_bytes()).map(|_| status)
}

/// What these programs have not been taught, which fails the test.
pub(crate) fn unknown(shell: &Shell, name: &str, words: &[&str]) -> Done {
    shell.machine.state().wrong.push(format!("unknown: {name} {words:?}"));
    Err(Stop::Exit(127))
}

/// A file that a program makes, with its folders.
pub(crate) fn put(shell: &Shell, path: &str, content: &str, mode: u32) {
    let mut state = shell.machine.state();
    write(&mut state.kept.disk, path, content, mode);
    shell.machine.changed(&mut state, &shell.process, path);
}

/// The same, which a power cut would take away again.
pub(crate) fn unflushed(shell: &Shell, path: &str, content: &str, mode: u32) {
    put(shell, path, content, mode);
    let disk = &mut shell.machine.state().kept.disk;
    let number = disk.number(path).expect("it was just put there");
    disk.change(number).flushed = false;
}

pub(crate) fn write(disk: &mut Disk, path: &str, content: &str, mode: u32) {
    let folders: Vec<_> = std::iter::successors(Some(parent(path)), |path| Some(parent(path)))
        .take_while(|path| !path.is_empty() && !disk.is_dir(path))
        .collect();
    for folder in folders.into_iter().rev() {
        disk.enter(folder, Entry::Dir(0o755)).expect("its parent is there");
    }
    let number = disk.open(path, mode, 0).expect("its folder is there");
    let inode = disk.change(number);
    (inode.content, inode.flushed) = (content.as_bytes().to_vec(), true);
}
