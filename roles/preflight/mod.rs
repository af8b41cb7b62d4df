//! preflight: finds what would go wrong, all of it at once, before anything is changed.
//!
//! The inventory and the variables are looked at before any machine is contacted ([`check_inventory`]); then every machine
//! looks at itself, and at the others. A check is a function from what is known to the problem that follows from it.
//! Nothing here changes a machine, and the play ends for everybody when somebody has a problem.

mod api_server;
mod apps;
mod bundle;
mod calico;
mod cilium;
mod corefile;
mod disk;
mod docker;
mod dual_stack;
mod encryption;
mod etcd_settings;
mod eviction;
mod findings;
#[cfg(test)]
pub(crate) mod fixture;
mod foreign;
mod inventory;
mod kubelets;
mod machine;
mod names;
mod network;
mod peers;
mod plugins;
mod ports;
mod probe;
mod proxies;
mod reads;
#[cfg(test)]
mod remedies;
mod resolver;
#[cfg(test)]
mod sandbox;
mod services;
mod settings;
mod sockets;
mod subnets;
#[cfg(test)]
mod together;
mod too_new;
mod values;
mod versions;
mod vip;

use std::collections::BTreeMap;

use muster_engine::facts::Facts;
use muster_engine::prelude::*;
use serde::Deserialize;

pub(crate) use cilium::tunnel_port;
pub use findings::{Findings, sentence};
pub use inventory::check_inventory;
pub use reads::unreadable;
pub(crate) use settings::place;

use crate::addresses;
use crate::adoption;
use crate::balancer;
use crate::cluster::{self, Standing};
use crate::common::{ClusterVars, cluster_vars};
use crate::etcd;
use crate::kube_proxy;
use crate::resolvconf;
use crate::upgrade;
use bundle::Sizes;
use probe::Seen;
use subnets::Subnets;

/// Explained in `defaults.yml`, and in those of the roles that they are for.
#[derive(Debug, Deserialize)]
struct Vars {
    ignore_assert_errors: bool,
    minimal_master_memory_mb: u64,
    minimal_node_memory_mb: u64,
    allow_unsupported_distribution_setup: bool,
    ping_access_ip: bool,
    docker_dns_servers_strict: bool,
    ip: Option<String>,
    access_ip: Option<String>,
    ip6: Option<String>,
    override_system_hostname: bool,
    muster_install_packages: bool,
    ntp_enabled: bool,
    preinstall_selinux_state: Option<String>,
    kubelet_fail_swap_on: bool,
    kube_network_plugin: String,
    kube_proxy_mode: String,
    kube_proxy_remove: bool,
    network_policies_enabled: bool,
    kube_resolv_conf: Option<String>,
    dns_mode: String,
    enable_nodelocaldns: bool,
    upstream_dns_servers: Vec<String>,
    flannel_backend_type: String,
    flannel_interface: Option<String>,
    flannel_interface_regexp: Option<String>,
    flannel_vxlan_port: u16,
    calico_network_backend: String,
    calico_vxlan_mode: String,
    calico_ipip_mode: String,
    calico_vxlan_port: u16,
    calico_bgp_listen_port: u16,
    cilium_tunnel_mode: String,
    cilium_agent_health_port: u16,
    typha_enabled: bool,
    loadbalancer_apiserver_healthcheck_port: u16,
    kube_vip_enabled: bool,
    kube_vip_controlplane_enabled: bool,
    container_manager: String,
    containerd_state_dir: String,
    containerd_storage_dir: String,
    containerd_snapshotter: String,
    etcd_data_dir: String,
    eviction_hard: BTreeMap<String, String>,
    kubelet_image_gc_high_threshold: u64,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>(), Read::own::<resolvconf::Vars>()];

impl Vars {
    /// How kube-proxy programs services; nothing where there is none.
    fn proxy_mode(&self) -> &str {
        if self.kube_proxy_remove { "" } else { &self.kube_proxy_mode }
    }

    /// The UDP port to which pods' packets to other machines go, where they do.
    fn vxlan_port(&self) -> Option<u16> {
        match self.kube_network_plugin.as_str() {
            "flannel" if self.flannel_backend_type == "vxlan" => Some(self.flannel_vxlan_port),
            "calico" if self.calico_vxlan_mode != "Never" => Some(self.calico_vxlan_port),
            "cilium" => cilium::tunnel_port(&self.cilium_tunnel_mode),
            _ => None,
        }
    }

    /// The variable that names this port.
    fn vxlan_port_variable(&self) -> &'static str {
        match self.kube_network_plugin.as_str() {
            "calico" => "calico_vxlan_port",
            "cilium" => "tunnelPort in cilium_extra_values",
            _ => "flannel_vxlan_port",
        }
    }

    /// What else must be open between machines for the network of pods and an address that control planes share, for a sentence: each
    /// with a comma.
    fn network_ports(&self) -> String {
        let calico = self.kube_network_plugin == "calico";
        let ports = [
            self.vxlan_port().map(|port| format!("{port}/udp")),
            (calico && self.calico_network_backend == "bird")
                .then(|| format!("{}/tcp", self.calico_bgp_listen_port)),
            (calico && self.calico_ipip_mode != "Never").then(|| "IP protocol 4 (ipip)".to_owned()),
            (calico && self.typha_enabled).then(|| "5473/tcp".to_owned()),
            (self.kube_network_plugin == "cilium").then(|| "4240/tcp".to_owned()),
            (self.kube_vip_enabled && self.kube_vip_controlplane_enabled)
                .then(|| "IP protocol 112 (VRRP)".to_owned()),
        ];
        ports.into_iter().flatten().map(|port| format!("{port}, ")).collect()
    }

    /// The name of the file in `/etc/cni/net.d` by which the network plugin is known, where it is one of muster's.
    fn conflist(&self) -> Option<&'static str> {
        match self.kube_network_plugin.as_str() {
            "flannel" => Some("10-flannel.conflist"),
            "calico" => Some("10-calico.conflist"),
            "cilium" => Some("05-cilium.conflist"),
            _ => None,
        }
    }
}

