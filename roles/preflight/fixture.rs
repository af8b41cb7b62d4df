//! A machine on which nothing is wrong, for tests to change; and variables and inventories as a user writes them.

use std::sync::Arc;

use muster_engine::facts::{Address, Facts};
use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Inventory, Vars as AllVars, VarsBuilder};

use super::bundle::Sizes;
use super::probe::{FileSystem, Folder, Holds, Seen};
use super::subnets::Subnets;
use super::{Duties, Machine, Vars};
use crate::common::ClusterVars;
use crate::resolvconf;

/// The inventory, and its variables: all roles' defaults, and those that a user gives in YAML, whose place is `vars.yml`.
pub(crate) fn inventory_and_vars(ini: &str, yaml: &str) -> (Arc<Inventory>, Arc<AllVars>) {
    inventory_and_vars_in(&[], ini, yaml)
}

/// The same on a computer with this environment.
fn inventory_and_vars_in(
    environment: &[(&str, &str)],
    ini: &str,
    yaml: &str,
) -> (Arc<Inventory>, Arc<AllVars>) {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let inventory = Arc::new(Inventory::from_ini("hosts.ini", ini, crate::group_rules()).unwrap());
    let mut builder = VarsBuilder::new(inventory.clone())
        .environment(environment)
        .renames(crate::kubespray::renames())
        .fallbacks("kubespray/derived.yml", crate::kubespray::DERIVED)
        .unwrap()
        .defaults("common/defaults.yml", crate::COMMON_DEFAULTS)
        .unwrap();
    for role in crate::ROLES {
        builder = builder.defaults(role.name, role.defaults).unwrap();
    }
    if !yaml.is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vars.yml");
        std::fs::write(&file, yaml).unwrap();
        builder = builder.extra_vars(&format!("@{}", file.display())).unwrap();
    }
    (inventory, builder.build().unwrap())
}

/// The variables of a host, the one of its inventory.
pub(crate) fn variables(yaml: &str) -> HostVars {
    variables_in(&[], yaml)
}

/// The same on a computer with this environment.
pub(crate) fn variables_in(environment: &[(&str, &str)], yaml: &str) -> HostVars {
    let ini = "node1\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
    inventory_and_vars_in(environment, ini, yaml).1.host("node1").unwrap()
}

/// A problem as `check: found`, without the folder of `vars.yml`.
pub(super) fn told(problem: &Problem) -> String {
    let mut text = format!("{}: {}", problem.check, problem.found);
    while let Some(end) = text.find("/vars.yml") {
        let start = text[..end].rfind([' ', '(']).map_or(0, |at| at + 1);
        text.replace_range(start..=end, "");
    }
    text
}

/// An address of an interface.
pub(super) fn address(interface: &str, ip: &str, prefix: u8) -> Address {
    Address { interface: interface.into(), ip: ip.parse().unwrap(), prefix }
}

/// What is known of a machine, to be changed.
pub(super) struct Fixture {
    pub(super) facts: Facts,
    pub(super) seen: Seen,
    pub(super) duties: Duties,
    pub(super) vars: Vars,
    pub(super) names: resolvconf::Vars,
    pub(super) cluster: ClusterVars,
    pub(super) upgrades: bool,
    pub(super) kubelet: Option<String>,
}

impl Fixture {
    /// A control plane, node and etcd member with 2 GB and 20 GB of disk, and the defaults of all roles.
    pub(super) fn good() -> Self {
        // The address of the DNS service is worked out with a filter that nothing here is about.
        let vars = variables("skydns_server: 10.233.0.3");
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let mut facts = Facts {
            hostname: "node1".into(),
            kernel: "6.1.0-18-amd64".into(),
            arch: "amd64".into(),
            cpus: 2,
            memory_mb: 1960,
            addresses: vec![address("lo", "127.0.0.1", 8), address("eth0", "192.0.2.4", 24)],
            routes: texts(&[
                "default via 192.0.2.1 dev eth0",
                "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.4",
            ]),
            resolv: texts(&["nameserver 192.0.2.53", "search example.org"]),
            cgroup: 2,
            controllers: texts(&["cpuset", "cpu", "io", "memory", "pids"]),
            systemd: true,
            package_manager: "apt-get".into(),
            tools: crate::bootstrap_os::TOOLS.iter().map(|(tool, _)| (*tool).to_owned()).collect(),
            features: texts(&["br_netfilter", "overlay", "vxlan"]),
            ..Facts::default()
        };
        facts.os.insert("PRETTY_NAME".into(), "Example Linux 1".into());
        facts.os.insert("ID".into(), "debian".into());
        let root = FileSystem { mount: "/".into(), kind: "ext4".into(), total_mb: 20_000, free_mb: 16_000 };
        let folders = [
            ("/usr/local/bin", Holds::Programs),
            ("/var/lib/muster/incoming", Holds::Downloads),
            ("/var/lib/containerd", Holds::Images),
            ("/var/lib/kubelet", Holds::Pods),
            ("/var/lib/etcd", Holds::Etcd),
        ];
        let folders = folders.map(|(path, holds)| (Folder { path: path.into(), holds }, root.clone()));
        let seen = Seen {
            bin_dir: "/usr/local/bin".into(),
            keeps_time: true,
            folders: folders.into(),
            ..Seen::default()
        };
        let duties = Duties { control_plane: true, node: true, etcd: true, balancer: false };
        Self {
            facts,
            seen,
            duties,
            vars: vars.deserialize().unwrap(),
            names: vars.deserialize().unwrap(),
            cluster: vars.deserialize().unwrap(),
            upgrades: false,
            kubelet: None,
        }
    }

    /// The machine as the checks see it.
    pub(super) fn machine(&self) -> Machine<'_> {
        let net = |text: &str| text.parse().ok();
        Machine {
            name: "node1",
            facts: &self.facts,
            seen: &self.seen,
            duties: self.duties,
            vars: &self.vars,
            names: &self.names,
            cluster: &self.cluster,
            subnets: Subnets {
                pods: net(&self.cluster.kube_pods_subnet),
                services: net(&self.cluster.kube_service_addresses),
            },
            sizes: Sizes { programs: 400, downloads: 300, images: 800 },
            upgrades: self.upgrades,
            kubelet: self.kubelet.as_deref(),
        }
    }

    /// Sets a value of os-release(5).
    pub(super) fn os(&mut self, key: &str, value: &str) {
        self.facts.os.insert(key.into(), value.into());
    }

    /// Makes it a node of a cluster of that version.
    pub(super) fn node_of(&mut self, version: &str) {
        self.seen.joined = true;
        self.kubelet = Some(version.into());
    }

    /// Changes the file system of every folder.
    pub(super) fn file_system(&mut self, change: impl Fn(&mut FileSystem)) {
        self.seen.folders.iter_mut().for_each(|(_, system)| change(system));
    }
}

/// For each text of variables nothing is found, or one thing, told with these words at its beginning.
pub(crate) fn each_is_refused(rows: &[(&str, &str)], found: impl Fn(&str) -> Vec<String>) {
    for (yaml, expected) in rows {
        let found = found(yaml);
        let fits = match found.as_slice() {
            [] => expected.is_empty(),
            [only] => !expected.is_empty() && only.starts_with(expected),
            _ => false,
        };
        assert!(fits, "{yaml}: {found:?}");
    }
}
