//! A cluster of model machines: what etcd, kubeadm, kubectl, containerd and tar do, as far as the roles look at it. It
//! notices what must happen once, or never twice at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_roles::catalogue::CATALOGUE;
use muster_testkit::model::disk::{Disk, Entry, parent};
use muster_testkit::model::look::sha256;
use muster_testkit::model::machine::{Machine, Programs};
use muster_testkit::model::shell::{Done, Shell, Stop};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::kubectl::{self, Objects};
use crate::nodes;

/// What the bundle holds.
pub(crate) struct Cluster {
    /// Lines of `ctr images ls`.
    images: String,
    /// Members of archives, by what an archive's content is in these tests.
    archives: BTreeMap<String, Vec<String>>,
    /// What compressed programs hold, by the sha256 of the compressed file.
    compressed: BTreeMap<String, Vec<u8>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// How many members there ever were.
    added: u32,
    /// How often etcd has begun with nothing.
    etcd_began: u32,
    /// The authorities of clusters that have begun, the latest last.
    authorities: Vec<Authority>,
    /// All machines, and which of them are off.
    machines: BTreeMap<String, Arc<Machine>>,
    off: BTreeSet<String>,
    /// By machine, what is at work there now.
    busy: BTreeSet<String>,
    nodes: BTreeMap<String, Arc<Machine>>,
    /// Nodes that muster has cordoned.
    cordoned: BTreeSet<String>,
    /// The configuration of kubelets, as the cluster keeps it.
    kubelet_config: String,
    objects: Objects,
    wrong: Vec<String>,
}

#[derive(Clone)]
struct Member {
    id: u32,
    name: String,
    url: String,
    started: bool,
    learner: bool,
}

/// Where the roles put programs.
const BIN: &str = "/usr/local/bin";

const PROGRAMS: [&str; 9] = ["awk", "ctr", "etcdctl", "gzip", "kubeadm", "kubectl", "nproc", "tar", "xargs"];
/// Those that a machine has before muster comes.
const OF_THE_SYSTEM: [&str; 5] = ["awk", "gzip", "nproc", "tar", "xargs"];

/// The address of a machine by its name: m0, m1, ...
pub(crate) fn address(machine: &str) -> String {
    format!("192.0.2.1{}", &machine[1..])
}

impl Cluster {
    pub(crate) fn new(
        images: String,
        archives: BTreeMap<String, Vec<String>>,
        compressed: BTreeMap<String, Vec<u8>>,
    ) -> Self {
        Self { images, archives, compressed, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes the machines known.
    pub(crate) fn know(&self, machines: &[Arc<Machine>]) {
        let named = machines.iter().map(|machine| (machine.name.clone(), machine.clone()));
        self.state().machines = named.collect();
    }

    /// Switches a machine off for good.
    pub(crate) fn switch_off(&self, machine: &str) {
        self.state().off.insert(machine.to_owned());
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
            "awk" => awk(shell, words).await,
            "gzip" => {
                let path = words.last().copied().unwrap_or_default();
                let there = shell.machine.state().kept.disk.file(path).map(|file| sha256(&file.content));
                let Some(content) = there.and_then(|sha256| self.compressed.get(&sha256)) else {
                    return say(shell, &format!("gzip: {path} is not compressed"), 1);
                };
                shell.write(1, content).map(|_| 0)
            }
            "nproc" => shell.write(1, b"2\n").map(|_| 0),
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
            "ctr" => self.ctr(shell, words).await,
            "etcdctl" => self.etcdctl(shell, words),
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
                let there = shell.machine.state().kept.disk.file("/var/lib/containerd/images").is_some();
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
                put(shell, "/var/lib/containerd/images", "", 0o600);
                Ok(0)
            }
            _ => unknown(shell, "ctr", words),
        }
    }

