//! Docker's configuration (`daemon.json`, dockerd(8)) from kubespray's variables, several of which are arguments of dockerd in one text.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use muster_inventory::HostVars;
use serde_json::{Map, Value, json};

use super::values::{bridge, disagreement, unlike};
use crate::containerd::{Wrong, value};

/// What the variables say of Docker.
#[derive(Debug)]
pub(super) struct Daemon {
    /// The content of `daemon.json`.
    pub(super) text: String,
    /// Where Docker keeps what it has.
    pub(super) folder: String,
}

/// What the value of an argument is in `daemon.json`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    Boolean,
    /// One of the values of a list.
    Entry,
    /// `NAME=VALUE` of a mapping.
    Named,
    /// `NAME=SOFT:HARD` of limits.
    Limit,
}

use Kind::{Boolean, Entry, Limit, Named, Number, Text};

/// The arguments of dockerd that are settings, and what they are called in `daemon.json`. Not among them is where dockerd listens: that
/// is /run/docker.sock alone.
const ARGUMENTS: &[(&str, &str, Kind)] = &[
    ("bip", "bip", Text),
    ("bridge", "bridge", Text),
    ("cgroup-parent", "cgroup-parent", Text),
    ("data-root", "data-root", Text),
    ("debug", "debug", Boolean),
    ("default-runtime", "default-runtime", Text),
    ("default-shm-size", "default-shm-size", Text),
    ("default-ulimit", "default-ulimits", Limit),
    ("dns", "dns", Entry),
    ("dns-opt", "dns-opts", Entry),
    ("dns-search", "dns-search", Entry),
    ("exec-opt", "exec-opts", Entry),
    ("exec-root", "exec-root", Text),
    ("experimental", "experimental", Boolean),
    ("fixed-cidr", "fixed-cidr", Text),
    ("fixed-cidr-v6", "fixed-cidr-v6", Text),
    ("graph", "data-root", Text),
    ("group", "group", Text),
    ("icc", "icc", Boolean),
    ("init", "init", Boolean),
    ("insecure-registry", "insecure-registries", Entry),
    ("ip", "ip", Text),
    ("ip-forward", "ip-forward", Boolean),
    ("ip-masq", "ip-masq", Boolean),
    ("ip6tables", "ip6tables", Boolean),
    ("iptables", "iptables", Boolean),
    ("ipv6", "ipv6", Boolean),
    ("label", "labels", Entry),
    ("live-restore", "live-restore", Boolean),
    ("log-driver", "log-driver", Text),
    ("log-level", "log-level", Text),
    ("log-opt", "log-opts", Named),
    ("max-concurrent-downloads", "max-concurrent-downloads", Number),
    ("max-concurrent-uploads", "max-concurrent-uploads", Number),
    ("max-download-attempts", "max-download-attempts", Number),
    ("metrics-addr", "metrics-addr", Text),
    ("mtu", "mtu", Number),
    ("no-new-privileges", "no-new-privileges", Boolean),
    ("oom-score-adjust", "oom-score-adjust", Number),
    ("registry-mirror", "registry-mirrors", Entry),
    ("seccomp-profile", "seccomp-profile", Text),
    ("selinux-enabled", "selinux-enabled", Boolean),
    ("shutdown-timeout", "shutdown-timeout", Number),
    ("storage-driver", "storage-driver", Text),
    ("storage-opt", "storage-opts", Entry),
    ("userland-proxy", "userland-proxy", Boolean),
    ("userns-remap", "userns-remap", Text),
];

/// Those that have a letter as well.
const LETTERS: [(&str, &str); 6] = [
    ("D", "debug"),
    ("G", "group"),
    ("b", "bridge"),
    ("g", "graph"),
    ("l", "log-level"),
    ("s", "storage-driver"),
];

/// The storage drivers that Docker 28 has on Linux.
const DRIVERS: [&str; 5] = ["overlay2", "fuse-overlayfs", "btrfs", "zfs", "vfs"];
/// The options of each on a whole machine; of others dockerd says that they are fine, and does not start.
const DRIVER_OPTIONS: [(&str, &str); 4] =
    [("overlay2", "overlay2.size"), ("btrfs", "btrfs.min_space"), ("zfs", "zfs.fsname"), ("vfs", "size")];
