//! balancer: one address of the API on every machine, behind which any control plane answers.
//!
//! Where several control planes are, the API is at 127.0.0.1 on every machine. On a control plane that is its own API server; on
//! all others it is haproxy, a static pod, which asks each API server once a second whether it is ready. What is the same for all
//! machines (kube-proxy's and flannel's configuration, kubeadm's `controlPlaneEndpoint`) so has one value that is right
//! everywhere, and no control plane is special.
//!
//! A cluster that looked for its API elsewhere changes over: first each machine gets its load balancer, then the control plane
//! that leads gives the cluster the new address, then each kubelet follows.
//!
//! Where the API has an address of its own ([`External`]), there is none on the machines: somebody else's load balancer is there, or
//! the control planes share it ([`crate::vip`]).

mod external;
mod names;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use muster_inventory::{HostVars, some_names};
use serde::Deserialize;
use serde_json::json;

use crate::addresses::{access_ip_of, ip};
use crate::catalogue::image;
use crate::cluster::{self, Standing};
use crate::common::{cluster_vars, in_group};
use crate::kubectl::{Kubectl, api_answers};
use crate::pods::static_pod;
use crate::{diagnosis, kubeadm};
pub(crate) use external::{External, all_know_it, may_go_over, names, wrong_name};
pub(crate) use external::{NAME as EXTERNAL_NAME, VARIABLE as EXTERNAL, all_find_it, answers};
pub(crate) use names::{former_names, known_by_name, moved_name, no_names, other_names};