    fn etcdctl(&self, shell: &mut Shell, words: &[&str]) -> Done {
        let (mut endpoints, mut urls, mut rest) = ("", "", Vec::new());
        let mut words_left = words.iter();
        while let Some(word) = words_left.next() {
            match *word {
                "--endpoints" => endpoints = words_left.next().copied().unwrap_or_default(),
                "--cacert" | "--cert" | "--key" => {
                    let path = words_left.next().copied().unwrap_or_default();
                    if shell.machine.state().kept.disk.file(path).is_none() {
                        return say(shell, &format!("etcdctl: {path} is not there"), 1);
                    }
                }
                word if word.starts_with("--peer-urls=") => urls = &word["--peer-urls=".len()..],
                word if word.starts_with("--") => {}
                word => rest.push(word),
            }
        }
        let here = format!("https://{}:2379", address(&shell.machine.name));
        let endpoints: Vec<String> =
            endpoints.split(',').map(|e| e.replace("https://127.0.0.1:2379", &here)).collect();
        let mut state = self.state();
        let asked = |member: &&Member| {
            endpoints.contains(&member.url.replace(":2380", ":2379")) && state.is_alive(member)
        };
        if !state.has_quorum() {
            drop(state);
            return say(shell, "etcdctl: context deadline exceeded", 1);
        }
        let Some(member) = state.members.iter().find(asked) else {
            drop(state);
            return say(shell, "etcdctl: context deadline exceeded", 1);
        };
        let (learner, mut out) = (member.learner, String::new());
        let status = match rest.as_slice() {
            ["endpoint", "health"] if words.contains(&"--cluster") => {
                for member in &state.members {
                    let word =
                        if state.is_alive(member) && !member.learner { "healthy" } else { "unhealthy" };
                    out += &format!("{} is {word}: it was asked\n", member.url.replace(":2380", ":2379"));
                }
                0
            }
            ["endpoint", "health"] => i32::from(learner),
            ["get", "/registry"] => {
                if !state.authorities.is_empty() {
                    out = "/registry/namespaces/default\n".to_owned();
                }
                0
            }
            // A learner answers nothing else.
            _ if learner => 1,
            ["member", "list"] => {
                for Member { id, name, url, started, learner } in &state.members {
                    let (word, name) = if *started { ("started", name.as_str()) } else { ("unstarted", "") };
                    let client = if *started { url.replace(":2380", ":2379") } else { String::new() };
                    out += &format!("{id:x}, {word}, {name}, {url}, {client}, {learner}\n");
                }
                0
            }
            ["member", "add", name] => {
                let known = state.members.iter().any(|member| member.url == urls || member.learner);
                if !known {
                    state.added += 1;
                    let (id, name, url) = (state.added, (*name).to_owned(), urls.to_owned());
                    state.members.push(Member { id, name, url, started: false, learner: true });
                }
                i32::from(known)
            }
            ["member", "remove", id] => {
                state.members.retain(|member| format!("{:x}", member.id) != *id);
                if !state.has_quorum() {
                    state.wrong.push(format!("etcd has no majority any more without {id}"));
                }
                0
            }
            ["member", "promote", id] => {
                let found = state.members.iter_mut().find(|m| format!("{:x}", m.id) == *id && m.started);
                found.map(|member| member.learner = false).map_or(1, |()| 0)
            }
            _ => {
                drop(state);
                return unknown(shell, "etcdctl", words);
            }
        };
        drop(state);
        shell.write(1, out.as_bytes()).map(|_| status)
    }

