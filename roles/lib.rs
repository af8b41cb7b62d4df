//! All Kubernetes knowledge. One folder a role: `mod.rs` tells the story, `defaults.yml` holds every variable with its
//! explanation, `templates/` the files it writes.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod addresses;
pub mod adoption;
pub mod apps;
mod balancer;
#[path = "bootstrap-os/mod.rs"]
mod bootstrap_os;
mod calico;
pub mod catalogue;
pub mod certificates;
mod cilium;
mod cluster;
pub mod common;
mod containerd;
mod coredns;
#[path = "custom-cni/mod.rs"]
mod custom_cni;
mod diagnosis;
mod docker;
mod drain;
mod encryption;
pub mod etcd;
pub mod extension;
mod flannel;
pub mod health;
mod helm;
#[path = "kube-proxy/mod.rs"]
mod kube_proxy;
mod kubeadm;
mod kubeconfig;
mod kubectl;
pub mod kubespray;
mod nodelocaldns;
mod objects;
mod pods;
pub mod preflight;
mod proxies;
pub mod reference;
mod removal;
mod reset;
mod resolvconf;
pub mod rotation;
mod students;
#[path = "system-upgrade/mod.rs"]
mod system_upgrade;
#[cfg(test)]
mod testing;
mod timers;
mod unit;
pub mod upgrade;
mod verify;
mod vip;

use std::sync::{Arc, OnceLock};

use futures::future::{BoxFuture, FutureExt};
use muster_engine::failure::Result;
use muster_engine::host::Host;
use muster_engine::reads::Read;
use muster_engine::run::{Findings, Role, Story};
use muster_inventory::GroupRules;

use apps::App;

pub use balancer::for_others as kubeconfig_for_others;
pub use bootstrap_os::packages;
pub use containerd::registry_credentials;
pub use removal::Removal;
pub use reset::Reset;
pub use students::{Class, Order, Person, Row, STUDENT_FILES, Told, end_of, namespace_of, token_in, written};
pub use verify::NetworkTest;

/// A role's line in the table below: its name is its folder's name, unless several share a folder. `reads`: what of variables it
/// reads beside what all do ([`cluster::READS`]).
macro_rules! role {
    ($name:literal, $summary:literal, $run:expr, reads: [$($reads:expr),*]) => {
        role!($name, $summary, $run, reads: [$($reads),*], concat!($name, "/defaults.yml"))
    };
    ($name:literal, $summary:literal, $run:expr, reads: [$($reads:expr),*], $defaults:expr) => {
        Role {
            name: $name,
            summary: $summary,
            defaults: include_str!($defaults),
            looks_only: false,
            reads: &[cluster::READS, $($reads),*],
            check_written: None,
            check_with_bundle: None,
            story: Story::Fixed(|host| $run(host).boxed()),
        }
    };
}

/// An application's line in the table: its role, its folder and its variables.
macro_rules! app {
    ($name:literal, $summary:literal) => {
        app!($name, $summary, on_machines: None, reads: [])
    };
    ($name:literal, $summary:literal, on_machines: $on_machines:expr, reads: [$($reads:expr),*]) => {
        app!($name, $summary, App {
            on_machines: $on_machines,
            ..App::of($name, |of| {
                apps::of_template(of, $name, include_str!(concat!("apps/", $name, "/objects.yaml.j2")))
            })
        }, reads: [$($reads),*])
    };
    ($name:literal, $summary:literal, $app:expr, reads: [$($reads:expr),*]) => {
        role!(
            $name,
            $summary,
            |host| {
                const APP: App = $app;
                apps::run(host, &APP)
            },
            reads: [$($reads),*],
            concat!("apps/", $name, "/defaults.yml")
        )
    };
}

const PREFLIGHT: Role = Role {
    name: "preflight",
    summary: "Find what would go wrong, before anything is changed",
    defaults: include_str!("preflight/defaults.yml"),
    looks_only: true,
    reads: &[cluster::READS, preflight::READS],
    check_written: Some(|inventory, vars, _| {
        let found = preflight::check_inventory(inventory, vars)?;
        Ok(Findings { problems: found.problems, warnings: found.warnings })
    }),
    check_with_bundle: None,
    story: Story::Fixed(|host| preflight::run(host).boxed()),
};

const VERIFY: Role = role!(
    "verify",
    "Show that the cluster works",
    |host| verify::run(host, NetworkTest::AsWritten),
    reads: [verify::READS]
);