/// A snippet that gives the kubelet another kubeconfig, or sees whether it has been told of it, with `kubelet_is_told.sh`.
macro_rules! told {
    ($text:expr, $args:expr) => {
        sh(
            concat!(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/balancer/kubelet_is_told.sh")), $text),
            $args,
        )
    };
}
pub(crate) use told;

/// Explained in `common/defaults.yml`.
#[derive(Deserialize)]
pub(crate) struct Vars {
    loadbalancer_apiserver_healthcheck_port: u16,
    /// In milliseconds.
    etcd_election_timeout: u64,
}

/// The variable that asks for it.
const ASKS: &str = "loadbalancer_apiserver_localhost";

/// The image's name in the catalogue.
pub(crate) const IMAGE: &str = "haproxy";

const FOLDER: &str = "/etc/kubernetes/api-balancer";
const CONFIG: &str = "/etc/kubernetes/api-balancer/haproxy.cfg";
const MANIFEST: &str = "/etc/kubernetes/manifests/api-balancer.yaml";
/// Holds the hash of the configuration that the program was last told to take up.
pub(crate) const STAMP: &str = "/var/lib/muster/stamps/api-balancer";

/// The role that gives it to a machine.
const GIVES_IT: &str = "kubelet";

/// What a machine tells the others when it has its load balancer.
const HAS_A_WAY: &str = "its own way to the API";

/// Whether a machine's variables ask for a load balancer on it. A variable that cannot be worked out asks: what is wrong with it
/// is told elsewhere.
pub(crate) fn is_asked_for(vars: &HostVars) -> bool {
    !in_group(vars, "kube_control_plane") && asks(vars)
}

fn asks(vars: &HostVars) -> bool {
    let is_elsewhere = External::of(vars).is_ok_and(|external| external.is_some());
    !is_elsewhere && vars.get(ASKS).ok().flatten().and_then(|value| value.as_bool()).unwrap_or(true)
}

/// The port on 127.0.0.1 at which the load balancer of a machine says how it is, and at `/NAME` whether it leads to a control plane.
pub(crate) fn health_port(host: &Host) -> Result<u16> {
    Ok(host.vars::<Vars>()?.loadbalancer_apiserver_healthcheck_port)
}

/// `127.0.0.1:PORT`.
pub(crate) fn address(host: &Host) -> Result<String> {
    Ok(format!("127.0.0.1:{}", cluster_vars(host)?.kube_apiserver_port))
}

/// Whether the machines of a cluster look for the API at 127.0.0.1, each at its own.
pub(crate) fn is_local(endpoint: &str) -> bool {
    endpoint.trim_start_matches("https://").starts_with("127.0.0.1:")
}

/// Whether the variables that hold for the cluster ask for it.
pub(crate) fn is_wanted(host: &Host, known: &Standing) -> Result<bool> {
    let of_all = known.speaker().unwrap_or(host.name());
    Ok(asks(&host.cluster().vars_of(of_all)?))
}

/// Whether the cluster's machines are to find the API at 127.0.0.1. A cluster changes over as a whole, in a run of all its workers:
/// one that has no load balancer would find nothing there.
pub(crate) fn is_used(host: &Host, known: &Standing) -> Result<bool> {
    if !is_wanted(host, known)? {
        return Ok(false);
    }
    let changes_over = known.endpoint().is_some_and(|endpoint| !is_local(endpoint));
    Ok(!changes_over || outside(host).is_empty())
}

/// The workers that get no load balancer in this run: those that are no part of it, and all of them where it does something else,
/// as an upgrade.
fn outside(host: &Host) -> Vec<String> {
    let planes = host.cluster().group("kube_control_plane");
    let mut nodes = host.cluster().group("k8s_cluster");
    nodes.retain(|name| !planes.contains(name) && !host.cluster().has_role(name, GIVES_IT));
    nodes
}

/// The load balancer of this machine, where it has one: its configuration, without control planes that leave, and its pod.
pub(crate) fn pod(host: &Host, known: &Standing, leaving: &[String]) -> Result<Option<Balancer>> {
    if known.planes.iter().any(|plane| plane == host.name()) || !is_used(host, known)? {
        return Ok(None);
    }
    let cluster = cluster_vars(host)?;
    let stays = |plane: &&String| !leaving.contains(plane) && !known.is_given_up(plane);
    let mut planes: Vec<&String> = known.planes.iter().filter(stays).collect();
    // Hosts that change places in their group change nothing.
    planes.sort_unstable();
    // The address of one that is dead may not be known.
    let planes = planes.into_iter().filter_map(|plane| Some((plane, cluster::api_of(host, plane).ok()?)));
    let planes: Vec<_> = planes.map(|(name, address)| json!({ "name": name, "address": address })).collect();
    let vars: Vars = host.vars()?;
    let extra = json!({
        "port": cluster.kube_apiserver_port,
        "health_port": vars.loadbalancer_apiserver_healthcheck_port,
        "planes": planes,
        "authority": format!("{}/ca.crt", cluster.kube_cert_dir),
        "etcd_patience": patience(vars.etcd_election_timeout),
        "image": image(host, IMAGE, &cluster.kube_version)?,
        "folder": FOLDER,
        "config": CONFIG,
    });
    let config = host.render("haproxy.cfg.j2", include_str!("templates/haproxy.cfg.j2"), &extra)?;
    let pod = host.render("pod.yaml.j2", include_str!("templates/pod.yaml.j2"), &extra)?;
    Ok(Some(Balancer { config, pod: static_pod(&pod, host.name()) }))
}

/// The load balancer of this machine leads nobody to control planes that leave. A machine that never had one gets none here, where
/// its image may not be.
pub(crate) async fn lead_away(host: &Host, known: &Standing, leaving: &[String]) -> Result<()> {
    let has_one = known.servers(host.name()).into_iter().any(is_local);
    match pod(host, known, leaving)?.filter(|_| has_one) {
        Some(balancer) => balancer.ensured_in(host.step("Load balancer without them")).await.map(drop),
        None => Ok(()),
    }
}

/// How often in a row an API server has to say that it has lost etcd: for longer than an election, which takes up to twice the
/// timeout (in milliseconds). They are asked each second, and need more than the two that they are given for such an answer.
fn patience(election_timeout: u64) -> u64 {
    1 + (2 * election_timeout).div_ceil(3000)
}

/// The same, for who asks every three seconds.
pub(crate) fn etcd_patience(host: &Host) -> Result<u64> {
    let vars: Vars = host.vars()?;
    Ok(patience(vars.etcd_election_timeout))
}

/// What a machine has of its load balancer.
pub(crate) struct Balancer {
    config: String,
    pod: String,
}

impl Balancer {
    /// Adds it to a step.
    pub(crate) fn ensured_in<'h>(self, step: Step<'h>) -> Step<'h> {
        // Connections go on.
        let taken_up = taken_up("api-balancer", "SIGUSR2", STAMP, &self.config);
        step.ensure(dir(FOLDER))
            .ensure(file(CONFIG).content(self.config))
            .ensure(dir("/etc/kubernetes/manifests"))
            .ensure(file(MANIFEST).content(self.pod))
            .ensure(taken_up)
    }
}

