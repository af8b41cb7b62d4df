//! A member as a static pod: `etcd_deployment_type: kubeadm`.
//!
//! The unit of etcd stays what starts, stops and tells of a member. Its program (`pod.sh`) hands etcd over to the kubelet where there is
//! one. A drop-in has the pod ended with the unit, whichever unit that is: between a run that writes the unit of a process and the moment
//! at which the member becomes one it may be stopped, as by a restore. A member that begins before its machine is a node is a process
//! first, and restarts once as a pod, late in the same run ([`super::late_restart`]).

use muster_engine::prelude::*;

use super::leave::may_be_restarted;
use super::{Vars, is_healthy};
use crate::adoption;
use crate::common::{bin_dir, cluster_vars};
use crate::timers::quoted;

/// The program of the unit, and what removes a manifest when the machine starts, so that none begins a pod whose unit does not run
/// (tmpfiles.d(5)).
pub(super) const PROGRAM: &str = "/var/lib/muster/etcd-pod.sh";
pub(super) const AT_BOOT: &str = "/etc/tmpfiles.d/muster-etcd.conf";

/// What has the pod ended with the unit. It starts no other program, as drop-ins of others might.
pub(super) const DROP_IN: &str = "/etc/systemd/system/etcd.service.d/muster-pod.conf";

/// While this is there a pod may run, whatever systemd says of the unit: one whose `ExecStopPost` did not end well is `failed`, and
/// systemctl says nothing of it. `pod.sh` writes it.
pub(super) const NOTE: &str = "/run/muster-etcd-pod";

/// What the kubelet runs it by; `pod.sh` writes it.
pub(super) const MANIFEST: &str = "/etc/kubernetes/manifests/etcd-member.yaml";

/// While this is there the unit does not hand etcd over: a pod has failed. `pod.sh` writes it, [`hand_over`] and [`super::take_back`]
/// remove it.
pub(super) const FAILED: &str = "/run/muster-etcd-pod-failed";

/// Whether a member is to be a pod. One on a machine that is no node cannot be, of which is told; and one that is adopted goes over to a
/// process first, as which it is known to have stopped before the other one starts.
pub(super) fn is_wanted(host: &Host, vars: &Vars) -> bool {
    if vars.etcd_deployment_type != "kubeadm" || adoption::is_under_way(host) {
        return false;
    }
    let is_node = host.in_group("k8s_cluster");
    if !is_node {
        host.warn(format!(
            "etcd on {} runs under systemd alone, because the machine is no node: etcd_deployment_type: kubeadm makes static pods of \
             members on nodes",
            host.name()
        ));
    }
    is_node
}

/// The program of the unit, with its arguments, as systemd takes it. `memory`: how much of it the member may have, as systemd takes it.
pub(super) fn program(host: &Host, vars: &Vars, memory: Option<&str>) -> Result<String> {
    let node = cluster_vars(host)?.kube_override_hostname;
    let (bin, memory) = (bin_dir(host)?, memory.map(quantity).unwrap_or_default());
    let words = [vars.etcd_cert_dir.as_str(), &node, &bin, &vars.etcd_data_dir, &memory];
    Ok(format!("/bin/sh {PROGRAM} {}", words.map(quoted).join(" ")))
}

/// The drop-in goes, with its folder where that has nothing else.
pub(crate) fn no_drop_in() -> Command {
    let gone = sh(r#"[ ! -e "$1" ]"#, [DROP_IN]);
    removal("drop-in of etcd's unit", sh(r#"rm -f "$1"; rmdir "${1%/*}" 2>/dev/null || :"#, [DROP_IN]), gone)
}

/// What systemd takes for memory, as Kubernetes does: to both a bare number is bytes, and systemd's `G` is 2^30.
fn quantity(memory: &str) -> String {
    if memory.ends_with(char::is_alphabetic) { format!("{memory}i") } else { memory.to_owned() }
}

/// What the unit of a pod needs beside itself.
pub(super) fn files() -> [File; 3] {
    [
        file(PROGRAM).content(concat!(include_str!("ctl.sh"), include_str!("pod.sh"))).mode(0o700),
        file(AT_BOOT).content(format!("r! {MANIFEST}\n")),
        file(DROP_IN).content(include_str!("templates/etcd-pod.conf")),
    ]
}

/// Whether a member is a process that the kubelet could run.
fn is_process() -> Script {
    sh(r#"[ ! -e "$1" ] && [ -e /etc/kubernetes/kubelet.conf ]"#, [MANIFEST])
}

/// A member that has begun as a process restarts as a pod, where its machine is a node by now.
pub(super) async fn hand_over(host: &Host) -> Result<()> {
    if host.query(is_process()).await?.status != 0 {
        return Ok(());
    }
    may_be_restarted(host).await?;
    let restart = sh(
        r#"rm -f "$2"
systemctl restart etcd || {
  journalctl --no-pager -n 15 -o cat -u etcd
  exit 1
}
[ -e "$1" ] || {
  echo 'the kubelet does not run etcd, which is a process still, and well; why: journalctl -u etcd -u kubelet' >&2
  exit 1
}"#,
        [MANIFEST, FAILED],
    );
    host.step("Hand etcd over to the kubelet")
        .detached()
        .ensure(command("etcd is a static pod", restart, sh(r#"[ -e "$1" ]"#, [MANIFEST])))
        .await?;
    is_healthy(host).await
}

#[cfg(test)]
#[path = "pod_tests.rs"]
pub(super) mod tests;