const CHECK_CLUSTER: Role = Role {
    looks_only: true,
    ..role!(
        "check-cluster",
        "Whether the machine is this cluster's or nobody's, and the cluster may become what is asked for",
        |host| async move { cluster::may_set_up(host).await.map(drop) },
        reads: [],
        "kubeadm/defaults.yml"
    )
};

/// The version that a cluster keeps because nobody asks for another one, once its machines have told it.
pub type KeptVersion = Arc<OnceLock<String>>;

/// The role `check-cluster`, which tells which version the cluster keeps.
pub fn check_cluster(kept: KeptVersion) -> Role {
    let story = Story::given(move |host| cluster::tell_kept(host, kept.clone()).boxed());
    Role { story, ..CHECK_CLUSTER }
}

/// The role `verify`, with when it tests the network between pods.
pub fn verify(network: NetworkTest) -> Role {
    Role { story: Story::given(move |host| verify::run(host, network).boxed()), ..VERIFY }
}

const STUDENTS: Role = Role {
    looks_only: true,
    ..role!(
        "students",
        "Namespaces of students; as a role of a playbook it only looks at them",
        students::look,
        reads: [students::READS]
    )
};

/// The role `students`, with what is to be done and where it is told.
pub fn students(order: Order, told: Told) -> Role {
    Role {
        looks_only: matches!(order, Order::Look(_)),
        story: Story::given(move |host| {
            let (order, told) = (order.clone(), told.clone());
            async move { students::run(host, &order, &told).await }.boxed()
        }),
        ..STUDENTS
    }
}

/// What a reset reads: it takes away what these have on a machine.
const RESET_READS: &[&[Read]] = &[
    cluster::READS,
    reset::READS,
    bootstrap_os::READS,
    containerd::READS,
    docker::READS,
    apps::registry::READS,
];

const CHECK_RESET: Role = Role {
    name: "check-reset",
    summary: "See that the machine is this cluster's, and that no part of it is left without the rest",
    defaults: "",
    looks_only: true,
    reads: RESET_READS,
    check_written: None,
    check_with_bundle: None,
    story: Story::Fixed(|host| reset::check(host, Reset::default()).boxed()),
};

const RESET: Role = Role {
    name: "reset",
    summary: "Leave nothing of the cluster on the machine",
    defaults: "",
    looks_only: false,
    reads: RESET_READS,
    check_written: None,
    check_with_bundle: None,
    story: Story::Fixed(|host| reset::run(host, Reset::default()).boxed()),
};

/// The roles `check-reset` and `reset`, with what is to stay and what goes as well.
pub fn reset(with: Reset) -> [Role; 2] {
    [
        Role { story: Story::given(move |host| reset::check(host, with).boxed()), ..CHECK_RESET },
        Role { story: Story::given(move |host| reset::run(host, with).boxed()), ..RESET },
    ]
}

/// All roles for a run that brings the cluster to another version: each of them knows it.
pub fn upgrading(settings: upgrade::Settings) -> Vec<Role> {
    knowing(move |host| upgrade::begin(host, settings).boxed())
}

/// All roles for a run that adopts a cluster: each of them knows it. What is found is told.
pub fn adopting(told: adoption::Told) -> Vec<Role> {
    knowing(move |host| {
        let told = told.clone();
        async move { adoption::begin(host, told).await }.boxed()
    })
}