    async fn kubeadm(&self, shell: &mut Shell, words: &[&str]) -> Done {
        let machine = shell.machine.clone();
        let is_there = |path: &str| machine.state().kept.disk.file(path).is_some();
        let content = |path: &str| content(&machine, path);
        match words {
            ["init", "phase", "upload-certs", ..] => {
                shell.write(1, b"[upload-certs] the key:\nc0ffee\n").map(|_| 0)
            }
            ["init", "phase", "upload-config", "all", "--config", config] => {
                self.state().kubelet_config = kubelet_config(&content(config));
                Ok(0)
            }
            ["init", "phase", ..] => Ok(0),
            ["init", "--config", config, ..] if is_there(config) => {
                if !self.state().has_quorum() {
                    return say(shell, "kubeadm: etcd does not answer", 1);
                }
                let known = self.state().authorities.last().cloned();
                let own =
                    is_there("/etc/kubernetes/ssl/ca.key").then(|| content("/etc/kubernetes/ssl/ca.crt"));
                if known.is_some() {
                    self.state().wrong.push("kubeadm init, though the cluster has begun".into());
                }
                self.alone(shell, "kubeadm init").await?;
                let authority = match known.filter(|known| own.as_ref() == Some(&known.certificate)) {
                    Some(known) => known,
                    None => Authority::new(),
                };
                let endpoint = told(&content(config), "controlPlaneEndpoint:");
                self.state().authorities.push(authority.clone());
                self.state().kubelet_config = kubelet_config(&content(config));
                self.configures_kubelet(shell);
                becomes_plane(shell, &authority, &content(config), &endpoint);
                becomes_node(shell, &authority, &content(config), &endpoint);
                self.state().nodes.insert(machine.name.clone(), machine.clone());
                Ok(0)
            }
            ["--kubeconfig", conf, "token", "create", ..]
                if is_there(conf) && self.answers() && self.serves(&told(&content(conf), "server:")) =>
            {
                shell.write(1, b"ab.cd\n").map(|_| 0)
            }
            ["join", "--config", config, ..] if is_there(config) && self.answers() => {
                let known = self.state().nodes.insert(machine.name.clone(), machine.clone()).is_some();
                if known && is_there(CLIENT) {
                    self.state().wrong.push(format!("{} joins, and is a node already", machine.name));
                }
                let authority = self.state().authorities.last().cloned().expect("it has begun");
                if content("/etc/kubernetes/ssl/ca.crt") != authority.certificate {
                    self.state().wrong.push(format!("{} joins, and trusts another cluster", machine.name));
                }
                let config = content(config);
                let server = told(&content("/etc/kubernetes/discovery.conf"), "server:");
                if !self.serves(&server) {
                    return say(shell, "kubeadm: the API server does not answer", 1);
                }
                let server = server.trim_start_matches("https://");
                self.alone(shell, "kubeadm join").await?;
                if config.contains("controlPlane:\n") {
                    // The address that the cluster knows its API by is in its own configuration.
                    let planes = self.state().nodes.clone().into_values();
                    let endpoint =
                        planes.map(|plane| crate::cluster::content(&plane, "/etc/kubernetes/admin.conf"));
                    let endpoint =
                        endpoint.map(|conf| told(&conf, "server:")).find(|server| !server.is_empty());
                    let endpoint = endpoint.unwrap_or_default();
                    becomes_plane(shell, &authority, &config, endpoint.trim_start_matches("https://"));
                }
                becomes_node(shell, &authority, &config, server);
                self.configures_kubelet(shell);
                self.daemons();
                Ok(0)
            }
            ["upgrade", "node", "phase", "kubelet-config", ..]
                if is_there("/etc/kubernetes/kubelet.conf") =>
            {
                self.configures_kubelet(shell);
                Ok(0)
            }
            // What it removes is removed by the role, too.
            ["reset", "--force", ..] => self.alone(shell, "kubeadm reset").await.map(|()| 0),
            ["upgrade", ..] => Ok(1),
            ["init" | "join" | "--kubeconfig", ..] => say(shell, "kubeadm: it cannot be done now", 1),
            _ => unknown(shell, "kubeadm", words),
        }
    }

    /// The kubelet gets the configuration that the cluster has.
    fn configures_kubelet(&self, shell: &Shell) {
        let config = self.state().kubelet_config.clone();
        put(shell, KUBELET_CONFIG, &config, 0o644);
    }

    /// Whether the API does.
    fn answers(&self) -> bool {
        let state = self.state();
        !state.authorities.is_empty() && state.has_quorum()
    }

    /// Whether there is an API server at an address, `https://HOST:PORT`.
    fn serves(&self, server: &str) -> bool {
        let state = self.state();
        let at = |machine: &&Arc<Machine>| server == format!("https://{}:6443", address(&machine.name));
        let machine = state.machines.values().find(at);
        machine.is_some_and(|machine| {
            let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
            !state.off.contains(&machine.name) && !content(machine, manifest).is_empty()
        })
    }