/// The program of a static pod runs with its configuration, which it takes up at a signal; `stamp` is where the hash of that one is.
pub(crate) fn taken_up(container: &str, signal: &str, stamp: &str, config: &str) -> Command {
    let hash = Sha256::of(config.as_bytes()).to_string();
    command(
        format!("configuration of {container}"),
        sh(include_str!("reload.sh"), [stamp, &hash, container, signal]),
        sh(r#"[ "$(cat "$1")" = "$2" ]"#, [stamp, &hash]),
    )
}

/// A kubeconfig of a control plane as others use it: what leads to the machine's own 127.0.0.1 leads to this URL.
pub fn for_others(config: &str, url: &str) -> String {
    let moved = |line: &str| match line.split_once("server: ") {
        Some((before, server)) if is_local(server) => format!("{before}server: {url}\n"),
        _ => format!("{line}\n"),
    };
    config.lines().map(moved).collect()
}

/// The load balancer of a machine that is in the cluster already works, before the cluster looks for the API there.
pub(crate) async fn has_a_way(host: &Host, known: &Standing) -> Result<()> {
    if changes_over(host, known)? && known.node(host.name()).is_some() {
        // One that somebody stopped runs no load balancer.
        host.step("Start the kubelet").ensure(service("kubelet")).await?;
        let url = format!("https://{}", address(host)?);
        let answers = sh(
            r#"kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=5s --server="$1" get --raw /readyz"#,
            [url.as_str()],
        );
        let what = format!("the API answers at {url}");
        let (every, limit) = (Duration::from_millis(500), Duration::from_secs(180));
        diagnosis::wait_on_machine(host, "containerd kubelet", Wait::new(what, answers, every, limit))
            .await?;
    }
    host.reached(HAS_A_WAY);
    Ok(())
}

/// Whether this run brings the cluster from another address of the API to 127.0.0.1.
fn changes_over(host: &Host, known: &Standing) -> Result<bool> {
    Ok(known.endpoint().is_some_and(|endpoint| !is_local(endpoint)) && is_used(host, known)?)
}

/// What a machine has of a load balancer that it has no use for any more: the cluster looks for its API elsewhere, or was told to in
/// this run, by the role of the control plane that leads, or where it goes over to somebody else's (`is_over`). The folder goes
/// last, by which is seen that there is one.
pub(crate) fn left_over(host: &Host, known: &Standing, is_over: bool) -> Result<Resources> {
    let has_one = known.identity(host.name()).is_some_and(|seen| !seen.balanced.is_empty());
    let is_told =
        || known.leader().is_some_and(|leader| host.cluster().has_role(leader, kubeadm::CONTROL_PLANE));
    let is_elsewhere = match External::wanted(host, known)? {
        Some(external) => is_over || known.is_told(&external),
        None => is_told() || known.endpoint().is_some_and(|endpoint| !is_local(endpoint)),
    };
    if !has_one || !is_elsewhere || is_wanted(host, known)? {
        return Ok(Resources::new());
    }
    Ok(Resources::new().with(dir(FOLDER)).with(file(STAMP)).with(file(MANIFEST)))
}

/// Every worker that is in the cluster finds the API at 127.0.0.1, before kube-proxy is told to look there. Those that are off
/// are told of: they get it in a later run.
pub(crate) async fn all_have_a_way(host: &Host, known: &Standing) -> Result<()> {
    if !changes_over(host, known)? {
        if is_wanted(host, known)? && known.endpoint().is_some_and(|endpoint| !is_local(endpoint)) {
            host.warn(format!(
                "all machines look for the API at {} still, because this run gives {} no load balancer; to give every machine a way of \
                 its own: setup-cluster without --limit",
                known.endpoint().unwrap_or_default(),
                some_names(&outside(host))
            ));
        }
        return Ok(());
    }
    let elsewhere = "at 127.0.0.1, at a load balancer of their own";
    nobody_is_left_out(
        host,
        elsewhere,
        "keep the address of the API as it is: loadbalancer_apiserver_localhost: false",
    )
    .await?;
    let off = workers_are_prepared(host, known).await?;
    for name in off {
        host.warn(format!(
            "{name} was not reached: until setup-cluster has given it a load balancer, its pods do not find the API"
        ));
    }
    Ok(())
}

/// Every worker of the run has its way to the API, or knows the name of somebody else's load balancer. Those that are off are
/// returned.
pub(crate) async fn workers_are_prepared(host: &Host, known: &Standing) -> Result<Vec<String>> {
    let mut off = Vec::new();
    for name in host.cluster().group("k8s_cluster") {
        if known.planes.contains(&name) {
            continue;
        }
        match host.needs_of_role(&name, GIVES_IT, HAS_A_WAY).await {
            Err(failure) if known.answered(&name) => return Err(failure),
            Err(_) => off.push(name),
            Ok(()) => {}
        }
    }
    Ok(off)
}

/// kube-proxy and flannel run on every node of the cluster, with one configuration: one that the inventory does not have would find
/// nothing `there`. `or`: what else may be done.
async fn nobody_is_left_out(host: &Host, there: &str, or: &str) -> Result<()> {
    // One that somebody stopped is started before the API is asked.
    host.step("Start the kubelet").ensure(service("kubelet")).await?;
    api_answers(host, Duration::from_secs(180)).await?;
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
    let nodes = kubeadm::nodes(&kubectl).await?;
    let mut known = Vec::new();
    for name in host.cluster().group("k8s_cluster") {
        known.push(cluster_vars(&*host.cluster().host(&name)?)?.kube_override_hostname);
    }
    let strangers: Vec<&String> = nodes.iter().filter(|node| !known.contains(node)).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "the cluster has nodes that are not in the inventory ({}), and would find no API: all nodes are to find it {there}",
            some_names(&strangers)
        ),
        format!(
            "put them into [kube_node]; or, if they are gone, remove them: muster kubectl delete node NAME; or {or}"
        ),
    ))
}

/// The kubeconfigs of this machine lead where the cluster looks for the API, and the kubelet finds it there.
pub(crate) fn kubeconfigs(host: &Host, known: &Standing, endpoint: &str) -> Result<Command> {
    let mut good = vec![format!("https://{endpoint}")];
    if known.planes.iter().any(|plane| plane == host.name()) {
        // kubeadm gives the kubelet of a control plane the address at which its own API server listens.
        let port = cluster_vars(host)?.kube_apiserver_port;
        good.extend(
            [ip(host)?, access_ip_of(host, host.name())?].map(|ip: IpAddr| format!("https://{ip}:{port}")),
        );
    }
    let label = format!("address of the API: {}", good[0]);
    let run = told!(concat!(include_str!("leads_to.sh"), include_str!("move.sh")), good.clone());
    let check = told!(concat!(include_str!("leads_to.sh"), include_str!("all_lead_to.sh")), good);
    Ok(command(label, run, check))
}