/// What a machine is there for.
#[derive(Debug, Clone, Copy)]
struct Duties {
    control_plane: bool,
    node: bool,
    etcd: bool,
    /// Whether it has a load balancer in front of the API servers of others.
    balancer: bool,
}

/// A machine as the checks see it.
struct Machine<'a> {
    name: &'a str,
    facts: &'a Facts,
    seen: &'a Seen,
    duties: Duties,
    vars: &'a Vars,
    /// How it is to find names itself.
    names: &'a resolvconf::Vars,
    cluster: &'a ClusterVars,
    subnets: Subnets,
    sizes: Sizes,
    /// Whether the run brings the cluster to another version.
    upgrades: bool,
    /// The version of its kubelet, if it is a node.
    kubelet: Option<&'a str>,
}

pub(crate) async fn run(host: &Host) -> Result<()> {
    let (mut vars, names): (Vars, resolvconf::Vars) = (host.vars()?, host.vars()?);
    vars.kube_resolv_conf = vars.kube_resolv_conf.filter(|path| !names.leads_back(path));
    let duties = Duties {
        control_plane: host.in_group("kube_control_plane"),
        node: host.in_group("kube_node"),
        etcd: host.in_group("etcd"),
        balancer: balancer::is_asked_for(host.all_vars()),
    };
    let mut seen = probe::look(host, duties, &vars).await?;
    if adoption::is_under_way(host) {
        // It takes them away, as it does kubespray's load balancer, which gives its ports to muster's.
        seen.foreign.drop_ins.clear();
        seen.sockets.tcp.retain(|_, owner| owner != "nginx");
    }
    let everyone = peers::everyone(host).await?;
    let known = cluster::known(host).await?;
    // The version is that of the cluster, which is known now.
    let cluster = cluster_vars(host)?;
    // A machine in the cluster shows every day that it reaches the others.
    let closed = match seen.joined {
        true => Vec::new(),
        false => ports::closed(host, duties, &cluster, &everyone, vars.vxlan_port(), &known).await?,
    };
    let machine = Machine {
        name: host.name(),
        facts: host.facts(),
        seen: &seen,
        duties,
        vars: &vars,
        names: &names,
        cluster: &cluster,
        subnets: Subnets::of(host.all_vars()),
        sizes: bundle::sizes(host, &cluster),
        upgrades: upgrade::is_under_way(host),
        kubelet: known.kubelet_of(host.name()),
    };

    let mut findings = Findings::new(vars.ignore_assert_errors);
    findings.refuse(known.problems_of_set_up(host.name(), &cluster::wanted(host)?));
    findings.refuse(orphaned(host, &known).await?);
    match balancer::may_go_over(host, &known).await {
        Err(Failure::Problems(problems)) => findings.refuse(problems),
        looked => looked?,
    }
    findings.refuse(unknown_addresses(host));
    // cilium is asked when it has come, before kube-proxy goes.
    if vars.kube_proxy_remove && vars.kube_network_plugin != "cilium" {
        findings.refuse(kube_proxy::refused(host, &known).await?);
    }
    machine::check(&machine, &mut findings);
    foreign::check(&machine, &mut findings);
    docker::check(&machine, &everyone, host.all_vars(), &mut findings);
    disk::check(&machine, &mut findings);
    network::check(&machine, &mut findings);
    findings.refuse(dual_stack::of_machine(&machine));
    resolver::check(&machine, &mut findings);
    peers::check(&machine, &everyone, &mut findings);
    ports::check(&machine, &closed, &mut findings);
    findings.refuse(bundle::missing(host, &cluster).await?);

    for warning in &findings.warnings {
        host.warn(sentence(warning));
    }
    if !findings.problems.is_empty() {
        return Err(Failure::Problems(findings.problems));
    }
    host.passed("Look at the machine");
    Ok(())
}

/// Of machines that the others need, and that take no part in this run, the address must be written down, or be known by what they
/// have joined with.
fn unknown_addresses(host: &Host) -> Vec<Problem> {
    let mut needed = host.cluster().group("kube_control_plane");
    needed.extend(host.cluster().group("etcd"));
    needed.sort_unstable();
    needed.dedup();
    let outside = needed.into_iter().filter(|other| !host.cluster().in_run(other));
    let unknown = outside.filter(|other| addresses::all_of(host, other).is_err());
    let problem = |other: String| Problem {
        check: "address".into(),
        found: format!("that of {other} is not known, and {other} is not part of this run"),
        needed: "the address of every control plane and etcd member".into(),
        remedy: format!("set ip of {other} in the inventory, or let it take part (--limit)"),
    };
    unknown.map(problem).collect()
}

/// That a cluster would begin beside the objects of another one; asked of etcd only where it has data and the cluster's authority is
/// nowhere. etcd that does not answer is asked again when it was started, if it is one that a set-up of muster's has left: nobody
/// joins one that is not, and it is not configured anew.
async fn orphaned(host: &Host, known: &Standing) -> Result<Option<Problem>> {
    if let Some(problem) = cluster::objects_of_nobody(host, known).await? {
        return Ok(Some(problem));
    }
    if !known.may_be_orphaned() || known.birthplace().ok().flatten() != Some(host.name()) {
        return Ok(None);
    }
    Ok(match etcd::holds_objects(host).await? {
        Some(true) => Some(known.objects_without_authority()),
        Some(false) => None,
        None => known.member_of_others().map(cluster::not_ours),
    })
}