    /// What flannel's daemon does on every node, after a while: it writes a file. Before that no pod has a network.
    fn daemons(&self) {
        let state = self.state.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let mut state = state.lock().unwrap();
            if !state.objects.has("DaemonSet", "kube-flannel") {
                return;
            }
            for node in state.nodes.clone().into_values() {
                let disk = &mut node.state().kept.disk;
                if disk.file("/run/flannel/subnet.env").is_none() {
                    if disk.file("/etc/cni/net.d/10-flannel.conflist").is_some() {
                        state.wrong.push(format!("{} takes pods, and has no network for them", node.name));
                    }
                    write(disk, "/run/flannel/subnet.env", "", 0o644);
                }
            }
        });
    }

    /// Takes some seconds, in which it must be the only one of its kind on the machine.
    async fn alone(&self, shell: &mut Shell, what: &str) -> Done<()> {
        let name = format!("{what} on {}", shell.machine.name);
        if !self.state().busy.insert(name.clone()) {
            self.state().wrong.push(format!("{name} twice at once"));
        }
        let done = shell.machine.work(&shell.process, 1000..4000).await;
        self.state().busy.remove(&name);
        done
    }

    async fn kubectl(&self, shell: &mut Shell, words: &[&str]) -> Done {
        let &["--kubeconfig", conf, timeout, ref rest @ ..] = words else {
            return unknown(shell, "kubectl", words);
        };
        // The API server that is asked: where none is said, the one at the address that the kubeconfig has.
        let said = rest.iter().find_map(|word| word.strip_prefix("--server=")).map(str::to_owned);
        let rest: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with("--server=")).collect();
        let there = shell.machine.state().kept.disk.file(conf).is_some();
        let server = said.unwrap_or_else(|| told(&content(&shell.machine, conf), "server:"));
        if !timeout.starts_with("--request-timeout=") {
            return unknown(shell, "kubectl", words);
        }
        if !there || !self.answers() || !self.serves(&server) {
            return say(shell, "kubectl: the API server does not answer", 1);
        }
        if rest == ["get", "--raw", "/readyz"] {
            return Ok(0);
        }
        let input = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
        let printed = {
            let State { objects, nodes, cordoned, off, kubelet_config, .. } = &mut *self.state();
            let of_nodes = nodes::answer(nodes, cordoned, off, &rest);
            match rest.as_slice() {
                _ if of_nodes.is_some() => of_nodes,
                [
                    "-n",
                    "kube-system",
                    "get",
                    "configmap",
                    "kubelet-config",
                    "-o",
                    "jsonpath={.data.kubelet}",
                ] => Some(kubelet_config.clone()),
                rest => kubectl::answer(objects, &nodes.keys().collect::<Vec<_>>(), rest, &input),
            }
        };
        let Some(printed) = printed else { return unknown(shell, "kubectl", words) };
        self.daemons();
        shell.write(1, printed.as_bytes()).map(|_| 0)
    }
}

/// A cluster's authority.
#[derive(Clone)]
pub(crate) struct Authority {
    certificate: String,
    key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, key: key.serialize_pem() }
    }

    /// What it gives to the kubelet of a node: certificate and key.
    fn client(&self, node: &str) -> String {
        let issuer = KeyPair::from_pem(&self.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, issuer).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
        let certificate = params.signed_by(&key, &issuer).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    fn kubeconfig(&self, server: &str) -> String {
        let authority = base64(self.certificate.as_bytes());
        format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: https://{server}\n  name: it\n"
        )
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        (0..4).map(move |at| (bits >> (18 - 6 * at) & 63, at)).collect::<Vec<_>>().into_iter().map({
            let length = three.len();
            move |(digit, at)| if at > length { '=' } else { char::from(DIGITS[digit]) }
        })
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// The first value of a key in a file of kubeadm's.
fn told(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.trim_start().strip_prefix(key));
    value.unwrap_or_default().trim().trim_matches('"').to_owned()
}