/// All roles, each of which first says something of the run.
fn knowing(
    begin: impl for<'h> Fn(&'h Host) -> BoxFuture<'h, Result<()>> + Clone + Send + Sync + 'static,
) -> Vec<Role> {
    let knowing = |role: &Role| {
        let (begin, story) = (begin.clone(), role.story.clone());
        let told = Story::given(move |host| {
            let (begin, story) = (begin.clone(), story.clone());
            async move {
                begin(host).await?;
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
    role!(
        "bootstrap-os",
        "Host name, kernel parameters, swap, missing tools",
        bootstrap_os::run,
        reads: [bootstrap_os::READS, proxies::READS, resolvconf::READS]
    ),
    role!(
        "etcd",
        "The cluster's database, under systemd, with its own certificates",
        etcd::run,
        reads: [etcd::READS]
    ),
    role!(
        "containerd",
        "The container engine, with runc and the CNI plugins",
        containerd::run,
        reads: [containerd::READS, docker::READS, proxies::READS, apps::registry::READS]
    ),
    role!(
        "docker",
        "Docker Engine beside containerd, where it is wanted",
        docker::run,
        reads: [docker::READS, proxies::READS]
    ),
    role!(
        "kubelet",
        "kubelet, kubeadm, kubectl and the images this machine runs",
        kubeadm::prepare,
        reads: [kubeadm::READS, nodelocaldns::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "control-plane",
        "The cluster begins where none is; control planes that stand are reconfigured, new ones join",
        kubeadm::control_plane,
        reads: [kubeadm::READS, encryption::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "encryption",
        "Secrets are encrypted in etcd, where that is wanted",
        encryption::run,
        reads: [encryption::READS, kubeadm::READS]
    ),
    role!("node", "kubeadm join", kubeadm::node, reads: [kubeadm::READS], "kubeadm/defaults.yml"),
    role!(
        "api-endpoint",
        "The cluster goes over to a load balancer in front of its API servers, where there is one",
        kubeadm::api_endpoint,
        reads: [kubeadm::READS, encryption::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "former-addresses",
        "Control planes give up an address of the API that they shared, where nobody looks for it any more",
        vip::give_up,
        reads: [],
        "kubeadm/defaults.yml"
    ),
    role!(
        "etcd-restart",
        "Members of etcd that waited until there were others restart with their configuration",
        etcd::restart,
        reads: [etcd::READS],
        "etcd/defaults.yml"
    ),
    role!("flannel", "The pod network", flannel::daemon, reads: [flannel::READS]),
    role!("calico", "The pod network, with network policies", calico::objects, reads: [calico::READS]),
    Role {
        check_with_bundle: Some(cilium::check_chart),
        ..role!("cilium", "The pod network, with network policies, by programs in the kernel", cilium::applied, reads: [cilium::READS])
    },
    Role {
        check_with_bundle: Some(custom_cni::check),
        ..role!("custom-cni", "A pod network of your own, from manifests or a chart", custom_cni::applied, reads: [custom_cni::READS])
    },
    role!("coredns", "Names inside the cluster", coredns::run, reads: [coredns::READS]),
    role!("nodelocaldns", "A DNS cache on each node", nodelocaldns::run, reads: [nodelocaldns::READS]),
    role!(
        "cni",
        "Connect the machine's pods to their network",
        |host| async move {
            flannel::connect(host).await?;
            calico::connect(host).await?;
            cilium::connect(host).await
        },
        reads: [flannel::READS, calico::READS, cilium::READS],
        "flannel/defaults.yml"
    ),
    role!(
        "kube-proxy",
        "kube-proxy goes, where something else carries the cluster's services",
        kube_proxy::run,
        reads: [kube_proxy::READS],
        "kubeadm/defaults.yml"
    ),
    CHECK_CLUSTER,
    Role {
        looks_only: true,
        ..role!(
            "adopt-check",
            "Whether a cluster that somebody else has made can be taken over",
            adoption::check,
            reads: [
                adoption::READS,
                kubeadm::READS,
                encryption::READS,
                etcd::READS,
                flannel::READS,
                coredns::READS,
                nodelocaldns::READS
            ],
            "kubeadm/defaults.yml"
        )
    },
    role!(
        "adopt-begin",
        "Keep what the machine has, before the cluster is taken over",
        adoption::keep,
        reads: [adoption::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "adopt-certificates",
        "The API server's certificate is good for the names by which muster's machines ask it",
        kubeadm::certify,
        reads: [kubeadm::READS, encryption::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "adopt-network",
        "Make room for muster's flannel and DNS, where other manifests have brought them",
        adoption::make_room,
        reads: [adoption::READS, flannel::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "adopt-names",
        "The DNS cache on the machine has its address",
        adoption::address_of_names,
        reads: [nodelocaldns::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "adopt-end",
        "The machine is muster's from now on",
        adoption::end,
        reads: [adoption::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "upgrade-check",
        "Whether the cluster may go to another version",
        upgrade::check,
        reads: [upgrade::former_etcd::READS, kubeadm::READS, system_upgrade::READS, proxies::READS, drain::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "fetch",
        "Bring what an upgrade needs to the machine",
        kubeadm::upgrade::fetch,
        reads: [kubeadm::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "etcd-snapshot",
        "Keep what etcd holds before an upgrade",
        etcd::snapshot_before_upgrade,
        reads: [etcd::READS],
        "etcd/defaults.yml"
    ),
    role!(
        "system-upgrade",
        "Newer packages of the operating system, and a restart where they need it",
        system_upgrade::run,
        reads: [system_upgrade::READS, proxies::READS, drain::READS]
    ),
    role!(
        "upgrade-control-plane",
        "kubeadm upgrade, on a control plane",
        kubeadm::upgrade::control_plane,
        reads: [kubeadm::READS, encryption::READS, nodelocaldns::READS, drain::READS, system_upgrade::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "upgrade-node",
        "A new kubelet, on a drained node",
        kubeadm::upgrade::node,
        reads: [kubeadm::READS, nodelocaldns::READS, drain::READS, system_upgrade::READS],
        "kubeadm/defaults.yml"
    ),
    role!("drain", "Cordon the node, and move its pods to other nodes", drain::run, reads: [drain::READS]),
    role!(
        "upgrade-end",
        "Uncordon a node that was drained for its upgrade",
        upgrade::finish,
        reads: [drain::READS],
        "kubeadm/defaults.yml"
    ),
    role!(
        "kubeconfig",
        "Bring admin.conf and kubectl to this side",
        kubeconfig::run,
        reads: [kubeconfig::READS]
    ),
    role!(
        "uncordon",
        "Let the node get pods again, if muster cordoned it",
        drain::run_uncordon,
        reads: [drain::READS],
        "drain/defaults.yml"
    ),
    VERIFY,
    STUDENTS,
    role!("resolvconf", "The machines find names of the cluster, where that is wanted", resolvconf::run, reads: [resolvconf::READS]),
    role!("helm", "The package manager, on control planes", helm::run, reads: []),
    app!(
        "openstack-cloud-controller",
        "OpenStack's controller tells the cluster of its machines, and makes load balancers",
        apps::openstack_cloud_controller::APP,
        reads: []
    ),
    app!(
        "network-policies",
        "Network policies are kept to, where flannel is the network",
        on_machines: Some(apps::network_policies::ON_MACHINES),
        reads: []
    ),
    app!("metrics-server", "What pods and nodes use: kubectl top, and autoscaling by it"),
    app!("local-path-provisioner", "Volumes for claims, as folders on the nodes"),
    app!(
        "registry",
        "A registry of images, from which all nodes can pull",
        on_machines: Some(apps::registry::ON_MACHINES),
        reads: [apps::registry::READS]
    ),
    app!("traefik", "An answer for Ingresses, on every node"),
    app!("monitoring", "Prometheus, what it measures on every node, and who is told of alerts"),
    app!("kube-state-metrics", "How the cluster's objects are, for Prometheus"),
    app!(
        "metallb",
        "Addresses for services of the type LoadBalancer",
        apps::metallb::APP,
        reads: [apps::metallb::READS]
    ),
    app!(
        "cert-manager",
        "Certificates, issued and renewed for who asks with an object",
        apps::cert_manager::APP,
        reads: [apps::cert_manager::READS]
    ),
    app!(
        "gateway-api",
        "The kinds of the Gateway API, for a controller of your own",
        apps::gateway_api::APP,
        reads: [apps::gateway_api::READS]
    ),
    app!(
        "csi-snapshot-controller",
        "Snapshots of volumes, where their driver can make them",
        apps::csi_snapshot_controller::APP,
        reads: []
    ),
    app!(
        "nfs-csi",
        "Volumes for claims, as folders of an NFS server",
        apps::nfs_csi::APP,
        reads: []
    ),
    app!("cinder-csi", "Volumes for claims, of an OpenStack cloud", apps::cinder_csi::APP, reads: []),
    app!("local-volume-provisioner", "Volumes that are disks of nodes"),
    app!(
        "node-feature-discovery",
        "Labels of nodes that say what their hardware has",
        apps::node_feature_discovery::APP,
        reads: []
    ),
    app!(
        "argocd",
        "The cluster is kept to what repositories of git say (Argo CD)",
        apps::argocd::APP,
        reads: [apps::argocd::READS]
    ),
    app!(
        "flux",
        "The cluster is kept to what repositories of git say (Flux)",
        apps::flux::APP,
        reads: []
    ),
    app!("dashboard", "A dashboard in the browser", apps::dashboard::APP, reads: [apps::dashboard::READS]),
    Role {
        check_written: Some(|inventory, vars, _| extension::check(inventory, vars)),
        check_with_bundle: Some(extension::check_charts),
        ..role!("extension", "Objects and charts of your own, from the folder extension", extension::run, reads: [apps::READS])
    },
    role!("apps", "Wait until the applications are well", apps::are_well, reads: [apps::READS]),
    CHECK_RESET,
    RESET,
];

/// Variables that several roles read.
pub const COMMON_DEFAULTS: &str = include_str!("common/defaults.yml");

/// Variables of machines that boot from the network, which no role reads: `muster netboot` does.
pub const NETBOOT_DEFAULTS: &str = include_str!("netboot/defaults.yml");

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
        .address("ansible_host")
        .address("ansible_ssh_host")
        .address("ansible_port")
        .address("ansible_ssh_port")
        .address("ip")
        .address("access_ip")
}