const DRIVER_NEEDED: &str =
    "a storage driver that Docker still has: overlay2, fuse-overlayfs, btrfs, zfs or vfs";

const DRIVER_OPTION_NEEDED: &str =
    "options that the storage driver still has: overlay2.size, btrfs.min_space, zfs.fsname, or size of vfs";
const RUNTIME_NEEDED: &str = "a runtime that Docker has by itself: runc, or a shim of containerd's by its name, as io.containerd.runc.v2; --add-runtime is left out";
const INIT_NEEDED: &str = "no --init: there is no docker-init, without which no container would start";
const FOLDER_NEEDED: &str = "the folder that docker_daemon_graph names: set that variable to it";
const IPTABLES_NEEDED: &str = "what docker_iptables_enabled says: set that variable";

/// The variables that are arguments, in kubespray's order: of what is said twice the last one counts.
const TEXTS: [&str; 3] = ["docker_options", "docker_log_opts", "docker_storage_options"];

const CGROUP_DRIVER: &str = "native.cgroupdriver=";

/// What of a variable's text is a setting, and what is not.
#[derive(Debug, Default, PartialEq)]
struct Read {
    settings: Vec<(&'static str, Kind, String)>,
    left_out: Vec<String>,
}

/// Reads arguments of dockerd.
fn read(name: &'static str, text: &str) -> Result<Read, Wrong> {
    let wrong = |found: String, needed| Wrong { name, found, needed };
    let words = shlex::split(text);
    // The text itself may have a token in it.
    let words = words.ok_or_else(|| {
        wrong("a quote that is not closed".to_owned(), "arguments of dockerd, with quotes that are closed")
    })?;
    let mut read = Read::default();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let (argument, joined) = match word.split_once('=') {
            Some((argument, value)) => (argument, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let long = match argument.strip_prefix("--") {
            Some(long) => Some(long),
            None => argument
                .strip_prefix('-')
                .and_then(|letter| LETTERS.iter().find(|(known, _)| *known == letter))
                .map(|(_, long)| *long),
        };
        let known = long.and_then(|long| ARGUMENTS.iter().find(|(name, ..)| *name == long));
        let Some((_, key, kind)) = known else {
            read.left_out.push(word);
            continue;
        };
        let value = match (joined, kind) {
            (Some(value), _) => value,
            (None, Boolean) => "true".to_owned(),
            (None, _) => words
                .next_if(|next| !next.starts_with('-'))
                .ok_or_else(|| wrong(word.clone(), "a value behind each argument that has one"))?,
        };
        let is_good = match kind {
            Boolean => as_boolean(&value).is_some(),
            Number => value.parse::<i64>().is_ok(),
            Named => value.contains('='),
            Limit => limit(&value).is_some(),
            Text | Entry => !value.is_empty(),
        };
        if !is_good {
            let found = if *kind == Named { argument.to_owned() } else { word };
            return Err(wrong(found, "a value of the argument that dockerd takes"));
        }
        if let Some(needed) = unlike(key, &value) {
            return Err(wrong(format!("{argument}={value}"), needed));
        }
        // dockerd --validate ends before it looks at these.
        match *key {
            "default-runtime" if !is_runtime(&value) => return Err(wrong(value, RUNTIME_NEEDED)),
            "init" if as_boolean(&value) == Some(true) => {
                return Err(wrong("--init".to_owned(), INIT_NEEDED));
            }
            _ => {}
        }
        read.settings.push((key, *kind, value));
    }
    Ok(read)
}

/// Whether Docker starts with a runtime that it was not told of: `stockRuntimes` and `isPermissibleC8dRuntimeName` of its
/// `daemon/runtime_unix.go`.
fn is_runtime(name: &str) -> bool {
    let is_shim = name.split_once('.').is_some_and(|(prefix, _)| !prefix.is_empty());
    name == "runc" || is_shim && !name.contains('/')
}

/// As Go reads it (strconv.ParseBool).
fn as_boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `NAME=SOFT:HARD`, or one number for both.
fn limit(text: &str) -> Option<(&str, i64, i64)> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Some((name, soft.parse().ok()?, hard.parse().ok()?))
}

/// Adds a setting: to a list or a mapping, or in the place of what was said before.
fn set(config: &mut Map<String, Value>, key: &str, kind: Kind, value: &str) {
    let among = |config: &mut Map<String, Value>, name: &str, value: Value| {
        let mapping = config.entry(key).or_insert_with(|| json!({}));
        mapping[name] = value;
    };
    match kind {
        Text => drop(config.insert(key.to_owned(), json!(value))),
        Number => drop(config.insert(key.to_owned(), json!(value.parse::<i64>().unwrap_or_default()))),
        Boolean => drop(config.insert(key.to_owned(), json!(as_boolean(value) == Some(true)))),
        Entry => {
            let list = config.entry(key).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut().filter(|list| !list.contains(&json!(value))) {
                list.push(json!(value));
            }
        }
        Named => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            among(config, name, json!(value));
        }
        Limit => {
            let (name, soft, hard) = limit(value).unwrap_or_default();
            among(config, name, json!({ "Name": name, "Soft": soft, "Hard": hard }));
        }
    }
}

