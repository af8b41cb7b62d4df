//! A member of etcd goes over from kubeadm's static pod to muster's unit: the same data, name, address and authority. It is away for
//! as long as the one stops and the other starts. Where the new one does not start the old one runs again.

use muster_engine::prelude::*;

use super::{KEPT, is_under_way};
use crate::cluster::{self, Standing};
use crate::etcd;

/// Where kubelets look for static pods, and where the manifest of kubeadm's etcd is kept.
const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
const WAITS: &str = "/var/lib/muster/adopted/etcd.yaml";

/// Whether the machine has, in a run that adopts it, a member that is still kubeadm's.
fn is_kubeadms(host: &Host, known: &Standing) -> bool {
    is_under_way(host) && known.identity(host.name()).is_some_and(|seen| seen.stacked.is_some())
}

/// Before a member stops: all are well, and what they hold is on this side. The certificates with which they are asked are there.
pub(crate) async fn before_member(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    if !is_kubeadms(host, &known) {
        return Ok(());
    }
    if !host.check_mode() {
        etcd::all_are_well(host).await?;
    }
    let bring = || async { etcd::bring_snapshot(host, None).await };
    host.cluster().once("a snapshot of etcd before the adoption", bring).await.map(drop)
}

/// Adds to the step that starts the unit that the static pod stops before. It goes on when the connection is lost.
pub(crate) fn hand_over<'h>(host: &Host, known: &Standing, step: Step<'h>) -> Step<'h> {
    if !is_kubeadms(host, known) {
        return step;
    }
    let stops = command(
        "kubeadm's static pod of etcd stops",
        sh(include_str!("static_pod_stops.sh"), [MANIFEST, WAITS]),
        sh(r#"[ ! -e "$1" ]"#, [MANIFEST]),
    );
    step.detached().ensure(stops)
}

/// The end of that step: where the unit did not start the static pod runs again.
///
/// # Errors
/// That of the step.
pub(crate) async fn handed_over<T>(host: &Host, outcome: Result<T>) -> Result<T> {
    let known = cluster::known(host).await?;
    let failed = outcome.as_ref().err().is_some_and(|failure| matches!(failure, Failure::Change { .. }));
    if failed && is_kubeadms(host, &known) && !host.check_mode() {
        let back = sh(include_str!("static_pod_is_back.sh"), [MANIFEST, WAITS]);
        host.run("The static pod of etcd runs again", back, Duration::from_secs(120)).await?;
        host.warn(format!(
            "muster's etcd did not start on {}; kubeadm's static pod runs there again, and what was kept is in {KEPT}",
            host.name()
        ));
    }
    outcome
}