/// What makes a machine a node. `server`: HOST:PORT of the API.
pub(crate) fn becomes_node(shell: &Shell, authority: &Authority, config: &str, server: &str) {
    for (path, content) in node_files(authority, &told(config, "name:"), &told(config, "value:"), server) {
        put(shell, path, &content, 0o600);
    }
}

/// The files of a node.
pub(crate) fn node_files(
    authority: &Authority,
    name: &str,
    ip: &str,
    server: &str,
) -> [(&'static str, String); 3] {
    [
        ("/etc/kubernetes/kubelet.conf", authority.kubeconfig(server)),
        ("/var/lib/kubelet/kubeadm-flags.env", format!("KUBELET_KUBEADM_ARGS=\"--node-ip={ip}\"\n")),
        (CLIENT, authority.client(name)),
    ]
}

/// What makes a machine a control plane. `endpoint`: HOST:PORT of the API as the cluster knows it.
fn becomes_plane(shell: &Shell, authority: &Authority, config: &str, endpoint: &str) {
    let own = format!("{}:6443", address(&shell.machine.name));
    let version = match told(config, "kubernetesVersion: v") {
        version if version.is_empty() => CATALOGUE.default_release().to_owned(),
        version => version,
    };
    let manifest = format!(
        "metadata:\n  annotations:\n    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: {own}\nspec:\n  \
         containers:\n  - name: kube-apiserver\n    image: registry.k8s.io/kube-apiserver:v{version}\n"
    );
    let files = [
        ("ssl/ca.crt", authority.certificate.clone(), 0o644),
        ("ssl/ca.key", authority.key.clone(), 0o600),
        ("admin.conf", authority.kubeconfig(endpoint), 0o600),
        ("controller-manager.conf", authority.kubeconfig(&own), 0o600),
        ("manifests/kube-apiserver.yaml", manifest, 0o600),
    ];
    for (path, content, mode) in files {
        put(shell, &format!("/etc/kubernetes/{path}"), &content, mode);
    }
}

/// What a kubelet runs with.
pub(crate) const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";

/// The part of kubeadm's configuration that kubelets get.
fn kubelet_config(config: &str) -> String {
    let kubelet = config.split("---\n").find(|part| part.contains("kind: KubeletConfiguration"));
    kubelet.unwrap_or_default().to_owned()
}

/// What a node has once the cluster has taken it in.
const CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

impl State {
    /// Whether a member answers. A machine that lost its data has no member, whatever the others remember.
    fn is_alive(&self, member: &Member) -> bool {
        let machine = self.machines.values().find(|machine| member.url == peer_url(&machine.name));
        member.started
            && machine.is_some_and(|machine| {
                let wal = wal(&content(machine, "/etc/etcd.env"));
                !self.off.contains(&machine.name)
                    && is_active(machine, "etcd.service")
                    && machine.state().kept.disk.exists(&wal)
            })
    }

    /// Whether more than half of those that vote are alive.
    fn has_quorum(&self) -> bool {
        let voters = self.members.iter().filter(|member| !member.learner);
        let alive = voters.clone().filter(|member| self.is_alive(member)).count();
        2 * alive > voters.count()
    }
}

/// The URL at which other members find the one of a machine.
fn peer_url(machine: &str) -> String {
    format!("https://{}:2380", address(machine))
}

/// Where a member with this configuration has its log.
fn wal(environment: &str) -> String {
    let folder = environment.lines().find_map(|line| line.strip_prefix("ETCD_DATA_DIR="));
    format!("{}/member/wal", folder.unwrap_or("/var/lib/etcd"))
}

impl Programs for Cluster {
    fn knows(&self, name: &str) -> bool {
        PROGRAMS.contains(&name)
    }

    fn run<'s>(&'s self, shell: &'s mut Shell, name: &'s str, words: &'s [&'s str]) -> BoxFuture<'s, Done> {
        Box::pin(self.called(shell, name, words))
    }

    fn started(&self, machine: &Machine, unit: &str) {
        if unit != "etcd.service" {
            return;
        }
        let environment = content(machine, "/etc/etcd.env");
        let name = environment.lines().find_map(|line| line.strip_prefix("ETCD_NAME=")).unwrap_or_default();
        let wal = wal(&environment);
        if machine.state().kept.disk.exists(&wal) {
            return;
        }
        let initial = content(machine, "/etc/etcd.initial.env");
        let mut state = self.state();
        let (url, name) = (peer_url(&machine.name), name.to_owned());
        // etcd: "cannot fetch cluster info from peer urls", where two members have one name.
        if !initial.contains(&format!("{name}={url}")) {
            state.wrong.push(format!("etcd starts as {name}, which it was not introduced as: {initial}"));
            return;
        }
        if initial.contains("STATE=new") {
            if !state.members.is_empty() {
                state.wrong.push("etcd begins, and is there already".into());
            }
            state.added += 1;
            state.etcd_began += 1;
            let id = state.added;
            state.members = vec![Member { id, name, url, started: true, learner: false }];
        } else {
            let Some(member) = state.members.iter_mut().find(|member| member.url == url) else {
                state.wrong.push(format!("etcd starts on {}, which is no member", machine.name));
                return;
            };
            (member.started, member.name) = (true, name);
        }
        drop(state);
        write(&mut machine.state().kept.disk, &format!("{wal}/0.wal"), "", 0o600);
    }
}

