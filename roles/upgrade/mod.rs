//! upgrade: the cluster goes to another version of Kubernetes, which `kube_version` says.
//!
//! Whether a machine is done is what the cluster itself says of it ([`state`]), asked once a run: so a run that was cut off
//! anywhere is finished by the next one, which passes over what is done. Which versions may follow which is in
//! [`versions`]. The machines' own part is in `kubeadm/upgrade.rs`.

mod dropped;
pub(crate) mod former_etcd;
mod state;
pub(crate) mod versions;

use std::sync::Arc;

use muster_engine::prelude::*;
use muster_inventory::LayerKind;
use time::OffsetDateTime;

use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::drain;
use crate::etcd;
use crate::kubeadm;
use crate::kubectl::{Kubectl, kubectl};
use crate::system_upgrade;
pub(crate) use state::State;

/// What the command was given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Whether a cluster that is not well is upgraded all the same.
    pub force_unhealthy: bool,
}

/// Under which it is kept that the run upgrades the cluster.
const UPGRADES: &str = "that this run upgrades the cluster";

/// How often a cluster that is not well is looked at again, every three seconds.
const LOOKS_AGAIN: u32 = 20;

/// Says that the run upgrades the cluster. Every role of such a run does, whichever is the first.
pub(crate) async fn begin(host: &Host, settings: Settings) -> Result<()> {
    host.cluster().once(UPGRADES, || async { Ok(settings) }).await.map(drop)
}

/// Whether the run upgrades the cluster.
pub(crate) fn is_under_way(host: &Host) -> bool {
    settings(host).is_some()
}

fn settings(host: &Host) -> Option<Arc<Settings>> {
    host.cluster().done(UPGRADES)
}

/// The cluster as it was before this run changed anything.
///
/// # Errors
/// No control plane answers.
pub(crate) async fn state(host: &Host) -> Result<Arc<State>> {
    host.cluster().once("the cluster before its upgrade", || look(host)).await
}

async fn look(host: &Host) -> Result<State> {
    let Some(kubectl) = Kubectl::find(host).await? else {
        return Err(Failure::new(
            "no control plane answers",
            "an upgrade needs a cluster that runs: setup-cluster begins one, and starts what was stopped",
        ));
    };
    let look = kubectl!(include_str!("look.sh"), [""; 0]);
    Ok(State::parse(&kubectl.query("Look at the cluster", look).await?))
}

/// Whether nothing of this machine's part of the upgrade is left to do.
pub(crate) async fn is_done(host: &Host) -> Result<bool> {
    let cluster = cluster_vars(host)?;
    let is_plane = host.in_group("kube_control_plane");
    Ok(state(host).await?.is_done(&cluster.kube_override_hostname, is_plane, &cluster.kube_version))
}

/// The host's node gives its pods to others, as `drain` does it.
pub(crate) async fn drain(host: &Host) -> Result<()> {
    host.cluster().once(&drained(host), || async { Ok(()) }).await?;
    drain::drain(host, host).await
}

fn drained(host: &Host) -> String {
    format!("that this run has drained {}", host.name())
}

/// At the end of a machine's upgrade, whatever happened in it: its node gets pods again, if muster has cordoned it, in this run
/// or in one that was cut off.
pub(crate) async fn finish(host: &Host) -> Result<()> {
    let node = cluster_vars(host)?.kube_override_hostname;
    if host.cluster().done::<()>(&drained(host)).is_some() || state(host).await?.is_marked(&node) {
        return drain::uncordon(host, host).await;
    }
    Ok(())
}

