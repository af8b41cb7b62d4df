//! A cluster of model machines: what etcd, kubeadm, kubectl, containerd and tar do, as far as the roles look at it. It
//! notices what must happen once, or never twice at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_testkit::model::disk::{Disk, Entry, parent};
use muster_testkit::model::look::sha256;
use muster_testkit::model::machine::{Machine, Programs};
use muster_testkit::model::shell::{Done, Shell, Stop};

use crate::kubectl::{self, Objects};

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
    began: bool,
    /// By machine, what is at work there now.
    busy: BTreeSet<String>,
    nodes: BTreeMap<String, Arc<Machine>>,
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

    /// The cluster as its users see it.
    pub(crate) fn seen(&self) -> String {
        let state = self.state();
        let mut members: Vec<_> =
            state.members.iter().map(|m| (&m.name, &m.url, m.started, m.learner)).collect();
        members.sort();
        format!("{members:?} {} {:?} {}", state.began, state.nodes.keys(), state.objects.seen())
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
        let asked =
            |member: &&Member| member.started && endpoints.contains(&member.url.replace(":2380", ":2379"));
        let Some(member) = state.members.iter().find(asked) else {
            drop(state);
            return say(shell, "etcdctl: context deadline exceeded", 1);
        };
        let (learner, mut out) = (member.learner, String::new());
        let status = match rest.as_slice() {
            ["endpoint", "health"] => i32::from(learner),
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
            ["init", "phase", ..] => Ok(0),
            ["init", "--config", config, ..] if is_there(config) => {
                if self.state().began {
                    self.state().wrong.push("kubeadm init, though the cluster has begun".into());
                }
                self.alone(shell, "kubeadm init").await?;
                for file in ["admin.conf", "kubelet.conf", "manifests/kube-apiserver.yaml"] {
                    put(shell, &format!("/etc/kubernetes/{file}"), file, 0o600);
                }
                put(shell, "/etc/kubernetes/ssl/ca.crt", CERTIFICATE, 0o644);
                put(shell, CLIENT, "a certificate", 0o600);
                self.state().began = true;
                self.state().nodes.insert(machine.name.clone(), machine.clone());
                Ok(0)
            }
            ["--kubeconfig", conf, "token", "create", ..] if is_there(conf) => {
                shell.write(1, b"ab.cd\n").map(|_| 0)
            }
            ["join", "--config", config, ..] if is_there(config) && self.state().began => {
                let known = self.state().nodes.insert(machine.name.clone(), machine.clone()).is_some();
                if known && is_there(CLIENT) {
                    self.state().wrong.push(format!("{} joins, and is a node already", machine.name));
                }
                let is_plane = content(config).contains("controlPlane");
                if content("/etc/kubernetes/ssl/ca.crt") != CERTIFICATE {
                    self.state().wrong.push(format!("{} joins, and trusts another cluster", machine.name));
                }
                self.alone(shell, "kubeadm join").await?;
                put(shell, "/etc/kubernetes/kubelet.conf", "kubelet.conf", 0o600);
                if is_plane {
                    put(shell, "/etc/kubernetes/admin.conf", "admin.conf", 0o600);
                }
                put(shell, CLIENT, "a certificate", 0o600);
                self.daemons();
                Ok(0)
            }
            ["upgrade", "node", ..] => Ok(i32::from(!is_there("/etc/kubernetes/kubelet.conf"))),
            ["init" | "join" | "--kubeconfig", ..] => say(shell, "kubeadm: it cannot be done now", 1),
            _ => unknown(shell, "kubeadm", words),
        }
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
        let there = shell.machine.state().kept.disk.file(conf).is_some();
        if !timeout.starts_with("--request-timeout=") {
            return unknown(shell, "kubectl", words);
        }
        if !there || !self.state().began {
            return say(shell, "kubectl: the API server does not answer", 1);
        }
        if rest == ["get", "--raw", "/readyz"] {
            return Ok(0);
        }
        let input = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
        let printed = {
            let State { objects, nodes, .. } = &mut *self.state();
            kubectl::answer(objects, &nodes.keys().collect::<Vec<_>>(), rest, &input)
        };
        let Some(printed) = printed else { return unknown(shell, "kubectl", words) };
        self.daemons();
        shell.write(1, printed.as_bytes()).map(|_| 0)
    }
}

/// The cluster's authority.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";

/// What a node has once the cluster has taken it in.
const CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

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
        let mut kept = machine.state();
        let disk = &mut kept.kept.disk;
        if disk.exists("/var/lib/etcd/member/wal") {
            return;
        }
        let initial = disk.file("/etc/etcd.initial.env").map(|file| file.content.clone()).unwrap_or_default();
        let initial = String::from_utf8_lossy(&initial).into_owned();
        let mut state = self.state();
        let url = format!("https://{}:2380", address(&machine.name));
        if initial.contains("STATE=new") {
            if !state.members.is_empty() {
                state.wrong.push("etcd begins, and is there already".into());
            }
            state.added += 1;
            let (id, name) = (state.added, "etcd1".into());
            state.members.push(Member { id, name, url, started: true, learner: false });
        } else {
            let Some(member) = state.members.iter_mut().find(|member| member.url == url) else {
                state.wrong.push(format!("etcd starts on {}, which is no member", machine.name));
                return;
            };
            member.started = true;
        }
        write(disk, "/var/lib/etcd/member/wal/0.wal", "", 0o600);
    }
}

/// `awk` with the texts that the roles have: lines of `etcdctl member list`.
async fn awk(shell: &mut Shell, words: &[&str]) -> Done {
    let &["-F", ", ", "-v", variable, program] = words else { return unknown(shell, "awk", words) };
    let value = variable.split_once('=').map_or("", |(_, value)| value);
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
fn content(machine: &Machine, path: &str) -> String {
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
