//! Names on the machines of a cluster that goes on: a DNS cache on each node, machines that ask the cluster's DNS, and machines that know
//! each other come and go with their variables, and go with a reset.

use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;
use muster_testkit::model::shell::{Done, Shell};
use regex::Regex;

use crate::cluster::{Cluster, content, is_active, say, unknown};
use crate::kills::{At, killed_everywhere};
use crate::kubeadm_files::KUBELET_CONFIG;
use crate::line::Kill;
use crate::networks::TWO;
use crate::reset::taken_away;
use crate::{World, hosts, simulated};

/// Name servers: the machines' own, which is outside; the cluster's; and the cache on each node.
const OUTSIDE: &str = "192.0.2.53";
const CLUSTERS: &str = "10.233.0.3";
const CACHE: &str = "169.254.25.10";

/// The name of a service, which nobody outside knows.
const SERVICE: &str = "kubernetes.default.svc.cluster.local";

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What the kubelet hands on to pods where machines ask the cluster's DNS.
const HANDED_ON: &str = "/var/lib/muster/resolv.conf";

/// The servers of a resolv.conf(5).
fn servers(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect()
}

impl Cluster {
    /// The unit of a machine's DNS cache was started: its interface has the address that it says.
    pub(crate) fn cache_started(&self, machine: &Machine) {
        let unit = content(machine, "/etc/systemd/system/nodelocaldns.service");
        let said = unit.split_once("ip addr add ").and_then(|(_, rest)| rest.split_once("/32"));
        let address = said.map(|(address, _)| address.to_owned()).unwrap_or_default();
        self.state().caches.insert(machine.name.clone(), address);
    }

    /// The address that the interface has while the unit is there.
    pub(crate) fn cache_address(&self, machine: &Machine) -> Option<String> {
        is_active(machine, "nodelocaldns.service").then(|| self.state().caches.get(&machine.name).cloned())?
    }

    /// Whether a name server answers a machine.
    fn answers_names(&self, machine: &Machine, server: &str) -> bool {
        let has = |kind: &str, name: &str| self.state().objects.has(kind, name);
        match server {
            OUTSIDE => true,
            CLUSTERS => has("Deployment", "coredns"),
            _ => has("DaemonSet", "nodelocaldns") && self.cache_address(machine).as_deref() == Some(server),
        }
    }

    /// Whether a machine finds a name: the first server that answers decides. The cluster's DNS asks the servers that are handed on to
    /// pods, and finds nothing where these are itself.
    fn finds_name(&self, machine: &Machine, name: &str) -> bool {
        let resolv_conf = content(machine, RESOLV_CONF);
        let answering = servers(&resolv_conf).into_iter().find(|server| self.answers_names(machine, server));
        let handed_on = Some(content(machine, HANDED_ON)).filter(|text| !text.is_empty());
        let handed_on = handed_on.unwrap_or_else(|| resolv_conf.clone());
        match answering {
            None => false,
            Some(OUTSIDE) => name != SERVICE,
            Some(_) => name == SERVICE || servers(&handed_on).first() == Some(&OUTSIDE),
        }
    }

