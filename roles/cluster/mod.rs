//! Which cluster the machines are in, before anything is changed: identity is proved, never guessed.
//!
//! Every machine says once a run who it is ([`identity`]); what follows from that is in [`standing`] and [`misfits`]. Preflight asks in its own
//! exchange; a role that runs without it asks by itself.

#[cfg(test)]
mod adoption_tests;
mod belonging;
mod certificate;
mod displaced;
#[cfg(test)]
mod displaced_tests;
mod endpoint;
mod families;
mod identity;
#[cfg(test)]
mod identity_tests;
mod majority;
mod misfits;
mod refusals;
mod restores;
#[cfg(test)]
mod restores_tests;
#[cfg(test)]
mod rotation_tests;
mod standing;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod wanted_tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join_all;
use muster_artifacts::Arch;
use muster_engine::prelude::*;
use serde::Deserialize;

use crate::addresses::{access_ip_of, ip, ip_of, ip6_of};
use crate::adoption;
use crate::balancer::{self, External};
use crate::catalogue::CATALOGUE;
use crate::common::{ClusterVars, ProgramVars, bin_dir, cluster_vars, duration};
use crate::diagnosis;
use crate::etcd;
use crate::upgrade;
pub use certificate::Certificate;
pub(crate) use endpoint::{
    api_of, api_urls_of, endpoint, found_at, goes_over, goes_over_with_all, host_in, in_the_end,
};
pub(crate) use identity::{Identity, decoded, embedded_certificate};
pub(crate) use misfits::is_of_this_machine;
pub(crate) use refusals::{emptied, not_ours};
pub(crate) use restores::MemberList;
use standing::Seen;
pub(crate) use standing::{Standing, Story, Wanted};

#[derive(Deserialize)]
struct Vars {
    kube_ca_cert_validity_period: Option<String>,
    kube_cert_dir: String,
    etcd_cert_dir: String,
    etcd_data_dir: String,
    containerd_storage_dir: String,
    containerd_state_dir: String,
    containerd_snapshotter: String,
    kube_network_plugin: String,
    containerd_use_systemd_cgroup: bool,
    skydns_server: String,
    dns_mode: String,
    manual_dns_server: Option<String>,
}

/// The groups of all machines of a cluster.
pub(crate) const MACHINES: &[&str] = &["k8s_cluster", "etcd", BROKEN[0], BROKEN[1]];
/// kubespray's groups of machines that are given up; they may have been moved there from all others.
pub(crate) const BROKEN: [&str; 2] = ["broken_etcd", "broken_kube_control_plane"];
/// The group of its control planes.
pub(crate) const PLANES: &[&str] = &["kube_control_plane"];

/// What any role may read, of any machine: who it is and where it is, and what is waited for there.
pub(crate) const READS: &[Read] = &[
    Read::of::<ClusterVars>(MACHINES),
    Read::of::<ProgramVars>(MACHINES),
    Read::of::<Vars>(MACHINES),
    Read::of::<etcd::Vars>(MACHINES),
    Read::of::<balancer::Vars>(MACHINES),
    Read::of::<diagnosis::Vars>(MACHINES),
];

impl Vars {
    /// Where pods ask for names, at a cache on their node before: the variable that says it, and the address.
    fn server_of_names(&self) -> (&'static str, String) {
        match self.dns_mode.as_str() {
            "manual" => ("manual_dns_server", self.manual_dns_server.clone().unwrap_or_default()),
            _ => (misfits::DNS_SERVER, self.skydns_server.clone()),
        }
    }

    /// For how long the cluster's authority is good; kubeadm's own default where nothing else is said.
    fn authority_lasts(&self) -> &str {
        self.kube_ca_cert_validity_period.as_deref().unwrap_or("87600h")
    }
}

/// Where pods ask for names: the variable that says it, and the address.
pub(crate) fn server_of_names(host: &Host) -> Result<(&'static str, String)> {
    Ok(host.vars::<Vars>()?.server_of_names())
}

/// For how long a new authority of the cluster is to be good.
pub(crate) fn authority_lasts(host: &Host) -> Result<Duration> {
    let vars: Vars = host.vars()?;
    duration(vars.authority_lasts()).ok_or_else(|| {
        Failure::new(
            format!("kube_ca_cert_validity_period is {}, which is no length of time", vars.authority_lasts()),
            "set kube_ca_cert_validity_period: 87600h",
        )
    })
}

/// What a machine is asked for its identity.
pub(crate) fn question(host: &Host) -> Result<Script> {
    let vars: Vars = host.vars()?;
    Ok(sh(identity::LOOK, [vars.kube_cert_dir, vars.etcd_cert_dir, vars.etcd_data_dir]))
}

