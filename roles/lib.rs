//! All Kubernetes knowledge. One folder a role: `mod.rs` tells the story, `defaults.yml` holds every variable with its
//! explanation, `templates/` the files it writes.

#![deny(clippy::print_stdout, clippy::print_stderr)]

#[path = "bootstrap-os/mod.rs"]
mod bootstrap_os;
pub mod catalogue;
mod cluster;
pub mod common;
mod containerd;
mod coredns;
mod drain;
mod etcd;
mod flannel;
mod kubeadm;
mod kubeconfig;
mod kubectl;
pub mod kubespray;
mod objects;
pub mod preflight;
pub mod reference;
#[cfg(test)]
mod testing;
pub mod upgrade;
mod verify;

use futures::future::FutureExt;
use muster_engine::run::{Findings, Role, Story};
use muster_inventory::GroupRules;

pub use verify::NetworkTest;

/// A role's line in the table below: its name is its folder's name, unless several share a folder.
macro_rules! role {
    ($name:literal, $summary:literal, $run:expr) => {
        role!($name, $summary, $run, concat!($name, "/defaults.yml"))
    };
    ($name:literal, $summary:literal, $run:expr, $defaults:expr) => {
        Role {
            name: $name,
            summary: $summary,
            defaults: include_str!($defaults),
            looks_only: false,
            check_written: None,
            story: Story::Fixed(|host| $run(host).boxed()),
        }
    };
}

const PREFLIGHT: Role = Role {
    name: "preflight",
    summary: "Find what would go wrong, before anything is changed",
    defaults: include_str!("preflight/defaults.yml"),
    looks_only: true,
    check_written: Some(|inventory, vars, hosts| {
        let found = preflight::check_inventory(inventory, vars, hosts)?;
        Ok(Findings { problems: found.problems, warnings: found.warnings })
    }),
    story: Story::Fixed(|host| preflight::run(host).boxed()),
};

const VERIFY: Role =
    role!("verify", "Show that the cluster works", |host| verify::run(host, NetworkTest::AsWritten));

/// The role `verify`, with when it tests the network between pods.
pub fn verify(network: NetworkTest) -> Role {
    Role { story: Story::given(move |host| verify::run(host, network).boxed()), ..VERIFY }
}

/// All roles for a run that brings the cluster to another version: each of them knows it.
pub fn upgrading(settings: upgrade::Settings) -> Vec<Role> {
    let knowing = |role: &Role| {
        let story = role.story.clone();
        let told = Story::given(move |host| {
            let story = story.clone();
            async move {
                upgrade::begin(host, settings).await?;
                story.tell(host).await
            }
            .boxed()
        });
        Role { story: told, ..role.clone() }
    };
    ROLES.iter().map(knowing).collect()
}

/// Every role there is.
pub const ROLES: &[Role] = &[
    PREFLIGHT,
    role!("bootstrap-os", "Host name, kernel parameters, swap, missing tools", bootstrap_os::run),
    role!("etcd", "The cluster's database, under systemd, with its own certificates", etcd::run),
    role!("containerd", "The container engine, with runc and the CNI plugins", containerd::run),
    role!(
        "kubelet",
        "kubelet, kubeadm, kubectl and the images this machine runs",
        kubeadm::prepare,
        "kubeadm/defaults.yml"
    ),
    role!(
        "control-plane",
        "The cluster begins where none is; control planes that stand are reconfigured, new ones join",
        kubeadm::control_plane,
        "kubeadm/defaults.yml"
    ),
    role!("node", "kubeadm join", kubeadm::node, "kubeadm/defaults.yml"),
    role!("flannel", "The pod network", flannel::daemon),
    role!("coredns", "Names inside the cluster", coredns::run),
    role!("cni", "Connect the machine's pods to their network", flannel::connect, "flannel/defaults.yml"),
    role!(
        "upgrade-check",
        "Whether the cluster may go to another version",
        upgrade::check,
        "kubeadm/defaults.yml"
    ),
    role!(
        "fetch",
        "Bring what an upgrade needs to the machine",
        kubeadm::upgrade::fetch,
        "kubeadm/defaults.yml"
    ),
    role!(
        "etcd-snapshot",
        "Keep what etcd holds before an upgrade",
        etcd::snapshot::run,
        "etcd/defaults.yml"
    ),
    role!(
        "upgrade-control-plane",
        "kubeadm upgrade, on a control plane",
        kubeadm::upgrade::control_plane,
        "kubeadm/defaults.yml"
    ),
    role!("upgrade-node", "A new kubelet, on a drained node", kubeadm::upgrade::node, "kubeadm/defaults.yml"),
    role!(
        "upgrade-end",
        "Uncordon a node that was drained for its upgrade",
        upgrade::finish,
        "kubeadm/defaults.yml"
    ),
    role!("kubeconfig", "Bring admin.conf and kubectl to this side", kubeconfig::run),
    role!("drain", "Cordon the node, and move its pods to other nodes", drain::run),
    role!(
        "uncordon",
        "Let the node get pods again, if muster cordoned it",
        drain::run_uncordon,
        "drain/defaults.yml"
    ),
    VERIFY,
];

/// Variables that several roles read.
pub const COMMON_DEFAULTS: &str = include_str!("common/defaults.yml");

/// Names of groups that mean the same, in inventories of every age of kubespray, and the group that follows from others.
pub fn group_rules() -> GroupRules {
    GroupRules::new()
        .alias("kube-master", "kube_control_plane")
        .alias("kube_master", "kube_control_plane")
        .alias("kube-control-plane", "kube_control_plane")
        .alias("kube-node", "kube_node")
        .alias("k8s-cluster", "k8s_cluster")
        .alias("calico-rr", "calico_rr")
        .alias("no-floating", "no_floating")
        .union("k8s_cluster", &["kube_control_plane", "kube_node", "calico_rr"])
}
