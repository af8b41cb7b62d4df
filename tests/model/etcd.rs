//! etcd on model machines: its members, what etcdctl says of them and does with them, and how one begins.

use std::sync::Arc;

use muster_testkit::model::look::sha256;
use muster_testkit::model::machine::Machine;
use muster_testkit::model::shell::{Done, Shell};

use crate::adopt;
use crate::cluster::{Cluster, State, address, content, is_active, put, say, unknown, write};
use crate::upgrade::installed;

/// A member of etcd, as the others know it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) started: bool,
    pub(crate) learner: bool,
}

impl Cluster {
    /// The words after `etcdctl`.
    pub(crate) fn etcdctl(&self, shell: &mut Shell, words: &[&str]) -> Done {
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
        // A member tells without the others whom it knows.
        let tells_itself = rest == ["member", "list"] && words.contains(&"--consistency=s");
        if !tells_itself && !state.has_quorum() {
            if state.must_have_quorum {
                state.wrong.push("etcd has no majority".to_owned());
            }
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
            ["endpoint", "status", "-w", "json"] => {
                // The oldest member leads. A database is half full until it is defragmented.
                let (id, leader) = (member.id, state.members.first().map_or(0, |first| first.id));
                let size = if shell.machine.state().kept.disk.exists(DEFRAGMENTED) { 500 } else { 1000 };
                out = format!(
                    r#"[{{"Status":{{"header":{{"cluster_id":1,"member_id":{id},"revision":7}},"version":"3.6.0","dbSize":{size},"dbSizeInUse":500,"leader":{leader},"isLearner":{learner}}}}}]"#
                );
                0
            }
            ["get", "health"] => 0,
            ["get", "/registry"] => {
                if !state.authorities.is_empty() {
                    out = "/registry/namespaces/default\n".to_owned();
                }
                0
            }
            // A learner answers nothing else.
            _ if learner => 1,
            ["member", "list", "-w", "json"] => {
                let members = state.members.iter().map(|member| {
                    let Member { id, name, url, learner, .. } = member;
                    format!(r#"{{"ID":{id},"name":"{name}","peerURLs":["{url}"],"isLearner":{learner}}}"#)
                });
                out = format!(r#"{{"members":[{}]}}"#, members.collect::<Vec<_>>().join(","));
                0
            }
            ["alarm", "list", ..] => 0,
            ["defrag"] => {
                let done = |machine: &&Arc<Machine>| machine.state().kept.disk.exists(DEFRAGMENTED);
                let before = state.machines.values().filter(done).count();
                put(shell, DEFRAGMENTED, &before.to_string(), 0o600);
                0
            }
            ["snapshot", "save", path] => {
                let etcd = state.members.iter().filter(|member| state.is_alive(member)).count();
                let holds = format!(
                    "version {}, {etcd} members, etcd {}",
                    state.version,
                    installed(&shell.machine, "etcd")
                );
                put_bytes(shell, path, &snapshot(&holds));
                0
            }
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

    /// etcd's service was started: a machine without data begins a cluster, or takes its part in one.
    pub(crate) fn etcd_started(&self, machine: &Machine) {
        let environment = content(machine, "/etc/etcd.env");
        let name = environment.lines().find_map(|line| line.strip_prefix("ETCD_NAME=")).unwrap_or_default();
        let wal = wal(&environment);
        if adopt::runs_static_etcd(machine) {
            self.state().wrong.push(format!("{} runs etcd twice", machine.name));
        }
        if machine.state().kept.disk.exists(&wal) {
            self.meets_members_of_its_cluster(machine, &wal);
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
        // etcd: "could not retrieve cluster information from the given URLs", where it is told of no other member.
        if initial.contains("STATE=existing") && !initial.contains(',') {
            drop(state);
            machine.state().kept.units.entry("etcd.service").or_default().active = false;
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
        let token = running(&state, &machine.name).map(|(_, token)| token).next().unwrap_or_default();
        drop(state);
        write(&mut machine.state().kept.disk, &format!("{wal}/0.wal"), &token, 0o600);
    }

    /// A member that has data begins with them: those of a restore are another cluster's than those of before.
    fn meets_members_of_its_cluster(&self, machine: &Machine, wal: &str) {
        let own = content(machine, &format!("{wal}/0.wal"));
        let mut state = self.state();
        let others: Vec<String> = running(&state, &machine.name)
            .filter(|(_, token)| *token != own)
            .map(|(name, token)| {
                format!("{name} runs with the data {token:?}, and {} with {own:?}", machine.name)
            })
            .collect();
        state.wrong.extend(others);
    }

    /// `etcdutl`: what is in a snapshot, and a member with it.
    pub(crate) fn etcdutl(&self, shell: &mut Shell, words: &[&str]) -> Done {
        match words {
            ["snapshot", "status", path, "-w", "json"] if !bytes(shell, path).is_empty() => {
                shell.write(1, br#"{"hash":1,"revision":7,"totalKey":3,"totalSize":512}"#).map(|_| 0)
            }
            [
                "snapshot",
                "restore",
                path,
                "--data-dir",
                folder,
                "--name",
                _,
                "--initial-advertise-peer-urls",
                url,
                "--initial-cluster",
                all,
                "--initial-cluster-token",
                token,
                "--bump-revision",
                _,
                "--mark-compacted",
            ] if bytes(shell, path).len() > 512 && all.contains(url) => {
                put(shell, &format!("{folder}/member/wal/0.wal"), token, 0o600);
                put(shell, &format!("{folder}/member/snap/db"), "a database\n", 0o600);
                Ok(0)
            }
            _ => unknown(shell, "etcdutl", words),
        }
    }
}

/// Says on a machine how many members were defragmented before its own.
pub(crate) const DEFRAGMENTED: &str = "/run/defragmented";

/// The machines but this one on which etcd runs, with the token of the restore that its data is of.
fn running<'s>(state: &'s State, but: &'s str) -> impl Iterator<Item = (&'s str, String)> {
    state.machines.values().filter(move |machine| machine.name != but).filter_map(|machine| {
        let path = format!("{}/0.wal", wal(&content(machine, "/etc/etcd.env")));
        let runs = is_active(machine, "etcd.service") && machine.state().kept.disk.exists(&path);
        runs.then(|| (machine.name.as_str(), content(machine, &path)))
    })
}

/// A snapshot that holds a text: a database of bbolt, and the hash of it.
pub(crate) fn snapshot(holds: &str) -> Vec<u8> {
    let mut content = vec![0; 16];
    content.extend(0xED0C_DAED_u32.to_le_bytes());
    content.extend(holds.as_bytes());
    content.resize(content.len().next_multiple_of(512), 0);
    let hash = sha256(&content);
    let digits = hash.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("hex"));
    content.extend(digits.map(|two| u8::from_str_radix(two, 16).expect("hex")));
    content
}

fn bytes(shell: &Shell, path: &str) -> Vec<u8> {
    shell.machine.state().kept.disk.file(path).map(|file| file.content.clone()).unwrap_or_default()
}

fn put_bytes(shell: &Shell, path: &str, content: &[u8]) {
    put(shell, path, "", 0o600);
    let mut state = shell.machine.state();
    let number = state.kept.disk.number(path).expect("it was just put there");
    state.kept.disk.change(number).content = content.to_vec();
}

impl State {
    /// Whether a member answers. A machine that lost its data has no member, whatever the others remember.
    pub(crate) fn is_alive(&self, member: &Member) -> bool {
        let machine = self.machines.values().find(|machine| member.url == peer_url(&machine.name));
        member.started
            && machine.is_some_and(|machine| {
                let wal = wal(&content(machine, "/etc/etcd.env"));
                !self.off.contains(&machine.name)
                    && (is_active(machine, "etcd.service") || adopt::runs_static_etcd(machine))
                    && machine.state().kept.disk.exists(&wal)
            })
    }

    /// Whether more than half of those that vote are alive.
    pub(crate) fn has_quorum(&self) -> bool {
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

/// `awk` with the texts that the roles have: lines of `etcdctl member list`.
pub(crate) async fn awk(shell: &mut Shell, words: &[&str]) -> Done {
    let &["-F", ", ", "-v", variable, ref others @ .., program] = words else {
        // A model machine has no mounts, routes and rules: what looks through them has nothing to print.
        if shell.read(0).await?.is_empty() {
            return Ok(0);
        }
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
