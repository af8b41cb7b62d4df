//! upgrade: the cluster goes to another version of Kubernetes, which `kube_version` says.
//!
//! Whether a machine is done is what the cluster itself says of it ([`state`]), asked once a run: so a run that was cut off
//! anywhere is finished by the next one, which passes over what is done. Which versions may follow which is in
//! [`versions`]. The machines' own part is in `kubeadm/upgrade.rs`.

mod state;
pub(crate) mod versions;

use std::sync::Arc;

use muster_engine::prelude::*;

use crate::cluster;
use crate::common::cluster_vars;
use crate::etcd;
use crate::kubectl::{Kubectl, kubectl};
pub(crate) use state::State;

/// What the command was given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Whether a cluster that is not well is upgraded all the same.
    pub force_unhealthy: bool,
}

/// Under which it is kept that the run upgrades the cluster.
const UPGRADES: &str = "that this run upgrades the cluster";

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
    let look = || async {
        let Some(kubectl) = Kubectl::find(host).await? else {
            return Err(Failure::new(
                "no control plane answers",
                "an upgrade needs a cluster that runs: setup-cluster begins one, and starts what was stopped",
            ));
        };
        let look = kubectl!(include_str!("look.sh"), [] as [&str; 0]);
        Ok(State::parse(&kubectl.query("Look at the cluster", look).await?))
    };
    host.cluster().once("the cluster before its upgrade", look).await
}

/// Whether nothing of this machine's part of the upgrade is left to do.
pub(crate) async fn is_done(host: &Host) -> Result<bool> {
    let cluster = cluster_vars(host)?;
    let is_plane = host.in_group("kube_control_plane");
    Ok(state(host).await?.is_done(&cluster.kube_override_hostname, is_plane, &cluster.kube_version))
}

/// The cluster may go to the version that is asked for: each of its kubelets allows it, nothing that is in use goes away, and
/// the cluster is well. Once a run.
pub(crate) async fn check(host: &Host) -> Result<()> {
    let known = cluster::belongs(host).await?;
    let look = || async {
        let version = cluster_vars(host)?.kube_version;
        if known.standing().is_empty() {
            let found = "no control plane of the inventory is in a cluster";
            return Err(Failure::new(found, "an upgrade needs a cluster: setup-cluster begins one"));
        }
        let state = state(host).await?;
        if state.all_done(&version) {
            return Ok(());
        }
        let mut problems = state.refused(&version);
        let mut unwell = state.unwell(&known.reached());
        unwell.extend(etcd::unhealthy(host, &known).await?);
        if settings(host).is_some_and(|settings| settings.force_unhealthy) {
            for text in unwell {
                host.warn(format!("the cluster is not well: {text}"));
            }
        } else {
            problems.extend(unwell.into_iter().map(|found| Problem {
                check: "cluster".into(),
                found,
                needed: "a cluster that is well, before an upgrade takes away what it could do without".into(),
                remedy: "mend that: muster kubectl get nodes,pods -A, setup-cluster; to go on as it is: --force-unhealthy".into(),
            }));
        }
        if problems.is_empty() { Ok(()) } else { Err(Failure::Problems(problems)) }
    };
    host.cluster().once("that the cluster may be upgraded", look).await?;
    host.passed("Look at the cluster");
    Ok(())
}