/// Keeps what a machine has answered to [`question`] in an exchange of somebody else's.
pub(crate) async fn answered(host: &Host, answer: &Answer) -> Result<Arc<Identity>> {
    host.cluster().once(&key(host.name()), || async { understood(host.name(), answer) }).await
}

/// A look that ended early is a failure: it is never taken for the one at a machine that belongs to no cluster.
fn understood(name: &str, answer: &Answer) -> Result<Identity> {
    let failure = || {
        Failure::new(
            format!(
                "which cluster {name} is in cannot be told: the look at it ended early, with status {}",
                answer.status
            ),
            "see on the machine whether root can read the files in /etc/kubernetes, kube_cert_dir and etcd_cert_dir, and /etc/etcd.env",
        )
    };
    Identity::whole(&answer.output).ok_or_else(failure)
}

/// Keeps that a machine cannot be asked, so that nobody waits for it twice.
pub(crate) async fn unreached(host: &Host, name: &str) {
    let failure = || async { Err::<Identity, _>(Failure::new(format!("{name} was not reached"), "")) };
    host.cluster().once(&key(name), failure).await.ok();
}

fn key(name: &str) -> String {
    format!("the identity of {name}")
}

async fn identity_of(host: &Host, name: &str) -> Result<Arc<Identity>> {
    let ask = || async {
        let machine = host.cluster().host(name)?;
        let answer = machine.query(question(&machine)?).await?;
        understood(name, &answer)
    };
    host.cluster().once(&key(name), ask).await
}

/// Under which the machines' identities are kept for the run.
const KNOWN: &str = "which cluster the machines are in";

async fn ask(host: &Host, names: Vec<&String>) -> BTreeMap<String, Seen> {
    let asked = names.into_iter().map(|name| async move {
        let seen = identity_of(host, name).await.map_err(|failure| failure.to_string());
        let is_adopted = adoption::is_under_way(host);
        let seen = seen.map(|seen| if is_adopted { Arc::new((*seen).clone().if_adopted()) } else { seen });
        (name.clone(), seen)
    });
    join_all(asked).await.into_iter().collect()
}

/// The machines as they were before this run changed anything: all control planes and members of etcd of the inventory, and the
/// hosts of the run; all nodes of the inventory, where a cluster is to begin, or a machine is in another cluster than the control
/// planes: others may be in it. Asked at once, and once a run.
pub(crate) async fn known(host: &Host) -> Result<Arc<Standing>> {
    let cluster = host.cluster();
    let look = || async {
        let (planes, members) = (cluster.group("kube_control_plane"), cluster.group("etcd"));
        let nodes = cluster.group("k8s_cluster");
        let broken: Vec<String> = BROKEN.iter().flat_map(|group| cluster.group(group)).collect();
        let machines = nodes.iter().chain(&members).chain(&broken);
        let in_run: Vec<String> = machines.filter(|name| cluster.in_run(name)).cloned().collect();
        let mut all: Vec<&String> = planes.iter().chain(&members).chain(&in_run).collect();
        all.sort_unstable();
        all.dedup();
        let machines = ask(host, all).await;
        let of_plane = |plane: &String| [ip_of(host, plane), access_ip_of(host, plane)];
        let addresses = planes.iter().flat_map(of_plane).filter_map(Result::ok);
        let external = External::of(host.all_vars()).ok().flatten();
        let addresses = addresses.chain(external.and_then(|external| external.address())).collect();
        let lists = BTreeMap::new();
        let mut standing = Standing { planes, members, in_run, addresses, machines, lists };
        if standing.needs_lists() {
            standing.lists = etcd::lists(host, &standing).await?;
        }
        if standing.begins_here() || standing.may_have_companions() {
            let outside = nodes.iter().filter(|name| !standing.machines.contains_key(*name)).collect();
            let outside = ask(host, outside).await;
            standing.machines.extend(outside);
        }
        for warning in standing.warnings() {
            host.warn(warning);
        }
        if let Some((kept, asked)) = kept_version(host, &standing).zip(host.all_vars().get("kube_version")?)
            && asked.as_str().is_some_and(|asked| asked != kept)
        {
            host.warn(format!(
                "kube_version is not set: the cluster keeps its {kept} ({} is the default of new clusters; upgrade-cluster brings \
                 another one). To keep it without this warning, write into group_vars/all.yml beside the inventory: \
                 kube_version: {kept}",
                asked.as_str().unwrap_or_default()
            ));
        }
        Ok(standing)
    };
    cluster.once(KNOWN, look).await
}