/// Docker's configuration.
///
/// # Errors
/// What is wrong with the variables.
pub(super) fn daemon(vars: &HostVars) -> Result<Daemon, Wrong> {
    let text = |name| value::<String>(vars, name, "a text");
    let list = |name| value::<Vec<String>>(vars, name, "a list of texts");
    let mut config = Map::new();
    let [options, logs, storage] = TEXTS;
    for (key, kind, value) in read(options, &text(options)?)?.settings {
        set(&mut config, key, kind, &value);
    }
    let iptables: Value = value(vars, "docker_iptables_enabled", "true or false")?;
    let iptables = muster_inventory::Value::from_json(&iptables).as_bool() == Some(true);
    // Docker has both unless told otherwise; without rules for IPv4 those for IPv6 are not wanted either.
    if !iptables {
        config.insert("ip6tables".into(), json!(false));
    }
    for (name, key) in [
        ("docker_insecure_registries", "insecure-registries"),
        ("docker_registry_mirrors", "registry-mirrors"),
        ("docker_dns_search_domains", "dns-search"),
        ("docker_dns_options", "dns-opts"),
    ] {
        list(name)?.iter().for_each(|entry| set(&mut config, key, Entry, entry));
    }
    let folder = text("docker_daemon_graph")?;
    for (name, text) in [(logs, text(logs)?), (storage, text(storage)?)] {
        for (key, kind, value) in read(name, &text)?.settings {
            set(&mut config, key, kind, &value);
        }
    }
    for name in TEXTS {
        for (key, _, value) in read(name, &text(name)?)?.settings {
            let needed = match key {
                "data-root" if value.trim_end_matches('/') != folder.trim_end_matches('/') => FOLDER_NEEDED,
                "iptables" if as_boolean(&value) != Some(iptables) => IPTABLES_NEEDED,
                _ => continue,
            };
            return Err(Wrong { name, found: format!("--{key}={value}"), needed });
        }
    }
    config.insert("data-root".into(), json!(folder));
    config.insert("iptables".into(), json!(iptables));
    let servers = servers(vars, list("docker_dns_servers")?)?;
    servers.iter().for_each(|server| set(&mut config, "dns", Entry, server));
    // Of several drivers of cgroups the first one would count.
    if let Some(options) = config.get_mut("exec-opts").and_then(Value::as_array_mut) {
        options.retain(|option| option.as_str().is_none_or(|option| !option.starts_with(CGROUP_DRIVER)));
    }
    let driver_of_cgroups = text("docker_cgroup_driver")?;
    set(&mut config, "exec-opts", Entry, &format!("{CGROUP_DRIVER}{driver_of_cgroups}"));
    if let Some(found) = config.get("storage-driver").and_then(Value::as_str)
        && !DRIVERS.contains(&found)
    {
        let name = if text(storage)?.contains(found) { storage } else { options };
        return Err(Wrong { name, found: found.to_owned(), needed: DRIVER_NEEDED });
    }
    let driver = config.get("storage-driver").and_then(Value::as_str);
    let told = config.get("storage-opts").and_then(Value::as_array).into_iter().flatten();
    let is_known = |option: &&str| {
        let name = option.split_once('=').map(|(name, _)| name);
        DRIVER_OPTIONS
            .iter()
            .any(|(of, known)| Some(*known) == name && driver.is_none_or(|driver| driver == *of))
    };
    if let Some(found) = told.filter_map(Value::as_str).find(|option| !is_known(option)) {
        let name = if text(storage)?.contains(found) { storage } else { options };
        return Err(Wrong { name, found: found.to_owned(), needed: DRIVER_OPTION_NEEDED });
    }
    if let Some((found, needed)) = disagreement(&config, driver_of_cgroups == "systemd") {
        return Err(Wrong { name: options, found, needed });
    }
    config.insert("containerd".into(), json!("/run/containerd/containerd.sock"));
    let sorted: BTreeMap<String, Value> = config.into_iter().collect();
    let text = serde_json::to_string_pretty(&sorted).unwrap_or_default();
    Ok(Daemon { text: text + "\n", folder })
}