/// `awk` with the texts that the roles have: lines of `etcdctl member list`.
async fn awk(shell: &mut Shell, words: &[&str]) -> Done {
    let &["-F", ", ", "-v", variable, ref others @ .., program] = words else {
        return unknown(shell, "awk", words);
    };
    let value = variable.split_once('=').map_or("", |(_, value)| value);
    let other = others.last().and_then(|other| other.split_once('=')).map_or("", |(_, value)| value);
    let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(", ").collect()).collect();
    let (mut out, mut status) = (String::new(), 0);
    match program {
        r#"$4 == url && $2 == "started" { print $1 }"# => {
            let ids = lines.iter().filter(|line| line[3] == value && line[1] == "started");
            out = ids.map(|line| format!("{}\n", line[0])).collect();
        }
        r#"$4 == url && $6 == "true" { print $1 }"# => {
            let ids = lines.iter().filter(|line| line[3] == value && line[5] == "true");
            out = ids.map(|line| format!("{}\n", line[0])).collect();
        }
        "$3 == name && $4 != url { found = 1 } END { exit !found }" => {
            status = i32::from(!lines.iter().any(|line| line[2] == value && line[3] != other));
        }
        "$4 == url { found = 1 } END { exit !found }" => {
            status = i32::from(!lines.iter().any(|line| line[3] == value));
        }
        r#"{ printf "%s%s=%s", sep, ($3 == "" ? name : $3), $4; sep = "," }"# => {
            let name =
                |line: &Vec<&str>| if line[2].is_empty() { value.to_owned() } else { line[2].to_owned() };
            out =
                lines.iter().map(|line| format!("{}={}", name(line), line[3])).collect::<Vec<_>>().join(",");
        }
        _ => return unknown(shell, "awk", words),
    }
    shell.write(1, out.as_bytes()).map(|_| status)
}

/// A file as text; one that is not there is empty.
pub(crate) fn content(machine: &Machine, path: &str) -> String {
    let content = machine.state().kept.disk.file(path).map(|file| file.content.clone());
    String::from_utf8_lossy(&content.unwrap_or_default()).into_owned()
}

fn is_active(machine: &Machine, unit: &str) -> bool {
    machine.state().kept.units.get(unit).is_some_and(|unit| unit.active)
}

fn say(shell: &mut Shell, text: &str, status: i32) -> Done {
    shell.write(2, format!("{text}\n").as_bytes()).map(|_| status)
}

/// What these programs have not been taught, which fails the test.
fn unknown(shell: &Shell, name: &str, words: &[&str]) -> Done {
    shell.machine.state().wrong.push(format!("unknown: {name} {words:?}"));
    Err(Stop::Exit(127))
}

/// A file that a program makes, with its folders.
fn put(shell: &Shell, path: &str, content: &str, mode: u32) {
    let mut state = shell.machine.state();
    write(&mut state.kept.disk, path, content, mode);
    shell.machine.changed(&mut state, &shell.process, path);
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