/// What [`known`] has found, where it was asked before.
fn remembered(host: &Host) -> Option<Arc<Standing>> {
    host.cluster().done(KNOWN)
}

/// Whether the machine was told of a cluster before this run, where that was seen.
pub(crate) fn had_joined(host: &Host) -> bool {
    remembered(host).is_some_and(|known| known.had_joined(host.name()))
}

/// The address with which a host has joined the cluster, where that was seen.
pub(crate) fn address_of(host: &Host, name: &str) -> Option<IpAddr> {
    remembered(host)?.address_of(name)
}

/// The address of IPv6 with which a host has joined the cluster, where that was seen.
pub(crate) fn address6_of(host: &Host, name: &str) -> Option<IpAddr> {
    remembered(host)?.address6_of(name)
}

/// The version that a cluster keeps because nobody has asked for another one. A run that upgrades goes to that of new clusters
/// then, and never back.
fn kept_version(host: &Host, standing: &Standing) -> Option<String> {
    let asked = host.all_vars().explain("kube_version");
    let version = standing.version().filter(|_| !asked.first().is_some_and(|asked| asked.kind.is_user()))?;
    let version = if upgrade::is_under_way(host) { upgrade::versions::default_for(version) } else { version };
    CATALOGUE.release(version, Arch::Amd64).is_ok().then(|| version.to_owned())
}

/// The same, where it is known already.
pub(crate) fn version_to_keep(host: &Host) -> Option<String> {
    kept_version(host, &*remembered(host)?)
}

/// What the inventory wants this machine to be.
pub(crate) fn wanted(host: &Host) -> Result<Wanted> {
    let vars: Vars = host.vars()?;
    let cluster = cluster_vars(host)?;
    let (names, server) = vars.server_of_names();
    let mut settled = vec![
        ("serviceSubnet", "kube_service_addresses", cluster.kube_service_addresses),
        ("podSubnet", "kube_pods_subnet", cluster.kube_pods_subnet),
        ("nodeCIDRMaskSize", "kube_network_node_prefix", cluster.kube_network_node_prefix.to_string()),
        (families::BOTH, "ipv6_stack", cluster.ipv6_stack.to_string()),
        ("dnsDomain", "dns_domain", cluster.dns_domain),
        ("clusterName", "cluster_name", cluster.cluster_name),
        ("certificatesDir", "kube_cert_dir", cluster.kube_cert_dir),
        ("caCertificateValidityPeriod", "kube_ca_cert_validity_period", vars.authority_lasts().to_owned()),
    ];
    if cluster.ipv6_stack {
        let size = cluster.kube_network_node_prefix_ipv6.to_string();
        settled.extend([
            ("serviceSubnet-ipv6", "kube_service_addresses_ipv6", cluster.kube_service_addresses_ipv6),
            ("podSubnet-ipv6", "kube_pods_subnet_ipv6", cluster.kube_pods_subnet_ipv6),
            ("nodeCIDRMaskSize-ipv6", "kube_network_node_prefix_ipv6", size),
        ]);
    }
    Ok(Wanted {
        settled,
        kept: vec![
            ("root", "containerd_storage_dir", vars.containerd_storage_dir),
            ("state", "containerd_state_dir", vars.containerd_state_dir),
            ("snapshotter", "containerd_snapshotter", vars.containerd_snapshotter),
            (
                "SystemdCgroup",
                "containerd_use_systemd_cgroup",
                vars.containerd_use_systemd_cgroup.to_string(),
            ),
            ("bin_dir", "bin_dir", bin_dir(host)?),
            ("clusterDNS", names, server),
            ("etcd_cert_dir", "etcd_cert_dir", vars.etcd_cert_dir),
            ("network", "kube_network_plugin", vars.kube_network_plugin),
        ],
        port: cluster.kube_apiserver_port,
        version: cluster.kube_version,
        node_name: cluster.kube_override_hostname,
        address: ip(host).ok(),
        access: access_ip_of(host, host.name()).ok(),
        ipv6: cluster.ipv6_stack,
        address6: ip6_of(host, host.name()).ok().flatten(),
        control_plane: host.in_group("kube_control_plane"),
        worker: host.in_group("kube_node"),
        etcd: host.in_group("etcd"),
        etcd_data_dir: vars.etcd_data_dir,
        upgrades: upgrade::is_under_way(host),
        adopts: adoption::is_under_way(host),
    })
}