/// The cluster may go to the version that is asked for: each of its kubelets allows it, nothing that is in use goes away, and
/// the cluster is well. Once a run.
pub(crate) async fn check(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    if known.standing().is_empty() {
        return Err(Failure::new(
            "no control plane of the inventory is in a cluster",
            "an upgrade needs one: setup-cluster begins it",
        ));
    }
    let mut problems: Vec<Problem> = system_upgrade::refused(host).await?.into_iter().collect();
    // One machine tells for all.
    let mut told = false;
    let look = || {
        told = true;
        self::problems(host, &known)
    };
    let of_cluster = host.cluster().once("what keeps the cluster from its upgrade", look).await?;
    if told {
        problems.extend(of_cluster.iter().cloned());
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    host.passed("Look at the cluster");
    Ok(())
}

/// What is not well in the cluster's own part of it: nodes, and pods of the system.
pub(crate) async fn unwell(host: &Host, known: &Standing) -> Result<Vec<String>> {
    let reached = known.reached();
    let mut state = look(host).await?;
    // Pods may just have been replaced.
    for _ in 0..LOOKS_AGAIN {
        if state.unwell(&reached).is_empty() || host.check_mode() {
            break;
        }
        host.pause("the cluster to be well", Duration::from_secs(3)).await?;
        state = look(host).await?;
    }
    Ok(state.unwell(&reached))
}

/// The nodes of the cluster whose machines were not reached.
pub(crate) async fn strangers(host: &Host, known: &Standing) -> Result<Vec<String>> {
    Ok(look(host).await?.strangers(&known.reached()))
}

/// Waits until the cluster's own pods on a node are well.
///
/// # Errors
/// They are not, after a minute.
pub(crate) async fn node_is_well(host: &Host, node: &str) -> Result<()> {
    let mut unwell = Vec::new();
    for _ in 0..LOOKS_AGAIN {
        unwell = look(host).await?.unwell_on(node);
        if unwell.is_empty() {
            return Ok(());
        }
        host.pause("the node to be well", Duration::from_secs(3)).await?;
    }
    Err(Failure::new(
        unwell.join("; "),
        "see why: muster kubectl get nodes,pods -A; then run the same command again",
    ))
}

/// What is told of certificates that have ended.
pub(crate) fn has_ended(host: &str, files: &[&str]) -> Problem {
    Problem {
        check: "certificates".into(),
        found: format!("on {host} have ended: {}", files.join(", ")),
        needed: "certificates with which the parts of the cluster know each other".into(),
        remedy: "renew them: muster certs renew".into(),
    }
}

/// What the upgrade disrupts is said before: the API of a cluster with one control plane.
fn only_plane_goes_away(host: &Host, known: &Standing, state: &State, version: &str) {
    let [plane] = &known.planes[..] else { return };
    let is_done = known.node(plane).is_none_or(|node| state.is_done(node, true, version));
    if !is_done && host.cluster().has_role(plane, kubeadm::upgrade::ROLE) {
        host.warn_of_cluster(format!(
            "{plane} is the only control plane: the API is away while it is upgraded, for about a minute; pods go on, and the run says \
             at its end for how long it was"
        ));
    }
}

/// The hosts whose nodes this run drains, or may drain.
fn to_drain(host: &Host, known: &Standing, state: &State, version: &str) -> Result<Vec<String>> {
    let mut hosts = Vec::new();
    for name in host.cluster().group("k8s_cluster") {
        let Some(node) = known.node(&name) else { continue };
        let has = |role: &str| host.cluster().has_role(&name, role);
        let gets_kubelet = has(kubeadm::upgrade::ROLE) || has(kubeadm::upgrade::NODE_ROLE);
        let gets_packages = || -> Result<bool> {
            Ok(has(system_upgrade::ROLE) && system_upgrade::is_wanted(&*host.cluster().host(&name)?)?)
        };
        if gets_kubelet && !state.is_done(node, false, version) || gets_packages()? {
            hosts.push(name);
        }
    }
    Ok(hosts)
}

async fn problems(host: &Host, known: &Standing) -> Result<Vec<Problem>> {
    // The API is not asked then: it may be away for just that.
    let ended = known.ended(OffsetDateTime::now_utc());
    if !ended.is_empty() {
        return Ok(ended.into_iter().map(|(name, files)| has_ended(name, &files)).collect());
    }
    let version = cluster_vars(host)?.kube_version;
    let state = state(host).await?;
    let upgrades = |role: &str| {
        let nodes = host.cluster().group("k8s_cluster");
        nodes.iter().any(|name| host.cluster().has_role(name, role))
    };
    if upgrades(kubeadm::upgrade::ROLE) || upgrades(kubeadm::upgrade::NODE_ROLE) {
        host.tell(state.way_to(&version));
        // What is typed is forgotten by the next command.
        if let [typed, written, ..] = &host.all_vars().explain("kube_version")[..]
            && typed.kind == LayerKind::Extra
            && written.kind.is_user()
            && written.value != typed.value
        {
            host.tell(format!(
                "{} has another kube_version: write kube_version: {version} there when the cluster has it",
                written.place
            ));
        }
    }
    if state.all_done(&version) && !system_upgrade::is_wanted(host)? {
        return Ok(Vec::new());
    }
    only_plane_goes_away(host, known, &state, &version);
    drain::warn(host, &to_drain(host, known, &state, &version)?).await?;
    let mut problems = state.refused(&version);
    // What the cluster has begun with it finishes.
    if !state.has_api_server(&version) {
        problems.extend(dropped::problems(host, known, &version).await?);
        problems.extend(former_etcd::problems(host, &version).await?);
    }
    problems.extend(kubeadm::upgrade::too_early(host, known, &state, &version));
    for (name, why) in known.unknown_planes() {
        let vars = host.cluster().vars_of(name)?.get("kube_override_hostname")?;
        let node = vars.and_then(|node| node.as_str().map(str::to_owned)).unwrap_or_else(|| name.to_owned());
        problems.extend(state.silent_plane(name, &node, why, &version));
    }
    let mut judged = known.reached();
    for node in state.half_way(&known.nodes_with_kubelet(&version), &version) {
        if !state.is_ready(&node) {
            host.warn(format!(
                "the node {node} is not Ready: its upgrade to {version} was cut off, and goes on"
            ));
        }
        judged.remove(&node);
    }
    let mut unwell = state.unwell(&judged);
    // Where a run was cut off a moment ago, pods are just being replaced.
    let forced = settings(host).is_some_and(|settings| settings.force_unhealthy);
    for _ in 0..LOOKS_AGAIN {
        if unwell.is_empty() || forced || host.check_mode() {
            break;
        }
        host.pause("the cluster to be well", Duration::from_secs(3)).await?;
        unwell = look(host).await?.unwell(&judged);
    }
    unwell.extend(etcd::unhealthy(host, known).await?);
    if forced {
        for text in unwell {
            host.warn(format!("the cluster is not well: {text}"));
        }
        return Ok(problems);
    }
    problems.extend(unwell.into_iter().map(|found| Problem {
        check: "cluster".into(),
        found,
        needed: "a cluster that is well: an upgrade takes away what it could do without".into(),
        remedy: "mend it: muster kubectl get nodes,pods -A, setup-cluster; to go on as it is: --force-unhealthy".into(),
    }));
    Ok(problems)
}