    /// `timeout SECONDS PROGRAM`, of programs that ask for names and never hang: one asks a server of DNS, and one as all programs do.
    pub(crate) async fn within(&self, shell: &mut Shell, words: &[&str]) -> Done {
        match words {
            ["5", "socat", "-t", "1", "-", at] => {
                let question = shell.read(0).await?;
                let server = at.trim_start_matches("UDP4:").trim_end_matches(":53");
                if !self.answers_names(&shell.machine, server) {
                    return say(shell, "socat: Connection refused", 1);
                }
                // RFC 1035, 4.1.1: it is an answer, to one question, and there is one record in it.
                let head = [question[0], question[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
                shell.write(1, &head).map(|_| 0)
            }
            ["20", "getent", "ahosts", name] => Ok(if self.finds_name(&shell.machine, name) { 0 } else { 2 }),
            _ => unknown(shell, "timeout", words),
        }
    }
}

/// `od` of bytes as numbers, and `sort`.
pub(crate) async fn filtered(shell: &mut Shell, name: &str, words: &[&str]) -> Done {
    let bytes = match words {
        [path] => content(&shell.machine, path).into_bytes(),
        _ => shell.read(0).await?,
    };
    let out = match (name, words) {
        ("od", ["-An", "-v", "-tu1", "-N12"]) => {
            bytes.iter().take(12).map(|byte| format!(" {byte:3}")).collect::<String>() + "\n"
        }
        ("sort", [] | [_]) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            lines.into_iter().map(|line| format!("{line}\n")).collect()
        }
        _ => return unknown(shell, name, words),
    };
    shell.write(1, out.as_bytes()).map(|_| 0)
}

/// sed(1) of a file, as [`sed`]; `None` for others.
pub(crate) fn sed_of_file(shell: &Shell, words: &[&str]) -> Option<String> {
    let (path, program) = words.split_last()?;
    if program.iter().all(|word| *word == "-n") {
        return None;
    }
    sed(&content(&shell.machine, path), program)
}

/// sed(1), perhaps with `-n`, of one command: `s/A/B/`, `s/A/B/p`, `/A/d` or `/A/,/B/d`. `None` for others.
pub(crate) fn sed(text: &str, words: &[&str]) -> Option<String> {
    let (is_quiet, program) = match words {
        ["-n", program] => (true, *program),
        [program] => (false, *program),
        _ => return None,
    };
    let parts: Vec<&str> = program.split('/').collect();
    let mut out = String::new();
    let mut is_within = false;
    for line in text.lines() {
        let shown = match parts.as_slice() {
            ["s", pattern, new, flag @ ("" | "p")] => {
                let (pattern, new) = (basic(pattern)?, new.replace(r"\1", "${1}"));
                let is_shown = !is_quiet || *flag == "p" && pattern.is_match(line);
                is_shown.then(|| pattern.replace(line, new).into_owned())
            }
            ["", pattern, "d"] => (!basic(pattern)?.is_match(line)).then(|| line.to_owned()),
            ["", first, ",", last, "d"] => {
                let was_within = is_within;
                is_within =
                    if was_within { !basic(last)?.is_match(line) } else { basic(first)?.is_match(line) };
                (!was_within && !is_within).then(|| line.to_owned())
            }
            _ => return None,
        };
        out.extend(shown.map(|line| line + "\n"));
    }
    Some(out)
}

/// A basic regular expression of POSIX, in which groups and alternatives have a backslash.
fn basic(pattern: &str) -> Option<Regex> {
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                c @ ('(' | ')' | '|' | '{' | '}') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c @ ('(' | ')' | '|' | '{' | '}' | '+' | '?') => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    Regex::new(&out).ok()
}

const CACHES: &str = "enable_nodelocaldns=true";
const ASKS: &str = "resolvconf_mode=host_resolvconf";
const KNOWN: &str = "populate_inventory_to_hosts_file=true";

/// What is wrong with names where these variables are set.
fn wrong_of(world: &World, set: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let [caches, asks, known] = [CACHES, ASKS, KNOWN].map(|variable| set.contains(&variable));
    let mut say = |what: &str, found: String| wrong.push(format!("{what}: {found}"));
    if world.cluster.state().objects.has("DaemonSet", "nodelocaldns") != caches {
        say("the caches", world.cluster.seen());
    }
    for machine in &world.machines[..2] {
        let name = &machine.name;
        let kubelet = content(machine, KUBELET_CONFIG);
        if kubelet.contains(CACHE) != caches || kubelet.contains(HANDED_ON) != asks {
            say(name, kubelet);
        }
        if caches && world.cluster.cache_address(machine).as_deref() != Some(CACHE) {
            say(name, format!("the cache has the address {:?}", world.cluster.cache_address(machine)));
        }
        let lines = content(machine, "/etc/hosts");
        if lines.matches("# muster: inventory").count() != if known { 2 } else { 0 } {
            say(name, lines);
        }
        let resolv_conf = content(machine, RESOLV_CONF);
        let first = if caches { CACHE } else { CLUSTERS };
        let is_good = match asks {
            true => {
                servers(&resolv_conf) == [first, OUTSIDE]
                    && servers(&content(machine, HANDED_ON)) == [OUTSIDE]
            }
            false => resolv_conf == format!("nameserver {OUTSIDE}\n"),
        };
        if !is_good {
            say(name, resolv_conf);
        }
        if world.cluster.finds_name(machine, SERVICE) != asks
            || !world.cluster.finds_name(machine, "example.org")
        {
            say(name, "names are not found as they should be".to_owned());
        }
    }
    wrong
}

/// Goes from one set of variables to another, killed everywhere.
fn switched(name: &str, from: &[&str], to: &[&str]) -> usize {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(2), TWO, from);
            let mut wrong = world.calm(1).await.2;
            wrong.extend(wrong_of(&world, from));
            world.inventory(&hosts(2), TWO, to);
            let (exchanges, more) = world.disturbed(kill).await;
            wrong.extend(more);
            if kill.is_some() {
                wrong.extend(world.calm(3).await.2);
            }
            wrong.extend(wrong_of(&world, to));
            wrong.extend(world.not_settled(&world.cluster.identity(), 4).await);
            (exchanges, wrong)
        })
    };
    killed_everywhere(name, At::Sparse, play)
}

#[test]
fn caches_of_names_machines_that_ask_them_and_machines_that_know_each_other_come_and_go() {
    let kills = switched("machines ask the cluster's DNS, and know each other", &[], &[ASKS, KNOWN])
        + switched("they ask caches, and do not know each other any more", &[ASKS, KNOWN], &[ASKS, CACHES])
        + switched("nothing of it", &[ASKS, CACHES], &[]);
    held(
        "controller killed",
        "before and after every exchange of runs that bring host_resolvconf, nodelocaldns and populate_inventory_to_hosts_file to two model \
         machines of a cluster, and take them away",
        kills,
        "the same command finishes, names are found as the variables say, the run after it changes nothing",
    );
}

#[test]
fn a_reset_leaves_names_as_they_were() {
    let kills = taken_away("names", At::OneSide, TWO, &[CACHES, ASKS, KNOWN]);
    held(
        "controller killed",
        "on one side of each exchange of a reset of two model machines that ask caches of the cluster's DNS, and know each other",
        kills,
        "the same command finishes; /etc/resolv.conf and /etc/hosts are as before",
    );
}