/// Makes sure, before a role sets the machine up, that it belongs to this cluster or to none, as the inventory says, and that the
/// cluster keeps its version unless the run upgrades it.
///
/// # Errors
/// [`Failure::Problems`]: what is against it.
pub(crate) async fn may_set_up(host: &Host) -> Result<Arc<Standing>> {
    let known = known(host).await?;
    let mut problems = known.problems_of_set_up(host.name(), &wanted(host)?);
    if problems.is_empty() {
        problems.extend(objects_of_nobody(host, &known).await?);
    }
    if problems.is_empty() { Ok(known) } else { Err(Failure::Problems(problems)) }
}

/// That a member of etcd carries a cluster of which no control plane of the inventory has anything. Also a run without control planes
/// would make it this cluster's, and let others join it.
pub(crate) async fn objects_of_nobody(host: &Host, known: &Standing) -> Result<Option<Problem>> {
    let has_part = host.in_group("kube_control_plane") || host.in_group("etcd");
    if !has_part || !known.may_be_orphaned() || !known.have_planes_answered() {
        return Ok(None);
    }
    // As it was before this run: a cluster that begins in it has objects soon.
    let ask = || etcd::have_objects(host, known.members_with_data());
    let have_objects = host.cluster().once("whether etcd has objects of a cluster", ask).await?;
    Ok(have_objects.then(|| known.objects_without_authority()))
}

/// The same, and notes which version the cluster keeps.
pub(crate) async fn tell_kept(host: &Host, kept: crate::KeptVersion) -> Result<()> {
    may_set_up(host).await?;
    if let Some(version) = version_to_keep(host) {
        kept.get_or_init(|| version);
    }
    Ok(())
}

/// Makes sure, before a role changes the machine, that it belongs to this cluster or to none, as the inventory says. Care of a
/// cluster is possible whatever the versions of its machines are: also in the middle of an upgrade.
///
/// # Errors
/// [`Failure::Problems`]: what is against it.
pub(crate) async fn belongs(host: &Host) -> Result<Arc<Standing>> {
    let known = known(host).await?;
    match known.problems(host.name(), &wanted(host)?) {
        problems if problems.is_empty() => Ok(known),
        problems => Err(Failure::Problems(problems)),
    }
}

/// The same for a restore of etcd, which goes on with one that was cut off.
///
/// # Errors
/// [`Failure::Problems`]: what is against it.
pub(crate) async fn belongs_while_restored(host: &Host) -> Result<Arc<Standing>> {
    let known = known(host).await?;
    match known.misfits(host.name(), &wanted(host)?) {
        problems if problems.is_empty() => Ok(known),
        problems => Err(Failure::Problems(problems)),
    }
}

/// The same before a machine is stopped that is given up. What does not fit does not count then: data of etcd from before a former
/// recovery is what must not run. But what is another cluster's is let alone.
///
/// # Errors
/// [`Failure::Problems`]: what is against it.
pub(crate) async fn may_be_fenced(host: &Host) -> Result<()> {
    let problem =
        known(host).await?.not_to_be_fenced(host.name(), &cluster_vars(host)?.kube_override_hostname);
    problem.map_or(Ok(()), |problem| Err(Failure::Problems(vec![problem])))
}

/// The control plane whose variables hold for the objects of the cluster.
pub(crate) async fn speaker(host: &Host) -> Result<Arc<Host>> {
    let known = known(host).await?;
    let nobody = || {
        Failure::new(
            "the inventory has no host in kube_control_plane",
            "put at least one host into that group",
        )
    };
    host.cluster().host(known.speaker().ok_or_else(nobody)?)
}

/// The same, before objects of the cluster are changed.
///
/// # Errors
/// As of [`may_set_up`].
pub(crate) async fn speaker_for_set_up(host: &Host) -> Result<Arc<Host>> {
    may_set_up(host).await?;
    speaker(host).await
}

/// Waits until the control plane that leads has reached something that any of them does for all of them once a run: so it is
/// told of the same host in every run, and in a plan of it. Where that one fails, another one does it.
pub(crate) async fn let_leader_go_first(host: &Host, what: &str) -> Result<()> {
    let known = known(host).await?;
    if let Some(leader) = known.foremost().filter(|leader| *leader != host.name()) {
        host.needs(leader, what).await.ok();
    }
    Ok(())
}

/// The names that etcd's members are given by variables.
pub(crate) fn given_member_names(host: &Host) -> Result<BTreeMap<String, String>> {
    let mut given = BTreeMap::new();
    for member in host.cluster().group("etcd") {
        let name = host.cluster().vars_of(&member)?.get("etcd_member_name")?;
        given.extend(name.and_then(|name| Some((member, name.as_str()?.to_owned()))));
    }
    Ok(given)
}