/// The IPv4 networks that Docker is told to take for its bridge: the variable, the argument as it stands there, and the network.
/// Nothing where no Docker is wanted.
pub(crate) fn networks(vars: &HostVars) -> Vec<(&'static str, String, Ipv4Net)> {
    if !super::is_asked_for(vars) {
        return Vec::new();
    }
    let of = |name: &'static str| {
        let settings = value(vars, name, "a text").and_then(|text: String| read(name, &text));
        settings.map(|read| read.settings).unwrap_or_default().into_iter().filter_map(
            move |(key, _, value)| {
                let net = match key {
                    "bip" => bridge(&value),
                    "fixed-cidr" => value.parse().ok(),
                    _ => None,
                };
                Some((name, format!("--{key}={value}"), net?.trunc()))
            },
        )
    };
    TEXTS.into_iter().flat_map(of).collect()
}

/// The name servers of Docker's containers: three at most (resolv.conf(5)).
fn servers(vars: &HostVars, mut servers: Vec<String>) -> Result<Vec<String>, Wrong> {
    const NAME: &str = "docker_dns_servers";
    let wrong = |found: String, needed| Err(Wrong { name: NAME, found, needed });
    if let Some(found) = servers.iter().find(|server| server.parse::<std::net::IpAddr>().is_err()) {
        return wrong(found.clone(), "addresses of name servers");
    }
    let strict: Value = value(vars, "docker_dns_servers_strict", "true or false")?;
    if servers.len() > 3 && muster_inventory::Value::from_json(&strict).as_bool() != Some(false) {
        return wrong(
            servers.join(", "),
            "three name servers at most; with docker_dns_servers_strict: false the first three count",
        );
    }
    servers.truncate(3);
    Ok(servers)
}

/// What is wrong with the variables, where Docker is wanted. Of an expression that cannot be worked out nothing is said: preflight
/// tells of every such one, unless it needs what is known as soon as the machine was read.
pub(crate) fn wrong(vars: &HostVars) -> Option<Wrong> {
    let wrong = super::is_asked_for(vars).then(|| daemon(vars).err()).flatten();
    wrong.filter(|wrong| vars.get(wrong.name).is_ok())
}

/// The arguments in variables that are no settings of Docker, each variable with its own, where Docker is wanted.
pub(crate) fn left_out(vars: &HostVars) -> Vec<(&'static str, String)> {
    if !super::is_asked_for(vars) {
        return Vec::new();
    }
    let of = |name: &'static str| {
        let text: String = value(vars, name, "a text").ok()?;
        let left_out = read(name, &text).ok()?.left_out;
        (!left_out.is_empty()).then(|| (name, left_out.join(" ")))
    };
    TEXTS.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn config(yaml: &str) -> Value {
        serde_json::from_str(&daemon(&variables(yaml)).unwrap().text).unwrap()
    }

    #[test]
    fn nothing_said_is_kubesprays_docker_beside_our_containerd() {
        assert_eq!(
            config(""),
            json!({
                "containerd": "/run/containerd/containerd.sock",
                "data-root": "/var/lib/docker",
                "exec-opts": ["native.cgroupdriver=systemd"],
                "ip6tables": false,
                "iptables": false,
                "log-opts": { "max-file": "5", "max-size": "50m" },
            })
        );
    }

    #[test]
    fn arguments_of_all_ages_become_settings() {
        // kubespray's samples of v2.2 to v2.6 have the first two lines.
        let yaml = "docker_options: '--insecure-registry={{ kube_service_addresses }} --graph={{ docker_daemon_graph }} \
                    {{ docker_log_opts }} -D --label \"a=b c\" --default-ulimit nofile=1024:2048 --mtu=1400 --exec-opt \
                    native.cgroupdriver=cgroupfs --exec-opt x=y --iptables=false'\n\
                    docker_daemon_graph: /data/docker\ndocker_storage_options: -s overlay2 --storage-opt overlay2.size=1G\n\
                    docker_insecure_registries: ['192.0.2.6:5000']\ndocker_registry_mirrors: ['https://m.example.org']\n\
                    docker_dns_servers: [192.0.2.1]\ndocker_dns_search_domains: [a.example]\ndocker_dns_options: ['ndots:2']\n";
        assert_eq!(
            config(yaml),
            json!({
                "containerd": "/run/containerd/containerd.sock",
                "data-root": "/data/docker",
                "debug": true,
                "default-ulimits": { "nofile": { "Name": "nofile", "Soft": 1024, "Hard": 2048 } },
                "dns": ["192.0.2.1"],
                "dns-opts": ["ndots:2"],
                "dns-search": ["a.example"],
                "exec-opts": ["x=y", "native.cgroupdriver=systemd"],
                "insecure-registries": ["10.233.0.0/18", "192.0.2.6:5000"],
                "ip6tables": false,
                "iptables": false,
                "labels": ["a=b c"],
                "log-opts": { "max-file": "5", "max-size": "50m" },
                "mtu": 1400,
                "registry-mirrors": ["https://m.example.org"],
                "storage-driver": "overlay2",
                "storage-opts": ["overlay2.size=1G"],
            })
        );
        assert_eq!(daemon(&variables(yaml)).unwrap().folder, "/data/docker");
        let on = config("docker_iptables_enabled: 'true'\ndocker_cgroup_driver: cgroupfs");
        assert_eq!((&on["iptables"], on.get("ip6tables")), (&json!(true), None));
        assert_eq!(on["exec-opts"], json!(["native.cgroupdriver=cgroupfs"]));
    }

    #[test]
    fn what_docker_would_not_take_is_told() {
        let rows = [
            ("docker_storage_options: -s devicemapper", "docker_storage_options: devicemapper"),
            ("docker_options: --storage-driver aufs", "docker_options: aufs"),
            ("docker_options: '--label \"a'", "docker_options: a quote that is not closed"),
            ("docker_options: --default-runtime=nvidia --add-runtime nvidia=/n", "docker_options: nvidia"),
            ("docker_options: --default-runtime /usr/bin/runsc", "docker_options: /usr/bin/runsc"),
            ("docker_options: --debug --init", "docker_options: --init"),
            (
                "docker_storage_options: -s overlay2 --storage-opt overlay2.override_kernel_check=true",
                "docker_storage_options: overlay2.override_kernel_check=true",
            ),
            ("docker_options: --storage-opt dm.basesize=20G", "docker_options: dm.basesize=20G"),
            (
                "docker_storage_options: -s vfs --storage-opt overlay2.size=1G",
                "docker_storage_options: overlay2.size=1G",
            ),
            ("docker_options: --mtu", "docker_options: --mtu"),
            ("docker_options: --mtu=big", "docker_options: --mtu=big"),
            ("docker_options: --bip --debug", "docker_options: --bip"),
            ("docker_options: --bip=172.30.0.300/24", "docker_options: --bip=172.30.0.300/24"),
            ("docker_options: --bip=172.30.0.0/24", "docker_options: --bip=172.30.0.0/24"),
            ("docker_options: --bip 172.30.0.1", "docker_options: --bip=172.30.0.1"),
            ("docker_options: --fixed-cidr=172.30.0.0/33", "docker_options: --fixed-cidr=172.30.0.0/33"),
            (
                "docker_options: --bip=172.30.0.1/24 --fixed-cidr=172.31.0.0/25",
                "docker_options: --fixed-cidr=172.31.0.0/25",
            ),
            (
                "docker_options: --bridge=br0 --bip=172.30.0.1/24",
                "docker_options: --bridge=br0 --bip=172.30.0.1/24",
            ),
            ("docker_options: --dns=192.0.2.300", "docker_options: --dns=192.0.2.300"),
            ("docker_options: --ip=one", "docker_options: --ip=one"),
            ("docker_options: --mtu=67", "docker_options: --mtu=67"),
            ("docker_options: --metrics-addr=127.0.0.1", "docker_options: --metrics-addr=127.0.0.1"),
            ("docker_options: --metrics-addr=:99999", "docker_options: --metrics-addr=:99999"),
            (
                "docker_options: --insecure-registry=192.0.2.300:5000",
                "docker_options: --insecure-registry=192.0.2.300:5000",
            ),
            (
                "docker_options: --insecure-registry=192.0.2.0/33",
                "docker_options: --insecure-registry=192.0.2.0/33",
            ),
            ("docker_options: --registry-mirror=m.example", "docker_options: --registry-mirror=m.example"),
            ("docker_options: --icc=false", "docker_options: --icc=false"),
            ("docker_options: --cgroup-parent=/docker", "docker_options: --cgroup-parent=/docker"),
            ("docker_options: --graph=/srv/docker", "docker_options: --data-root=/srv/docker"),
            (
                "docker_storage_options: --data-root /srv/docker",
                "docker_storage_options: --data-root=/srv/docker",
            ),
            ("docker_options: --iptables", "docker_options: --iptables=true"),
            ("docker_options: --debug=perhaps", "docker_options: --debug=perhaps"),
            ("docker_log_opts: --log-opt max-size", "docker_log_opts: --log-opt"),
            ("docker_log_opts: --log-opt=s3cret", "docker_log_opts: --log-opt"),
            ("docker_dns_servers: [one.example]", "docker_dns_servers: one.example"),
            (
                "docker_dns_servers: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]",
                "docker_dns_servers: 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4",
            ),
        ];
        for (yaml, expected) in rows {
            let vars = variables(&format!("container_manager: docker\n{yaml}"));
            let wrong = wrong(&vars).unwrap();
            assert_eq!(format!("{}: {}", wrong.name, wrong.found), expected, "{yaml}");
            assert_eq!(super::wrong(&variables(yaml)), None, "nobody wants Docker");
        }
        let fine = "docker_options: --default-runtime=io.containerd.runc.v2 --init=false --storage-opt btrfs.min_space=1G";
        assert_eq!(config(fine)["default-runtime"], "io.containerd.runc.v2");
        assert_eq!(config("docker_options: --default-runtime runc")["default-runtime"], "runc");
        let fine = "docker_iptables_enabled: true\ndocker_cgroup_driver: cgroupfs\n\
                    docker_options: --bip=172.30.0.1/24 --fixed-cidr=172.30.0.0/25 --icc=false --cgroup-parent=/docker --mtu=0 \
                    --insecure-registry=r.example:5000 --insecure-registry=http://r.example --insecure-registry='[2001:db8::1]:5000' \
                    --insecure-registry=192.0.2.0/24 --metrics-addr=:9323 --graph=/var/lib/docker/";
        assert_eq!(config(fine)["bip"], "172.30.0.1/24");
        assert_eq!(config("docker_options: --cgroup-parent=docker.slice")["cgroup-parent"], "docker.slice");
        let four = "docker_dns_servers_strict: false\ndocker_dns_servers: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]";
        assert_eq!(config(four)["dns"], json!(["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    }

    #[test]
    fn networks_of_dockers_bridge_are_those_that_it_is_told_of() {
        let told = |yaml: &str| networks(&variables(yaml));
        let options = "docker_options: --bip=172.30.0.1/24 -D --fixed-cidr 172.30.0.9/25";
        assert_eq!(
            told(&format!("container_manager: docker\n{options}")),
            [
                ("docker_options", "--bip=172.30.0.1/24".to_owned(), "172.30.0.0/24".parse().unwrap()),
                ("docker_options", "--fixed-cidr=172.30.0.9/25".to_owned(), "172.30.0.0/25".parse().unwrap()),
            ]
        );
        assert_eq!(told(options), [], "nobody wants Docker");
    }

    #[test]
    fn what_is_no_setting_is_left_out_and_told() {
        let yaml = "docker_options: -H tcp://0.0.0.0:2375 --signature-verification=false -D";
        assert_eq!(config(yaml)["debug"], json!(true));
        let told = left_out(&variables(&format!("container_manager: docker\n{yaml}")));
        assert_eq!(
            told,
            [("docker_options", "-H tcp://0.0.0.0:2375 --signature-verification=false".to_owned())]
        );
        assert_eq!(left_out(&variables(yaml)), []);
    }
}
